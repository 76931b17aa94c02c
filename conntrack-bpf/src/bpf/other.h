/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Looking for a key where others may have put it: in the other table, while one table
 * replaces another; and among those who create the same flow as we do, in both. In
 * programs that know one table only the other is dead code, which the verifier takes
 * away.
 */
#ifndef CT_OTHER_H
#define CT_OTHER_H

#include "settle.h"

/* Looks for a flow of this packet's key in one bucket. */
static __always_inline int ct_seek_in(struct ct_work *w, struct ct_bucket_head *head, int v6)
{
	__u32 slots;

	if (!ct_other_buckets(v6))
		return 0;
	slots = ct_tagged(head, w->hash.tag);
	for (int i = 0; i < CT_SLOTS && slots; i++, slots &= slots - 1) {
		__u32 slot = ct_lowest(slots);
		struct ct_flow *flow = ct_slot(head, slot, v6);
		__u64 word = ct_load(&flow->word);

		if ((ct_phase_of(word) != CT_LIVE && !ct_is_leaving(word)) ||
		    !ct_key_is(flow, &w->key, &w->hash, v6))
			continue;
		w->from_word = word;
		w->from_slot = slot;
		w->from_over = ct_expired(flow, word, w->pkt.now);
		return 1;
	}
	return 0;
}

__weak __noinline int ct_seek_in4(struct ct_work *w, struct ct_bucket4 *bucket)
{
	return w && bucket ? ct_seek_in(w, &bucket->head, 0) : 0;
}

__weak __noinline int ct_seek_in6(struct ct_work *w, struct ct_bucket6 *bucket)
{
	return w && bucket ? ct_seek_in(w, &bucket->head, 1) : 0;
}

static __always_inline int ct_seek_at(struct ct_work *w, __u32 bucket, int v6)
{
	w->from_bucket = bucket;
	return v6 ? ct_seek_in6(w, ct_any_bucket(bucket, 1))
		  : ct_seek_in4(w, ct_any_bucket(bucket, 0));
}

static __always_inline int ct_seek_own(struct ct_work *w, int v6)
{
	return ct_seek_at(w, w->hash.bucket[0], v6) || ct_seek_at(w, w->hash.bucket[1], v6);
}

/*
 * In our table, then in the other one, then in ours again: a flow that came over
 * after the first look was in neither when the second was done. Where it is goes into
 * w->from.
 */
static __always_inline int ct_seek(struct ct_work *w, int v6)
{
	__u32 own = ct_own_buckets(v6), bucket[2];

	if (ct_seek_own(w, v6))
		return 1;
	ct_hash_buckets(w->hash.mixed, ct_other_buckets(v6), bucket);
	return ct_seek_at(w, own + bucket[0], v6) || ct_seek_at(w, own + bucket[1], v6) ||
	       ct_seek_own(w, v6);
}

/* Whether the claim we hold stands in a bucket of this number. */
__weak __noinline int ct_stands_in4(struct ct_work *w, struct ct_bucket4 *bucket, __u32 number)
{
	return w && bucket &&
	       ct_stands_in(&bucket->head, number, w->taken_bucket * CT_SLOTS + w->taken_slot,
			    &w->key, &w->hash, 0);
}

__weak __noinline int ct_stands_in6(struct ct_work *w, struct ct_bucket6 *bucket, __u32 number)
{
	return w && bucket &&
	       ct_stands_in(&bucket->head, number, w->taken_bucket * CT_SLOTS + w->taken_slot,
			    &w->key, &w->hash, 1);
}

static __always_inline int ct_stands_at(struct ct_work *w, __u32 number, int v6)
{
	return v6 ? ct_stands_in6(w, ct_any_bucket(number, 1), number)
		  : ct_stands_in4(w, ct_any_bucket(number, 0), number);
}

/*
 * Asked when our claim is FILLED. First in the other table: a flow that moves from
 * there to here meanwhile is seen in one of them. Programs that create in different
 * tables do not agree on whose place is the lower one; then both take each other out,
 * and both try again.
 */
static __always_inline int ct_stands(struct ct_work *w, int v6)
{
	if (ct_other_buckets(v6)) {
		__u32 own = ct_own_buckets(v6), bucket[2];

		ct_hash_buckets(w->hash.mixed, ct_other_buckets(v6), bucket);
		if (!ct_stands_at(w, own + bucket[0], v6) || !ct_stands_at(w, own + bucket[1], v6))
			return 0;
	}
	return ct_stands_at(w, w->hash.bucket[0], v6) && ct_stands_at(w, w->hash.bucket[1], v6);
}

#endif
