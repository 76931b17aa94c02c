/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How many distinct things there were within any time up to now, by HyperLogLog with a
 * time beside each rank: where a hash is noted, and when. Pure; the reference, which also
 * estimates, is conntrack-core's distinct.rs.
 *
 * A hash belongs to a register, and has a rank: one more than the zeros its other bits end
 * in. Each register keeps for each rank when it was last seen; so for any window the highest
 * rank in it is what HyperLogLog's register would have been, had it begun with the window.
 *
 * Flajolet, Fusy, Gandouet, Meunier: HyperLogLog (2007).
 */
#ifndef CT_DISTINCT_H
#define CT_DISTINCT_H

#include "types.h"

/* Of a hash: its register, by its low bits. `registers` is a power of two, at most 2^16. */
static __always_inline __u32 ct_distinct_register(__u64 hash, __u32 registers)
{
	return (__u32)hash & (registers - 1);
}

/* And its rank less one, by its high bits. */
static __always_inline __u32 ct_distinct_rank(__u64 hash)
{
	__u32 bits = (__u32)(hash >> 32) | 1U << (CT_PORT_RANKS - 1), one = bits & -bits, rank = 0;

	rank |= !!(one & 0xaaaaaaaa);
	rank |= !!(one & 0xcccccccc) << 1;
	rank |= !!(one & 0xf0f0f0f0) << 2;
	rank |= !!(one & 0xff00ff00) << 3;
	rank |= !!(one & 0xffff0000) << 4;
	return rank;
}

/* A time as registers have it; never 0. */
static __always_inline __u32 ct_distinct_tick(__u64 now)
{
	__u32 tick = now >> CT_PORT_TICK_SHIFT;

	return tick ? tick : 1;
}

#endif
