/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a TCP connection is doing: it is noted in the flow's entry of ct_side. What each
 * number means, and what it cannot tell, is in docs/manual.md.
 *
 * Races: two CPUs may note for one flow. Counts are atomic adds. The rest is one
 * direction's, whose packets are one CPU's but for moments, or written once: of two that
 * write at once either may stay.
 */
#ifndef CT_HEALTH_NOTE_H
#define CT_HEALTH_NOTE_H

#include "health_gap.h"
#include "health_sum.h"
#include "side.h"

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

static __always_inline void ct_health_window(struct ct_work *w, struct ct_side *side, __u32 dir,
					     __u64 now)
{
	struct ct_health_end *end = &side->health.end[dir];
	__u32 closed = 1U << (CT_SIDE_ZERO_SHIFT + dir), win = w->health.win;

	/* Over: no segment would tell that it opens again. */
	if (side->flags & CT_SIDE_ENDED)
		return;
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
