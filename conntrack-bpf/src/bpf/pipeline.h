/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet's way: find its flow, step it, count. Everything but the first look
 * is in ct_slow(), out of the way of established connections.
 *
 * We never drop for our own trouble: whatever goes wrong is counted and passes.
 */
#ifndef CT_PIPELINE_H
#define CT_PIPELINE_H

#include "proto.h"
#include "stats.h"

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
 * All that the steps of one packet share; on the stack of the entry program.
 * The slow path is global functions, which the verifier checks once each,
 * whatever way led there; they may be handed nothing but plain memory.
 */
struct ct_work {
	struct ct_pkt pkt;
	struct ct_key key;
	struct ct_hash hash;
	__u64 bits;	  /* word of the flow this packet may begin; 0: it may not */
	__u64 taken_word; /* the slot we hold: its word, */
	__u32 taken_bucket;
	__u32 taken_slot; /* and where it is */
};

/*
 * What the slow path does next. Its parts return to one place, rather than call
 * each other, so that their stacks do not add up.
 */
enum ct_next {
	CT_DONE,
	CT_RETRY,  /* another CPU moved first */
	CT_BEGIN,  /* there is no such flow: find it a slot */
	CT_CREATE, /* we hold a slot: make it a flow */
};

/* Applies a packet to the flow it was found to belong to. */
static __always_inline enum ct_answer ct_update(struct ct_work *w, struct ct_cpu *cpu,
						struct ct_ref *ref)
{
	enum ct_dir dir = ct_dir_of(ref->word, &w->key);
	struct ct_step step = ct_step(ref->flow, ref->word, dir, &w->pkt);
	enum ct_class class = ct_class_of(ref->word, dir);
	struct ct_flow *flow = ref->flow;

	if (step.answer == CT_REOPEN)
		return CT_REOPEN;
	if (step.answer == CT_REFUSE) {
		ct_count_class(cpu, dir, CT_CLASS_INVALID, w->pkt.segs);
		ct_count_pass(cpu, CT_PASS_INVALID, w->pkt.segs);
		return CT_REFUSE;
	}
	if (step.word != ref->word) {
		if (__sync_val_compare_and_swap(&flow->word, ref->word, step.word) != ref->word)
			return CT_AGAIN;
		ref->word = step.word;
	}
	if (step.answer != CT_IGNORE) {
		ct_count(ref, dir, &w->pkt);
		if (!ct_ref_holds(ref)) {
			ct_uncount(ref, dir, &w->pkt);
			return CT_AGAIN;
		}
		ct_touch(flow, w->pkt.now);
	}
	if (w->pkt.proto == IPPROTO_TCP && w->pkt.kind == CT_KIND_FLOW) {
		ct_note_segment(flow, dir, &w->pkt);
		ct_tcp_set_last(flow, dir, ct_tcp_segment(w->pkt.tcp_flags));
	}
	if (step.answer == CT_END && ct_release(ref, w->pkt.now))
		ct_count_table(cpu, CT_TABLE_DELETED);
	ct_count_class(cpu, dir, class, w->pkt.segs);
	return step.answer;
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

/* Fills the slot we hold with the flow this packet begins; see table.h for the order. */
static __always_inline enum ct_next ct_create(struct ct_work *w, int v6)
{
	struct ct_bucket_head *head = ct_bucket(w->taken_bucket, v6);
	const struct ct_table table = ct_table_of(v6);
	struct ct_cpu *cpu = ct_this_cpu();
	struct ct_flow *flow;
	struct ct_ref ref;

	if (!head || !cpu)
		return CT_DONE;
	flow = ct_slot(head, w->taken_slot, v6);
	ref = (struct ct_ref){
		.flow = flow,
		.head = head,
		.slot = w->taken_slot,
		.place = w->taken_bucket * CT_SLOTS + w->taken_slot,
		.word = w->taken_word,
	};
	__builtin_memset(flow->tcp, 0, sizeof(flow->tcp));
	flow->seen = w->pkt.now;
	flow->start = w->pkt.now;
	flow->packets[CT_ORIGINAL] = w->pkt.segs;
	flow->packets[CT_REPLY] = 0;
	flow->bytes[CT_ORIGINAL] = w->pkt.bytes;
	flow->bytes[CT_REPLY] = 0;
	if (w->pkt.proto == IPPROTO_TCP) {
		ct_note_segment(flow, CT_ORIGINAL, &w->pkt);
		ct_tcp_set_last(flow, CT_ORIGINAL, ct_tcp_segment(w->pkt.tcp_flags));
	}
	ct_fill_key(&ref, &w->key, &w->hash, w->pkt.ifindex, v6);
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

static __always_inline enum ct_next ct_hold(struct ct_work *w, const struct ct_ref *ref)
{
	w->taken_word = ref->word;
	w->taken_slot = ref->slot;
	w->taken_bucket = (ref->place - ref->slot) / CT_SLOTS;
	return CT_CREATE;
}

/* Takes the slot of a flow that is over for the tuple's next one. */
static __always_inline enum ct_next ct_renew(struct ct_work *w, struct ct_cpu *cpu,
					     struct ct_ref *ref, enum ct_table_event why)
{
	if (!ct_take(ref))
		return CT_RETRY;
	ct_count_table(cpu, why);
	return ct_hold(w, ref);
}

static __always_inline enum ct_next ct_refuse_open(struct ct_work *w, struct ct_cpu *cpu)
{
	if (w->pkt.kind == CT_KIND_FRAGMENT)
		ct_refuse_new(w, cpu, CT_CLASS_UNTRACKED, CT_PASS_FRAGMENT);
	else
		ct_refuse_new(w, cpu, CT_CLASS_INVALID, CT_PASS_INVALID);
	return CT_DONE;
}

/* A slot for a key that has none. */
static __always_inline enum ct_next ct_begin(struct ct_work *w, int v6)
{
	const struct ct_table table = ct_table_of(v6);
	struct ct_cpu *cpu = ct_this_cpu();
	struct ct_ref ref = {};
	__u64 spare;

	if (!cpu)
		return CT_DONE;
	if (!w->bits)
		return ct_refuse_open(w, cpu);
	switch (ct_claim(&table, &w->hash, w->pkt.now, &cpu->pick, &ref, &spare)) {
	case CT_CLAIMED:
		ct_count_spare(cpu, spare);
		return ct_hold(w, &ref);
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

/* Looks again, now with all the time it takes. */
static __always_inline enum ct_next ct_try(struct ct_work *w, int v6)
{
	const struct ct_table table = ct_table_of(v6);
	struct ct_cpu *cpu = ct_this_cpu();
	struct ct_ref ref = {};
	enum ct_answer answer;

	if (!cpu)
		return CT_DONE;
	if (!ct_find(&table, &w->key, &w->hash, &ref))
		return CT_BEGIN;
	if (ct_expired(ref.flow, ref.word, w->pkt.now)) {
		if (!w->bits)
			return ct_refuse_open(w, cpu);
		return ct_renew(w, cpu, &ref, CT_TABLE_EXPIRED);
	}
	answer = ct_update(w, cpu, &ref);
	if (answer == CT_REOPEN)
		return ct_renew(w, cpu, &ref, CT_TABLE_REPLACED);
	return answer == CT_AGAIN ? CT_RETRY : CT_DONE;
}

__weak __noinline int ct_try4(struct ct_work *w)
{
	return w ? ct_try(w, 0) : CT_DONE;
}

__weak __noinline int ct_try6(struct ct_work *w)
{
	return w ? ct_try(w, 1) : CT_DONE;
}

/*
 * New flows, ended ones, and whatever the fast path could not finish because
 * another CPU moved. A flow another CPU is just creating is waited for by
 * trying again; a CPU that stopped in the middle of it is not.
 */
static __always_inline void ct_slow(struct ct_work *w, struct ct_cpu *cpu, int v6)
{
	w->bits = w->pkt.kind == CT_KIND_FRAGMENT ? 0 : ct_open(&w->pkt, &w->key);
	for (int i = 0; i < CT_TRIES; i++) {
		enum ct_next next = v6 ? ct_try6(w) : ct_try4(w);

		if (next == CT_BEGIN)
			next = v6 ? ct_begin6(w) : ct_begin4(w);
		if (next == CT_CREATE)
			next = v6 ? ct_create6(w) : ct_create4(w);
		if (next == CT_DONE)
			return;
	}
	ct_refuse_new(w, cpu, CT_CLASS_UNTRACKED, CT_PASS_BUSY);
}

/*
 * An ICMP error belongs to the flow of the packet inside it, turned round, if
 * it goes to whoever sent that packet. It counts for nothing but its class.
 */
static __always_inline void ct_track_error(struct ct_work *w, struct ct_cpu *cpu,
					   const struct ct_table *table)
{
	struct ct_pkt *pkt = &w->pkt;
	struct ct_ref ref = {};
	int back = pkt->outer_dst[0] == pkt->src[0] &&
		   (!table->v6 ||
		    (pkt->outer_dst[1] == pkt->src[1] && pkt->outer_dst[2] == pkt->src[2] &&
		     pkt->outer_dst[3] == pkt->src[3]));

	if (back && ct_find(table, &w->key, &w->hash, &ref) &&
	    !ct_expired(ref.flow, ref.word, pkt->now)) {
		enum ct_dir inner = ct_dir_of(ref.word, &w->key);

		ct_count_class(cpu, inner == CT_ORIGINAL ? CT_REPLY : CT_ORIGINAL, CT_CLASS_RELATED,
			       pkt->segs);
		return;
	}
	ct_refuse_new(w, cpu, CT_CLASS_INVALID, CT_PASS_INVALID);
}

static __always_inline void ct_track_in(struct ct_work *w, struct ct_cpu *cpu, int v6)
{
	const struct ct_table table = ct_table_of(v6);
	enum ct_answer answer = CT_AGAIN;
	struct ct_ref ref = {};

	ct_make_key(&w->pkt, &w->key, v6);
	ct_hash_key(&w->key, cfg_hash_seed, table.buckets, v6, &w->hash);
	if (w->pkt.kind == CT_KIND_ERROR) {
		ct_track_error(w, cpu, &table);
		return;
	}
	if (ct_find(&table, &w->key, &w->hash, &ref) && !ct_expired(ref.flow, ref.word, w->pkt.now))
		answer = ct_update(w, cpu, &ref);
	if (answer == CT_AGAIN || answer == CT_REOPEN)
		ct_slow(w, cpu, v6);
}

/* A parsed packet, or the reason why it is none. */
static __always_inline void ct_track(struct ct_work *w, struct ct_cpu *cpu, enum ct_pass parsed,
				     const struct ct_iface *iface)
{
	if (parsed != CT_PARSED && !w->pkt.bytes) {
		ct_count_pass(cpu, parsed, 1);
		return;
	}
	ct_count_packet(cpu, &w->pkt, iface);
	if (parsed == CT_PARSED && w->pkt.kind != CT_KIND_INVALID) {
		if (ct_is_v6(&w->pkt))
			ct_track_in(w, cpu, 1);
		else
			ct_track_in(w, cpu, 0);
		return;
	}
	if (parsed == CT_PARSED)
		parsed = CT_PASS_INVALID;
	ct_refuse_new(w, cpu, parsed == CT_PASS_INVALID ? CT_CLASS_INVALID : CT_CLASS_UNTRACKED,
		      parsed);
}

#endif
