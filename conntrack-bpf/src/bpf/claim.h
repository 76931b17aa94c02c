/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which slot a new flow gets: empty, or the one that is missed least. See table.h. */
#ifndef CT_CLAIM_H
#define CT_CLAIM_H

#include "queue.h"

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

/* An empty slot, if it is rested. */
static __always_inline int ct_pick_at(struct ct_bucket_head *head, __u32 bucket, __u32 slot, int v6,
				      struct ct_pick *pick)
{
	struct ct_flow *flow = ct_slot(head, slot, v6);
	__u64 word = ct_load(&flow->word);

	if (ct_phase_of(word) != CT_FREE || ct_age(pick->now, ct_load(&flow->seen)) < ct_grace())
		return 0;
	pick->word = word;
	pick->bucket = bucket;
	pick->slot = slot;
	return 1;
}

/* An empty, rested slot of one bucket; the one at home if it is. */
static __always_inline int ct_pick_free(struct ct_bucket_head *head, __u32 bucket, __u32 empty,
					int v6, struct ct_pick *pick)
{
	__u32 home = pick->home & 15;

	if ((empty >> home) & 1 && ct_pick_at(head, bucket, home, v6, pick))
		return 1;
	empty &= ~(1U << home);
	for (int i = 0; i < CT_SLOTS && empty; i++, empty &= empty - 1) {
		if (ct_pick_at(head, bucket, ct_lowest(empty), v6, pick))
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

/* What a slot says of those behind it in the queue. */
enum ct_looked {
	CT_LOOKED_EMPTY, /* nothing: there is no flow */
	CT_LOOKED_OLD,	 /* not seen again since it came: they came later, and were seen later */
	CT_LOOKED_KEPT,	 /* seen again since, or assured: they may be missed less */
};

/* Takes a slot for `pick` if it is missed less. */
static __always_inline enum ct_looked ct_pick_less(struct ct_bucket_head *head, __u32 bucket,
						   __u32 slot, int v6, struct ct_pick *pick)
{
	struct ct_flow *flow = ct_slot(head, slot, v6);
	__u64 word = ct_load(&flow->word);
	__u64 spare = ct_spare(flow, word, pick->now);

	if (spare > ct_load(&pick->best) && (!pick->keep || ct_is_nobodys(spare))) {
		pick->word = word;
		pick->bucket = bucket;
		*(volatile __u32 *)&pick->slot = slot;
		*(volatile __u64 *)&pick->best = spare;
	}
	if (ct_phase_of(word) != CT_LIVE)
		return CT_LOOKED_EMPTY;
	return spare && ct_load(&flow->seen) == flow->start ? CT_LOOKED_OLD : CT_LOOKED_KEPT;
}

/*
 * The slot of one bucket that is missed least, if it is missed less than `pick`. Tells when
 * the next of its flows is over.
 */
static __always_inline void ct_pick_spare(struct ct_bucket_head *head, __u32 bucket, int v6,
					  struct ct_pick *pick)
{
	*(volatile __u64 *)&pick->due = ~0ULL;
	for (__u32 slot = 0; slot < CT_SLOTS; slot++) {
		const struct ct_flow *flow = ct_slot(head, slot, v6);
		__u64 word = ct_load(&flow->word), due;

		ct_pick_less(head, bucket, slot, v6, pick);
		due = ct_load(&flow->seen) + ct_timeout_of(word);
		if (ct_phase_of(word) == CT_LIVE && due < ct_load(&pick->due))
			*(volatile __u64 *)&pick->due = due;
	}
}

/*
 * The same of those that came first only, each of which is a cache line. Returns 1 if
 * nobody behind them is missed less, but for who was sent behind and is idle since. Whoever stays though he came first goes to the end of `queue`, or
 * soon there would be nobody else in front.
 */
static __always_inline int ct_pick_first(struct ct_bucket_head *head, __u32 bucket, int v6,
					 struct ct_pick *pick)
{
	__u64 queue = ct_queue_of(head), next = queue;
	int none_due = ct_none_due(head, pick->now), enough = 0;

	for (int i = 0; i < CT_QUEUE_LOOK; i++, queue >>= CT_QUEUE_BITS) {
		__u32 slot = ct_slot_index(queue & 15);
		enum ct_looked looked = ct_pick_less(head, bucket, slot, v6, pick);

		if (looked == CT_LOOKED_OLD)
			enough = 1;
		else if (looked == CT_LOOKED_KEPT)
			next = ct_queue_behind(next, slot);
	}
	*(volatile __u64 *)&pick->queue = next;
	return enough && none_due;
}

/*
 * All as global functions, which the verifier walks through once each, not once for
 * each slot that the rest of the way might begin with.
 */
__weak __noinline int ct_pick_free4(struct ct_bucket4 *bucket, __u32 index, __u32 empty,
				    struct ct_pick *pick)
{
	return bucket && pick ? ct_pick_free(&bucket->head, index, empty, 0, pick) : 0;
}

__weak __noinline int ct_pick_free6(struct ct_bucket6 *bucket, __u32 index, __u32 empty,
				    struct ct_pick *pick)
{
	return bucket && pick ? ct_pick_free(&bucket->head, index, empty, 1, pick) : 0;
}

__weak __noinline int ct_pick_first4(struct ct_bucket4 *bucket, __u32 index, struct ct_pick *pick)
{
	return bucket && pick ? ct_pick_first(&bucket->head, index, 0, pick) : 0;
}

__weak __noinline int ct_pick_first6(struct ct_bucket6 *bucket, __u32 index, struct ct_pick *pick)
{
	return bucket && pick ? ct_pick_first(&bucket->head, index, 1, pick) : 0;
}

__weak __noinline int ct_pick_spare4(struct ct_bucket4 *bucket, __u32 index, struct ct_pick *pick)
{
	if (bucket && pick)
		ct_pick_spare(&bucket->head, index, 0, pick);
	return 0;
}

__weak __noinline int ct_pick_spare6(struct ct_bucket6 *bucket, __u32 index, struct ct_pick *pick)
{
	if (bucket && pick)
		ct_pick_spare(&bucket->head, index, 1, pick);
	return 0;
}

/* These in the first or the second bucket of a key. */
static __always_inline int ct_find_free(const struct ct_hash *hash, int second, __u32 empty, int v6,
					struct ct_pick *pick)
{
	__u32 index = hash->bucket[second];

	return v6 ? ct_pick_free6(ct_bucket(index, 1), index, empty, pick)
		  : ct_pick_free4(ct_bucket(index, 0), index, empty, pick);
}

static __always_inline int ct_find_first(const struct ct_hash *hash, int second, int v6,
					 struct ct_pick *pick)
{
	__u32 index = hash->bucket[second];

	return v6 ? ct_pick_first6(ct_bucket(index, 1), index, pick)
		  : ct_pick_first4(ct_bucket(index, 0), index, pick);
}

static __always_inline void ct_find_spare(const struct ct_hash *hash, int second, int v6,
					  struct ct_pick *pick)
{
	__u32 index = hash->bucket[second];

	if (v6)
		ct_pick_spare6(ct_bucket(index, 1), index, pick);
	else
		ct_pick_spare4(ct_bucket(index, 0), index, pick);
}

/*
 * Nothing is empty and rested: the slot that is missed least. Looks at those that came
 * first and, where that does not tell, at all. `empty`: some have no flow, and may be
 * missed less than one that is brand new. Returns its CT_SPARE_ class or 0.
 */
static __always_inline __u64 ct_reclaim(const struct ct_hash *hash, int v6, __u32 empty,
					struct ct_pick *pick)
{
	__u64 class;
	int enough;

	*(volatile __u64 *)&pick->best = 0;
	pick->dues[0] = pick->dues[1] = 0;
	enough = ct_find_first(hash, 0, v6, pick);
	pick->queues[0] = ct_load(&pick->queue);
	enough &= ct_find_first(hash, 1, v6, pick);
	pick->queues[1] = ct_load(&pick->queue);
	class = ct_load(&pick->best) >> 60;
	if (enough && (class >= CT_SPARE_OLD || (class == CT_SPARE_UNREPLIED && !empty)))
		return class;
	ct_find_spare(hash, 0, v6, pick);
	pick->dues[0] = ct_load(&pick->due);
	ct_find_spare(hash, 1, v6, pick);
	pick->dues[1] = ct_load(&pick->due);
	return ct_load(&pick->best) >> 60;
}

/* The slot that was picked. Its numbers come from memory: they are taken within bounds. */
static __always_inline int ct_picked(const struct ct_pick *pick, int v6, struct ct_ref *ref)
{
	struct ct_bucket_head *head = ct_bucket(pick->bucket, v6);

	if (!head)
		return 0;
	ref->head = head;
	ref->slot = pick->slot;
	ref->flow = ct_slot(head, ref->slot, v6);
	ref->place = pick->bucket * CT_SLOTS + ref->slot;
	ref->word = pick->word;
	return 1;
}

/*
 * Chooses a slot for a key that has none and takes it. Prefers the first
 * bucket while it has room, for then one line of tags finds the flow; when it
 * fills up, the emptier of the two. `spare` is what the slot was before, for
 * the counters: 0 or a CT_SPARE_ class.
 */
static __always_inline enum ct_claimed ct_claim(const struct ct_hash *hash, __u64 now, int v6,
						struct ct_pick *pick, struct ct_ref *ref,
						__u64 *spare)
{
	struct ct_bucket_head *first = ct_bucket(hash->bucket[0], v6);
	struct ct_bucket_head *second = ct_bucket(hash->bucket[1], v6);
	__u32 empty0, empty1 = 0, room0;
	int found = 0;

	*spare = 0;
	if (!first || !second)
		return CT_CLAIM_FULL;
	pick->now = now;
	pick->home = hash->home;
	empty0 = ct_untagged(first);
	room0 = ct_bits(empty0);
	if (room0 < 3)
		empty1 = ct_untagged(second);
	if (room0 < ct_bits(empty1))
		found = ct_find_free(hash, 1, empty1, v6, pick);
	if (!found)
		found = ct_find_free(hash, 0, empty0, v6, pick);
	if (!found)
		found = ct_find_free(hash, 1, ct_untagged(second), v6, pick);
	if (!found) {
		*spare = ct_reclaim(hash, v6, empty0 | ct_untagged(second), pick);
		/* Of a table full of assured flows nothing is written: others read there. */
		if (!*spare)
			return CT_CLAIM_FULL;
		ct_queue_set(first, pick->queues[0]);
		ct_queue_set(second, pick->queues[1]);
		if (pick->dues[0]) {
			ct_due_set(first, pick->dues[0]);
			ct_due_set(second, pick->dues[1]);
		}
	}
	if (!ct_picked(pick, v6, ref))
		return CT_CLAIM_FULL;
	return ct_take(ref) ? CT_CLAIMED : CT_CLAIM_AGAIN;
}

#endif
