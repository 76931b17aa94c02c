/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Is a segment inside the window? After tcp_in_window() and tcp_init_sender()
 * in net/netfilter/nf_conntrack_proto_tcp.c, and Guido van Rooij, "Real
 * Stateful TCP Packet Filtering in IP Filter". Pure: reads a flow's ends,
 * writes a copy.
 *
 *   I    seq       <= sender.maxend
 *   II   seq + len >= sender.end - receiver.maxwin
 *   III  sack      <= receiver.end
 *   IV   sack      >= receiver.end - max(66000, sender.maxwin)
 *
 * Races: see tcp_edges.h.
 */
#ifndef CT_TCP_WINDOW_H
#define CT_TCP_WINDOW_H

#include "tcp.h"
#include "tcp_edges.h"

#define CT_MAXACKWIN 66000

enum ct_window {
	CT_IN_WINDOW,
	CT_WINDOW_IGNORE, /* old, or too far ahead by less than a window: passes,
                       uncounted */
	CT_WINDOW_INVALID,
};

static __always_inline __u64 ct_end_bit(__u32 shift, __u32 dir)
{
	return 1ULL << (shift + (dir & 1));
}

/* `flags` are the segment's; handed over, because the fast path knows them when compiled. */
static __always_inline __u32 ct_segment_end(const struct ct_pkt *pkt, __u8 flags)
{
	return pkt->seq + pkt->payload + !!(flags & CT_TCP_SYN) + !!(flags & CT_TCP_FIN);
}

/* tcp_options(): what a SYN says of its sender replaces all that was known of it,
 * but that its history is lost. */
static __always_inline __u64 ct_tcp_take_options(const struct ct_pkt *pkt, __u64 word,
						 enum ct_dir dir, struct ct_tcp_view *v)
{
	if (!(pkt->options & CT_OPT_SOME))
		return word;
	word &= ~(ct_end_bit(CT_W_WSCALE_SHIFT, dir) | ct_end_bit(CT_W_SACK_SHIFT, dir) |
		  ct_end_bit(CT_W_FIN_SHIFT, dir));
	v->s_bits &= CT_END_LEFT;
	v->s_scale = (v->s_scale & 0xf0) | pkt->wscale;
	if (pkt->options & CT_OPT_WSCALE)
		word |= ct_end_bit(CT_W_WSCALE_SHIFT, dir);
	if (pkt->options & CT_OPT_SACK)
		word |= ct_end_bit(CT_W_SACK_SHIFT, dir);
	return word;
}

/* tcp_init_sender(): scaling holds only if both sides offer it. */
static __always_inline __u64 ct_tcp_init_sender(const struct ct_pkt *pkt, __u64 word,
						enum ct_dir dir, struct ct_tcp_view *v)
{
	__u64 both = 3ULL << CT_W_WSCALE_SHIFT;

	v->anew = 1;
	v->s_end = v->s_maxend = ct_segment_end(pkt, pkt->tcp_flags);
	v->s_maxwin = pkt->window ? pkt->window : 1;
	word = ct_tcp_take_options(pkt, word, dir, v);
	if (dir == CT_REPLY && (word & both) != both) {
		v->s_scale &= 0xf0;
		v->r_scale &= 0xf0;
	}
	return word;
}

/* tcp_new(): the first segment of a flow, a SYN or one of a connection older
 * than we are. */
static __always_inline __u64 ct_tcp_first(const struct ct_pkt *pkt, __u64 word,
					  struct ct_tcp_view *v)
{
	v->anew = 1;
	v->s_end = ct_segment_end(pkt, pkt->tcp_flags);
	v->s_maxwin = pkt->window ? pkt->window : 1;
	v->s_maxend = v->s_end;
	if (pkt->tcp_flags & CT_TCP_SYN)
		return ct_tcp_take_options(pkt, word, CT_ORIGINAL, v);
	v->s_maxend += v->s_maxwin;
	return word | (3ULL << CT_W_SACK_SHIFT) | (3ULL << CT_W_LIBERAL_SHIFT);
}

/* Before the checks: a sender that has not been heard yet, or begins anew. */
static __always_inline __u64 ct_tcp_hear(const struct ct_pkt *pkt, __u8 flags, __u64 word,
					 enum ct_dir dir, __u32 sack, struct ct_tcp_view *v,
					 int *accepted)
{
	enum ct_tcp_state state = (word & CT_W_STATE) >> CT_W_STATE_SHIFT;
	__u32 end = ct_segment_end(pkt, flags);
	int syn = flags & CT_TCP_SYN;

	*accepted = 0;
	if (v->s_maxwin == 0 && syn) {
		word = ct_tcp_init_sender(pkt, word, dir, v);
		*accepted = !(flags & CT_TCP_ACK); /* simultaneous open */
	} else if (v->s_maxwin == 0) {
		__u32 win = (__u32)pkt->window << (v->s_scale & 15);

		v->anew = 1;
		v->s_end = end;
		v->s_maxwin = win ? win : 1;
		v->s_maxend = end + v->s_maxwin;
		if (v->r_maxwin == 0) {
			/* Nothing heard of the other end either: let III and IV pass. */
			v->r_end = v->r_maxend = sack;
		} else if (sack == v->r_end + 1) {
			v->r_end++; /* likely the answer to a keep-alive */
		}
	} else if (syn && ct_after(end, v->s_end) &&
		   (state == CT_TCP_SYN_SENT || state == CT_TCP_SYN_RECV)) {
		/* RFC 793: a new start, beyond the sequence numbers of the old one. */
		word = ct_tcp_init_sender(pkt, word, dir, v);
		*accepted = dir == CT_REPLY && !(flags & CT_TCP_ACK);
	}
	return word;
}

/* A segment inside the window moves the edges. */
static __always_inline void ct_tcp_advance(const struct ct_pkt *pkt, __u8 flags, __u32 end,
					   __u32 ack, __u32 sack, struct ct_tcp_view *v)
{
	__u32 win = pkt->window;

	if (!(flags & CT_TCP_SYN))
		win <<= v->s_scale & 15;
	if (v->s_maxwin < win + (sack - ack))
		v->s_maxwin = win + (sack - ack);
	if (ct_after(end, v->s_end)) {
		v->s_end = end;
		v->s_bits |= CT_END_UNACKED;
		v->heard |= CT_END_UNACKED;
	}
	if (flags & CT_TCP_ACK) {
		if (!(v->s_bits & CT_END_MAXACK) || ct_after(ack, v->s_maxack))
			v->s_maxack = ack;
		v->s_bits |= CT_END_MAXACK;
		v->heard |= CT_END_MAXACK;
	}
	if (v->r_maxwin && ct_after(end, v->s_maxend))
		v->r_maxwin += end - v->s_maxend;
	if (ct_after(sack + win, v->r_maxend - 1)) {
		v->r_maxend = sack + win;
		if (!win)
			v->r_maxend++;
	}
	if (ack == v->r_end) {
		v->r_bits &= ~CT_END_UNACKED;
		v->acked = 1;
	}
	v->remember = ct_tcp_segment(flags) == CT_SEG_ACK;
}

/* tcp_in_window(). `word` may gain what a SYN's options say. */
static __always_inline enum ct_window ct_tcp_judge(const struct ct_pkt *pkt, __u8 flags,
						   __u64 *word, enum ct_dir dir,
						   struct ct_tcp_view *v)
{
	enum ct_tcp_state state = (*word & CT_W_STATE) >> CT_W_STATE_SHIFT;
	__u32 seq = pkt->seq, end = ct_segment_end(pkt, flags), ack = pkt->ack, sack = pkt->ack;
	__u32 reach;
	int accepted;

	if (*word & ct_end_bit(CT_W_SACK_SHIFT, !dir))
		sack = pkt->sack;
	*word = ct_tcp_hear(pkt, flags, *word, dir, sack, v, &accepted);
	if (accepted)
		return CT_IN_WINDOW;

	/* No ACK, or the zero one of stacks that set it in every RST: as if it were
   * right. */
	if (!(flags & CT_TCP_ACK) || ((flags & CT_TCP_RST) && !ack))
		ack = sack = v->r_end;
	/* A RST that answers a SYN. */
	if ((flags & CT_TCP_RST) && !seq && state == CT_TCP_SYN_SENT)
		seq = end = v->s_end;

	reach = v->s_maxwin > CT_MAXACKWIN ? v->s_maxwin : CT_MAXACKWIN;
	if (!ct_before(seq, v->s_maxend + 1)) { /* I */
		__u32 over = end - v->s_maxend + 1;

		if (v->r_maxwin && ct_after(end, v->s_end - v->r_maxwin - 1) &&
		    ct_after(sack, v->r_end - reach - 1) && over <= v->r_maxwin &&
		    ct_before(sack, v->r_end + 1)) {
			/* More than was granted, by less than a window: its ACK must not surprise
       * us. */
			v->s_end = end;
			v->back = 1;
			v->s_bits |= CT_END_UNACKED;
			v->heard |= CT_END_UNACKED;
			return CT_WINDOW_IGNORE;
		}
		return CT_WINDOW_INVALID;
	}
	if (!ct_before(sack, v->r_end + 1)) /* III */
		return CT_WINDOW_INVALID;
	if (v->r_maxwin && !ct_after(end, v->s_end - v->r_maxwin - 1)) /* II */
		return CT_WINDOW_IGNORE;
	if (!ct_after(sack, v->r_end - reach - 1)) /* IV */
		return CT_WINDOW_IGNORE;

	ct_tcp_advance(pkt, flags, end, ack, sack, v);
	return CT_IN_WINDOW;
}

#endif
