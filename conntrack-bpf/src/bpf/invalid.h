/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Telling of packets that are no valid ones of any flow, one in a while. */
#ifndef CT_INVALID_H
#define CT_INVALID_H

#include "events.h"
#include "work.h"

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

#endif
