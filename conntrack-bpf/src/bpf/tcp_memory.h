/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is kept of the segments of a flow, beside its window: the last one of
 * either end, and the one to recognise when it comes again.
 */
#ifndef CT_TCP_MEMORY_H
#define CT_TCP_MEMORY_H

#include "tcp_window.h"

/* Whether a segment is the one to recognise when it comes again. */
enum ct_remember {
	CT_FORGET,
	CT_REMEMBER,
	CT_REMEMBER_BUT_ACK, /* it is, but with the ack of the one before it */
};

/* What a segment makes of its flow: filled by one step after another, then stored. */
struct ct_tcp_effect {
	struct {
		__u8 store;    /* the ends moved */
		__u8 note;     /* it is the last segment now */
		__u8 remember; /* enum ct_remember */
		__u8 again;    /* how often that has come again */
		__u8 mismatch; /* a FIN or RST outside the window */
		__u8 rst;      /* enum ct_rst */
		__u8 state;    /* enum ct_tcp_state before, */
		__u8 next;     /* and after, if the segment is accepted */
	} __attribute__((aligned(8)));
	__u64 word;   /* of the flow after an accepted packet */
	__u32 answer; /* enum ct_answer */
	__u32 forgotten;
	struct ct_tcp_view view; /* read if `store` is set */
};
_Static_assert(__builtin_offsetof(struct ct_tcp_effect, word) == 8, "the marks are one word");

/* Forgets the last packet's marks; the view is written before it is read. */
static __always_inline void ct_effect_begin(struct ct_tcp_effect *fx)
{
	__builtin_memset(fx, 0, 8);
}

/*
 * Hands a value back through memory the verifier does not follow. A value that
 * is one of a few constants, each of a path of its own, and then branched on,
 * makes it walk all that comes after once for each constant. Only where the
 * effect is not on the caller's own stack.
 */
static __always_inline __u32 ct_forget(struct ct_tcp_effect *fx, __u32 value)
{
	*(volatile __u32 *)&fx->forgotten = value;
	return *(volatile __u32 *)&fx->forgotten;
}

/*
 * The memory of the last segment. Plain bytes that both directions write: the
 * later store is the later segment.
 */
static __always_inline int ct_last_is(const struct ct_flow *flow, enum ct_tcp_segment segment)
{
	return (flow->tcp[1].aux & CT_LAST_SEGMENT) == segment + 1;
}

static __always_inline enum ct_dir ct_last_dir(const struct ct_flow *flow)
{
	return flow->tcp[1].aux & CT_LAST_REPLY ? CT_REPLY : CT_ORIGINAL;
}

static __always_inline enum ct_dir ct_rec_dir(const struct ct_flow *flow)
{
	return flow->tcp[1].aux & CT_LAST_REC_REPLY ? CT_REPLY : CT_ORIGINAL;
}

/* Where the remembered segment ended. Never set, it is 0, and an ack of 0 may
 * match it. */
static __always_inline __u32 ct_rec_end(const struct ct_flow *flow)
{
	return flow->tcp[0].shared | (__u32)flow->tcp[1].shared << 16;
}

/* Six bits of a number that there is no room for. */
static __always_inline __u8 ct_left_of(__u32 number)
{
	return (number * 0x9e3779b1U) >> 26;
}

/*
 * Plain, at either end, by packets of either direction: of two at once one is lost, and
 * the segment may not be recognised when it comes again, or another one taken for it,
 * until the next is remembered. What else is in `bits` is set again by the next segment.
 */
static __always_inline void ct_keep_left(struct ct_tcp_end *end, __u32 number)
{
	end->bits = (end->bits & ~CT_END_LEFT) | ct_left_of(number) << CT_END_LEFT_SHIFT;
}

static __always_inline int ct_left_is(const struct ct_tcp_end *end, __u32 number)
{
	return end->bits >> CT_END_LEFT_SHIFT == ct_left_of(number);
}

static __always_inline __u32 ct_seq_and_win(__u32 seq, __u16 win)
{
	return seq ^ (__u32)win << 16;
}

/* Whether this is the remembered segment once more. */
static __always_inline int ct_rec_matches(const struct ct_flow *flow, enum ct_dir dir,
					  const struct ct_pkt *pkt)
{
	const struct ct_tcp_end *end = &flow->tcp[ct_rec_dir(flow) & 1];
	__u8 last = flow->tcp[1].aux;

	if (ct_last_dir(flow) != dir || ct_rec_end(flow) != ct_segment_end(pkt, pkt->tcp_flags))
		return 0;
	if (last & CT_LAST_SEQ_SHOWN
		    ? end->seq != pkt->seq || end->win != pkt->window
		    : !(last & CT_LAST_REC_WIN) != !pkt->window ||
			      !ct_left_is(&flow->tcp[1], ct_seq_and_win(pkt->seq, pkt->window)))
		return 0;
	return last & CT_LAST_ACK_SHOWN ? end->ack == pkt->ack
					: ct_left_is(&flow->tcp[0], pkt->ack);
}

/* What is shown of the remembered segment is about to be overwritten: a little stays. */
static __always_inline void ct_rec_leave(struct ct_flow *flow, __u8 shown)
{
	const struct ct_tcp_end *end =
		&flow->tcp[shown & CT_LAST_REC_REPLY ? CT_REPLY : CT_ORIGINAL];

	if (shown & CT_LAST_ACK_SHOWN)
		ct_keep_left(&flow->tcp[0], end->ack);
	if (shown & CT_LAST_SEQ_SHOWN)
		ct_keep_left(&flow->tcp[1], ct_seq_and_win(end->seq, end->win));
}

/* This segment is the last of its end now, and perhaps the one to remember. */
static __always_inline void ct_tcp_note(struct ct_flow *flow, enum ct_dir dir,
					const struct ct_pkt *pkt, const struct ct_tcp_effect *fx)
{
	__u8 old = flow->tcp[1].aux;
	__u8 last = old & ~(CT_LAST_SEGMENT | CT_LAST_REPLY);

	if (fx->remember) {
		__u32 end = ct_segment_end(pkt, pkt->tcp_flags);

		last = CT_LAST_SEQ_SHOWN | CT_LAST_ACK_SHOWN;
		if (dir == CT_REPLY)
			last |= CT_LAST_REC_REPLY;
		if (pkt->window)
			last |= CT_LAST_REC_WIN;
		if (fx->remember == CT_REMEMBER_BUT_ACK) {
			ct_rec_leave(flow, old & ~CT_LAST_SEQ_SHOWN);
			last &= ~CT_LAST_ACK_SHOWN;
		}
		flow->tcp[0].shared = end;
		flow->tcp[1].shared = end >> 16;
		flow->tcp[0].aux = fx->again;
	} else if (ct_rec_dir(flow) == dir) {
		ct_rec_leave(flow, old);
		last &= ~(CT_LAST_SEQ_SHOWN | CT_LAST_ACK_SHOWN);
	}
	last |= ct_tcp_segment(pkt->tcp_flags) + 1;
	if (dir == CT_REPLY)
		last |= CT_LAST_REPLY;
	ct_note_segment(flow, dir, pkt);
	flow->tcp[1].aux = last;
}

static __always_inline void ct_tcp_apply(struct ct_flow *flow, enum ct_dir dir,
					 const struct ct_pkt *pkt, const struct ct_tcp_effect *fx)
{
	if (fx->store)
		ct_tcp_store(flow, dir, &fx->view);
	if (fx->note)
		ct_tcp_note(flow, dir, pkt, fx);
}

#endif
