/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet's way: find its flow, step it, count; if there is none, find it a
 * slot and make one.
 *
 * We never drop for our own trouble: whatever goes wrong is counted and passes.
 */
#ifndef CT_PIPELINE_H
#define CT_PIPELINE_H

#include "bring.h"
#include "fragment.h"
#include "health_note.h"
#include "icmp_count.h"
#include "print.h"
#include "ports.h"
#include "steps.h"

#define CT_TRIES 16

/* The way of every packet while there are two tables: where is its flow? */
static __always_inline enum ct_next ct_search(struct ct_work *w, int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	int found;

	if (!ct_other_buckets(v6) || !cpu)
		return CT_DONE;
	found = (w->pkt.kind != CT_KIND_ERROR || w->pkt.returned) && ct_seek(w, v6);
	if (w->pkt.kind == CT_KIND_ERROR) {
		if (found && !w->from_over)
			return ct_relate(w, cpu, w->from_word);
		ct_refuse_new(w, cpu, CT_CLASS_INVALID, CT_PASS_INVALID);
		w->related = 0;
		return CT_REPORT;
	}
	if (!found)
		return ct_due(w, 0, v6) ? CT_JUDGE_NEW : CT_BEGIN;
	w->taken_word = w->from_word;
	w->taken_slot = w->from_slot;
	w->taken_bucket = w->from_bucket;
	if (ct_phase_of(w->from_word) == CT_LIVE && ct_due(w, w->from_word, v6))
		return CT_JUDGE;
	if (!ct_is_other(w->from_bucket, v6))
		return CT_ADVANCE;
	if (ct_phase_of(w->from_word) == CT_LIVE && (w->from_over || !ct_settings.moving))
		return CT_ADVANCE;
	return ct_bring(w, v6) == CT_MOVE_LIVE ? CT_ADVANCE : CT_RETRY;
}

__weak __noinline int ct_search4(struct ct_work *w)
{
	return w ? ct_search(w, 0) : CT_DONE;
}

__weak __noinline int ct_search6(struct ct_work *w)
{
	return w ? ct_search(w, 1) : CT_DONE;
}

/*
 * A packet whose flow left w->from before it was through: the rest is done where that
 * is now. If it has ended there, so be it: the packet came before its end.
 */
static __always_inline enum ct_next ct_follow_up(struct ct_work *w, int v6)
{
	enum ct_moving moved;

	if (!ct_other_buckets(v6))
		return CT_DONE;
	moved = ct_bring(w, v6);
	if (moved == CT_MOVE_GONE)
		return CT_DONE;
	if (moved != CT_MOVE_DONE)
		return CT_LATE;
	if (v6)
		ct_catch_up6(w);
	else
		ct_catch_up4(w);
	return CT_DONE;
}

__weak __noinline int ct_follow_up4(struct ct_work *w)
{
	return w ? ct_follow_up(w, 0) : CT_DONE;
}

__weak __noinline int ct_follow_up6(struct ct_work *w)
{
	return w ? ct_follow_up(w, 1) : CT_DONE;
}

/* The steps of a packet whose flow was found, or is looked for in two tables. */
static __always_inline enum ct_next ct_go_through(struct ct_work *w, int v6, enum ct_next next)
{
	if (next == CT_SEARCH && ct_other_buckets(v6))
		next = v6 ? ct_search6(w) : ct_search4(w);
	if (next == CT_ADVANCE && ct_other_buckets(v6))
		next = v6 ? ct_go_on6(w, ct_any_bucket(w->taken_bucket, 1))
			  : ct_go_on4(w, ct_any_bucket(w->taken_bucket, 0));
	if (next == CT_MACHINE)
		next = v6 ? ct_machine6(w, ct_any_bucket(w->taken_bucket, 1))
			  : ct_machine4(w, ct_any_bucket(w->taken_bucket, 0));
	if (next == CT_DECIDE)
		next = v6 ? ct_decide6(w, ct_any_bucket(w->taken_bucket, 1))
			  : ct_decide4(w, ct_any_bucket(w->taken_bucket, 0));
	if (next == CT_SETTLE)
		next = v6 ? ct_conclude6(w, ct_any_bucket(w->taken_bucket, 1))
			  : ct_conclude4(w, ct_any_bucket(w->taken_bucket, 0));
	if (next == CT_LATE && ct_other_buckets(v6))
		next = v6 ? ct_follow_up6(w) : ct_follow_up4(w);
	return next;
}

/*
 * Once round for an established connection. New flows go on to the other parts;
 * whatever another CPU got in the way of is tried again. A flow another CPU is
 * just creating is waited for in this way; a CPU that stopped in the middle of
 * creating it is not.
 */
static __always_inline enum ct_verdict ct_track_flow(struct ct_work *w, struct ct_cpu *cpu)
{
	int v6 = ct_is_v6(&w->pkt);
	enum ct_next next = CT_RETRY;

	for (int i = 0; i < CT_TRIES; i++) {
		if (cfg_health)
			w->health.due = 0;
		if (next != CT_LATE)
			next = v6 ? ct_follow6(w) : ct_follow4(w);
		if (next == CT_DONE) {
			if (cfg_health && w->health.due)
				ct_health_note(w);
			return CT_VERDICT_PASS;
		}
		if (ct_print_kept() && next != CT_LATE)
			w->frame.syn.moves = 0;
		next = ct_go_through(w, v6, next);
		if (ct_print_kept() && w->frame.syn.moves && next == CT_DONE)
			ct_print_move(w);
		if (w->limit.shaken)
			ct_limit_shaken(w);
		if (cfg_health && w->health.due && next == CT_DONE)
			ct_health_note(w);
		if (next == CT_BEGIN)
			next = v6 ? ct_begin6(w) : ct_begin4(w);
		if (next == CT_CREATE)
			next = v6 ? ct_create6(w) : ct_create4(w);
		if (next == CT_START && ct_print_kept())
			ct_print_begin(w);
		if (next == CT_START)
			next = v6 ? ct_start6(w) : ct_start4(w);
		if (next == CT_PUBLISH) {
			w->begun = 0;
			next = v6 ? ct_announce6(w) : ct_announce4(w);
			if (ct_port_is_due(w))
				ct_port_reached(w);
		}
		if (next == CT_REPORT)
			next = ct_icmp_record(w);
		if (next == CT_DONE)
			return CT_VERDICT_PASS;
		if (next == CT_LIMIT && ct_limit(w) == CT_VERDICT_DROP)
			return CT_VERDICT_DROP;
		if (next < CT_JUDGE)
			continue;
		if (v6 ? ct_judge6(w, next == CT_JUDGE) : ct_judge4(w, next == CT_JUDGE))
			return CT_VERDICT_DROP;
	}
	if (next != CT_LATE)
		ct_refuse_new(w, cpu, CT_CLASS_UNTRACKED, CT_PASS_BUSY);
	return CT_VERDICT_PASS;
}

/* What nf_conntrack cannot read a tuple from is INVALID to it, too. */
static __always_inline enum ct_class ct_class_of_pass(enum ct_pass pass)
{
	return pass == CT_PASS_INVALID || pass == CT_PASS_TRUNCATED || pass == CT_PASS_CHECKSUM
		       ? CT_CLASS_INVALID
		       : CT_CLASS_UNTRACKED;
}

/* An IP packet that is parsed, or the reason why it could not be. */
static __always_inline enum ct_verdict ct_track_ip(struct ct_work *w, struct ct_cpu *cpu,
						   enum ct_pass parsed)
{
	if (parsed == CT_PARSED && w->pkt.kind != CT_KIND_INVALID)
		return ct_track_flow(w, cpu);
	if (parsed == CT_PARSED)
		parsed = CT_PASS_INVALID;
	ct_refuse_new(w, cpu, ct_class_of_pass(parsed), parsed);
	return CT_VERDICT_PASS;
}

/* A parsed packet, or the reason why it is none. */
static __always_inline enum ct_verdict ct_track(struct ct_work *w, struct ct_cpu *cpu,
						enum ct_pass parsed, const struct ct_iface *iface,
						int egress)
{
	enum ct_verdict verdict;

	if (parsed != CT_PARSED && !w->pkt.bytes) {
		ct_count_pass(cpu, parsed, 1);
		return CT_VERDICT_PASS;
	}
	ct_count_packet(cpu, w->cpu, &w->pkt, iface);
	if (w->pkt.icmp)
		ct_icmp_count(w);
	ct_ask_begin(&w->ask, egress);
	w->limit.asked = 0;
	w->limit.shaken = 0;
	if (ct_stray_dropped(w, parsed))
		return CT_VERDICT_DROP;
	if (parsed == CT_PARSED && w->pkt.kind == CT_KIND_FLOW && ct_hint_dropped(w))
		return CT_VERDICT_DROP;
	ct_as_whole(&w->pkt, &w->frame);
	if (w->frame.fragmented && !ct_frag_begin(w))
		return ct_frag_leave(w);
	verdict = ct_track_ip(w, cpu, parsed);
	if (w->frame.fragmented)
		ct_frag_end(w);
	if (cfg_prints && verdict == CT_VERDICT_PASS && (w->pkt.tcp_flags & CT_TCP_SYN))
		ct_print(w);
	return verdict;
}

#endif
