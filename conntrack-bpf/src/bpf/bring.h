/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A flow of the other table is wanted here: its move, and what came late. */
#ifndef CT_BRING_H
#define CT_BRING_H

#include "move.h"

/*
 * Moves the flow of w->key from w->from, or finishes what somebody else has begun;
 * CT_MOVE_LIVE: there is no room, and it is as it was.
 */
static __always_inline enum ct_moving ct_bring(struct ct_work *w, int v6)
{
	enum ct_moving done;
	enum ct_claimed room;

	if (v6)
		done = ct_help6(w, ct_any_bucket(w->from_bucket, 1));
	else
		done = ct_help4(w, ct_any_bucket(w->from_bucket, 0));
	if (done == CT_MOVE_GONE || done == CT_MOVE_DONE)
		return done;
	w->pick.keep = 1;
	room = v6 ? ct_room6(w) : ct_room4(w);
	if (room == CT_CLAIM_FULL)
		return done;
	if (room == CT_CLAIM_AGAIN)
		return CT_MOVE_BEGUN;
	if (v6)
		return ct_move6(w, ct_any_bucket(w->from_bucket, 1)) ? CT_MOVE_DONE : CT_MOVE_GONE;
	return ct_move4(w, ct_any_bucket(w->from_bucket, 0)) ? CT_MOVE_DONE : CT_MOVE_GONE;
}

/* What a packet that came late has stored there, stored here; see ct_settle(). */
static __always_inline void ct_catch_up(struct ct_work *w, int v6)
{
	enum ct_dir dir = w->late_dir & 1;
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};

	if (!ct_other_buckets(v6) || !cpu || !ct_take_over(w, v6, &ref))
		return;
	if (w->late != CT_IGNORE && w->late != CT_REFUSE)
		ct_touch(ref.flow, w->pkt.now);
	if (w->pkt.kind == CT_KIND_FRAGMENT)
		ct_extend(w, ref.flow, ref.word, dir);
	else if (w->pkt.proto == IPPROTO_TCP)
		ct_tcp_apply(ref.flow, dir, &w->pkt, &w->fx);
	if (w->late == CT_REFUSE && w->fx.mismatch)
		ct_tcp_mismatch(ref.flow, ref.word, dir, &w->pkt);
	if (w->pkt.proto == IPPROTO_SCTP && w->pkt.kind != CT_KIND_FRAGMENT) {
		ref.flow->tcp[CT_ORIGINAL].seq = w->sctp.tag[CT_ORIGINAL];
		ref.flow->tcp[CT_REPLY].seq = w->sctp.tag[CT_REPLY];
	}
	if (w->late == CT_END)
		ct_end(w, &ref, cpu, v6);
	else if ((w->after ^ w->before) & CT_W_NOTABLE)
		ct_tell(&w->event, &ref, v6,
			(w->after & CT_W_FLOWS) | (ref.word & (CT_W_GEN | CT_W_PHASE)),
			CT_EVENT_UPDATE, 0);
}

__weak __noinline int ct_catch_up4(struct ct_work *w)
{
	if (w)
		ct_catch_up(w, 0);
	return 0;
}

__weak __noinline int ct_catch_up6(struct ct_work *w)
{
	if (w)
		ct_catch_up(w, 1);
	return 0;
}

#endif
