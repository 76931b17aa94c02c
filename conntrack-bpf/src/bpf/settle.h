/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the steps of pipeline.h share: the table's maps, the counts, a packet's effect on its flow. */
#ifndef CT_SETTLE_H
#define CT_SETTLE_H

#include "events.h"
#include "proto.h"
#include "stats.h"
#include "work.h"

static __always_inline void *ct_bucket(__u32 index, int v6)
{
	return v6 ? (void *)bpf_map_lookup_elem(&ct_table6, &index)
		  : (void *)bpf_map_lookup_elem(&ct_table4, &index);
}

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
	CT_RETRY,   /* another CPU moved first */
	CT_MACHINE, /* a TCP segment that is not plain: ask the whole state machine, */
	CT_DECIDE,  /* then the window, */
	CT_SETTLE,  /* then change the flow */
	CT_BEGIN,   /* there is no such flow: find it a slot */
	CT_CREATE,  /* we hold a slot: fill it, */
	CT_START,   /* start TCP's machine, */
	CT_PUBLISH, /* and make it a flow */
};

/* Counts and tells that the flow in a slot is no more; `word` as it last was. */
static __always_inline void ct_gone(struct ct_work *w, struct ct_cpu *cpu, const struct ct_ref *ref,
				    int v6, __u64 word, enum ct_gone reason)
{
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
 * Tells of a packet that is INVALID, at most a hundred times a second on each
 * CPU: a flood of them must not drown the rest.
 */
#define CT_INVALID_NS (CT_NSEC / 100)

static __always_inline void ct_tell_invalid(struct ct_work *w, int v6)
{
	struct ct_event *e = &w->event;
	struct ct_flow *flow = &e->flow.flow;

	if (!ct_heard(CT_EVENT_INVALID) || ct_age(w->pkt.now, w->invalid_at) < CT_INVALID_NS)
		return;
	w->invalid_at = w->pkt.now;
	__builtin_memset(e, 0, sizeof(*e));
	e->time = w->pkt.now;
	e->type = CT_EVENT_INVALID;
	e->family = v6 ? 6 : 4;
	e->packets[CT_ORIGINAL] = w->pkt.segs;
	flow->word = w->key.src_is_hi ? CT_W_ORIG_HI : 0;
	flow->start = flow->seen = w->pkt.now;
	flow->bytes[CT_ORIGINAL] = w->pkt.bytes;
	flow->lo = w->key.lo[0];
	flow->hi = w->key.hi[0];
	flow->lo_port_be = w->key.lo_port_be;
	flow->hi_port_be = w->key.hi_port_be;
	flow->proto_if = w->key.proto | (w->pkt.ifindex << 8);
	flow->tcp[CT_ORIGINAL].seq = w->pkt.seq;
	flow->tcp[CT_ORIGINAL].ack = w->pkt.ack;
	flow->tcp[CT_ORIGINAL].win = w->pkt.window;
	flow->tcp[CT_ORIGINAL].flags = w->pkt.tcp_flags;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		e->flow.lo[i] = w->key.lo[i];
		e->flow.hi[i] = w->key.hi[i];
	}
	ct_event_send(e);
}

__weak __noinline int ct_tell_invalid4(struct ct_work *w)
{
	if (w)
		ct_tell_invalid(w, 0);
	return 0;
}

__weak __noinline int ct_tell_invalid6(struct ct_work *w)
{
	if (w)
		ct_tell_invalid(w, 1);
	return 0;
}

static __always_inline void ct_say_invalid(struct ct_work *w, int v6)
{
	if (!ct_heard(CT_EVENT_INVALID))
		return;
	if (v6)
		ct_tell_invalid6(w);
	else
		ct_tell_invalid4(w);
}

/* Applies to a flow what its protocol made of a packet: w->pkt, w->fx. */
static __always_inline enum ct_answer ct_settle(struct ct_work *w, struct ct_cpu *cpu,
						struct ct_ref *ref, int v6, enum ct_dir dir,
						enum ct_answer answer, __u64 word)
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
		ct_tcp_apply(flow, dir, pkt, fx);
		if (fx->mismatch)
			ct_tcp_mismatch(flow, ref->word, dir, pkt);
		w->refused = 1;
		ct_count_class(cpu, dir, CT_CLASS_INVALID, pkt->segs);
		ct_count_pass(cpu, CT_PASS_INVALID, pkt->segs);
		ct_say_invalid(w, v6);
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
	if (answer != CT_IGNORE) {
		ct_count(ref, dir, pkt);
		/* Right before the plain stores: from here on it must be our flow's slot. */
		if (!ct_ref_holds(ref))
			return CT_AGAIN;
	}
	ct_tcp_apply(flow, dir, pkt, fx);
	if (answer == CT_IGNORE)
		w->refused = 1;
	if (answer == CT_END)
		ct_end(w, ref, cpu, v6);
	else if ((word ^ before) & CT_W_NOTABLE)
		ct_tell(&w->event, ref, v6, word, CT_EVENT_UPDATE, 0);
	ct_count_class(cpu, dir, class, pkt->segs);
	return answer;
}

/* What a slot was given up for, by its CT_SPARE_ class; `word` as it was. */
static __always_inline void ct_count_spare(struct ct_work *w, struct ct_cpu *cpu,
					   const struct ct_ref *ref, int v6, __u64 spare,
					   __u64 word)
{
	if (spare == CT_SPARE_EXPIRED)
		ct_gone(w, cpu, ref, v6, word, ct_expiry(ref->flow, word));
	else if (spare && spare != CT_SPARE_UNRESTED)
		ct_gone(w, cpu, ref, v6, word, CT_GONE_EVICTED);
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

static __always_inline struct ct_table ct_table_of(int v6)
{
	return (struct ct_table){.buckets = v6 ? cfg_buckets6 : cfg_buckets4, .v6 = v6};
}

static __always_inline enum ct_next ct_hand_on(struct ct_work *w, const struct ct_ref *ref,
					       enum ct_next next)
{
	w->taken_word = ref->word;
	w->taken_slot = ref->slot;
	w->taken_bucket = (ref->place - ref->slot) / CT_SLOTS;
	return next;
}

/* The slot another step found or holds. */
static __always_inline int ct_take_over(const struct ct_work *w, int v6, struct ct_ref *ref)
{
	struct ct_bucket_head *head = ct_bucket(w->taken_bucket, v6);

	if (!head)
		return 0;
	ref->flow = ct_slot(head, w->taken_slot, v6);
	ref->head = head;
	ref->slot = w->taken_slot;
	ref->place = w->taken_bucket * CT_SLOTS + w->taken_slot;
	ref->word = w->taken_word;
	return 1;
}

#endif
