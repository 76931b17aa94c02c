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

#include "key.h"
#include "types.h"
#include "index.h"

#define CT_W_FILLED (1ULL << 7) /* of a BUSY slot: key and tag are in place */

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

/* Provided by the includer. */
static __always_inline void *ct_bucket(__u32 index, int v6);
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

/*
 * The slots of a bucket whose tag is `tag`, one bit each, without a branch. A
 * slot above a true match may be named falsely; the key decides.
 */
static __always_inline __u32 ct_tagged(const struct ct_bucket_head *head, __u64 tag)
{
	const __u64 *tags = (const __u64 *)head->tags;
	const __u64 ones = 0x0001000100010001ULL;
	__u32 slots = 0;

#pragma unroll
	for (int quad = 0; quad < 4; quad++) {
		__u64 x = ct_load(&tags[quad]) ^ (tag * ones);
		__u64 zero = (x - ones) & ~x & (ones << 15);

		/* Bits 15, 31, 47, 63 side by side. */
		slots |= (__u32)(((zero >> 15) * 0x0001000200040008ULL) >> 48) << (quad * 4);
	}
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

		slots |= (__u32)(((zero >> 15) * 0x0001000200040008ULL) >> 48) << (quad * 4);
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

static __always_inline __u64 ct_next_gen(__u64 word)
{
	return (word & CT_W_GEN) + (1ULL << CT_W_GEN_SHIFT);
}

/* FREE or LIVE to BUSY; the slot's generation moves on, so late writers can
 * tell. */
static __always_inline int ct_take(struct ct_ref *ref)
{
	__u64 busy = ct_next_gen(ref->word) | CT_BUSY;

	if (__sync_val_compare_and_swap(&ref->flow->word, ref->word, busy) != ref->word)
		return 0;
	ref->word = busy;
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
 */
#define CT_SPARE_EXPIRED 4ULL /* its time is up */
#define CT_SPARE_OLD                                                                               \
	3ULL			/* unassured, idle for longer than the grace period  \
                           */
#define CT_SPARE_UNRESTED  2ULL /* empty, but a late writer might still hold it */
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
	else if (!(word & CT_W_ASSURED))
		class = age >= ct_grace() ? CT_SPARE_OLD : CT_SPARE_UNASSURED;
	else
		return 0;
	return (class << 60) | (age & ((1ULL << 60) - 1));
}

static __always_inline void ct_pick_spare(struct ct_bucket_head *head, __u32 bucket, __u64 now,
					  int v6, struct ct_pick *pick)
{
	for (__u32 slot = 0; slot < CT_SLOTS; slot++) {
		struct ct_flow *flow = ct_slot(head, slot, v6);
		__u64 word = ct_load(&flow->word);
		__u64 spare = ct_spare(flow, word, now);

		if (spare <= ct_load(&pick->best))
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
	__u32 empty0, empty1, room0;
	int found = 0;

	*spare = 0;
	if (!first || !second)
		return CT_CLAIM_FULL;
	empty0 = ct_untagged(first);
	empty1 = ct_untagged(second);
	room0 = ct_bits(empty0);
	if (room0 < 3 && room0 < ct_bits(empty1))
		found = ct_pick_free(second, hash->bucket[1], empty1, hash->home, now, table->v6,
				     ref);
	if (!found)
		found = ct_pick_free(first, hash->bucket[0], empty0, hash->home, now, table->v6,
				     ref);
	if (!found)
		found = ct_pick_free(second, hash->bucket[1], empty1, hash->home, now, table->v6,
				     ref);
	if (!found) {
		*spare = ct_reclaim(table, hash, now, pick, ref);
		if (!*spare)
			return CT_CLAIM_FULL;
	}
	return ct_take(ref) ? CT_CLAIMED : CT_CLAIM_AGAIN;
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
	ref->head->carry[slot][0] = 0;
	ref->head->carry[slot][1] = 0;
	ct_set_tag(ref->head, slot, hash->tag);
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

/* Whether our claim stands against everybody else's in one bucket; see the top.
 */
static __always_inline int ct_stands_in(struct ct_bucket_head *head, __u32 bucket,
					const struct ct_ref *mine, const struct ct_key *key,
					const struct ct_hash *hash, int v6)
{
	__u32 slots = ct_tagged(head, hash->tag);

	for (int i = 0; i < CT_SLOTS && slots; i++, slots &= slots - 1) {
		__u32 slot = ct_lowest(slots);
		__u32 place = bucket * CT_SLOTS + slot;
		struct ct_flow *flow;
		__u64 word, seen;

		if (place == mine->place)
			continue;
		flow = ct_slot(head, slot, v6);
		word = ct_load(&flow->word);
		if (!ct_key_is(flow, key, hash, v6))
			continue;
		if (ct_phase_of(word) == CT_LIVE)
			return 0;
		if (ct_phase_of(word) != CT_BUSY || !(word & CT_W_FILLED))
			continue;
		if (place < mine->place)
			return 0;
		seen = __sync_val_compare_and_swap(&flow->word, word,
						   (word & CT_W_GEN) | CT_CLOSING);
		if (seen != word && ct_phase_of(seen) == CT_LIVE)
			return 0;
	}
	return 1;
}

/*
 * Makes a filled claim a flow. `bits` are the flow's state, flags and timeout.
 * Returns 0 if another CPU's copy won; then the slot is given back.
 */
static __always_inline int ct_publish(const struct ct_table *table, const struct ct_key *key,
				      const struct ct_hash *hash, struct ct_ref *ref, __u64 bits)
{
	struct ct_bucket_head *first = ct_bucket(hash->bucket[0], table->v6);
	struct ct_bucket_head *second = ct_bucket(hash->bucket[1], table->v6);
	__u64 live = (ref->word & CT_W_GEN) | bits | CT_LIVE;

	if (first && second && ct_stands_in(first, hash->bucket[0], ref, key, hash, table->v6) &&
	    ct_stands_in(second, hash->bucket[1], ref, key, hash, table->v6) &&
	    __sync_val_compare_and_swap(&ref->flow->word, ref->word, live) == ref->word) {
		ref->word = live;
		return 1;
	}
	ct_withdraw(ref);
	return 0;
}

/*
 * Takes a live flow out. Returns 0 if it changed or went meanwhile. Between
 * CLOSING and FREE only the caller touches it; from FREE on it rests.
 */
static __always_inline int ct_release(struct ct_ref *ref, __u64 now)
{
	__u64 gen = ref->word & CT_W_GEN;

	if (__sync_val_compare_and_swap(&ref->flow->word, ref->word, gen | CT_CLOSING) != ref->word)
		return 0;
	ct_set_tag(ref->head, ref->slot, 0);
	ref->flow->seen = now;
	__sync_lock_test_and_set(&ref->flow->word, gen | CT_FREE);
	return 1;
}

#endif
