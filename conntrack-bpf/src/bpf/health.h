/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a TCP connection is doing. What is worth noting is told from what the step of a
 * segment has at hand anyway; it is noted in the flow's entry of ct_side once the step has
 * returned, so that their stacks do not add up. Most segments note nothing.
 *
 * Races: two CPUs may note for one flow. Counts are atomic adds. The rest is one
 * direction's, whose packets are one CPU's but for moments, or written once.
 */
#ifndef CT_HEALTH_H
#define CT_HEALTH_H

#include "side.h"

/* What there is to note: bits of ct_health_ask.due. */
#define CT_DUE_SHAKEN 1 /* the handshake has come through */
#define CT_DUE_AGAIN  2 /* a segment of the handshake came again */

/* Before the step of a packet: what it needs of its flow as that was. */
static __always_inline void ct_health_before(struct ct_work *w, const struct ct_flow *flow,
					     enum ct_dir dir)
{
	if (!cfg_health || w->pkt.proto != IPPROTO_TCP)
		return;
	w->health.start = flow->start;
	w->health.seen = flow->seen;
	w->health.once = flow->packets[CT_ORIGINAL] == 1 && flow->packets[CT_REPLY] == 1;
	w->health.dir = dir;
}

/*
 * The word that the machine made of `before`. A handshake of which anything came again has
 * CT_W_AGAIN until it is through: what an answer answers cannot be told then.
 */
static __always_inline __u64 ct_health_word(struct ct_work *w, enum ct_answer answer, __u64 before,
					    __u64 word)
{
	__u64 state = ct_word_state(before), next = ct_word_state(word);

	if (!cfg_health || w->pkt.proto != IPPROTO_TCP ||
	    (state != CT_TCP_SYN_SENT && state != CT_TCP_SYN_RECV))
		return word;
	if (answer == CT_IGNORE && (w->pkt.tcp_flags & CT_TCP_SYN)) {
		w->health.due |= CT_DUE_AGAIN;
		return word | CT_W_AGAIN;
	}
	if (answer != CT_ACCEPT || state != CT_TCP_SYN_RECV || next != CT_TCP_ESTABLISHED)
		return word;
	if (w->health.dir == CT_ORIGINAL)
		w->health.due |= CT_DUE_SHAKEN;
	w->health.once &= !(before & CT_W_AGAIN);
	return word & ~CT_W_AGAIN;
}

/* A time in 32 bits: what is longer is as long as they tell. */
static __always_inline __u32 ct_health_ns(__u64 from, __u64 to)
{
	__u64 ns = to - from;

	if ((__s64)ns < 1)
		return 1;
	return ns > 0xffffffff ? 0xffffffff : ns;
}

static __always_inline void ct_health_shaken(const struct ct_work *w, struct ct_side *side)
{
	__sync_fetch_and_or(&side->flags, CT_SIDE_THROUGH);
	if (!(cfg_health & CT_HEALTH_RTT) || !w->health.once)
		return;
	side->health.rtt[CT_ORIGINAL] = ct_health_ns(w->health.start, w->health.seen);
	side->health.rtt[CT_REPLY] = ct_health_ns(w->health.seen, ct_now());
}

/* After the step of a packet: notes what is due. */
__weak __noinline int ct_health(struct ct_work *w)
{
	struct ct_health_end *end;
	struct ct_side *side;

	if (!w || !cfg_health)
		return 0;
	ct_side_begin(w, w->health.start, w->health.due & CT_DUE_SHAKEN);
	if (!ct_side_take(w))
		return 0;
	side = ct_side_of(w);
	if (!side)
		return 0;
	end = &side->health.end[w->health.dir & 1];
	if (w->health.due & CT_DUE_SHAKEN)
		ct_health_shaken(w, side);
	if ((cfg_health & CT_HEALTH_LOSS) && (w->health.due & CT_DUE_AGAIN))
		__sync_fetch_and_add(&end->retrans, 1);
	return 0;
}

#endif
