/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How often something happened within a sliding window, in one word; and where a
 * Count-Min Sketch keeps such words. On memory passed in. Pure; the reference is
 * conntrack-core's sketch.rs.
 *
 * The window is two halves: the one that runs, and the one before it. What is counted
 * is what happened since the beginning of the latter, half a window to a whole one:
 * never more than in the window. Nobody has to age the words: each has the number of
 * the half it was last looked at in.
 *
 * Cormode, Muthukrishnan: An improved data stream summary: the count-min sketch and its
 * applications (2005).
 */
#ifndef CT_SKETCH_H
#define CT_SKETCH_H

#include "types.h"

/* Bits of a rate: number of the half, events in it, and in the one before. */
#define CT_RATE_BITS 20
#define CT_RATE_MAX  ((1U << CT_RATE_BITS) - 1)
#define CT_RATE_HALF 0xffffffU

static __always_inline __u64 ct_rate_of(__u32 half, __u32 now, __u32 before)
{
	return (__u64)(half & CT_RATE_HALF) << (2 * CT_RATE_BITS) |
	       (__u64)(now & CT_RATE_MAX) << CT_RATE_BITS | (before & CT_RATE_MAX);
}

static __always_inline __u32 ct_rate_now(__u64 rate)
{
	return (rate >> CT_RATE_BITS) & CT_RATE_MAX;
}

/*
 * A rate as it is in a half. The one before its own reads as its own does: another CPU has
 * looked at the clock later than we did. All that is further off is of another time, or of
 * a window that was another.
 */
static __always_inline __u64 ct_rate_at(__u64 rate, __u32 half)
{
	__u32 age = (half - (__u32)(rate >> (2 * CT_RATE_BITS))) & CT_RATE_HALF;

	if (!age || age == CT_RATE_HALF)
		return rate;
	return ct_rate_of(half, 0, age == 1 ? ct_rate_now(rate) : 0);
}

/* Events in the window, of a rate as it is now. */
static __always_inline __u32 ct_rate_sum(__u64 rate)
{
	return ct_rate_now(rate) + (rate & CT_RATE_MAX);
}

/* One more. What no longer fits is not counted. */
static __always_inline __u64 ct_rate_more(__u64 rate)
{
	return ct_rate_now(rate) < CT_RATE_MAX ? rate + (1ULL << CT_RATE_BITS) : rate;
}

/* One less of a half: nothing if that is not in the window any more. */
static __always_inline __u64 ct_rate_less(__u64 rate, __u32 half)
{
	__u32 age = ((__u32)(rate >> (2 * CT_RATE_BITS)) - half) & CT_RATE_HALF;

	if (!age && ct_rate_now(rate))
		return rate - (1ULL << CT_RATE_BITS);
	if (age == 1 && (rate & CT_RATE_MAX))
		return rate - 1;
	return rate;
}

/*
 * The cell of a row that a hash is counted in: two hashes make as many as there are rows
 * (Kirsch, Mitzenmacher 2006). `width` is a power of two.
 */
static __always_inline __u32 ct_sketch_cell(__u64 hash, __u32 row, __u32 width)
{
	__u32 step = (__u32)(hash >> 32) | 1;

	return row * width + (((__u32)hash + row * step) & (width - 1));
}

#endif
