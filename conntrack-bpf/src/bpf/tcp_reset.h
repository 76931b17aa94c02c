/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Segments that would end a connection, and whether they may. */
#ifndef CT_TCP_RESET_H
#define CT_TCP_RESET_H

#include "config.h"
#include "tcp_memory.h"

enum ct_rst {
	CT_RST_CHECK, /* let the window decide */
	CT_RST_TAKE,  /* it closes, whatever its numbers */
	CT_RST_KEEP,  /* ahead of what we expect: stay, but only for the CLOSE timeout
                 */
	CT_RST_INVALID,
};

/* Does a RST close? By RFC 5961 only one with exactly the expected sequence
 * number. */
static __always_inline enum ct_rst ct_tcp_judge_rst(const struct ct_flow *flow, __u64 word,
						    enum ct_dir dir, enum ct_tcp_state state,
						    const struct ct_pkt *pkt)
{
	const struct ct_tcp_end *peer = &flow->tcp[!dir];
	int established = state == CT_TCP_ESTABLISHED && (word & CT_W_ASSURED);
	int keep = 0;

	/* Closing already: the tuple may have been used again, our numbers are old.
   */
	if (state >= CT_TCP_FIN_WAIT && state <= CT_TCP_CLOSE)
		return CT_RST_TAKE;
	if ((peer->bits & CT_END_MAXACK) && !ct_last_is(flow, CT_SEG_SYN)) {
		/* Most likely the answer to a SYN we let through. */
		if (pkt->seq == 0 && !established)
			return CT_RST_CHECK;
		if (ct_before(pkt->seq, peer->maxack) && !ct_settings.tcp_ignore_invalid_rst)
			return CT_RST_INVALID;
		if (!established || pkt->seq == peer->maxack)
			return CT_RST_CHECK;
		/* Right behind this end's own data. */
		if (ct_last_is(flow, CT_SEG_ACK) && ct_last_dir(flow) == dir &&
		    pkt->seq == ct_rec_end(flow))
			return CT_RST_CHECK;
		keep = 1;
	}
	/* It answers a SYN or an ACK we ignored. */
	if ((((word & CT_W_SEEN_REPLY) && ct_last_is(flow, CT_SEG_SYN) &&
	      ct_last_dir(flow) != dir) ||
	     (!(word & CT_W_ASSURED) && ct_last_is(flow, CT_SEG_ACK))) &&
	    pkt->ack == ct_rec_end(flow) && !keep)
		return CT_RST_TAKE;
	/* It answers the challenge ACK that answered the SYN. */
	if (state == CT_TCP_SYN_SENT && ct_last_is(flow, CT_SEG_ACK) &&
	    ct_last_dir(flow) == CT_REPLY && pkt->seq == flow->tcp[CT_REPLY].ack)
		return CT_RST_TAKE;
	return keep ? CT_RST_KEEP : CT_RST_CHECK;
}

/*
 * nf_tcp_handle_invalid(): a FIN or RST of one end outside the window, answered
 * by one of the other end: the connection is likely over, and five days too
 * long.
 */
static __always_inline void ct_tcp_mismatch(struct ct_flow *flow, __u64 word, enum ct_dir dir,
					    const struct ct_pkt *pkt)
{
	enum ct_tcp_segment segment = ct_tcp_segment(pkt->tcp_flags);
	__u64 unack = ct_settings.timeout_ns[CT_TMO_TCP_UNACK];
	__u64 age, total, want;

	if (!(word & CT_W_ASSURED) || (segment != CT_SEG_RST && segment != CT_SEG_FIN))
		return;
	if (ct_last_dir(flow) == dir ||
	    !(ct_last_is(flow, CT_SEG_FIN) || ct_last_is(flow, CT_SEG_RST))) {
		flow->tcp[1].aux = (flow->tcp[1].aux & ~(CT_LAST_SEGMENT | CT_LAST_REPLY)) |
				   (segment + 1) | (dir == CT_REPLY ? CT_LAST_REPLY : 0);
		return;
	}
	age = ct_age(pkt->now, ct_load(&flow->seen));
	total = ct_timeout_of(word);
	if (total < age + 120 * CT_NSEC || total - age <= unack)
		return;
	want = ct_word_with(word, ct_word_state(word), CT_TMO_TCP_UNACK);
	if (__sync_val_compare_and_swap(&flow->word, word, want) == word)
		ct_touch(flow, pkt->now);
}

#endif
