/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A slot, its bucket's tags, and what can be said of them by looking. */
#ifndef CT_SLOT_H
#define CT_SLOT_H

#include "index.h"
#include "key.h"
#include "types.h"

#define CT_W_FILLED (1ULL << 7) /* of a BUSY slot: key and tag are in place */

/* Of a slot whose flow has MOVED; see move.h. */
#define CT_W_REST	  (1ULL << 13) /* the counts here are what came late */
#define CT_W_TO_SHIFT	  8	       /* the slot; above it, whether in its key's second bucket */
#define CT_W_TO_GEN_SHIFT 32	       /* the generation of that slot */

struct ct_table {
	__u32 buckets;
	int v6;
};

/* A slot somebody found or claimed, and its word at that moment. */
struct ct_ref {
	struct ct_flow *flow;
	struct ct_bucket_head *head;
	__u32 slot;  /* in its bucket */
	__u32 place; /* bucket * CT_SLOTS + slot: the order among claims */
	__u64 word;
};

enum ct_claimed {
	CT_CLAIMED,	/* the slot is ours and BUSY */
	CT_CLAIM_AGAIN, /* somebody else moved first: look the key up again */
	CT_CLAIM_FULL,	/* nothing but live, assured flows in reach */
};

/*
 * Provided by the includer: a bucket of the table that flows are created in, and one
 * of either table. While there are two, those of the other are numbered behind.
 */
static __always_inline void *ct_bucket(__u32 index, int v6);
static __always_inline void *ct_any_bucket(__u32 index, int v6);
static __always_inline __u64 ct_timeout_of(__u64 word);
static __always_inline __u64 ct_grace(void);

static __always_inline __u64 ct_load(const __u64 *p)
{
	return *(const volatile __u64 *)p;
}

static __always_inline enum ct_phase ct_phase_of(__u64 word)
{
	return (enum ct_phase)(word & CT_W_PHASE);
}

/* On its way to the other table, and not yet LIVE there. */
static __always_inline int ct_is_leaving(__u64 word)
{
	return (word & (CT_W_PHASE | CT_W_LEFT)) == (CT_CLOSING | CT_W_LEFT) &&
	       !((word & CT_W_MOVED) && (word & CT_W_ARRIVED));
}

/* Signed, because a coarse clock may run behind a precise one. */
static __always_inline __u64 ct_age(__u64 now, __u64 then)
{
	__s64 age = now - then;

	return age < 0 ? 0 : age;
}

/* At its deadline a flow is gone, for packets and readers alike. */
static __always_inline int ct_expired(const struct ct_flow *flow, __u64 word, __u64 now)
{
	return ct_age(now, ct_load(&flow->seen)) >= ct_timeout_of(word);
}

static __always_inline __u64 ct_slot_index(__u64 slot)
{
	return ct_index(slot, CT_SLOTS);
}

static __always_inline struct ct_flow *ct_slot(struct ct_bucket_head *head, __u32 slot, int v6)
{
	__u64 size = v6 ? sizeof(struct ct_flow6) : sizeof(struct ct_flow);

	return (void *)head + sizeof(*head) + ct_slot_index(slot) * size;
}

static __always_inline void ct_set_tag(struct ct_bucket_head *head, __u32 slot, __u16 tag)
{
	((volatile __u16 *)head->tags)[ct_slot_index(slot)] = tag;
}

static __always_inline int ct_key_is(const struct ct_flow *flow, const struct ct_key *key,
				     const struct ct_hash *hash, int v6)
{
	const struct ct_flow6 *flow6 = (const struct ct_flow6 *)flow;

	if (flow->lo_port_be != key->lo_port_be || flow->hi_port_be != key->hi_port_be ||
	    (__u8)flow->proto_if != key->proto)
		return 0;
	if (!v6)
		return flow->lo == key->lo[0] && flow->hi == key->hi[0];
	if (flow->lo != (__u32)hash->mixed || flow->hi != (__u32)(hash->mixed >> 32))
		return 0;
	return flow6->lo[0] == key->lo[0] && flow6->lo[1] == key->lo[1] &&
	       flow6->lo[2] == key->lo[2] && flow6->lo[3] == key->lo[3] &&
	       flow6->hi[0] == key->hi[0] && flow6->hi[1] == key->hi[1] &&
	       flow6->hi[2] == key->hi[2] && flow6->hi[3] == key->hi[3];
}

/* Bits 15, 31, 47 and 63 side by side. */
static __always_inline __u32 ct_gather(__u64 tops)
{
	return ((tops >> 15) * 0x0001000200040008ULL) >> 48;
}

/*
 * The slots of a bucket whose tag is `tag`, one bit each, without a branch. A
 * slot above a true match may be named falsely; the key decides.
 */
static __always_inline __u32 ct_tagged(const struct ct_bucket_head *head, __u64 tag)
{
	const __u64 *tags = (const __u64 *)head->tags;
	const __u64 ones = 0x0001000100010001ULL;
	__u64 zero[4], any = 0;
	__u32 slots = 0;

#pragma unroll
	for (int quad = 0; quad < 4; quad++) {
		__u64 x = ct_load(&tags[quad]) ^ (tag * ones);

		zero[quad] = (x - ones) & ~x & (ones << 15);
		any |= zero[quad];
	}
	/* What begins a flow, and what lives in the other bucket, has none here. */
	if (!any)
		return 0;
#pragma unroll
	for (int quad = 0; quad < 4; quad++)
		slots |= ct_gather(zero[quad]) << (quad * 4);
	return slots & ((1U << CT_SLOTS) - 1);
}

/* The empty slots of a bucket, one bit each; exact. */
static __always_inline __u32 ct_untagged(const struct ct_bucket_head *head)
{
	const __u64 *tags = (const __u64 *)head->tags;
	const __u64 low = 0x7fff7fff7fff7fffULL;
	__u32 slots = 0;

#pragma unroll
	for (int quad = 0; quad < 4; quad++) {
		__u64 x = ct_load(&tags[quad]);
		__u64 zero = ~(((x & low) + low) | x | low);

		slots |= ct_gather(zero) << (quad * 4);
	}
	return slots & ((1U << CT_SLOTS) - 1);
}

/* Index of the lowest of 16 bits; 0 of none. Without a branch. */
static __always_inline __u32 ct_lowest(__u32 bits)
{
	__u32 one = bits & -bits;

	return ((((one & 0xaaaa) + 0xffff) >> 16) & 1) | ((((one & 0xcccc) + 0xffff) >> 15) & 2) |
	       ((((one & 0xf0f0) + 0xffff) >> 14) & 4) | ((((one & 0xff00) + 0xffff) >> 13) & 8);
}

static __always_inline __u32 ct_bits(__u32 bits)
{
	bits = (bits & 0x5555) + ((bits >> 1) & 0x5555);
	bits = (bits & 0x3333) + ((bits >> 2) & 0x3333);
	bits = (bits & 0x0f0f) + ((bits >> 4) & 0x0f0f);
	return (bits & 0xff) + (bits >> 8);
}

#endif
