/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A new flow, step by step; see table.h for the order. */
#ifndef CT_CREATE_H
#define CT_CREATE_H

#include "limit.h"
#include "print.h"
#include "room.h"

/* Fills the slot we hold with the flow this packet begins; see table.h for the order. */
static __always_inline enum ct_next ct_create(struct ct_work *w, int v6)
{
	struct ct_ref ref = {};
	struct ct_flow *flow;

	if (!ct_take_over(w, v6, &ref))
		return CT_DONE;
	flow = ref.flow;
	/* The second line is TCP's and SCTP's; others leave what is there. */
	if (w->pkt.proto == IPPROTO_TCP || w->pkt.proto == IPPROTO_SCTP)
		__builtin_memset(flow->tcp, 0, sizeof(flow->tcp));
	if (w->pkt.proto == IPPROTO_SCTP) {
		flow->tcp[CT_ORIGINAL].seq = w->sctp.tag[CT_ORIGINAL];
		flow->tcp[CT_REPLY].seq = w->sctp.tag[CT_REPLY];
	}
	flow->seen = w->pkt.now;
	flow->start = w->pkt.now;
	flow->packets[CT_ORIGINAL] = w->pkt.segs;
	flow->packets[CT_REPLY] = 0;
	flow->bytes[CT_ORIGINAL] = w->pkt.bytes;
	flow->bytes[CT_REPLY] = 0;
	ct_fill_key(&ref, &w->key, &w->hash, w->pkt.ifindex, v6);
	return ct_hand_on(w, &ref, w->pkt.proto == IPPROTO_TCP ? CT_START : CT_PUBLISH);
}

static __always_inline enum ct_next ct_start(struct ct_work *w, int v6)
{
	struct ct_ref ref = {};

	if (!ct_take_over(w, v6, &ref))
		return CT_DONE;
	__builtin_memset(&w->fx, 0, sizeof(w->fx));
	w->bits = ct_tcp_start(ref.flow, &w->pkt, w->bits, &w->fx);
	if (ct_print_kept() && w->frame.syn.opener)
		ct_set_opener(ref.flow, w->frame.syn.opener);
	return CT_PUBLISH;
}

static __always_inline enum ct_next ct_announce(struct ct_work *w, int v6)
{
	int heard = ct_heard(CT_EVENT_NEW);
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};

	if (!cpu || !ct_take_over(w, v6, &ref))
		return CT_DONE;
	/* While the slot is ours: once it is LIVE, it may be another flow's at any time. */
	if (heard)
		ct_note(&w->event, &ref, v6, w->bits, CT_EVENT_NEW, 0);
	if (!ct_stands(w, v6) || !ct_publish(&ref, ct_word_judged(w, w->bits))) {
		ct_withdraw(&ref);
		ct_count_table(cpu, CT_TABLE_CONFLICTS);
		return CT_RETRY;
	}
	ct_due_by(ref.head, w->pkt.now + ct_timeout_of(ref.word));
	ct_count_table(cpu, CT_TABLE_CREATED);
	cpu->live[v6]++;
	ct_count_class(cpu, CT_ORIGINAL, CT_CLASS_NEW, w->pkt.segs);
	w->begun = 1;
	if (heard) {
		w->event.flow.flow.word = ref.word;
		ct_event_send(&w->event);
	}
	return CT_DONE;
}

__weak __noinline int ct_create4(struct ct_work *w)
{
	return w ? ct_create(w, 0) : CT_DONE;
}

__weak __noinline int ct_create6(struct ct_work *w)
{
	return w ? ct_create(w, 1) : CT_DONE;
}

__weak __noinline int ct_start4(struct ct_work *w)
{
	return w ? ct_start(w, 0) : CT_DONE;
}

__weak __noinline int ct_start6(struct ct_work *w)
{
	return w ? ct_start(w, 1) : CT_DONE;
}

__weak __noinline int ct_announce4(struct ct_work *w)
{
	return w ? ct_announce(w, 0) : CT_DONE;
}

__weak __noinline int ct_announce6(struct ct_work *w)
{
	return w ? ct_announce(w, 1) : CT_DONE;
}

/* SCTP's first packet. Returns 0 if it begins nothing. */
__weak __noinline int ct_sctp_open(struct ct_work *w)
{
	if (!w)
		return 0;
	__builtin_memset(&w->sctp, 0, sizeof(w->sctp));
	w->sctp.word = w->bits;
	if (ct_sctp_run(&w->sctp, &w->pkt, 1) != CT_ACCEPT)
		return 0;
	w->bits = w->sctp.word;
	return 1;
}

/* May this packet begin a flow? If not, says what it is. */
static __always_inline int ct_may_begin(struct ct_work *w, struct ct_cpu *cpu, int v6)
{
	if (w->pkt.kind == CT_KIND_FRAGMENT) {
		ct_refuse_new(w, cpu, CT_CLASS_UNTRACKED, CT_PASS_FRAGMENT);
		return 0;
	}
	w->bits = ct_open(&w->pkt, &w->key);
	if (w->pkt.proto == IPPROTO_SCTP && !ct_sctp_open(w))
		w->bits = 0;
	if (!w->bits) {
		ct_refuse_new(w, cpu, CT_CLASS_INVALID, CT_PASS_INVALID);
		ct_say_invalid(w, v6);
	}
	return w->bits != 0;
}

/*
 * Takes the slot of a flow that is over for the tuple's next one. In the other table
 * nothing begins: there the flow ends, and the next one is found a slot here.
 */
static __always_inline enum ct_next ct_renew(struct ct_work *w, struct ct_cpu *cpu,
					     struct ct_ref *ref, int v6, enum ct_gone why,
					     int other)
{
	__u64 word = ref->word;

	if (other) {
		if (!ct_close(ref))
			return CT_RETRY;
		ct_gone(w, cpu, ref, v6, word, why);
		ct_give_back(ref, w->pkt.now);
		return CT_BEGIN;
	}
	if (!ct_may_begin(w, cpu, v6))
		return CT_DONE;
	if (ct_limit_due(w))
		return CT_LIMIT;
	if (!ct_take(ref))
		return CT_RETRY;
	ct_gone(w, cpu, ref, v6, word, why);
	return ct_hand_on(w, ref, CT_CREATE);
}

/* A slot for a key that has none. */
static __always_inline enum ct_next ct_begin(struct ct_work *w, int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);

	if (!cpu || !ct_may_begin(w, cpu, v6))
		return CT_DONE;
	if (ct_limit_due(w))
		return CT_LIMIT;
	w->pick.keep = 0;
	switch (v6 ? ct_room6(w) : ct_room4(w)) {
	case CT_CLAIMED:
		return CT_CREATE;
	case CT_CLAIM_FULL:
		ct_refuse_new(w, cpu, CT_CLASS_UNTRACKED, CT_PASS_TABLE_FULL);
		return CT_DONE;
	default:
		return CT_RETRY;
	}
}

__weak __noinline int ct_begin4(struct ct_work *w)
{
	return w ? ct_begin(w, 0) : CT_DONE;
}

__weak __noinline int ct_begin6(struct ct_work *w)
{
	return w ? ct_begin(w, 1) : CT_DONE;
}

#endif
