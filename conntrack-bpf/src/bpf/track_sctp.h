/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * An SCTP packet against its flow, after nf_conntrack_sctp_packet(). A flow
 * keeps the tags where TCP keeps `seq`: the one that packets of an end must
 * carry is that end's.
 *
 * Tags are written before the word changes. Another CPU may see them early;
 * they are of a handshake, whose packets answer one another.
 */
#ifndef CT_TRACK_SCTP_H
#define CT_TRACK_SCTP_H

#include "flow.h"
#include "sctp.h"

/* TCP's bits of the word, as SCTP has them. */
#define CT_W_SCTP_INIT_SHIFT CT_W_FIN_SHIFT /* +dir: this end has sent an INIT */
#define CT_W_SCTP_FAILED     CT_W_SIMOPEN   /* a HEARTBEAT with another tag awaits its answer, */
#define CT_W_SCTP_FAILED_DIR CT_W_CHALLENGE /* and was the reply direction's */

/* A flow while a packet's chunks go through it. */
struct ct_sctp {
	__u64 word;
	__u32 tag[CT_DIRS];
	__u32 dir;
	__u32 ignore; /* passes, changes no time */
};

/* Sec. 8.5.1: who may carry which tag. Returns 0 if it is the wrong one. */
static __always_inline int ct_sctp_tag_fits(const struct ct_sctp *s, const struct ct_pkt *pkt,
					    __u32 kind, __u32 peers)
{
	__u32 own = s->tag[s->dir & 1], other = s->tag[!s->dir];

	if (kind == CT_CHUNK_INIT)
		return pkt->seq == 0;
	if (kind == CT_CHUNK_ABORT || kind == CT_CHUNK_SHUTDOWN_COMPLETE)
		return pkt->seq == (peers ? other : own);
	if (kind == CT_CHUNK_COOKIE_ECHO)
		return pkt->seq == own;
	return 1;
}

/* HEARTBEAT and its answer may bring a tag of their own. Returns 0 for an invalid one. */
static __always_inline int ct_sctp_beat(struct ct_sctp *s, const struct ct_pkt *pkt, int answer)
{
	__u32 own = s->tag[s->dir & 1];

	if (own == 0) {
		s->tag[s->dir & 1] = pkt->seq;
		return 1;
	}
	if (own == pkt->seq) {
		s->word &= ~CT_W_SCTP_FAILED;
		return 1;
	}
	if ((pkt->options & CT_SCTP_DATA) || s->ignore)
		return 0;
	if (!answer) {
		s->word |= CT_W_SCTP_FAILED;
		s->word &= ~CT_W_SCTP_FAILED_DIR;
		if (s->dir == CT_REPLY)
			s->word |= CT_W_SCTP_FAILED_DIR;
		s->ignore = 1;
		return 1;
	}
	if (!(s->word & CT_W_SCTP_FAILED) ||
	    !!(s->word & CT_W_SCTP_FAILED_DIR) == (s->dir == CT_REPLY))
		return 0;
	s->word &= ~CT_W_SCTP_FAILED;
	s->tag[s->dir & 1] = pkt->seq;
	s->tag[!s->dir] = 0;
	return 1;
}

/*
 * INIT and INIT ACK say which tag the other end is to carry; one that says what
 * is known changes nothing, but that a flow's first INIT is its end's. Returns 0
 * for an invalid one.
 */
static __always_inline int ct_sctp_init(struct ct_sctp *s, const struct ct_pkt *pkt, __u32 kind)
{
	const __u64 own = 1ULL << (CT_W_SCTP_INIT_SHIFT + (s->dir & 1));
	const __u64 other = 1ULL << (CT_W_SCTP_INIT_SHIFT + !s->dir);
	__u32 tag = s->tag[!s->dir];

	if (pkt->options & CT_SCTP_SHORT)
		return 0;
	if (tag == pkt->ack && ct_word_state(s->word) != CT_SCTP_NONE)
		return 1;
	if (kind == CT_CHUNK_INIT) {
		if ((s->word & own) && (s->word & other))
			s->word &= ~other;
		s->word |= own;
	} else if (s->word & other ? !!(s->word & own) : tag != 0) {
		return 0; /* late, or of a collision */
	}
	s->tag[!s->dir] = pkt->ack;
	return 1;
}

/*
 * One chunk. Returns 0 if it makes the packet invalid. Global, for the verifier to walk
 * through it once.
 */
__weak __noinline int ct_sctp_chunk(struct ct_sctp *s, const struct ct_pkt *pkt, __u32 chunk,
				    int fresh)
{
	__u32 kind, ignored;
	__u8 state, next;

	if (!s || !pkt)
		return 0;
	kind = chunk & 15;
	ignored = s->ignore;
	state = ct_word_state(s->word);
	if (!ct_sctp_tag_fits(s, pkt, kind, chunk & CT_SCTP_T))
		return 0;
	if (kind == CT_CHUNK_COOKIE_ACK)
		s->word &= ~(3ULL << CT_W_SCTP_INIT_SHIFT);
	if (kind == CT_CHUNK_HEARTBEAT || kind == CT_CHUNK_HEARTBEAT_ACK) {
		if (!ct_sctp_beat(s, pkt, kind == CT_CHUNK_HEARTBEAT_ACK))
			return 0;
		if (s->ignore != ignored)
			return 1;
	}
	next = ct_sctp_next(s->dir, kind, state);
	if (next == CT_SCTP_INVALID)
		return 0;
	if (kind == CT_CHUNK_INIT || kind == CT_CHUNK_INIT_ACK) {
		if (!ct_sctp_init(s, pkt, kind))
			return 0;
		/* An INIT that comes again keeps nothing alive. */
		if (kind == CT_CHUNK_INIT && state == CT_SCTP_CLOSED && next == CT_SCTP_CLOSED &&
		    !fresh)
			s->ignore = 1;
	}
	if (state != next && next == CT_SCTP_ESTABLISHED)
		s->word |= CT_W_ASSURED;
	s->word = ct_word_with(s->word, next, (s->word & CT_W_TMO) >> CT_W_TMO_SHIFT);
	return 1;
}

static __always_inline int ct_sctp_has(const struct ct_pkt *pkt, __u32 kinds)
{
	return pkt->chunk_kinds & kinds;
}

/* sctp_new(): the first packet of a flow, and the tag it expects of the answer. */
static __always_inline int ct_sctp_first(struct ct_sctp *s, const struct ct_pkt *pkt)
{
	if (ct_sctp_has(pkt, 1U << CT_CHUNK_ABORT | 1U << CT_CHUNK_SHUTDOWN_COMPLETE |
				     1U << CT_CHUNK_COOKIE_ACK))
		return 0;
	if (pkt->options & CT_SCTP_OTHER)
		return 0;
	if (ct_sctp_has(pkt, 1U << CT_CHUNK_INIT)) {
		s->tag[CT_REPLY] = pkt->ack;
		return pkt->seq == 0 && !(pkt->options & CT_SCTP_SHORT);
	}
	if (ct_sctp_has(pkt, 1U << CT_CHUNK_HEARTBEAT))
		s->tag[CT_ORIGINAL] = pkt->seq;
	/* Out of the blue it is answered with its own tag: sec. 8.4. */
	if (ct_sctp_has(pkt, 1U << CT_CHUNK_SHUTDOWN_ACK))
		s->tag[CT_REPLY] = pkt->seq;
	return 1;
}

/* These look at the tag themselves. */
#define CT_SCTP_OWN_TAG                                                                            \
	(1U << CT_CHUNK_INIT | 1U << CT_CHUNK_SHUTDOWN_COMPLETE | 1U << CT_CHUNK_COOKIE_ECHO |     \
	 1U << CT_CHUNK_ABORT | 1U << CT_CHUNK_SHUTDOWN_ACK | 1U << CT_CHUNK_HEARTBEAT |           \
	 1U << CT_CHUNK_HEARTBEAT_ACK)

/* All chunks. `fresh`: there is no such flow yet, and `s` is all zero. */
static __always_inline enum ct_answer ct_sctp_run(struct ct_sctp *s, const struct ct_pkt *pkt,
						  int fresh)
{
	if (fresh && !ct_sctp_first(s, pkt))
		return CT_REFUSE;
	if (!ct_sctp_has(pkt, CT_SCTP_OWN_TAG) && pkt->seq != s->tag[s->dir & 1])
		return CT_REFUSE;
	for (__u32 i = 0; i < CT_SCTP_CHUNKS; i++) {
		if (i >= *(const volatile __u32 *)&pkt->chunks)
			break;
		if (!ct_sctp_chunk(s, pkt, pkt->chunk[i], fresh))
			return CT_REFUSE;
	}
	if (s->ignore)
		return CT_IGNORE;
	s->word =
		ct_word_with(s->word, ct_word_state(s->word), CT_TMO_SCTP + ct_word_state(s->word));
	return CT_ACCEPT;
}

#endif
