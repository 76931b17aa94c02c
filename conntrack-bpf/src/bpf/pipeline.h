/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet's way: find its flow, step it, count; if there is none, find it a
 * slot and make one.
 *
 * We never drop for our own trouble: whatever goes wrong is counted and passes.
 */
#ifndef CT_PIPELINE_H
#define CT_PIPELINE_H

#include "proto.h"
#include "stats.h"
#include "work.h"

#define CT_TRIES 4

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
	if (word != ref->word) {
		if (__sync_val_compare_and_swap(&flow->word, ref->word, word) != ref->word)
			return CT_AGAIN;
		ref->word = word;
	}
	if (answer != CT_IGNORE) {
		ct_count(ref, dir, pkt);
		if (!ct_ref_holds(ref)) {
			ct_uncount(ref, dir, pkt);
			return CT_AGAIN;
		}
		ct_touch(flow, pkt->now);
	}
	ct_tcp_apply(flow, dir, pkt, fx);
	if (answer == CT_END && ct_release(ref, pkt->now))
		ct_count_table(cpu, CT_TABLE_DELETED);
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

/* Fills the slot we hold with the flow this packet begins; see table.h for the order. */
static __always_inline enum ct_next ct_create(struct ct_work *w, int v6)
{
	struct ct_ref ref = {};
	struct ct_flow *flow;

	if (!ct_take_over(w, v6, &ref))
		return CT_DONE;
	flow = ref.flow;
	__builtin_memset(flow->tcp, 0, sizeof(flow->tcp));
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
	return CT_PUBLISH;
}

static __always_inline enum ct_next ct_announce(struct ct_work *w, int v6)
{
	const struct ct_table table = ct_table_of(v6);
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};

	if (!cpu || !ct_take_over(w, v6, &ref))
		return CT_DONE;
	if (!ct_publish(&table, &w->key, &w->hash, &ref, w->bits)) {
		ct_count_table(cpu, CT_TABLE_CONFLICTS);
		return CT_RETRY;
	}
	ct_count_table(cpu, CT_TABLE_CREATED);
	ct_count_class(cpu, CT_ORIGINAL, CT_CLASS_NEW, w->pkt.segs);
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

/* May this packet begin a flow? If not, says what it is. */
static __always_inline int ct_may_begin(struct ct_work *w, struct ct_cpu *cpu)
{
	if (w->pkt.kind == CT_KIND_FRAGMENT) {
		ct_refuse_new(w, cpu, CT_CLASS_UNTRACKED, CT_PASS_FRAGMENT);
		return 0;
	}
	w->bits = ct_open(&w->pkt, &w->key);
	if (!w->bits)
		ct_refuse_new(w, cpu, CT_CLASS_INVALID, CT_PASS_INVALID);
	return w->bits != 0;
}

/* Takes the slot of a flow that is over for the tuple's next one. */
static __always_inline enum ct_next ct_renew(struct ct_work *w, struct ct_cpu *cpu,
					     struct ct_ref *ref, enum ct_table_event why)
{
	if (!ct_may_begin(w, cpu))
		return CT_DONE;
	if (!ct_take(ref))
		return CT_RETRY;
	ct_count_table(cpu, why);
	return ct_hand_on(w, ref, CT_CREATE);
}

/* A slot for a key that has none. */
static __always_inline enum ct_next ct_begin(struct ct_work *w, int v6)
{
	const struct ct_table table = ct_table_of(v6);
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};
	__u64 spare;

	if (!cpu || !ct_may_begin(w, cpu))
		return CT_DONE;
	switch (ct_claim(&table, &w->hash, w->pkt.now, &cpu->pick, &ref, &spare)) {
	case CT_CLAIMED:
		ct_count_spare(cpu, spare);
		return ct_hand_on(w, &ref, CT_CREATE);
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

/*
 * An ICMP error belongs to the flow of the packet inside it, turned round, if
 * it goes to whoever sent that packet. It counts for nothing but its class.
 */
static __always_inline enum ct_next ct_track_error(struct ct_work *w, struct ct_cpu *cpu,
						   const struct ct_table *table)
{
	struct ct_pkt *pkt = &w->pkt;
	struct ct_ref ref = {};

	if (pkt->returned && ct_find(table, &w->key, &w->hash, &ref) &&
	    !ct_expired(ref.flow, ref.word, pkt->now)) {
		enum ct_dir inner = ct_dir_of(ref.word, &w->key);

		ct_count_class(cpu, inner == CT_ORIGINAL ? CT_REPLY : CT_ORIGINAL, CT_CLASS_RELATED,
			       pkt->segs);
		return CT_DONE;
	}
	ct_refuse_new(w, cpu, CT_CLASS_INVALID, CT_PASS_INVALID);
	return CT_DONE;
}

/* A segment that opens, closes, resets, or does not fit: in three parts. */
static __always_inline enum ct_next ct_machine(struct ct_work *w, int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};
	enum ct_dir dir;

	if (!cpu || !ct_take_over(w, v6, &ref))
		return CT_DONE;
	__builtin_memset(&w->fx, 0, sizeof(w->fx));
	dir = ct_forget(&w->fx, ct_dir_of(ref.word, &w->key)) & 1;
	if (ct_tcp_step(ref.flow, ref.word, dir, &w->pkt, &w->fx))
		return CT_DECIDE;
	if (w->fx.answer == CT_REOPEN)
		return ct_renew(w, cpu, &ref, CT_TABLE_REPLACED);
	return CT_SETTLE;
}

static __always_inline enum ct_next ct_decide(struct ct_work *w, int v6)
{
	struct ct_ref ref = {};
	enum ct_dir dir;

	if (!ct_take_over(w, v6, &ref))
		return CT_DONE;
	dir = ct_forget(&w->fx, ct_dir_of(ref.word, &w->key)) & 1;
	ct_tcp_decide(ref.flow, ref.word, dir, &w->pkt, &w->fx);
	return CT_SETTLE;
}

static __always_inline enum ct_next ct_conclude(struct ct_work *w, int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	enum ct_answer answer = w->fx.answer;
	struct ct_ref ref = {};
	enum ct_dir dir;

	if (!cpu || !ct_take_over(w, v6, &ref))
		return CT_DONE;
	dir = ct_forget(&w->fx, ct_dir_of(ref.word, &w->key)) & 1;
	if (dir == CT_REPLY && answer <= CT_IGNORE)
		w->fx.word |= CT_W_SEEN_REPLY;
	answer = ct_settle(&w->pkt, cpu, &ref, dir, answer, w->fx.word, &w->fx);
	return answer == CT_AGAIN ? CT_RETRY : CT_DONE;
}

__weak __noinline int ct_machine4(struct ct_work *w)
{
	return w ? ct_machine(w, 0) : CT_DONE;
}

__weak __noinline int ct_machine6(struct ct_work *w)
{
	return w ? ct_machine(w, 1) : CT_DONE;
}

__weak __noinline int ct_decide4(struct ct_work *w)
{
	return w ? ct_decide(w, 0) : CT_DONE;
}

__weak __noinline int ct_decide6(struct ct_work *w)
{
	return w ? ct_decide(w, 1) : CT_DONE;
}

__weak __noinline int ct_conclude4(struct ct_work *w)
{
	return w ? ct_conclude(w, 0) : CT_DONE;
}

__weak __noinline int ct_conclude6(struct ct_work *w)
{
	return w ? ct_conclude(w, 1) : CT_DONE;
}

/* The way of nearly every packet: find its flow, step it, count. */
static __always_inline enum ct_next ct_follow(struct ct_work *w, int v6)
{
	const struct ct_table table = ct_table_of(v6);
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};
	enum ct_dir dir;
	__u64 word;

	if (!cpu)
		return CT_DONE;
	ct_make_key(&w->pkt, &w->key, v6);
	ct_hash_key(&w->key, cfg_hash_seed, table.buckets, v6, &w->hash);
	if (w->pkt.kind == CT_KIND_ERROR)
		return ct_track_error(w, cpu, &table);
	if (!ct_find(&table, &w->key, &w->hash, &ref))
		return CT_BEGIN;
	if (ct_expired(ref.flow, ref.word, w->pkt.now))
		return ct_renew(w, cpu, &ref, CT_TABLE_EXPIRED);
	dir = ct_dir_of(ref.word, &w->key);
	word = ref.word;
	__builtin_memset(&w->fx, 0, sizeof(w->fx));
	if (w->pkt.proto != IPPROTO_TCP || w->pkt.kind == CT_KIND_FRAGMENT)
		word = ct_step(ref.flow, ref.word, dir, &w->pkt);
	else if (!ct_tcp_fast(ref.flow, &word, dir, &w->pkt, &w->fx))
		return ct_hand_on(w, &ref, CT_MACHINE);
	if (ct_settle(&w->pkt, cpu, &ref, dir, CT_ACCEPT, word, &w->fx) == CT_AGAIN)
		return CT_RETRY;
	return CT_DONE;
}

__weak __noinline int ct_follow4(struct ct_work *w)
{
	return w ? ct_follow(w, 0) : CT_DONE;
}

__weak __noinline int ct_follow6(struct ct_work *w)
{
	return w ? ct_follow(w, 1) : CT_DONE;
}

/*
 * Once round for an established connection. New flows go on to the other parts;
 * whatever another CPU got in the way of is tried again. A flow another CPU is
 * just creating is waited for in this way; a CPU that stopped in the middle of
 * creating it is not.
 */
static __always_inline void ct_track_flow(struct ct_work *w, struct ct_cpu *cpu)
{
	int v6 = ct_is_v6(&w->pkt);

	for (int i = 0; i < CT_TRIES; i++) {
		enum ct_next next = v6 ? ct_follow6(w) : ct_follow4(w);

		if (next == CT_MACHINE)
			next = v6 ? ct_machine6(w) : ct_machine4(w);
		if (next == CT_DECIDE)
			next = v6 ? ct_decide6(w) : ct_decide4(w);
		if (next == CT_SETTLE)
			next = v6 ? ct_conclude6(w) : ct_conclude4(w);
		if (next == CT_BEGIN)
			next = v6 ? ct_begin6(w) : ct_begin4(w);
		if (next == CT_CREATE)
			next = v6 ? ct_create6(w) : ct_create4(w);
		if (next == CT_START)
			next = v6 ? ct_start6(w) : ct_start4(w);
		if (next == CT_PUBLISH)
			next = v6 ? ct_announce6(w) : ct_announce4(w);
		if (next == CT_DONE)
			return;
	}
	ct_refuse_new(w, cpu, CT_CLASS_UNTRACKED, CT_PASS_BUSY);
}

/* A parsed packet, or the reason why it is none. */
static __always_inline void ct_track(struct ct_work *w, struct ct_cpu *cpu, enum ct_pass parsed,
				     const struct ct_iface *iface)
{
	if (parsed != CT_PARSED && !w->pkt.bytes) {
		ct_count_pass(cpu, parsed, 1);
		return;
	}
	ct_count_packet(cpu, w->cpu, &w->pkt, iface);
	if (parsed == CT_PARSED && w->pkt.kind != CT_KIND_INVALID) {
		ct_track_flow(w, cpu);
		return;
	}
	if (parsed == CT_PARSED)
		parsed = CT_PASS_INVALID;
	/* What nf_conntrack cannot read a tuple from is INVALID to it, too. */
	ct_refuse_new(w, cpu,
		      parsed == CT_PASS_INVALID || parsed == CT_PASS_TRUNCATED ? CT_CLASS_INVALID
									       : CT_CLASS_UNTRACKED,
		      parsed);
}

#endif
