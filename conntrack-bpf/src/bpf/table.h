/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table: find, claim, publish, release. Knows keys, slots and clocks;
 * knows nothing of protocols. Compiles for the host too, where tests hammer it
 * with threads: the includer provides ct_bucket() and ct_timeout_of().
 *
 * A key may live in either of two buckets. Word phases and who may do what:
 *
 *   FREE --(CAS)--> BUSY --(CAS, FILLED)--> BUSY+FILLED --(CAS)--> LIVE
 *     ^               |                        |                    |
 *     +---------------+------------------------+---- CLOSING <------+ (CAS)
 *
 * Two CPUs may create one flow at once. Each fills a slot, sets FILLED by a
 * full barrier, and only then looks for the key in both buckets, so at least
 * one of the two sees the other. A published copy wins over any claim; of two
 * claims the lower place wins, and it must take the higher one out by
 * compare-and-swap, because the higher one may have finished looking before
 * the lower one was filled. Whoever loses withdraws and finds the winner.
 */
#ifndef CT_TABLE_H
#define CT_TABLE_H

#include "claim.h"
#include "slot.h"

/* Looks for a live flow of this key in one bucket. */
static __always_inline int ct_find_in(struct ct_bucket_head *head, __u32 bucket,
				      const struct ct_key *key, const struct ct_hash *hash, int v6,
				      struct ct_ref *ref)
{
	__u32 slots = ct_tagged(head, hash->tag);

	for (int i = 0; i < CT_SLOTS && slots; i++, slots &= slots - 1) {
		__u32 slot = ct_lowest(slots);
		struct ct_flow *flow;
		__u64 word;

		flow = ct_slot(head, slot, v6);
		word = ct_load(&flow->word);
		if (ct_phase_of(word) != CT_LIVE || !ct_key_is(flow, key, hash, v6))
			continue;
		ref->flow = flow;
		ref->head = head;
		ref->slot = slot;
		ref->place = bucket * CT_SLOTS + slot;
		ref->word = word;
		return 1;
	}
	return 0;
}

/*
 * Finds the flow of a key, expired or not. Most flows sit at their home slot,
 * whose line is loaded without waiting for the line of tags.
 */
static __always_inline int ct_find(const struct ct_table *table, const struct ct_key *key,
				   const struct ct_hash *hash, struct ct_ref *ref)
{
	struct ct_bucket_head *head = ct_bucket(hash->bucket[0], table->v6);
	struct ct_flow *flow;
	__u32 home = hash->home;
	__u64 word;

	if (!head)
		return 0;
	flow = ct_slot(head, home, table->v6);
	word = ct_load(&flow->word);
	/* On their way while the home slot is looked at: four flows in ten are elsewhere. */
	(void)ct_load((const __u64 *)head->tags);
	if (ct_phase_of(word) == CT_LIVE && ct_key_is(flow, key, hash, table->v6)) {
		ref->flow = flow;
		ref->head = head;
		ref->slot = home;
		ref->place = hash->bucket[0] * CT_SLOTS + home;
		ref->word = word;
		return 1;
	}
	if (ct_find_in(head, hash->bucket[0], key, hash, table->v6, ref))
		return 1;
	head = ct_bucket(hash->bucket[1], table->v6);
	return head && ct_find_in(head, hash->bucket[1], key, hash, table->v6, ref);
}

/* Whether the slot this ref names still holds the flow it held. */
static __always_inline int ct_ref_holds(const struct ct_ref *ref)
{
	__u64 word = ct_load(&ref->flow->word);

	return ((word ^ ref->word) & (CT_W_GEN | CT_W_PHASE)) == 0;
}

/* Writes key and tag into a BUSY slot and makes it known to other claimers. */
static __always_inline void ct_fill_key(struct ct_ref *ref, const struct ct_key *key,
					const struct ct_hash *hash, __u32 ifindex, int v6)
{
	struct ct_flow *flow = ref->flow;
	__u64 slot = ct_slot_index(ref->slot);
	__u64 filled = ref->word | CT_W_FILLED;

	flow->lo_port_be = key->lo_port_be;
	flow->hi_port_be = key->hi_port_be;
	flow->proto_if = key->proto | (ifindex << 8);
	if (v6) {
		struct ct_flow6 *flow6 = (struct ct_flow6 *)flow;

		flow->lo = (__u32)hash->mixed;
		flow->hi = (__u32)(hash->mixed >> 32);
#pragma unroll
		for (int i = 0; i < 4; i++) {
			flow6->lo[i] = key->lo[i];
			flow6->hi[i] = key->hi[i];
		}
	} else {
		flow->lo = key->lo[0];
		flow->hi = key->hi[0];
	}
	ct_set_tag(ref->head, slot, hash->tag);
	ct_queue_up(ref->head, slot);
	/* A full barrier: key and tag before FILLED, FILLED before we look around. */
	__sync_val_compare_and_swap(&flow->word, ref->word, filled);
	ref->word = filled;
}

/* Gives a BUSY slot back: nobody has ever seen a flow in it, so it needs no
 * rest. */
static __always_inline void ct_withdraw(struct ct_ref *ref)
{
	ct_set_tag(ref->head, ref->slot, 0);
	ref->flow->seen = 0;
	/* An exchange, not a store: the tag must be gone before the next owner sets
   * his. */
	__sync_lock_test_and_set(&ref->flow->word, (ref->word & CT_W_GEN) | CT_FREE);
}

/*
 * Whether our claim, at `mine`, stands against everybody else's in one bucket; see the
 * top. A flow that is leaving for our table counts as live.
 */
static __always_inline int ct_stands_in(struct ct_bucket_head *head, __u32 bucket, __u32 mine,
					const struct ct_key *key, const struct ct_hash *hash,
					int v6)
{
	__u32 slots = ct_tagged(head, hash->tag);

	for (int i = 0; i < CT_SLOTS && slots; i++, slots &= slots - 1) {
		__u32 slot = ct_lowest(slots);
		__u32 place = bucket * CT_SLOTS + slot;
		struct ct_flow *flow;
		__u64 word, seen;

		if (place == mine)
			continue;
		flow = ct_slot(head, slot, v6);
		word = ct_load(&flow->word);
		if (!ct_key_is(flow, key, hash, v6))
			continue;
		if (ct_phase_of(word) == CT_LIVE || ct_is_leaving(word))
			return 0;
		if (ct_phase_of(word) != CT_BUSY || !(word & CT_W_FILLED))
			continue;
		if (place < mine)
			return 0;
		seen = __sync_val_compare_and_swap(&flow->word, word,
						   (word & CT_W_GEN) | CT_CLOSING);
		if (seen != word && ct_phase_of(seen) == CT_LIVE)
			return 0;
	}
	return 1;
}

/*
 * Makes a filled claim that stands a flow. `bits` are the flow's state, flags and
 * timeout. Returns 0 if another CPU's copy won.
 */
static __always_inline int ct_publish(struct ct_ref *ref, __u64 bits)
{
	__u64 live = (ref->word & CT_W_GEN) | bits | CT_LIVE;

	if (__sync_val_compare_and_swap(&ref->flow->word, ref->word, live) != ref->word)
		return 0;
	ref->word = live;
	return 1;
}

/*
 * Takes a live flow out, in two halves. Returns 0 if it changed or went meanwhile.
 * Between them the slot is CLOSING and the caller's alone, its content as it was.
 */
static __always_inline int ct_close(struct ct_ref *ref)
{
	__u64 closing = (ref->word & CT_W_GEN) | CT_CLOSING;

	return __sync_val_compare_and_swap(&ref->flow->word, ref->word, closing) == ref->word;
}

/* The second half: from here on the slot rests. */
static __always_inline void ct_give_back(struct ct_ref *ref, __u64 now)
{
	ct_set_tag(ref->head, ref->slot, 0);
	ref->flow->seen = now;
	__sync_lock_test_and_set(&ref->flow->word, (ref->word & CT_W_GEN) | CT_FREE);
}

#endif
