/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is kept of the segments of a flow, beside its window: the last one of
 * either end, and the one to recognise when it comes again.
 */
#ifndef CT_TCP_MEMORY_H
#define CT_TCP_MEMORY_H

#include "tcp_window.h"

/* What a segment makes of its flow: filled by one step after another, then stored. */
struct ct_tcp_effect {
	struct {
		__u8 store;    /* the ends moved */
		__u8 note;     /* it is the last segment now */
		__u8 remember; /* and the one to recognise when it comes again */
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
	const struct ct_tcp_end *end = &flow->tcp[ct_rec_dir(flow)];

	if ((flow->tcp[1].aux & (CT_LAST_REC | CT_LAST_REC_STALE)) != CT_LAST_REC)
		return 0;
	return end->seq + flow->tcp[0].shared + !!(end->flags & CT_TCP_SYN) +
	       !!(end->flags & CT_TCP_FIN);
}

static __always_inline int ct_rec_matches(const struct ct_flow *flow, enum ct_dir dir,
					  const struct ct_pkt *pkt)
{
	const struct ct_tcp_end *end = &flow->tcp[dir & 1];

	return (flow->tcp[1].aux & (CT_LAST_REC | CT_LAST_REC_STALE)) == CT_LAST_REC &&
	       ct_last_dir(flow) == dir && ct_rec_dir(flow) == dir && end->seq == pkt->seq &&
	       end->ack == pkt->ack && flow->tcp[0].shared == (__u16)pkt->payload &&
	       flow->tcp[1].shared == pkt->window;
}

static __always_inline void ct_tcp_note(struct ct_flow *flow, enum ct_dir dir,
					const struct ct_pkt *pkt, const struct ct_tcp_effect *fx)
{
	__u8 kept = flow->tcp[1].aux & (CT_LAST_REC | CT_LAST_REC_REPLY | CT_LAST_REC_STALE);
	__u8 last = ct_tcp_segment(pkt->tcp_flags) + 1;

	if (dir == CT_REPLY)
		last |= CT_LAST_REPLY;
	if (fx->remember) {
		last |= CT_LAST_REC | (dir == CT_REPLY ? CT_LAST_REC_REPLY : 0);
		flow->tcp[0].shared = pkt->payload;
		flow->tcp[1].shared = pkt->window;
		flow->tcp[0].aux = fx->again;
	} else {
		last |= kept;
		/* An ACK outside the window, accepted out of liberality: the one before it stays. */
		if (ct_tcp_segment(pkt->tcp_flags) == CT_SEG_ACK) {
			flow->tcp[1].aux = last;
			return;
		}
		if ((kept & CT_LAST_REC) && ct_rec_dir(flow) == dir)
			last |= CT_LAST_REC_STALE;
	}
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
