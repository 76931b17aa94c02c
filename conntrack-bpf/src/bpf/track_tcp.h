/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TCP packets against a flow's state, after nf_conntrack_tcp_packet() in
 * net/netfilter/nf_conntrack_proto_tcp.c.
 */
#ifndef CT_TRACK_TCP_H
#define CT_TRACK_TCP_H

#include "config.h"
#include "flow.h"
#include "tcp.h"

/* ct_tcp_end.aux of end 1: the last segment that counted or was remembered. */
#define CT_TCP_LAST_SEGMENT 0x07 /* enum ct_tcp_segment + 1; 0: none yet */
#define CT_TCP_LAST_REPLY   0x08

static __always_inline int ct_tcp_last_was(const struct ct_flow *flow, enum ct_dir dir,
					   enum ct_tcp_segment segment)
{
	__u8 last = flow->tcp[1].aux;

	return (last & CT_TCP_LAST_SEGMENT) == segment + 1 &&
	       !!(last & CT_TCP_LAST_REPLY) == (dir == CT_REPLY);
}

static __always_inline void ct_tcp_set_last(struct ct_flow *flow, enum ct_dir dir,
					    enum ct_tcp_segment segment)
{
	/* One byte, both directions: the later store is the later segment. */
	flow->tcp[1].aux = (segment + 1) | (dir == CT_REPLY ? CT_TCP_LAST_REPLY : 0);
}

/* tcp_new(): a SYN, or with `loose` an ACK of a connection older than we are. */
static __always_inline __u64 ct_tcp_open(const struct ct_pkt *pkt, __u64 word)
{
	enum ct_tcp_segment segment = ct_tcp_segment(pkt->tcp_flags);
	enum ct_tcp_state state;

	if (!ct_tcp_flags_valid(pkt->tcp_flags))
		return 0;
	state = ct_tcp_next(CT_ORIGINAL, segment, CT_TCP_NONE);
	if (state == CT_TCP_SYN_SENT)
		return ct_word_with(word, state, CT_TMO_TCP + state);
	if (state != CT_TCP_ESTABLISHED || !ct_settings.tcp_loose)
		return 0;
	return ct_word_with(word | CT_W_PICKED_UP, state, CT_TMO_TCP_UNACK);
}

/*
 * A SYN on a flow in TIME_WAIT or CLOSE opens the tuple anew if an end closed
 * it, or if whoever now opens it was the one to reset it. Otherwise we may be
 * out of step; the answer will tell.
 */
static __always_inline int ct_tcp_may_reopen(const struct ct_flow *flow, __u64 word,
					     enum ct_dir dir)
{
	return (word & (3ULL << CT_W_FIN_SHIFT)) || ct_tcp_last_was(flow, dir, CT_SEG_RST);
}

static __always_inline __u64 ct_tcp_timeout(__u64 word, enum ct_tcp_segment segment,
					    enum ct_tcp_state state)
{
	if (segment == CT_SEG_RST)
		return CT_TMO_TCP + CT_TCP_CLOSE;
	/* Mid-stream and unanswered: not for days. */
	if (!(word & CT_W_SEEN_REPLY) && state == CT_TCP_ESTABLISHED)
		return CT_TMO_TCP_UNACK;
	return CT_TMO_TCP + state;
}

static __always_inline struct ct_step ct_tcp_step(struct ct_flow *flow, __u64 word, enum ct_dir dir,
						  const struct ct_pkt *pkt)
{
	struct ct_step step = {.answer = CT_REFUSE, .word = word};
	enum ct_tcp_segment segment = ct_tcp_segment(pkt->tcp_flags);
	enum ct_tcp_state state = ct_word_state(word);
	enum ct_tcp_state next;

	if (!ct_tcp_flags_valid(pkt->tcp_flags))
		return step;
	next = ct_tcp_next(dir, segment, state);
	if (next == CT_TCP_INVALID)
		return step;
	if (next == CT_TCP_SYN_SENT && state >= CT_TCP_TIME_WAIT) {
		step.answer = ct_tcp_may_reopen(flow, word, dir) ? CT_REOPEN : CT_IGNORE;
		return step;
	}
	if (next == CT_TCP_IGNORE) {
		step.answer = CT_IGNORE;
		return step;
	}
	if (next == CT_TCP_SYN_SENT2)
		step.word |= CT_W_SIMOPEN;
	if (next == CT_TCP_SYN_RECV && dir == CT_REPLY && segment == CT_SEG_ACK &&
	    (word & CT_W_SIMOPEN))
		next = CT_TCP_ESTABLISHED;

	/* Unanswered: a RST ends it at once, a SYN again changes nothing that counts. */
	if (!(word & CT_W_SEEN_REPLY)) {
		if (segment == CT_SEG_RST) {
			step.answer = CT_END;
			return step;
		}
		if (segment == CT_SEG_SYN && state == CT_TCP_SYN_SENT) {
			step.word =
				ct_word_with(step.word, next, (word & CT_W_TMO) >> CT_W_TMO_SHIFT);
			step.answer = CT_IGNORE;
			return step;
		}
	} else if (next == CT_TCP_ESTABLISHED &&
		   (state == CT_TCP_SYN_RECV || state == CT_TCP_ESTABLISHED)) {
		step.word |= CT_W_ASSURED;
	}
	if (next == CT_TCP_FIN_WAIT && state != CT_TCP_FIN_WAIT)
		step.word |= 1ULL << (CT_W_FIN_SHIFT + dir);
	step.word = ct_word_with(step.word, next, ct_tcp_timeout(word, segment, next));
	step.answer = CT_ACCEPT;
	return step;
}

#endif
