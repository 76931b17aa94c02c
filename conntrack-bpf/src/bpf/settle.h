/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the steps of pipeline.h share: the table's maps, the counts, a packet's effect on its flow. */
#ifndef CT_SETTLE_H
#define CT_SETTLE_H

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

/* Ends a flow, though another packet of it may be changing its word meanwhile. */
static __always_inline void ct_end(struct ct_ref *ref, struct ct_cpu *cpu, __u64 now)
{
	for (int i = 0; i < 4; i++) {
		__u64 word = ct_load(&ref->flow->word);

		if ((word ^ ref->word) & (CT_W_GEN | CT_W_PHASE))
			return;
		ref->word = word;
		if (ct_release(ref, now)) {
			ct_count_table(cpu, CT_TABLE_DELETED);
			return;
		}
	}
}

/* Applies to a flow what its protocol made of a packet. */
static __always_inline enum ct_answer ct_settle(const struct ct_pkt *pkt, struct ct_cpu *cpu,
						struct ct_ref *ref, enum ct_dir dir,
						enum ct_answer answer, __u64 word,
						const struct ct_tcp_effect *fx)
{
	enum ct_class class = ct_class_of(ref->word, dir);
	struct ct_flow *flow = ref->flow;

	if (answer == CT_REFUSE) {
		ct_tcp_apply(flow, dir, pkt, fx);
		if (fx->mismatch)
			ct_tcp_mismatch(flow, ref->word, dir, pkt);
		ct_count_class(cpu, dir, CT_CLASS_INVALID, pkt->segs);
		ct_count_pass(cpu, CT_PASS_INVALID, pkt->segs);
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
	if (answer == CT_END)
		ct_end(ref, cpu, pkt->now);
	ct_count_class(cpu, dir, class, pkt->segs);
	return answer;
}

static __always_inline void ct_count_spare(struct ct_cpu *cpu, __u64 spare)
{
	if (spare == CT_SPARE_EXPIRED)
		ct_count_table(cpu, CT_TABLE_EXPIRED);
	else if (spare == CT_SPARE_OLD || spare == CT_SPARE_UNASSURED)
		ct_count_table(cpu, CT_TABLE_EVICTED);
}

static __always_inline void ct_refuse_new(struct ct_work *w, struct ct_cpu *cpu,
					  enum ct_class class, enum ct_pass reason)
{
	ct_count_class(cpu, CT_ORIGINAL, class, w->pkt.segs);
	ct_count_pass(cpu, reason, w->pkt.segs);
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
