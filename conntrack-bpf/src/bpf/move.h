/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A flow goes over from the other table into ours, while packets of it come. Whoever
 * is stopped half way is helped by the next who comes; but if the only slot that there
 * is for the flow is held by the one who was stopped, packets of it pass as `busy`
 * until that one goes on.
 *
 *   there:  LIVE --(CAS)--> LEFT --(CAS)--> MOVED --> ARRIVED, REST
 *   here:   FREE -(CAS)-> BUSY, a copy ---------(CAS)---> LIVE
 *
 * 1. The mover claims a slot here. If there is none, the flow stays where it is.
 * 2. LEFT: from here on its word does not change any more, and packets that had found
 *    it there notice when they have stored what they had to store (ct_has_left(), a
 *    full barrier). So the copy made after it has whatever they did not notice in time.
 * 3. MOVED, with the slot and the generation of one of the copies: of several movers
 *    one wins, and the others give their slots back.
 * 4. The copy is made LIVE, by anybody: ARRIVED.
 * 5. The winner takes what it has copied off the counts there. What is left is what
 *    packets have counted there since: REST. It goes over by an exchange with 0 and an
 *    add, by the winner, and by packets that find REST after they have counted there.
 *    Then they do what else they have to do here (ct_catch_up()).
 *
 * Slots that a flow has left are not used again, for that table goes as a whole.
 * Flows are created here only, and user space lets flows move only when all who
 * created some there have gone. So who finds no flow there in LIVE or LEFT, and after
 * that none here, may create one: it moves one way only.
 *
 * Packets that were under way when their flow moved, and which then ends before their
 * counts have come over, are missing from what is told of its end.
 */
#ifndef CT_MOVE_H
#define CT_MOVE_H

#include "room.h"

/* Of a live word, what is not the slot's own. */
#define CT_W_FLOWS ~(CT_W_GEN | CT_W_PHASE | CT_W_LEFT | CT_W_MOVED | CT_W_ARRIVED)

static __always_inline __u64 ct_w_gen_to(__u64 word)
{
	return (word >> CT_W_TO_GEN_SHIFT) & 0xffff;
}

/* The slot there. */
static __always_inline void ct_refer_from(const struct ct_work *w, struct ct_bucket_head *from,
					  int v6, struct ct_ref *ref)
{
	ref->flow = ct_slot(from, w->from_slot, v6);
	ref->head = from;
	ref->slot = w->from_slot;
	ref->word = ct_load(&ref->flow->word);
}

/* Counts as they stood in a slot. */
struct ct_counts {
	__u64 bytes[2];
	__u32 packets[2];
	__u32 carries;
	__u32 pad;
};

/*
 * Each as it is at its moment. One that is about to wrap is left where it is, or the
 * packet that carries would be taken for 2^32 when the copy is taken off.
 */
static __always_inline void ct_counts_of(const struct ct_ref *from, struct ct_counts *counts)
{
	counts->carries = *(volatile ct_carry_pair *)ct_carries(from);
	for (int dir = 0; dir < CT_DIRS; dir++) {
		__u32 packets = *(volatile __u32 *)&from->flow->packets[dir];

		counts->packets[dir] = packets < 0xffff0000 ? packets : 0;
		counts->bytes[dir] = ct_load(&from->flow->bytes[dir]);
	}
}

static __always_inline void ct_take_off(struct ct_ref *from, const struct ct_counts *counts)
{
	if (counts->carries)
		__sync_fetch_and_add(ct_carries(from), -counts->carries);
	for (int dir = 0; dir < CT_DIRS; dir++) {
		__sync_fetch_and_add(&from->flow->packets[dir], -counts->packets[dir]);
		__sync_fetch_and_add(&from->flow->bytes[dir], -counts->bytes[dir]);
	}
}

/* Everything but the word, into a slot that is ours alone. */
static __always_inline void ct_copy_flow(struct ct_ref *to, const struct ct_ref *from,
					 const struct ct_counts *counts, __u16 tag, int v6)
{
	struct ct_flow *flow = to->flow;
	const struct ct_flow *old = from->flow;

	flow->seen = ct_load(&old->seen);
	flow->start = old->start;
	flow->lo = old->lo;
	flow->hi = old->hi;
	flow->lo_port_be = old->lo_port_be;
	flow->hi_port_be = old->hi_port_be;
	flow->proto_if = old->proto_if;
	__builtin_memcpy(flow->tcp, old->tcp, sizeof(flow->tcp));
	if (v6) {
		__builtin_memcpy(((struct ct_flow6 *)flow)->lo, ((struct ct_flow6 *)old)->lo, 16);
		__builtin_memcpy(((struct ct_flow6 *)flow)->hi, ((struct ct_flow6 *)old)->hi, 16);
	}
	for (int dir = 0; dir < CT_DIRS; dir++) {
		flow->packets[dir] = counts->packets[dir];
		flow->bytes[dir] = counts->bytes[dir];
	}
	*ct_carries(to) = counts->carries;
	ct_set_tag(to->head, to->slot, tag);
	ct_queue_up(to->head, to->slot);
	ct_due_set(to->head, 0);
}

/* The slot here of a flow that has moved. 0: another flow has it by now. */
static __always_inline int ct_find_copy(const struct ct_work *w, const struct ct_ref *from,
					struct ct_ref *to, int v6)
{
	int second = (from->word >> CT_W_TO_SHIFT) & 16;
	__u32 bucket = second ? w->hash.bucket[1] : w->hash.bucket[0];

	to->slot = (from->word >> CT_W_TO_SHIFT) & 15;
	to->head = ct_bucket(bucket, v6);
	if (!to->head || to->slot >= CT_SLOTS)
		return 0;
	to->flow = ct_slot(to->head, to->slot, v6);
	to->place = bucket * CT_SLOTS + to->slot;
	to->word = ct_load(&to->flow->word);
	return to->word >> CT_W_GEN_SHIFT == ct_w_gen_to(from->word);
}

/*
 * The end of a move, by anybody and any number of times; the winner has the counts that
 * are to be taken off. 1: the flow is here, in w->taken; 0: it has ended since.
 */
static __always_inline int ct_arrive(struct ct_work *w, struct ct_ref *from,
				     const struct ct_counts *counts, int v6)
{
	struct ct_ref to = {};
	int here = ct_find_copy(w, from, &to, v6);

	if (here && ct_phase_of(to.word) == CT_BUSY) {
		__u64 live = (to.word & ~CT_W_PHASE) | CT_LIVE;
		__u64 seen = __sync_val_compare_and_swap(&to.flow->word, to.word, live);

		to.word = seen == to.word ? live : seen;
	}
	here = here && ct_phase_of(to.word) == CT_LIVE &&
	       to.word >> CT_W_GEN_SHIFT == ct_w_gen_to(from->word);
	if (counts) {
		ct_take_off(from, counts);
		/* A full barrier: who has not seen it has counted before we look. */
		__sync_fetch_and_or(&from->flow->word, CT_W_ARRIVED | CT_W_REST);
	} else if (!(from->word & CT_W_ARRIVED)) {
		__sync_fetch_and_or(&from->flow->word, CT_W_ARRIVED);
	}
	if (!here)
		return 0;
	if (counts || (from->word & CT_W_REST))
		ct_drain(from, &to);
	ct_hand_on(w, &to, CT_DONE);
	return 1;
}

/* LIVE to LEFT, unless somebody has done it. 0: there is nothing to move any more. */
static __always_inline int ct_leave(const struct ct_work *w, struct ct_ref *from)
{
	for (int i = 0; i < 4; i++) {
		__u64 word = from->word;
		__u64 left = (word & ~CT_W_PHASE) | CT_CLOSING | CT_W_LEFT;

		if ((word ^ w->from_word) & CT_W_GEN)
			return 0;
		if (ct_phase_of(word) != CT_LIVE)
			return ct_phase_of(word) == CT_CLOSING && (word & CT_W_LEFT);
		from->word = __sync_val_compare_and_swap(&from->flow->word, word, left);
		if (from->word == word) {
			from->word = left;
			return 1;
		}
	}
	return 0;
}

/* From the slot there, which is in this bucket, into the one we hold. */
static __always_inline int ct_move(struct ct_work *w, struct ct_bucket_head *head, int v6)
{
	struct ct_ref from = {}, to = {};
	struct ct_counts counts;
	__u64 word, moved;

	if (!ct_other_buckets(v6) || !ct_take_over(w, v6, &to))
		return 0;
	ct_refer_from(w, head, v6, &from);
	if (!ct_leave(w, &from)) {
		ct_withdraw(&to);
		return 0;
	}
	if (!(from.word & CT_W_MOVED)) {
		ct_counts_of(&from, &counts);
		ct_copy_flow(&to, &from, &counts, w->hash.tag, v6);
		word = (to.word & CT_W_GEN) | (from.word & CT_W_FLOWS) | CT_BUSY;
		*(volatile __u64 *)&to.flow->word = word;
		moved = (from.word & CT_W_GEN) | CT_CLOSING | CT_W_LEFT | CT_W_MOVED |
			((__u64)to.slot << CT_W_TO_SHIFT) |
			((to.word >> CT_W_GEN_SHIFT) << CT_W_TO_GEN_SHIFT);
		if (w->taken_bucket != w->hash.bucket[0])
			moved |= 16ULL << CT_W_TO_SHIFT;
		/* A full barrier: the copy is whole before anybody knows of it. */
		word = __sync_val_compare_and_swap(&from.flow->word, from.word, moved);
		if (word == from.word) {
			from.word = moved;
			return ct_arrive(w, &from, &counts, v6);
		}
		from.word = word;
	}
	ct_withdraw(&to);
	return ct_arrive(w, &from, NULL, v6);
}

__weak __noinline int ct_move4(struct ct_work *w, struct ct_bucket4 *from)
{
	return w && from ? ct_move(w, &from->head, 0) : 0;
}

__weak __noinline int ct_move6(struct ct_work *w, struct ct_bucket6 *from)
{
	return w && from ? ct_move(w, &from->head, 1) : 0;
}

/* How far a move has come that somebody else began. */
enum ct_moving {
	CT_MOVE_GONE,  /* no such flow any more, there or here */
	CT_MOVE_LIVE,  /* still there */
	CT_MOVE_BEGUN, /* LEFT */
	CT_MOVE_DONE,  /* here, in w->taken */
};

/* Helps, if there is anything that can be done without a slot. */
static __always_inline enum ct_moving ct_help(struct ct_work *w, struct ct_bucket_head *head,
					      int v6)
{
	struct ct_ref from = {};

	if (!ct_other_buckets(v6))
		return CT_MOVE_GONE;
	ct_refer_from(w, head, v6, &from);
	if ((from.word ^ w->from_word) & CT_W_GEN)
		return CT_MOVE_GONE;
	if (ct_phase_of(from.word) == CT_LIVE)
		return CT_MOVE_LIVE;
	if (ct_phase_of(from.word) != CT_CLOSING || !(from.word & CT_W_LEFT))
		return CT_MOVE_GONE;
	if (!(from.word & CT_W_MOVED))
		return CT_MOVE_BEGUN;
	return ct_arrive(w, &from, NULL, v6) ? CT_MOVE_DONE : CT_MOVE_GONE;
}

__weak __noinline int ct_help4(struct ct_work *w, struct ct_bucket4 *from)
{
	return w && from ? ct_help(w, &from->head, 0) : CT_MOVE_GONE;
}

__weak __noinline int ct_help6(struct ct_work *w, struct ct_bucket6 *from)
{
	return w && from ? ct_help(w, &from->head, 1) : CT_MOVE_GONE;
}

#endif
