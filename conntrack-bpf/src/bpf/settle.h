/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the steps of pipeline.h share: the counts, a packet's effect on its flow. */
#ifndef CT_SETTLE_H
#define CT_SETTLE_H

#include "buckets.h"
#include "events.h"
#include "invalid.h"
#include "proto.h"
#include "stats.h"
#include "work.h"

static __always_inline __u64 ct_timeout_of(__u64 word)
{
	return ct_settings.timeout_ns[(word & CT_W_TMO) >> CT_W_TMO_SHIFT];
}

static __always_inline __u64 ct_grace(void)
{
	return ct_settings.grace_ns;
}

/*
 * What comes next. The steps return to one place, rather than call each other,
 * so that their stacks do not add up.
 */
enum ct_next {
	CT_DONE,
	CT_RETRY,     /* another CPU moved first */
	CT_SEARCH,    /* there are two tables: look into both, */
	CT_ADVANCE,   /* and step the flow that was found in one of them */
	CT_LATE,      /* it has left the other table before all of this packet was stored */
	CT_MACHINE,   /* a TCP segment that is not plain: ask the whole state machine, */
	CT_DECIDE,    /* then the window, */
	CT_SETTLE,    /* then change the flow */
	CT_LIMIT,     /* it would begin a flow: ask first whether that is too much */
	CT_BEGIN,     /* there is no such flow: find it a slot */
	CT_CREATE,    /* we hold a slot: fill it, */
	CT_START,     /* start TCP's machine, */
	CT_PUBLISH,   /* and make it a flow */
	CT_REPORT,    /* an ICMP error is through: record it */
	CT_JUDGE,     /* ask bans first, there is a flow; */
	CT_JUDGE_NEW, /* there is none */
};

/* Counts and tells that the flow in a slot is no more; `word` as it last was. */
static __always_inline void ct_gone(struct ct_work *w, struct ct_cpu *cpu, const struct ct_ref *ref,
				    int v6, __u64 word, enum ct_gone reason)
{
	if (w->mover)
		ct_count_removed(cpu, v6, reason);
	else
		ct_count_gone(cpu, v6, reason);
	ct_tell(&w->event, ref, v6, word, CT_EVENT_DESTROY, reason);
}

/* Ends a flow, though another packet of it may be changing its word meanwhile. */
static __always_inline void ct_end(struct ct_work *w, struct ct_ref *ref, struct ct_cpu *cpu,
				   int v6)
{
	for (int i = 0; i < 4; i++) {
		__u64 word = ct_load(&ref->flow->word);

		if ((word ^ ref->word) & (CT_W_GEN | CT_W_PHASE))
			return;
		ref->word = word;
		if (ct_close(ref)) {
			ct_gone(w, cpu, ref, v6, word, CT_GONE_RST);
			ct_give_back(ref, w->pkt.now);
			return;
		}
	}
}

/*
 * A later fragment: its packet is counted and judged, but the end of a TCP segment
 * is further off. Written as ct_tcp_apply() writes, and with the same races.
 */
static __always_inline __u64 ct_extend(const struct ct_work *w, struct ct_flow *flow, __u64 word,
				       enum ct_dir dir)
{
	__u32 full = CT_TMO_TCP + ct_word_state(word), end = w->pkt.seq;
	struct ct_tcp_end *sender = &flow->tcp[dir & 1];

	if (w->pkt.proto != IPPROTO_TCP || !ct_after(end, sender->end))
		return word;
	/* Let pass, but beyond the window: it has not moved the end. */
	if (ct_after(w->pkt.ack, sender->end))
		return word;
	if (w->pkt.anew) {
		/*
		 * As if the first had come with all of it: the edges were set, not moved.
		 * In this order: who reads between the two finds the window too wide by
		 * less than this packet, and refuses nothing.
		 */
		ct_raise(&sender->maxend, sender->maxend + end - sender->end);
		ct_raise(&sender->end, end);
		return word;
	}
	ct_raise(&sender->end, end);
	sender->bits |= CT_END_UNACKED;
	if ((word & CT_W_TMO) >> CT_W_TMO_SHIFT == full &&
	    ct_timeout_of(word) > ct_settings.timeout_ns[CT_TMO_TCP_UNACK])
		word = ct_word_with(word, ct_word_state(word), CT_TMO_TCP_UNACK);
	return word;
}

/*
 * Whether the flow of a slot has left it for the other table. A full barrier: what
 * we stored before is in the copy if it has not.
 */
static __always_inline int ct_has_left(const struct ct_ref *ref)
{
	__u64 word = __sync_fetch_and_add(&ref->flow->word, 0);

	return ((word ^ ref->word) & CT_W_GEN) == 0 && ct_phase_of(word) == CT_CLOSING &&
	       (word & CT_W_LEFT);
}

/* The packet is counted; what is to be done to its flow is done where that is now. */
static __always_inline enum ct_answer ct_be_late(struct ct_work *w, const struct ct_ref *ref,
						 enum ct_dir dir, enum ct_answer answer,
						 __u64 before)
{
	w->before = before;
	w->after = ref->word;
	w->late = answer;
	w->late_dir = dir;
	w->from_word = ref->word;
	w->from_slot = ref->slot;
	w->from_bucket = (ref->place - ref->slot) / CT_SLOTS;
	return CT_ABSENT;
}

/*
 * Applies to a flow what its protocol made of a packet: w->pkt, w->fx. `other`: the
 * flow is in the other table, and may be leaving it for this one.
 */
static __always_inline enum ct_answer ct_settle(struct ct_work *w, struct ct_cpu *cpu,
						struct ct_ref *ref, int v6, enum ct_dir dir,
						enum ct_answer answer, __u64 word, int other)
{
	enum ct_class class = ct_class_of(ref->word, dir);
	const struct ct_tcp_effect *fx = &w->fx;
	const struct ct_pkt *pkt = &w->pkt;
	struct ct_flow *flow = ref->flow;
	__u64 before = ref->word;

	if (answer == CT_REFUSE) {
		/* What it changed before it was refused: TCP's options, SCTP's chunks. */
		if (word != ref->word) {
			if (__sync_val_compare_and_swap(&flow->word, ref->word, word) != ref->word)
				return CT_AGAIN;
			ref->word = word;
			if ((word ^ before) & CT_W_NOTABLE)
				ct_tell(&w->event, ref, v6, word, CT_EVENT_UPDATE, 0);
		}
		if (!ct_ref_holds(ref) && !(other && ct_has_left(ref)))
			return CT_AGAIN;
		ct_tcp_apply(flow, dir, pkt, fx);
		if (fx->mismatch)
			ct_tcp_mismatch(flow, ref->word, dir, pkt);
		w->refused = 1;
		ct_count_class(cpu, dir, CT_CLASS_INVALID, pkt->segs);
		ct_count_pass(cpu, CT_PASS_INVALID, pkt->segs);
		ct_say_invalid(w, v6);
		if (other && ct_has_left(ref))
			return ct_be_late(w, ref, dir, CT_REFUSE, word);
		return CT_REFUSE;
	}
	/*
	 * Before the word: a flow that was idle for long and now gets a shorter
	 * timeout would else be expired for the moment in between.
	 */
	if (answer != CT_IGNORE)
		ct_touch(flow, pkt->now);
	if (word != ref->word) {
		if (__sync_val_compare_and_swap(&flow->word, ref->word, word) != ref->word)
			return CT_AGAIN;
		ref->word = word;
	}
	if (answer != CT_IGNORE)
		ct_count(ref, dir, pkt);
	/* Right before the plain stores: from here on it must be our flow's slot. */
	if (!ct_ref_holds(ref) && !(other && ct_has_left(ref)))
		return CT_AGAIN;
	ct_tcp_apply(flow, dir, pkt, fx);
	if (answer == CT_IGNORE)
		w->refused = 1;
	ct_count_class(cpu, dir, class, pkt->segs);
	if (other && ct_has_left(ref))
		return ct_be_late(w, ref, dir, answer, before);
	if (answer == CT_END) {
		ct_end(w, ref, cpu, v6);
		if (other && ct_has_left(ref))
			return ct_be_late(w, ref, dir, answer, word);
	} else if ((word ^ before) & CT_W_NOTABLE) {
		ct_tell(&w->event, ref, v6, word, CT_EVENT_UPDATE, 0);
	}
	return answer;
}

static __always_inline void ct_refuse_new(struct ct_work *w, struct ct_cpu *cpu,
					  enum ct_class class, enum ct_pass reason)
{
	w->refused = 1;
	ct_count_class(cpu, CT_ORIGINAL, class, w->pkt.segs);
	/* A later fragment is of no class: that is its packet's. */
	ct_count_pass(cpu, reason, w->pkt.segs ? w->pkt.segs : 1);
}

/* The same, for who has no counters at hand. */
static __always_inline void ct_refuse(struct ct_work *w, enum ct_class class, enum ct_pass reason)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);

	if (cpu)
		ct_refuse_new(w, cpu, class, reason);
}

static __always_inline enum ct_next ct_hand_on(struct ct_work *w, const struct ct_ref *ref,
					       enum ct_next next)
{
	w->taken_word = ref->word;
	w->taken_slot = ref->slot;
	w->taken_bucket = (ref->place - ref->slot) / CT_SLOTS;
	return next;
}

/*
 * The slot another step found, in this bucket. It may be of either table; the steps
 * that may be handed one of the other are given it as plain memory, so the verifier
 * walks through them once.
 */
static __always_inline void ct_take_in(const struct ct_work *w, struct ct_bucket_head *head, int v6,
				       struct ct_ref *ref)
{
	ref->flow = ct_slot(head, w->taken_slot, v6);
	ref->head = head;
	ref->slot = w->taken_slot;
	ref->place = w->taken_bucket * CT_SLOTS + w->taken_slot;
	ref->word = w->taken_word;
}

/* The slot another step holds, in the table that flows are created in. */
static __always_inline int ct_take_over(const struct ct_work *w, int v6, struct ct_ref *ref)
{
	struct ct_bucket_head *head = ct_bucket(w->taken_bucket, v6);

	if (!head)
		return 0;
	ct_take_in(w, head, v6, ref);
	return 1;
}

#endif
