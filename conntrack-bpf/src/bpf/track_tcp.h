/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TCP segments against a flow's state, after nf_conntrack_tcp_packet() in
 * net/netfilter/nf_conntrack_proto_tcp.c (Linux 6.18). Decides only; what is
 * decided is stored by ct_tcp_apply(), once the flow's word has been changed.
 */
#ifndef CT_TRACK_TCP_H
#define CT_TRACK_TCP_H

#include "config.h"
#include "flow.h"
#include "tcp_memory.h"
#include "tcp_reset.h"

/* The timeout a segment leaves behind. */
static __always_inline __u64 ct_tcp_timeout(const struct ct_flow *flow, __u64 word,
					    enum ct_tcp_segment segment, enum ct_tcp_state next,
					    const struct ct_pkt *pkt, struct ct_tcp_effect *fx)
{
	const __u64 retrans = ct_settings.timeout_ns[CT_TMO_TCP_RETRANS];
	const __u64 unack = ct_settings.timeout_ns[CT_TMO_TCP_UNACK];
	const __u64 close = ct_settings.timeout_ns[CT_TMO_TCP + CT_TCP_CLOSE];
	__u8 unacked = (fx->view.s_bits | fx->view.r_bits) & CT_END_UNACKED;
	int win = fx->remember ? pkt->window : flow->tcp[1].aux & CT_LAST_REC_WIN;
	__u8 again = fx->remember ? fx->again : flow->tcp[0].aux;
	__u64 kind, full, chosen;

	kind = ct_forget(fx, CT_TMO_TCP + next) & (CT_TMO_MAX - 1);
	full = chosen = ct_settings.timeout_ns[kind];
	if (again >= ct_settings.tcp_max_retrans && full > retrans) {
		kind = CT_TMO_TCP_RETRANS;
		chosen = retrans;
	} else if (segment == CT_SEG_RST) {
		kind = CT_TMO_TCP + CT_TCP_CLOSE;
		chosen = close;
	} else if (unacked && full > unack) {
		kind = CT_TMO_TCP_UNACK;
		chosen = unack;
	} else if (!win && full > retrans) {
		kind = CT_TMO_TCP_RETRANS;
		chosen = retrans;
	}
	/* Picked up in mid-stream and unanswered: not for days. */
	if (!(word & CT_W_SEEN_REPLY) && next == CT_TCP_ESTABLISHED && chosen > unack)
		kind = CT_TMO_TCP_UNACK;
	return kind;
}

/*
 * A SYN on a flow in TIME_WAIT or CLOSE opens the tuple anew if an end closed
 * it, or if whoever now opens it was the one to reset it. Otherwise we may be
 * out of step; the answer will tell.
 */
static __always_inline int ct_tcp_may_reopen(const struct ct_flow *flow, __u64 word,
					     enum ct_dir dir)
{
	return (word & (3ULL << CT_W_FIN_SHIFT)) ||
	       (ct_last_dir(flow) == dir && ct_last_is(flow, CT_SEG_RST));
}

/*
 * A SYN/ACK that acknowledges a SYN we ignored: both ends are in step and we
 * are not. Start over from what was remembered of the SYN.
 */
static __always_inline int ct_tcp_resync(const struct ct_flow *flow, __u64 *word, enum ct_dir dir,
					 enum ct_tcp_segment segment, const struct ct_pkt *pkt,
					 struct ct_tcp_view *v)
{
	enum ct_dir syn_dir = !dir;
	__u32 end = ct_rec_end(flow);

	if (segment != CT_SEG_SYNACK || !ct_last_is(flow, CT_SEG_SYN) || ct_last_dir(flow) == dir ||
	    pkt->ack != end)
		return 0;
	v->anew = 1;
	v->r_end = v->r_maxend = end;
	v->r_maxwin = flow->tcp[syn_dir & 1].win ? flow->tcp[syn_dir & 1].win : 1;
	v->r_scale = (v->r_scale & 0xf0) | flow->tcp[0].scale >> 4;
	v->r_bits &= CT_END_LEFT;
	v->s_end = v->s_maxend = v->s_maxwin = v->s_maxack = 0;
	v->s_bits &= CT_END_LEFT;
	v->s_scale &= 0xf0;
	/* A lost history stays lost for the end that now answers. */
	*word &= ~(CT_W_CHALLENGE | (3ULL << CT_W_FIN_SHIFT) | (3ULL << CT_W_WSCALE_SHIFT) |
		   (3ULL << CT_W_SACK_SHIFT) | ct_end_bit(CT_W_LIBERAL_SHIFT, syn_dir));
	if (*word & CT_W_SYN_WSCALE)
		*word |= ct_end_bit(CT_W_WSCALE_SHIFT, syn_dir);
	if (*word & CT_W_SYN_SACK)
		*word |= ct_end_bit(CT_W_SACK_SHIFT, syn_dir);
	return 1;
}

/* Passes and is remembered: it may be right, and we out of step. */
static __always_inline __u64 ct_tcp_ignore(__u64 word, enum ct_dir dir, enum ct_tcp_segment segment,
					   enum ct_tcp_state state, const struct ct_flow *flow,
					   const struct ct_pkt *pkt, struct ct_tcp_effect *fx)
{
	fx->note = 1;
	/* The challenge that may answer a SYN is remembered with its ack. */
	fx->remember = segment == CT_SEG_ACK && dir == CT_REPLY && state == CT_TCP_SYN_SENT
			       ? CT_REMEMBER
			       : CT_REMEMBER_BUT_ACK;
	fx->again = flow->tcp[0].aux;
	if (segment != CT_SEG_SYN || dir != CT_ORIGINAL)
		return word;
	word &= ~(CT_W_SYN_WSCALE | CT_W_SYN_SACK | CT_W_CHALLENGE | CT_W_SIMOPEN);
	fx->store = 1;
	fx->view.s_scale &= 0x0f;
	if (pkt->options & CT_OPT_WSCALE) {
		word |= CT_W_SYN_WSCALE;
		fx->view.s_scale |= pkt->wscale << 4;
	}
	if (pkt->options & CT_OPT_SACK)
		word |= CT_W_SYN_SACK;
	if (state == CT_TCP_LAST_ACK)
		word |= CT_W_CHALLENGE;
	return word;
}

/* The rest of the way of a segment that is inside the window, or need not be. */
static __always_inline void ct_tcp_accept(const struct ct_flow *flow, __u64 old, enum ct_dir dir,
					  const struct ct_pkt *pkt, struct ct_tcp_effect *fx)
{
	enum ct_tcp_segment segment = ct_forget(fx, ct_tcp_segment(pkt->tcp_flags));
	enum ct_tcp_state state = fx->state, next = fx->next;

	fx->store = 1;
	fx->note = 1;
	fx->remember = fx->view.remember;
	if (fx->remember && ct_rec_matches(flow, dir, pkt))
		fx->again = flow->tcp[0].aux + 1; /* 256 times are none, as there */
	if (next == CT_TCP_FIN_WAIT && state != CT_TCP_FIN_WAIT)
		fx->word |= ct_end_bit(CT_W_FIN_SHIFT, dir);

	if (!(old & CT_W_SEEN_REPLY)) {
		/* Nothing but a RST in answer: the flow is gone at once. */
		if (segment == CT_SEG_RST) {
			fx->answer = CT_END;
			return;
		}
		/* A SYN that comes again keeps nothing alive. */
		if (segment == CT_SEG_SYN && state == CT_TCP_SYN_SENT) {
			fx->answer = CT_IGNORE;
			fx->word = ct_word_with(fx->word, next, (old & CT_W_TMO) >> CT_W_TMO_SHIFT);
			return;
		}
	} else if (next == CT_TCP_ESTABLISHED &&
		   (state == CT_TCP_SYN_RECV || state == CT_TCP_ESTABLISHED)) {
		fx->word |= CT_W_ASSURED;
	}
	fx->answer = CT_ACCEPT;
	fx->word = ct_word_with(fx->word, next, ct_tcp_timeout(flow, old, segment, next, pkt, fx));
}

/*
 * Second half: the window, unless the segment is exempt, and then its effect.
 * What a SYN offers stays taken down, though its numbers be refused.
 */
static __always_inline void ct_tcp_decide(const struct ct_flow *flow, __u64 word, enum ct_dir dir,
					  const struct ct_pkt *pkt, struct ct_tcp_effect *fx)
{
	enum ct_window window = CT_IN_WINDOW;

	if (cfg_windows && fx->rst != CT_RST_TAKE)
		window =
			ct_forget(fx, ct_tcp_judge(pkt, pkt->tcp_flags, &fx->word, dir, &fx->view));
	if (window != CT_IN_WINDOW && !ct_settings.tcp_be_liberal &&
	    !(word & ct_end_bit(CT_W_LIBERAL_SHIFT, dir))) {
		fx->store = 1;
		fx->mismatch = window == CT_WINDOW_INVALID;
		fx->answer = window == CT_WINDOW_IGNORE ? CT_IGNORE : CT_REFUSE;
		return;
	}
	ct_tcp_accept(flow, word, dir, pkt, fx);
}

/*
 * An ACK or data of an established connection: all but a few segments. The same
 * functions as below, but with state and flags known when compiled. Returns 0,
 * and has changed nothing, where the whole machine is called for.
 */
static __always_inline int ct_tcp_fast(const struct ct_flow *flow, __u64 *word, enum ct_dir dir,
				       const struct ct_pkt *pkt, struct ct_tcp_effect *fx)
{
	const __u64 known =
		CT_W_SEEN_REPLY | CT_W_ASSURED | ((__u64)CT_TCP_ESTABLISHED << CT_W_STATE_SHIFT);
	__u64 w = *word;

	if ((w & (CT_W_SEEN_REPLY | CT_W_ASSURED | CT_W_STATE)) != known ||
	    (pkt->tcp_flags & (CT_TCP_SYN | CT_TCP_FIN | CT_TCP_RST | CT_TCP_ACK)) != CT_TCP_ACK)
		return 0;
	if (cfg_windows) {
		ct_tcp_load(flow, dir, &fx->view);
		if (ct_tcp_judge(pkt, CT_TCP_ACK, &w, dir, &fx->view) != CT_IN_WINDOW)
			return 0;
		fx->store = 1;
	} else {
		__builtin_memset(&fx->view, 0, sizeof(fx->view));
	}
	fx->note = 1;
	fx->remember = 1;
	if (ct_rec_matches(flow, dir, pkt))
		fx->again = flow->tcp[0].aux + 1; /* 256 times are none, as there */
	*word = ct_word_with(w, CT_TCP_ESTABLISHED,
			     ct_tcp_timeout(flow, w, CT_SEG_ACK, CT_TCP_ESTABLISHED, pkt, fx));
	return 1;
}

/*
 * First half: what the state machine says. Returns 1 if the window has to be
 * asked, 0 if fx->answer is final.
 */
static __always_inline int ct_tcp_step(const struct ct_flow *flow, __u64 word, enum ct_dir dir,
				       const struct ct_pkt *pkt, struct ct_tcp_effect *fx)
{
	enum ct_tcp_segment segment = ct_forget(fx, ct_tcp_segment(pkt->tcp_flags));
	enum ct_tcp_state state = ct_word_state(word), next;

	fx->answer = CT_REFUSE;
	fx->word = word;
	if (!ct_tcp_flags_valid(pkt->tcp_flags))
		return 0;
	next = ct_forget(fx, ct_tcp_next(dir, segment, state));
	ct_tcp_load(flow, dir, &fx->view);
	if (next == CT_TCP_SYN_SENT && state >= CT_TCP_TIME_WAIT) {
		if (ct_tcp_may_reopen(flow, word, dir)) {
			fx->answer = CT_REOPEN;
			return 0;
		}
		next = CT_TCP_IGNORE;
	}
	if (next == CT_TCP_IGNORE) {
		if (!ct_tcp_resync(flow, &fx->word, dir, segment, pkt, &fx->view)) {
			fx->answer = CT_IGNORE;
			fx->word = ct_tcp_ignore(word, dir, segment, state, flow, pkt, fx);
			return 0;
		}
		state = CT_TCP_SYN_SENT;
		next = CT_TCP_SYN_RECV;
	}
	if (next == CT_TCP_INVALID)
		return 0;
	/* RFC 5961: this ACK challenges the SYN we ignored, it does not acknowledge a FIN. */
	if (next == CT_TCP_TIME_WAIT && state == CT_TCP_LAST_ACK && segment == CT_SEG_ACK &&
	    ct_last_dir(flow) != dir && ct_last_is(flow, CT_SEG_SYN) && (word & CT_W_CHALLENGE)) {
		fx->answer = CT_IGNORE;
		fx->word = word & ~CT_W_CHALLENGE;
		return 0;
	}
	if (next == CT_TCP_SYN_SENT2)
		fx->word |= CT_W_SIMOPEN;
	if (next == CT_TCP_SYN_RECV && dir == CT_REPLY && segment == CT_SEG_ACK &&
	    (word & CT_W_SIMOPEN))
		next = CT_TCP_ESTABLISHED;
	fx->rst = CT_RST_CHECK;
	if (segment == CT_SEG_RST) {
		fx->rst = ct_forget(fx, ct_tcp_judge_rst(flow, word, dir, state, pkt));
		if (fx->rst == CT_RST_INVALID)
			return 0;
		if (fx->rst == CT_RST_KEEP)
			next = state;
	}
	fx->state = state;
	fx->next = next;
	return 1;
}

#endif
