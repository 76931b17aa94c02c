/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet of a flow that is there, step by step. Mostly that is ct_follow() alone.
 * The steps behind it are handed the bucket, which may be one of either table.
 */
#ifndef CT_STEPS_H
#define CT_STEPS_H

#include "create.h"
#include "health.h"
#include "print.h"

/*
 * An ICMP error belongs to the flow of the packet inside it, turned round, if
 * it goes to whoever sent that packet. It counts for nothing but its class.
 */
static __always_inline enum ct_next ct_relate(struct ct_work *w, struct ct_cpu *cpu, __u64 word)
{
	/* Where both directions have one tuple that of the answers is met first. */
	int reply = ct_dir_of(word, &w->key) == CT_ORIGINAL || ct_one_tuple(&w->pkt, &w->key);

	ct_count_class(cpu, reply ? CT_REPLY : CT_ORIGINAL, CT_CLASS_RELATED, w->pkt.segs);
	w->related = 1;
	return CT_REPORT;
}

static __always_inline enum ct_next ct_track_error(struct ct_work *w, struct ct_cpu *cpu,
						   const struct ct_table *table)
{
	struct ct_pkt *pkt = &w->pkt;
	struct ct_ref ref = {};

	if (pkt->returned && ct_find(table, &w->key, &w->hash, &ref) &&
	    !ct_expired(ref.flow, ref.word, pkt->now))
		return ct_relate(w, cpu, ref.word);
	ct_refuse_new(w, cpu, CT_CLASS_INVALID, CT_PASS_INVALID);
	w->related = 0;
	return CT_REPORT;
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

/* What comes after a flow was settled. */
static __always_inline enum ct_next ct_next_after(enum ct_answer answer)
{
	if (answer == CT_AGAIN)
		return CT_RETRY;
	return answer == CT_ABSENT ? CT_LATE : CT_DONE;
}

/* A segment that opens, closes, resets, or does not fit: in three parts. */
static __always_inline enum ct_next ct_machine(struct ct_work *w, struct ct_bucket_head *head,
					       int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};
	enum ct_dir dir;

	if (!cpu)
		return CT_DONE;
	ct_take_in(w, head, v6, &ref);
	ct_effect_begin(&w->fx);
	dir = ct_forget(&w->fx, ct_dir_of(ref.word, &w->key)) & 1;
	if (w->pkt.proto == IPPROTO_SCTP) {
		ct_sctp_step(w, ref.flow, ref.word, dir);
		return CT_SETTLE;
	}
	if (ct_tcp_step(ref.flow, ref.word, dir, &w->pkt, &w->fx))
		return CT_DECIDE;
	if (w->fx.answer == CT_REOPEN)
		return ct_renew(w, cpu, &ref, v6, CT_GONE_REPLACED,
				ct_is_other(w->taken_bucket, v6));
	return CT_SETTLE;
}

static __always_inline enum ct_next ct_decide(struct ct_work *w, struct ct_bucket_head *head,
					      int v6)
{
	struct ct_ref ref = {};
	enum ct_dir dir;

	ct_take_in(w, head, v6, &ref);
	dir = ct_forget(&w->fx, ct_dir_of(ref.word, &w->key)) & 1;
	ct_tcp_decide(ref.flow, ref.word, dir, &w->pkt, &w->fx);
	return CT_SETTLE;
}

static __always_inline enum ct_next ct_conclude(struct ct_work *w, struct ct_bucket_head *head,
						int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	enum ct_answer answer = w->fx.answer;
	__u64 before = w->taken_word;
	struct ct_ref ref = {};
	enum ct_dir dir;

	if (!cpu)
		return CT_DONE;
	ct_take_in(w, head, v6, &ref);
	dir = ct_forget(&w->fx, ct_dir_of(ref.word, &w->key)) & 1;
	if (dir == CT_REPLY && answer <= CT_IGNORE)
		w->fx.word |= CT_W_SEEN_REPLY;
	if (cfg_health && w->pkt.proto == IPPROTO_TCP)
		ct_health_step(w, ref.flow, dir);
	ct_print_taken(w, ref.flow, dir, answer);
	answer = ct_settle(w, cpu, &ref, v6, dir, answer, w->fx.word,
			   ct_other_buckets(v6) &&
				   ct_forget(&w->fx, ct_is_other(w->taken_bucket, v6)));
	if ((ref.word ^ before) & CT_W_TMO)
		ct_due_by(ref.head, w->pkt.now + ct_timeout_of(ref.word));
	if (answer == CT_ACCEPT)
		ct_limit_settled(w, ref.flow, dir, before, ref.word);
	return ct_next_after(answer);
}

__weak __noinline int ct_machine4(struct ct_work *w, struct ct_bucket4 *bucket)
{
	return w && bucket ? ct_machine(w, &bucket->head, 0) : CT_DONE;
}

__weak __noinline int ct_machine6(struct ct_work *w, struct ct_bucket6 *bucket)
{
	return w && bucket ? ct_machine(w, &bucket->head, 1) : CT_DONE;
}

__weak __noinline int ct_decide4(struct ct_work *w, struct ct_bucket4 *bucket)
{
	return w && bucket ? ct_decide(w, &bucket->head, 0) : CT_DONE;
}

__weak __noinline int ct_decide6(struct ct_work *w, struct ct_bucket6 *bucket)
{
	return w && bucket ? ct_decide(w, &bucket->head, 1) : CT_DONE;
}

__weak __noinline int ct_conclude4(struct ct_work *w, struct ct_bucket4 *bucket)
{
	return w && bucket ? ct_conclude(w, &bucket->head, 0) : CT_DONE;
}

__weak __noinline int ct_conclude6(struct ct_work *w, struct ct_bucket6 *bucket)
{
	return w && bucket ? ct_conclude(w, &bucket->head, 1) : CT_DONE;
}

/* A further packet of the flow that was found. */
static __always_inline enum ct_next ct_advance(struct ct_work *w, struct ct_cpu *cpu,
					       struct ct_ref *ref, int v6, int other)
{
	enum ct_dir dir;
	__u64 word;

	if (ct_expired(ref->flow, ref->word, w->pkt.now))
		return ct_renew(w, cpu, ref, v6, ct_expiry(ref->flow, ref->word), other);
	dir = ct_dir_of(ref->word, &w->key);
	word = ref->word;
	ct_effect_begin(&w->fx);
	if (w->pkt.proto == IPPROTO_SCTP && w->pkt.kind != CT_KIND_FRAGMENT)
		return ct_hand_on(w, ref, CT_MACHINE);
	if (w->pkt.kind == CT_KIND_FRAGMENT)
		word = ct_extend(w, ref->flow, word, dir);
	else if (w->pkt.proto != IPPROTO_TCP)
		word = ct_step(ref->flow, ref->word, dir, &w->pkt);
	else if (!ct_tcp_fast(ref->flow, &word, dir, &w->pkt, &w->fx))
		return ct_hand_on(w, ref, CT_MACHINE);
	else if (cfg_health & ~CT_HEALTH_ON)
		word |= ct_health_look(w, ref->flow, dir);
	return ct_next_after(ct_settle(w, cpu, ref, v6, dir, CT_ACCEPT, word, other));
}

/* The way of nearly every packet: find its flow, step it, count. */
static __always_inline enum ct_next ct_follow(struct ct_work *w, int v6)
{
	const struct ct_table table = ct_table_of(v6);
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};

	if (!cpu)
		return CT_DONE;
	ct_make_key(&w->pkt, &w->key, v6);
	ct_hash_key(&w->key, cfg_hash_seed, table.buckets, v6, &w->hash);
	if (ct_other_buckets(v6))
		return CT_SEARCH;
	if (w->pkt.kind == CT_KIND_ERROR)
		return ct_track_error(w, cpu, &table);
	if (!ct_find(&table, &w->key, &w->hash, &ref))
		return ct_due(w, 0, v6) ? CT_JUDGE_NEW : CT_BEGIN;
	if (ct_due(w, ref.word, v6))
		return ct_hand_on(w, &ref, CT_JUDGE);
	return ct_advance(w, cpu, &ref, v6, 0);
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
 * The second half of it where there are two tables: for a flow of either, so that the
 * verifier walks through it once.
 */
static __always_inline enum ct_next ct_go_on(struct ct_work *w, struct ct_bucket_head *head, int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};

	if (!ct_other_buckets(v6) || !cpu)
		return CT_DONE;
	ct_take_in(w, head, v6, &ref);
	return ct_advance(w, cpu, &ref, v6, ct_forget(&w->fx, ct_is_other(w->taken_bucket, v6)));
}

__weak __noinline int ct_go_on4(struct ct_work *w, struct ct_bucket4 *bucket)
{
	return w && bucket ? ct_go_on(w, &bucket->head, 0) : CT_DONE;
}

__weak __noinline int ct_go_on6(struct ct_work *w, struct ct_bucket6 *bucket)
{
	return w && bucket ? ct_go_on(w, &bucket->head, 1) : CT_DONE;
}

#endif
