/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How a TCP flow begins: tcp_new() of net/netfilter/nf_conntrack_proto_tcp.c (Linux 6.18). */
#ifndef CT_TCP_OPEN_H
#define CT_TCP_OPEN_H

#include "track_tcp.h"

/* Whether a segment may begin a flow, and in which state. */
static __always_inline __u64 ct_tcp_open(const struct ct_pkt *pkt, __u64 word)
{
	enum ct_tcp_segment segment = ct_tcp_segment(pkt->tcp_flags);
	enum ct_tcp_state state = ct_tcp_next(CT_ORIGINAL, segment, CT_TCP_NONE);

	if (!ct_tcp_flags_valid(pkt->tcp_flags))
		return 0;
	if (state == CT_TCP_SYN_SENT)
		return ct_word_with(word, state, CT_TMO_TCP + state);
	if (state != CT_TCP_ESTABLISHED || !ct_settings.tcp_loose)
		return 0;
	return ct_word_with(word, state, CT_TMO_TCP_UNACK);
}

/*
 * What the way below makes of a SYN, all but its options and its timeout: nothing is
 * known of either end, so nothing has to be asked. The slot's ends are all zero.
 */
static __always_inline void ct_tcp_file_syn(struct ct_flow *flow, const struct ct_pkt *pkt,
					    __u8 scale)
{
	struct ct_tcp_end *s = &flow->tcp[CT_ORIGINAL], *r = &flow->tcp[CT_REPLY];

	s->end = s->maxend = ct_segment_end(pkt, CT_TCP_SYN);
	s->maxwin = r->maxend = pkt->window ? pkt->window : 1;
	s->scale = scale;
	ct_note_segment(flow, CT_ORIGINAL, pkt);
	r->aux = CT_SEG_SYN + 1;
}

/* Files the first segment in a slot nobody else knows yet. `fx` is all zero. */
static __always_inline __u64 ct_tcp_start(struct ct_flow *flow, const struct ct_pkt *pkt,
					  __u64 word, struct ct_tcp_effect *fx)
{
	enum ct_tcp_state state = ct_word_state(word);

	if (state == CT_TCP_SYN_SENT) {
		fx->view.anew = 1;
		word = ct_tcp_take_options(pkt, word, CT_ORIGINAL, &fx->view);
		ct_tcp_file_syn(flow, pkt, fx->view.s_scale);
		return ct_word_with(word, state,
				    ct_tcp_timeout(flow, word, CT_SEG_SYN, state, pkt, fx));
	}
	word = ct_tcp_first(pkt, word, &fx->view);
	ct_tcp_judge(pkt, pkt->tcp_flags, &word, CT_ORIGINAL, &fx->view);
	fx->store = 1;
	fx->note = 1;
	fx->remember = fx->view.remember;
	/* What has the numbers of a memory that is empty comes again. */
	fx->again = fx->remember && !(pkt->seq | pkt->ack | pkt->payload | pkt->window);
	word = ct_word_with(
		word, state,
		ct_tcp_timeout(flow, word, ct_tcp_segment(pkt->tcp_flags), state, pkt, fx));
	ct_tcp_apply(flow, CT_ORIGINAL, pkt, fx);
	return word;
}

#endif
