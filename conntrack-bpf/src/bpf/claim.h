/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which slot a new flow gets: empty, or the one that is missed least. See table.h. */
#ifndef CT_CLAIM_H
#define CT_CLAIM_H

#include "slot.h"

static __always_inline __u64 ct_next_gen(__u64 word)
{
	return (word & CT_W_GEN) + (1ULL << CT_W_GEN_SHIFT);
}

/*
 * Who has carried has counted 2^32 packets of 20 bytes or more. To ask for the bytes
 * spares the line of carries, which hardly any flow ever needs.
 */
#define CT_CARRY_BYTES (20ULL << 32)

/* FREE or LIVE to BUSY; the slot's generation moves on, so late writers can
 * tell. */
static __always_inline int ct_take(struct ct_ref *ref)
{
	__u64 busy = ct_next_gen(ref->word) | CT_BUSY;
	struct ct_flow *flow = ref->flow;
	__u64 slot;

	if (__sync_val_compare_and_swap(&flow->word, ref->word, busy) != ref->word)
		return 0;
	ref->word = busy;
	if (flow->bytes[CT_ORIGINAL] >= CT_CARRY_BYTES || flow->bytes[CT_REPLY] >= CT_CARRY_BYTES) {
		slot = ct_slot_index(ref->slot);
		ref->head->carry[slot][CT_ORIGINAL] = 0;
		ref->head->carry[slot][CT_REPLY] = 0;
	}
	return 1;
}

/* An empty, rested slot of one bucket; the one at `home` if it is. */
static __always_inline int ct_pick_free(struct ct_bucket_head *head, __u32 bucket, __u32 empty,
					__u32 home, __u64 now, int v6, struct ct_ref *ref)
{
	for (int i = 0; i < CT_SLOTS && empty; i++) {
		__u32 slot = (empty >> (home & 15)) & 1 ? home : ct_lowest(empty);
		struct ct_flow *flow;
		__u64 word;

		empty &= ~(1U << slot);
		flow = ct_slot(head, slot, v6);
		word = ct_load(&flow->word);
		if (ct_phase_of(word) != CT_FREE || ct_age(now, ct_load(&flow->seen)) < ct_grace())
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
 * How willingly a slot that is not both empty and rested is given to somebody
 * else: the class in the top bits, within it the older the better. 0: never.
 * Of unassured flows that are brand new, those go first that nobody answered:
 * under a flood of forged packets that is what a real handshake differs in.
 */
#define CT_SPARE_EXPIRED   5ULL /* its time is up */
#define CT_SPARE_OLD	   4ULL /* unassured, idle for longer than the grace period */
#define CT_SPARE_UNRESTED  3ULL /* empty, but a late writer might still hold it */
#define CT_SPARE_UNREPLIED 2ULL
#define CT_SPARE_UNASSURED 1ULL

static __always_inline __u64 ct_spare(const struct ct_flow *flow, __u64 word, __u64 now)
{
	__u64 age = ct_age(now, ct_load(&flow->seen));
	__u64 class = 0;

	if (ct_phase_of(word) == CT_FREE)
		class = CT_SPARE_UNRESTED;
	else if (ct_phase_of(word) != CT_LIVE)
		return 0;
	else if (age >= ct_timeout_of(word))
		class = CT_SPARE_EXPIRED;
	else if (word & CT_W_ASSURED)
		return 0;
	else if (age >= ct_grace())
		class = CT_SPARE_OLD;
	else
		class = word & CT_W_SEEN_REPLY ? CT_SPARE_UNASSURED : CT_SPARE_UNREPLIED;
	return (class << 60) | (age & ((1ULL << 60) - 1));
}

/* Whether nobody is missed there: what moves from table to table pushes no flow out. */
static __always_inline int ct_is_nobodys(__u64 spare)
{
	return spare >> 60 == CT_SPARE_EXPIRED || spare >> 60 == CT_SPARE_UNRESTED;
}

static __always_inline void ct_pick_spare(struct ct_bucket_head *head, __u32 bucket, __u64 now,
					  int v6, struct ct_pick *pick)
{
	for (__u32 slot = 0; slot < CT_SLOTS; slot++) {
		struct ct_flow *flow = ct_slot(head, slot, v6);
		__u64 word = ct_load(&flow->word);
		__u64 spare = ct_spare(flow, word, now);

		if (spare <= ct_load(&pick->best) || (pick->keep && !ct_is_nobodys(spare)))
			continue;
		pick->word = word;
		pick->bucket = bucket;
		*(volatile __u32 *)&pick->slot = slot;
		*(volatile __u64 *)&pick->best = spare;
	}
}

/* Nothing is empty: the slot that is missed least. Returns its CT_SPARE_ class
 * or 0. */
static __always_inline __u64 ct_reclaim(const struct ct_table *table, const struct ct_hash *hash,
					__u64 now, struct ct_pick *pick, struct ct_ref *ref)
{
	struct ct_bucket_head *head = ct_bucket(hash->bucket[0], table->v6);
	__u64 best;
	__u32 slot;

	*(volatile __u64 *)&pick->best = 0;
	if (head)
		ct_pick_spare(head, hash->bucket[0], now, table->v6, pick);
	head = ct_bucket(hash->bucket[1], table->v6);
	if (head)
		ct_pick_spare(head, hash->bucket[1], now, table->v6, pick);
	best = ct_load(&pick->best);
	slot = *(volatile __u32 *)&pick->slot;
	head = ct_bucket(*(volatile __u32 *)&pick->bucket, table->v6);
	if (!best || !head)
		return 0;
	ref->flow = ct_slot(head, slot, table->v6);
	ref->head = head;
	ref->slot = slot;
	ref->place = pick->bucket * CT_SLOTS + slot;
	ref->word = ct_load(&pick->word);
	return best >> 60;
}

/*
 * Chooses a slot for a key that has none and takes it. Prefers the first
 * bucket while it has room, for then one line of tags finds the flow; when it
 * fills up, the emptier of the two. `spare` is what the slot was before, for
 * the counters: 0 or a CT_SPARE_ class.
 */
static __always_inline enum ct_claimed ct_claim(const struct ct_table *table,
						const struct ct_hash *hash, __u64 now,
						struct ct_pick *pick, struct ct_ref *ref,
						__u64 *spare)
{
	struct ct_bucket_head *first = ct_bucket(hash->bucket[0], table->v6);
	struct ct_bucket_head *second = ct_bucket(hash->bucket[1], table->v6);
	__u32 empty0, empty1 = 0, room0;
	int found = 0;

	*spare = 0;
	if (!first || !second)
		return CT_CLAIM_FULL;
	empty0 = ct_untagged(first);
	room0 = ct_bits(empty0);
	if (room0 < 3)
		empty1 = ct_untagged(second);
	if (room0 < ct_bits(empty1))
		found = ct_pick_free(second, hash->bucket[1], empty1, hash->home, now, table->v6,
				     ref);
	if (!found)
		found = ct_pick_free(first, hash->bucket[0], empty0, hash->home, now, table->v6,
				     ref);
	if (!found)
		found = ct_pick_free(second, hash->bucket[1], ct_untagged(second), hash->home, now,
				     table->v6, ref);
	if (!found) {
		*spare = ct_reclaim(table, hash, now, pick, ref);
		if (!*spare)
			return CT_CLAIM_FULL;
	}
	return ct_take(ref) ? CT_CLAIMED : CT_CLAIM_AGAIN;
}

#endif
