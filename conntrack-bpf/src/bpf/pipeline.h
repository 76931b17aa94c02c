/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet's way: find its flow, step it, count; if there is none, find it a
 * slot and make one.
 *
 * We never drop for our own trouble: whatever goes wrong is counted and passes.
 */
#ifndef CT_PIPELINE_H
#define CT_PIPELINE_H

#include "create.h"
#include "fragment.h"

#define CT_TRIES 16

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

__weak __noinline int ct_sctp_judge(struct ct_work *w)
{
	return w ? ct_sctp_run(&w->sctp, &w->pkt, 0) : CT_REFUSE;
}

/* A further SCTP packet of a flow. */
static __always_inline void ct_sctp_step(struct ct_work *w, struct ct_flow *flow, __u64 word,
					 enum ct_dir dir)
{
	struct ct_sctp *s = &w->sctp;

	s->word = word;
	s->tag[CT_ORIGINAL] = flow->tcp[CT_ORIGINAL].seq;
	s->tag[CT_REPLY] = flow->tcp[CT_REPLY].seq;
	s->dir = dir;
	s->ignore = 0;
	w->fx.answer = ct_sctp_judge(w);
	w->fx.word = s->word;
	if (flow->tcp[CT_ORIGINAL].seq != s->tag[CT_ORIGINAL])
		flow->tcp[CT_ORIGINAL].seq = s->tag[CT_ORIGINAL];
	if (flow->tcp[CT_REPLY].seq != s->tag[CT_REPLY])
		flow->tcp[CT_REPLY].seq = s->tag[CT_REPLY];
}

/* A segment that opens, closes, resets, or does not fit: in three parts. */
static __always_inline enum ct_next ct_machine(struct ct_work *w, int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};
	enum ct_dir dir;

	if (!cpu || !ct_take_over(w, v6, &ref))
		return CT_DONE;
	ct_effect_begin(&w->fx);
	dir = ct_forget(&w->fx, ct_dir_of(ref.word, &w->key)) & 1;
	if (w->pkt.proto == IPPROTO_SCTP) {
		ct_sctp_step(w, ref.flow, ref.word, dir);
		return CT_SETTLE;
	}
	if (ct_tcp_step(ref.flow, ref.word, dir, &w->pkt, &w->fx))
		return CT_DECIDE;
	if (w->fx.answer == CT_REOPEN)
		return ct_renew(w, cpu, &ref, v6, CT_GONE_REPLACED);
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
	answer = ct_settle(w, cpu, &ref, v6, dir, answer, w->fx.word);
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
	ct_raise(&sender->end, end);
	sender->bits |= CT_END_UNACKED;
	if ((word & CT_W_TMO) >> CT_W_TMO_SHIFT == full &&
	    ct_timeout_of(word) > ct_settings.timeout_ns[CT_TMO_TCP_UNACK])
		word = ct_word_with(word, ct_word_state(word), CT_TMO_TCP_UNACK);
	return word;
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
		return ct_renew(w, cpu, &ref, v6, ct_expiry(ref.flow, ref.word));
	dir = ct_dir_of(ref.word, &w->key);
	word = ref.word;
	ct_effect_begin(&w->fx);
	if (w->pkt.proto == IPPROTO_SCTP && w->pkt.kind != CT_KIND_FRAGMENT)
		return ct_hand_on(w, &ref, CT_MACHINE);
	if (w->pkt.kind == CT_KIND_FRAGMENT)
		word = ct_extend(w, ref.flow, word, dir);
	else if (w->pkt.proto != IPPROTO_TCP)
		word = ct_step(ref.flow, ref.word, dir, &w->pkt);
	else if (!ct_tcp_fast(ref.flow, &word, dir, &w->pkt, &w->fx))
		return ct_hand_on(w, &ref, CT_MACHINE);
	if (ct_settle(w, cpu, &ref, v6, dir, CT_ACCEPT, word) == CT_AGAIN)
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

/* What nf_conntrack cannot read a tuple from is INVALID to it, too. */
static __always_inline enum ct_class ct_class_of_pass(enum ct_pass pass)
{
	return pass == CT_PASS_INVALID || pass == CT_PASS_TRUNCATED || pass == CT_PASS_CHECKSUM
		       ? CT_CLASS_INVALID
		       : CT_CLASS_UNTRACKED;
}

/* What the interfaces count is on the wire; what flows count is put together. */
static __always_inline void ct_as_whole(struct ct_pkt *pkt, const struct ct_frame *f)
{
	if (pkt->kind == CT_KIND_FRAGMENT) {
		pkt->segs = 0;
		pkt->bytes = pkt->payload;
	} else {
		pkt->bytes -= f->frag_headers;
	}
}

/* An IP packet that is parsed, or the reason why it could not be. */
static __always_inline void ct_track_ip(struct ct_work *w, struct ct_cpu *cpu, enum ct_pass parsed)
{
	if (parsed == CT_PARSED && w->pkt.kind != CT_KIND_INVALID) {
		ct_track_flow(w, cpu);
		return;
	}
	if (parsed == CT_PARSED)
		parsed = CT_PASS_INVALID;
	ct_refuse_new(w, cpu, ct_class_of_pass(parsed), parsed);
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
	ct_as_whole(&w->pkt, &w->frame);
	if (w->frame.fragmented && !ct_frag_begin(w))
		return;
	ct_track_ip(w, cpu, parsed);
	if (w->frame.fragmented)
		ct_frag_end(w);
}

#endif
