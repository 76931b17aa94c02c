/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a TCP connection is doing: it is noted in the flow's entry of ct_side. What each
 * number means, and what it cannot tell, is in README.md.
 *
 * Races: two CPUs may note for one flow. Counts are atomic adds. The rest is one
 * direction's, whose packets are one CPU's but for moments, or written once: of two that
 * write at once either may stay.
 */
#ifndef CT_HEALTH_NOTE_H
#define CT_HEALTH_NOTE_H

#include "health.h"
#include "health_sum.h"
#include "side.h"

/* A gap that is filled so soon was left by a packet that another has overtaken. */
#define CT_HEALTH_SOON_NS 3000000

/* An echo that takes longer, four seconds in units of 1,024 ns, is none. */
#define CT_HEALTH_LOST (1U << 22)

/* A time in 32 bits: what is longer is as long as they tell. */
static __always_inline __u32 ct_health_ns(__u64 from, __u64 to)
{
	__u64 ns = to - from;

	if ((__s64)ns < 1)
		return 1;
	return ns > 0xffffffff ? 0xffffffff : ns;
}

static __always_inline __u32 ct_health_ms(__u64 now)
{
	return now / 1000000;
}

/* Units of 1,024 ns. */
static __always_inline __u32 ct_health_units(__u64 now)
{
	return now >> 10;
}

static __always_inline void ct_health_shaken(struct ct_work *w, struct ct_side *side, __u64 now)
{
	__sync_fetch_and_or(&side->flags, CT_SIDE_SHAKEN);
	w->health.sum.flows = 1;
	if (!(cfg_health & CT_HEALTH_RTT) || !w->health.once)
		return;
	side->health.rtt[CT_ORIGINAL] = ct_health_ns(w->health.start, w->health.seen);
	side->health.rtt[CT_REPLY] = ct_health_ns(w->health.seen, now);
	w->health.sum.rtt = 1 + ct_bucket_of(ct_health_ns(w->health.start, now) >> 10);
}

/* How long after a gap was left a segment that fills it can have been sent again. */
static __always_inline __u64 ct_health_soon(const struct ct_health *health)
{
	__u64 rtt[CT_DIRS], whole;

	for (int dir = 0; dir < CT_DIRS; dir++)
		rtt[dir] = health->end[dir].srtt ? health->end[dir].srtt : health->rtt[dir];
	whole = rtt[CT_ORIGINAL] && rtt[CT_REPLY] ? rtt[CT_ORIGINAL] + rtt[CT_REPLY] : 0;
	/* Half: the handshake may have been slower than what comes after it. */
	whole /= 2;
	return whole > CT_HEALTH_SOON_NS ? whole : CT_HEALTH_SOON_NS;
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
		if (seq != hole->from)
			hole->to = seq;
		else
			hole->from = ct_before(end, hole->to) ? end : hole->to;
		return hole->time;
	}
	return 0;
}

/* Data beyond what came last: something is missing, so far. */
static __always_inline void ct_health_jump(const struct ct_work *w, struct ct_health *health,
					   __u32 dir, __u64 now)
{
	struct ct_hole *hole = &health->holes[ct_index(health->hole_next, CT_HOLES)];

	hole->from = w->health.end;
	hole->to = w->pkt.seq;
	hole->time = (ct_health_units(now) & ~1U) | dir;
	health->hole_next = health->hole_next + 1 < CT_HOLES ? health->hole_next + 1 : 0;
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

static __always_inline void ct_health_window(struct ct_work *w, struct ct_side *side, __u32 dir,
					     __u64 now)
{
	struct ct_health_end *end = &side->health.end[dir];
	__u32 closed = 1U << (CT_SIDE_ZERO_SHIFT + dir), win = w->health.win;

	if (!w->pkt.window) {
		if (!(__sync_fetch_and_or(&side->flags, closed) & closed)) {
			w->health.sum.zeros = 1;
			__sync_fetch_and_add(&end->zeros, 1);
			__sync_fetch_and_add(&end->zero_ms, -ct_health_ms(now));
		}
		return;
	}
	if ((side->flags & closed) && (__sync_fetch_and_and(&side->flags, ~closed) & closed))
		__sync_fetch_and_add(&end->zero_ms, ct_health_ms(now));
	if (win < w->health.maxwin / 2 && (!end->win_min || win < end->win_min))
		end->win_min = win;
}

/* RFC 7323: the first segment with data that has a timestamp, and the first echo of it. */
static __always_inline void ct_health_time(const struct ct_work *w, struct ct_health *health,
					   __u32 dir, __u64 now)
{
	struct ct_health_end *own = &health->end[dir], *other = &health->end[!dir];
	__u32 units = ct_health_units(now), since = other->ts_time;

	if (since && w->pkt.ts_ecr == other->ts_val) {
		__u64 rtt = (__u64)(units - since) << 10;

		other->ts_time = 0;
		if (units - since < CT_HEALTH_LOST)
			other->srtt = other->srtt ? other->srtt - other->srtt / 8 + (__u32)rtt / 8
						  : (__u32)rtt | 1;
	}
	/* An ACK echoes the first of those it acknowledges: this one will not be echoed any more. */
	if (since && ct_after(w->pkt.ts_ecr, other->ts_val))
		other->ts_time = 0;
	if (!ct_health_timed(w->pkt.ts_val) || w->pkt.ts_val == own->ts_last)
		return;
	own->ts_last = w->pkt.ts_val;
	/* One at a time, unless its echo has got lost. */
	if (!w->pkt.payload || (own->ts_time && units - own->ts_time < CT_HEALTH_LOST))
		return;
	own->ts_val = w->pkt.ts_val;
	own->ts_time = units ? units : 1;
}

static __always_inline void ct_health_byte(const struct ct_work *w, struct ct_side *side, __u64 now)
{
	__u64 us = (now - w->health.start) / 1000;

	if (!(side->flags & CT_SIDE_SHAKEN) || side->health.first_byte)
		return;
	side->health.first_byte = us > 0xffffffff ? 0xffffffff : us ? us : 1;
}

/* The connection is over: with it the time that windows are closed. */
static __always_inline void ct_health_end(struct ct_work *w, struct ct_side *side)
{
	__u64 now = w->pkt.now, lasted = now - w->health.start;

	if (__sync_fetch_and_or(&side->flags, CT_SIDE_ENDED) & CT_SIDE_ENDED)
		return;
	side->health.ended = now;
	lasted = (__s64)lasted < 0 ? 0 : lasted >> 20;
	w->health.sum.duration = 1 + ct_bucket_of(lasted > 0xffffffff ? 0xffffffff : lasted);
	for (int dir = 0; dir < CT_DIRS; dir++) {
		__u32 closed = 1U << (CT_SIDE_ZERO_SHIFT + dir);

		if (__sync_fetch_and_and(&side->flags, ~closed) & closed)
			__sync_fetch_and_add(&side->health.end[dir].zero_ms, ct_health_ms(now));
	}
}

/* A FIN or a RST; its time is precise. */
static __always_inline void ct_health_close(struct ct_work *w, struct ct_side *side, __u32 dir)
{
	const __u32 both = 3U << CT_SIDE_FIN_SHIFT;
	__u32 bit = w->health.due & CT_DUE_RST ? CT_SIDE_RST_SHIFT : CT_SIDE_FIN_SHIFT;
	__u32 was = __sync_fetch_and_or(&side->flags, 1U << (bit + dir));

	if ((w->health.due & CT_DUE_RST) && !(was & 1U << (bit + dir)))
		w->health.sum.resets = 1;
	if ((w->health.due & CT_DUE_RST) || ((was | 1U << (bit + dir)) & both) == both)
		ct_health_end(w, side);
}

/* What is due of data, ACKs and timestamps. */
__weak __noinline int ct_health_flow(struct ct_work *w, struct ct_side *side)
{
	__u32 dir, due;
	__u64 now;

	if (!w || !side)
		return 0;
	dir = w->health.dir & 1;
	due = w->health.due;
	now = ct_now();
	if (due & CT_DUE_SHAKEN)
		ct_health_shaken(w, side, now);
	if ((cfg_health & CT_HEALTH_RTT) && (due & CT_DUE_TIME))
		ct_health_time(w, &side->health, dir, now);
	if ((cfg_health & CT_HEALTH_RTT) && (due & CT_DUE_BYTE))
		ct_health_byte(w, side, now);
	if ((cfg_health & CT_HEALTH_WINDOW) && (due & CT_DUE_WINDOW))
		ct_health_window(w, side, dir, now);
	return 0;
}

/* What is due of segments that are not new, and of the connection's end. */
__weak __noinline int ct_health_loss(struct ct_work *w, struct ct_side *side)
{
	__u32 dir, due;

	if (!w || !side)
		return 0;
	dir = w->health.dir & 1;
	due = w->health.due;
	if ((cfg_health & CT_HEALTH_LOSS) && (due & CT_DUE_GAP))
		ct_health_gap(w, &side->health, dir, ct_now());
	if ((cfg_health & CT_HEALTH_LOSS) && (due & CT_DUE_AGAIN)) {
		__sync_fetch_and_add(&side->health.end[dir].retrans, 1);
		w->health.sum.retrans = 1;
	}
	if ((cfg_health & CT_HEALTH_LOSS) && (due & CT_DUE_ACK))
		__sync_fetch_and_add(&side->health.end[dir].dup_acks, w->pkt.segs);
	if (due & (CT_DUE_FIN | CT_DUE_RST))
		ct_health_close(w, side, dir);
	return 0;
}

/* After the step of a packet: notes what is due. */
__weak __noinline int ct_health_note(struct ct_work *w)
{
	const __u32 loss = CT_DUE_GAP | CT_DUE_AGAIN | CT_DUE_ACK | CT_DUE_FIN | CT_DUE_RST;
	struct ct_side *side;
	int through;

	if (!w || !cfg_health)
		return 0;
	__builtin_memset(&w->health.sum, 0, sizeof(w->health.sum));
	through = (w->health.due & CT_DUE_SHAKEN) || (w->health.word & CT_W_ASSURED);
	ct_side_begin(w, w->health.start, through);
	if (!ct_side_take(w))
		return 0;
	side = ct_side_of(w);
	if (!side)
		return 0;
	if (through && !(side->flags & CT_SIDE_THROUGH))
		__sync_fetch_and_or(&side->flags, CT_SIDE_THROUGH);
	if (w->health.due & ~loss)
		ct_health_flow(w, side);
	if (w->health.due & loss)
		ct_health_loss(w, side);
	if (!(side->flags & CT_SIDE_SHAKEN) || !ct_sum_any(&w->health.sum))
		return 0;
	ct_health_add(w, CT_SERVICE_PORT);
	ct_health_add(w, CT_SERVICE_IFACE);
	return 0;
}

#endif
