/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Data that does not come in order: what was sent again, and what was overtaken. A part of
 * health_note.h, and under its rules.
 */
#ifndef CT_HEALTH_GAP_H
#define CT_HEALTH_GAP_H

#include "health.h"

/* A gap that is filled so soon was left by a packet that another has overtaken. */
#define CT_HEALTH_SOON_NS 3000000

/* Units of 1,024 ns. */
static __always_inline __u32 ct_health_units(__u64 now)
{
	return now >> 10;
}

/* How long after a gap was left a segment that fills it can have been sent again. */
static __always_inline __u64 ct_health_soon(const struct ct_health *health)
{
	__u64 rtt[CT_DIRS], whole;

	/* Delayed ACKs are in the one, and a slow start of an end in the other. */
	for (int dir = 0; dir < CT_DIRS; dir++) {
		__u32 srtt = health->end[dir].srtt, shaken = health->rtt[dir];

		rtt[dir] = srtt && (!shaken || srtt < shaken) ? srtt : shaken;
	}
	whole = rtt[CT_ORIGINAL] && rtt[CT_REPLY] ? rtt[CT_ORIGINAL] + rtt[CT_REPLY] : 0;
	/* Half: the handshake may have been slower than what comes after it. */
	whole /= 2;
	return whole > CT_HEALTH_SOON_NS ? whole : CT_HEALTH_SOON_NS;
}

/* Where a gap is remembered: where there is none, or in the place of another. */
static __always_inline struct ct_hole *ct_health_hole(struct ct_health *health)
{
	__u32 at = ct_index(health->hole_next, CT_HOLES);

	for (int i = 0; i < CT_HOLES; i++)
		if (health->holes[i].from == health->holes[i].to)
			return &health->holes[i];
	health->hole_next = at + 1 < CT_HOLES ? at + 1 : 0;
	return &health->holes[at];
}

/* A segment in the middle of a gap leaves two, or the larger of them if all are in use. */
static __always_inline void ct_health_split(struct ct_health *health, struct ct_hole *hole,
					    __u32 seq, __u32 end)
{
	__u32 to = hole->to;

	for (int i = 0; i < CT_HOLES; i++) {
		struct ct_hole *upper = &health->holes[i];

		if (upper->from != upper->to)
			continue;
		upper->from = end;
		upper->to = to;
		upper->time = hole->time;
		hole->to = seq;
		return;
	}
	if (to - end > seq - hole->from)
		hole->from = end;
	else
		hole->to = seq;
}

/*
 * Takes what a segment carries out of the gap it begins in. Returns when that gap was left,
 * in units and with the direction in the lowest bit; 0: it is in none that is known.
 */
static __always_inline __u32 ct_health_fill(struct ct_health *health, __u32 seq, __u32 end,
					    __u32 dir)
{
	for (int i = 0; i < CT_HOLES; i++) {
		struct ct_hole *hole = &health->holes[i];

		if (hole->from == hole->to || (hole->time & 1) != dir ||
		    ct_before(seq, hole->from) || !ct_before(seq, hole->to))
			continue;
		if (seq == hole->from)
			hole->from = ct_before(end, hole->to) ? end : hole->to;
		else if (ct_before(end, hole->to))
			ct_health_split(health, hole, seq, end);
		else
			hole->to = seq;
		return hole->time;
	}
	return 0;
}

/* Data beyond what came last: something is missing, so far. */
static __always_inline void ct_health_jump(const struct ct_work *w, struct ct_health *health,
					   __u32 dir, __u64 now)
{
	struct ct_hole *hole = ct_health_hole(health);

	hole->from = w->health.end;
	hole->to = w->pkt.seq;
	hole->time = (ct_health_units(now) & ~1U) | dir;
}

/*
 * Data that does not begin where its sender's last ended. What fills a gap sooner than it
 * can have been sent again was overtaken; all other data that is not new was sent again,
 * but for the one byte of a keep-alive.
 */
static __always_inline void ct_health_gap(struct ct_work *w, struct ct_health *health, __u32 dir,
					  __u64 now)
{
	struct ct_health_end *end = &health->end[dir];
	__u32 seq = w->pkt.seq, payload = w->pkt.payload, segs = w->pkt.segs;
	__u32 below = w->health.end - seq, filled;

	if ((__s32)below < 0) {
		ct_health_jump(w, health, dir, now);
		return;
	}
	if (payload == 1 && below == 1)
		return;
	filled = ct_health_fill(health, seq, seq + payload, dir);
	if (below < payload) {
		segs = ((__u64)below * segs + payload - 1) / payload;
		payload = below;
	}
	if (filled &&
	    (__u64)(ct_health_units(now) - (filled & ~1U)) << 10 < ct_health_soon(health)) {
		__sync_fetch_and_add(&end->reordered, segs);
		return;
	}
	__sync_fetch_and_add(&end->retrans, segs);
	__sync_fetch_and_add(&end->retrans_bytes, payload);
	w->health.sum.retrans = segs;
}

#endif
