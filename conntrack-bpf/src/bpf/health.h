/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a TCP connection is doing: what there is to note. That is told before a segment
 * changes its flow, from what its step has at hand anyway, and noted once the step has
 * returned (health_note.h), so that their stacks do not add up. Most segments give nothing
 * to note; what is switched off is not asked for.
 */
#ifndef CT_HEALTH_H
#define CT_HEALTH_H

#include "flow.h"
#include "tcp_reset.h"
#include "tcp_window.h"
#include "work.h"

/* What there is to note: bits of ct_health_ask.due. */
#define CT_DUE_SHAKEN 1	  /* the handshake has come through */
#define CT_DUE_AGAIN  2	  /* a SYN or a FIN came again */
#define CT_DUE_GAP    4	  /* data, but not what comes next */
#define CT_DUE_ACK    8	  /* a duplicate ACK */
#define CT_DUE_WINDOW 16  /* it is closed, or was, or has shrunk */
#define CT_DUE_TIME   32  /* a timestamp, or its echo, of those that are timed */
#define CT_DUE_BYTE   64  /* the first byte of the answer */
#define CT_DUE_FIN    128 /* this end's FIN */
#define CT_DUE_RST    256 /* this end's RST */

/*
 * Not for flows that were picked up in mid-stream: their windows have no known scale, and
 * what their ends sent is not followed closely.
 */
#define CT_DUE_FOLLOWED (CT_DUE_AGAIN | CT_DUE_GAP | CT_DUE_ACK | CT_DUE_WINDOW)

static __always_inline int ct_health_lost(__u64 word)
{
	return !!(word & (3ULL << CT_W_LIBERAL_SHIFT));
}

/* Ticks that are timed: one in so many, a power of two. Others cost a look at the packet. */
#define CT_HEALTH_TICKS 8

static __always_inline int ct_health_timed(__u32 ts)
{
	return !(ts & (CT_HEALTH_TICKS - 1));
}

/* What noting needs of a flow as it was before the segment. */
static __always_inline void ct_health_keep(struct ct_work *w, const struct ct_flow *flow,
					   __u64 word, enum ct_dir dir)
{
	const struct ct_tcp_end *end = &flow->tcp[dir & 1];

	w->health.dir = dir;
	w->health.word = word;
	w->health.start = flow->start;
	w->health.end = end->end;
	w->health.win = (__u32)w->pkt.window << (end->scale & 15);
	w->health.maxwin = end->maxwin;
	w->health.ifindex = flow->proto_if >> 8;
}

/*
 * A segment of an established connection, before it changes its flow: what is there to
 * note? Returns the bits that its flow's word gains.
 */
static __always_inline __u32 ct_health_look(struct ct_work *w, const struct ct_flow *flow,
					    __u32 dir)
{
	const struct ct_tcp_end *end, *other;
	const struct ct_pkt *pkt;
	__u32 due = 0;

	pkt = &w->pkt;
	dir &= 1;
	end = &flow->tcp[dir];
	other = &flow->tcp[dir ^ 1];
	if (cfg_health & CT_HEALTH_LOSS) {
		if (pkt->payload && pkt->seq != end->end)
			due |= CT_DUE_GAP;
		if (!pkt->payload && pkt->ack == end->ack && pkt->window == end->win &&
		    pkt->ack != other->end)
			due |= CT_DUE_ACK;
	}
	if (cfg_health & CT_HEALTH_WINDOW) {
		__u32 scaled = (__u32)pkt->window << (end->scale & 15);

		if (!pkt->window || !end->win ||
		    (pkt->window < end->win && scaled < end->maxwin / 2))
			due |= CT_DUE_WINDOW;
	}
	if (cfg_health & CT_HEALTH_RTT) {
		if ((pkt->options & CT_OPT_TIME) &&
		    (ct_health_timed(pkt->ts_val) || ct_health_timed(pkt->ts_ecr)))
			due |= CT_DUE_TIME;
		if (dir == CT_REPLY && pkt->payload && !(flow->word & CT_W_FIRST_BYTE))
			due |= CT_DUE_BYTE;
	}
	/* Or the verifier walks through all that follows once for each way here. */
	due = ct_forget(&w->fx, due);
	if (!due)
		return 0;
	if (ct_health_lost(flow->word))
		due &= ~CT_DUE_FOLLOWED;
	w->health.due = due;
	ct_health_keep(w, flow, flow->word, dir);
	return due & CT_DUE_BYTE ? CT_W_FIRST_BYTE : 0;
}

/* The same of a segment of the handshake. */
static __always_inline void ct_health_shake(struct ct_work *w, const struct ct_flow *flow,
					    enum ct_dir dir)
{
	__u64 before = w->taken_word, state = ct_word_state(before);
	__u64 next = ct_word_state(w->fx.word);

	if (w->fx.answer == CT_IGNORE && (w->pkt.tcp_flags & CT_TCP_SYN)) {
		w->health.due = CT_DUE_AGAIN;
		w->fx.word |= CT_W_AGAIN;
	} else if (w->fx.answer == CT_ACCEPT && state == CT_TCP_SYN_RECV &&
		   next == CT_TCP_ESTABLISHED) {
		if (dir == CT_ORIGINAL)
			w->health.due = CT_DUE_SHAKEN;
		w->health.seen = flow->seen;
		w->health.once = flow->packets[CT_ORIGINAL] == 1 && flow->packets[CT_REPLY] == 1 &&
				 !(before & CT_W_AGAIN);
		w->fx.word &= ~CT_W_AGAIN;
	}
}

/*
 * The same of any segment that went through the whole machine: w->taken_word is its flow's
 * word as it was, w->fx what the machine says. `dir` is the segment's.
 */
__weak __noinline int ct_health_step(struct ct_work *w, struct ct_flow *flow, __u32 dir)
{
	__u64 state;
	__u8 flags;
	__u32 due;

	if (!w || !flow || !cfg_health)
		return 0;
	state = ct_word_state(w->taken_word);
	flags = w->pkt.tcp_flags;
	dir &= 1;
	if (w->fx.answer == CT_ACCEPT && state >= CT_TCP_ESTABLISHED && state <= CT_TCP_LAST_ACK &&
	    !(flags & (CT_TCP_SYN | CT_TCP_RST)))
		w->fx.word |= ct_health_look(w, flow, dir);
	/* A FIN acknowledges nothing anew, and is no duplicate. */
	if (flags & CT_TCP_FIN)
		w->health.due &= ~CT_DUE_ACK;
	if (state == CT_TCP_SYN_SENT || state == CT_TCP_SYN_RECV)
		ct_health_shake(w, flow, dir);
	due = w->health.due;
	if (w->fx.answer == CT_ACCEPT && (flags & CT_TCP_FIN)) {
		__u32 end = ct_segment_end(&w->pkt, flags);

		due |= CT_DUE_FIN;
		if (!w->pkt.payload && !ct_after(end, flow->tcp[dir].end))
			due |= CT_DUE_AGAIN;
	}
	if (w->fx.answer == CT_ACCEPT && (flags & CT_TCP_RST) && w->fx.rst != CT_RST_KEEP)
		due |= CT_DUE_RST;
	if (ct_health_lost(w->taken_word))
		due &= ~CT_DUE_FOLLOWED;
	if (!due)
		return 0;
	w->health.due = due;
	ct_health_keep(w, flow, w->taken_word, dir);
	return 0;
}

#endif
