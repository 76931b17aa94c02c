/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a packet does to the flow it belongs to: counters, clock, word.
 *
 * Two CPUs may be here with one flow. The word changes by compare-and-swap
 * only. Counters are atomic adds. `seen` moves by compare-and-swap, forward
 * only. A packet that found its flow and then lost it to eviction looks again
 * and counts where it belongs. What it had added may stand in the counters of
 * the slot's next owner: it cannot take it back, because it cannot know whether
 * the next owner wiped it already, and a count too high by one packet is better
 * than one below zero.
 */
#ifndef CT_FLOW_H
#define CT_FLOW_H

#include "table.h"

/* What the protocol says of a packet of a flow. */
enum ct_answer {
	CT_ACCEPT, /* counts and refreshes */
	CT_IGNORE, /* passes as the flow's, changes nothing */
	CT_REFUSE, /* INVALID */
	CT_REOPEN, /* the flow is over; this packet begins the tuple's next one */
	CT_END,	   /* counts; then the flow is gone */
	CT_AGAIN,  /* the flow changed under us: look it up again */
	CT_ABSENT, /* counted; but the flow left for the other table meanwhile */
};

static __always_inline __u64 ct_word_state(__u64 word)
{
	return (word & CT_W_STATE) >> CT_W_STATE_SHIFT;
}

static __always_inline __u64 ct_word_with(__u64 word, __u64 state, __u64 timeout)
{
	word &= ~(CT_W_STATE | CT_W_TMO);
	return word | (state << CT_W_STATE_SHIFT) | (timeout << CT_W_TMO_SHIFT);
}

static __always_inline enum ct_dir ct_dir_of(__u64 word, const struct ct_key *key)
{
	return key->src_is_hi == !!(word & CT_W_ORIG_HI) ? CT_ORIGINAL : CT_REPLY;
}

/* Both carries of a slot, as they are in memory. */
typedef __u32 __attribute__((__may_alias__)) ct_carry_pair;

static __always_inline ct_carry_pair *ct_carries(const struct ct_ref *ref)
{
	return (ct_carry_pair *)ref->head->carry[ct_slot_index(ref->slot)];
}

/* One more in the carry of a direction; both are added to as one word. */
static __always_inline __u32 ct_carry_one(enum ct_dir dir)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return dir == CT_REPLY ? 1U << 16 : 1;
#else
	return dir == CT_REPLY ? 1 : 1U << 16;
#endif
}

/* Adds packets. Only the CPU whose add wraps the low half carries. */
static __always_inline void ct_add(struct ct_ref *ref, enum ct_dir dir, __u32 packets, __u64 bytes)
{
	__u32 before = __sync_fetch_and_add(&ref->flow->packets[dir & 1], packets);

	__sync_fetch_and_add(&ref->flow->bytes[dir & 1], bytes);
	if (before + packets < before)
		__sync_fetch_and_add(ct_carries(ref), ct_carry_one(dir));
}

static __always_inline void ct_count(struct ct_ref *ref, enum ct_dir dir, const struct ct_pkt *pkt)
{
	ct_add(ref, dir, pkt->segs, pkt->bytes);
}

/* Takes all counts of one slot, so that nobody else has them, and adds them to another's. */
static __always_inline void ct_drain(struct ct_ref *from, struct ct_ref *to)
{
	__u32 carries = __sync_lock_test_and_set(ct_carries(from), 0);

	if (carries)
		__sync_fetch_and_add(ct_carries(to), carries);
	for (int dir = 0; dir < CT_DIRS; dir++) {
		__u32 packets = __sync_lock_test_and_set(&from->flow->packets[dir], 0);
		__u64 bytes = __sync_lock_test_and_set(&from->flow->bytes[dir], 0);

		if (packets || bytes)
			ct_add(to, dir, packets, bytes);
	}
}

/*
 * Forward only: a packet that read the coarse clock after another read the
 * precise one must not turn the flow's time back. One retry is enough: whoever
 * beat us twice wrote a time later than our packet by less than it takes to
 * try.
 */
static __always_inline void ct_touch(struct ct_flow *flow, __u64 now)
{
	__u64 seen = ct_load(&flow->seen);

	for (int i = 0; i < 2; i++) {
		__u64 was;

		if ((__s64)(now - seen) <= 0)
			return;
		was = __sync_val_compare_and_swap(&flow->seen, seen, now);
		if (was == seen)
			return;
		seen = was;
	}
}

/*
 * The last segment of each direction. Plain stores: one direction's packets
 * write one end. If a direction is spread over CPUs a reader may see fields of
 * two neighbouring segments, each of them true. The flags come first: whoever finds
 * none has read nothing of a segment before, see ct_opener().
 */
static __always_inline void ct_note_segment(struct ct_flow *flow, enum ct_dir dir,
					    const struct ct_pkt *pkt)
{
	struct ct_tcp_end *end = &flow->tcp[dir & 1];

	*(volatile __u8 *)&end->flags = pkt->tcp_flags;
	*(volatile __u32 *)&end->seq = pkt->seq;
	end->ack = pkt->ack;
	end->win = pkt->window;
}

/*
 * The id of the opener's fingerprint, 0 if there is none. Until the first segment of the
 * answer is noted it stands where that one's numbers come: a flood of SYNs that nobody
 * answers needs no room beside the slots. The flags are written first and read last, so
 * without flags it is whole (where stores and loads keep their order, as on x86-64;
 * elsewhere it may be an id that nobody bears).
 */
static __always_inline __u64 ct_opener(const struct ct_flow *flow)
{
	const volatile struct ct_tcp_end *end = &flow->tcp[CT_REPLY];
	__u32 seq = end->seq, ack = end->ack;

	return end->flags ? 0 : (__u64)ack << 32 | seq;
}

/* Before the slot is a flow: afterwards an answer may be writing there. */
static __always_inline void ct_set_opener(struct ct_flow *flow, __u64 id)
{
	flow->tcp[CT_REPLY].seq = id;
	flow->tcp[CT_REPLY].ack = id >> 32;
}

/* nf_conntrack's class of a packet, from the flow as it was before it. */
static __always_inline enum ct_class ct_class_of(__u64 word, enum ct_dir dir)
{
	if (dir == CT_REPLY || (word & CT_W_SEEN_REPLY))
		return CT_CLASS_ESTABLISHED;
	return CT_CLASS_NEW;
}

#endif
