/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What one segment makes of the two ends of a TCP connection: loaded into a
 * copy, judged there (tcp_window.h), stored if it stands.
 *
 * Races. The kernel holds the entry's lock here; we do not. One direction may
 * run on several CPUs, too: a sender's own thread and the soft interrupt that
 * acknowledgments drive both send. So `end`, `maxend` and `maxwin`, which decide
 * whether the next segment is INVALID, are raised by compare-and-swap and never
 * fall back (ct_raise(), ct_widen()). `maxack` and the bits are plain: of two segments at
 * once the lower ack may stay, which judges a RST more kindly, or a bit may be
 * lost, which shortens or lengthens the timeout; both until the next segment.
 * What is read here may be about to move on another CPU. In traffic that cannot
 * matter, for nobody answers a segment before it has left us; and where it looks
 * so, the fast path's no is not final: the slow path reads both ends anew.
 */
#ifndef CT_TCP_EDGES_H
#define CT_TCP_EDGES_H

#include "flow.h"

/* What one segment makes of both ends. */
struct ct_tcp_view {
	__u32 s_end, s_maxend, s_maxwin, s_maxack; /* the sender's */
	__u32 r_end, r_maxend, r_maxwin;	   /* the receiver's */
	__u8 s_bits, r_bits;
	__u8 s_scale, r_scale;
	__u8 remember; /* this ACK is the segment to recognise from now on */
	/* What is to be stored; see ct_tcp_store(). */
	__u8 anew;  /* edges were set, not moved */
	__u8 back;  /* the sender's end was set, wherever it had been */
	__u8 heard; /* bits to set at the sender's end */
	__u8 acked; /* the receiver has nothing unacknowledged */
};

static __always_inline int ct_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline int ct_after(__u32 a, __u32 b)
{
	return ct_before(b, a);
}

static __always_inline void ct_tcp_load(const struct ct_flow *flow, enum ct_dir dir,
					struct ct_tcp_view *v)
{
	const volatile struct ct_tcp_end *s = &flow->tcp[dir & 1];
	const volatile struct ct_tcp_end *r = &flow->tcp[!dir];

	v->s_end = s->end;
	v->s_maxend = s->maxend;
	v->s_maxwin = s->maxwin;
	v->s_maxack = s->maxack;
	v->s_bits = s->bits;
	v->s_scale = s->scale;
	v->r_end = r->end;
	v->r_maxend = r->maxend;
	v->r_maxwin = r->maxwin;
	v->r_bits = r->bits;
	v->r_scale = r->scale;
	v->remember = v->anew = v->back = v->heard = v->acked = 0;
}

static __always_inline void ct_tcp_store_all(struct ct_tcp_end *s, struct ct_tcp_end *r,
					     const struct ct_tcp_view *v)
{
	s->end = v->s_end;
	s->maxend = v->s_maxend;
	s->maxwin = v->s_maxwin;
	s->bits = v->s_bits;
	r->end = v->r_end;
	r->maxend = v->r_maxend;
	r->maxwin = v->r_maxwin;
	r->bits = v->r_bits;
	r->scale = v->r_scale;
}

/*
 * Forward only, whatever other CPUs do to it meanwhile. Whoever makes us fail has
 * raised it himself; that four do so in a row takes as many CPUs on one flow.
 */
static __always_inline void ct_raise(__u32 *edge, __u32 to)
{
	__u32 was = *(volatile __u32 *)edge;

	for (int i = 0; i < 4 && ct_after(to, was); i++) {
		__u32 seen = __sync_val_compare_and_swap(edge, was, to);

		if (seen == was)
			return;
		was = seen;
	}
}

/* The same for a width, which does not wrap. */
static __always_inline void ct_widen(__u32 *win, __u32 to)
{
	__u32 was = *(volatile __u32 *)win;

	for (int i = 0; i < 4 && to > was; i++) {
		__u32 seen = __sync_val_compare_and_swap(win, was, to);

		if (seen == was)
			return;
		was = seen;
	}
}

/*
 * Edges only. Between our load and this store a packet of the other direction,
 * on another CPU, may have moved what both write: to put back what we loaded
 * would move it back, and the next segment there would be INVALID. So only what
 * this segment moved is stored, and edges of a connection that goes on move
 * forward only.
 */
static __always_inline void ct_tcp_store(struct ct_flow *flow, enum ct_dir dir,
					 const struct ct_tcp_view *v)
{
	struct ct_tcp_end *s = &flow->tcp[dir & 1];
	struct ct_tcp_end *r = &flow->tcp[!dir];

	s->maxack = v->s_maxack;
	if (s->scale != v->s_scale)
		s->scale = v->s_scale;
	if (v->anew) {
		ct_tcp_store_all(s, r, v);
		return;
	}
	if (v->back)
		s->end = v->s_end;
	else
		ct_raise(&s->end, v->s_end);
	ct_widen(&s->maxwin, v->s_maxwin);
	if (v->heard & ~s->bits)
		s->bits |= v->heard;
	ct_raise(&r->maxend, v->r_maxend);
	ct_widen(&r->maxwin, v->r_maxwin);
	if (v->acked && (r->bits & CT_END_UNACKED))
		r->bits &= ~CT_END_UNACKED;
}

#endif
