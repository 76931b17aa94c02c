/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Limits on how many connections a source may begin, asked where one is about to begin.
 * What comes in is limited, never what this host sends.
 *
 * Two stages. The sketch counts everybody, in little memory; but
 * sources share its cells, so it may say too much. Whom it puts beyond half of a limit is
 * counted exactly as well, in a map of suspects, from then on; and only what that count
 * says has consequences. So nobody pays for others. A source may begin half of the limit
 * more before the exact count has caught up, and twice the limit in a window that ends and
 * begins within halves of ours; and where a flood of more sources than there
 * is room for suspects pushes them out of that map, too much passes rather than too little.
 *
 * The addresses of SYNs can be forged. So where bans are made, what counts towards one is
 * that a handshake has come through; what is begun and left alone is dropped.
 *
 * Races: two CPUs may both take the last connection that a limit leaves: there is one too
 * many then, never one too few. See limit_count.h and limit_ban.h, too.
 */
#ifndef CT_LIMIT_H
#define CT_LIMIT_H

#include "limit_ban.h"
#include "limit_count.h"
#include "print_ban.h"

/* Must a handshake come through before somebody is banned? */
static __always_inline int ct_limit_waits(void)
{
	return ct_limits.action == CT_LIMIT_BAN && !ct_limits.on_syn;
}

/* How many may be begun and not through; 0: any number. */
static __always_inline __u32 ct_limit_half_open(__u32 kind)
{
	__u32 half_open = ct_limits.half_open[kind], most = ct_limits.most[kind];

	if (ct_limit_waits() && most && (!half_open || most < half_open))
		return most;
	return half_open;
}

/* Asks whether one more of a measure of w->limit.key is too much; counts it in the sketch. */
static __always_inline int ct_limit_over(struct ct_work *w, enum ct_measure measure, __u32 most)
{
	w->limit.key.measure = measure;
	w->limit.most = most;
	if (ct_sketch_count(w, 1) <= most / 2)
		return 0;
	if (ct_suspect_over(w))
		return 1;
	w->limit.due |= 1U << (w->limit.key.kind * CT_MEASURES + measure);
	return 0;
}

/* Is the source one that is never dropped? */
static __always_inline int ct_limit_spared(struct ct_work *w, const __u32 *addr)
{
	ct_ask_of(w, addr, 0, 1);
	w->ask.allowed = CT_ALLOW_UNKNOWN;
	return ct_is_allowed(w);
}

/* Are networks counted? Then those of them who are never dropped are asked for first. */
static __always_inline int ct_limit_nets(void)
{
	return ct_limits.most[CT_LIMIT_PREFIX] || ct_limits.half_open[CT_LIMIT_PREFIX];
}

/*
 * Is the connection that a packet is about to begin too much, for whom it is counted? Where
 * handshakes are what is counted, whoever has had too many of them and is not banned, for
 * there was no room or somebody has ended the ban, begins no more in this window.
 */
__weak __noinline int ct_limit_kind(struct ct_work *w, __u32 kind)
{
	__u32 most, half_open;
	int tcp;

	if (!w || kind >= CT_LIMIT_KINDS)
		return 0;
	most = ct_limits.most[kind];
	half_open = ct_limit_half_open(kind);
	tcp = w->pkt.proto == IPPROTO_TCP;
	if (!ct_limit_key(w, kind, w->pkt.src, w->pkt.dst_port_be))
		return 0;
	if (tcp && half_open && ct_limit_over(w, CT_MEASURE_HALF, half_open))
		return 1;
	if (!most)
		return 0;
	if (!tcp || !ct_limit_waits())
		return ct_limit_over(w, CT_MEASURE_NEW, most);
	w->limit.key.measure = CT_MEASURE_DONE;
	w->limit.most = most + 1;
	return ct_suspect_over(w);
}

/* The connection is begun: counts it exactly, for whom that is due. */
__weak __noinline int ct_limit_begun(struct ct_work *w)
{
	if (!w)
		return 0;
	for (__u32 kind = 0; kind < CT_LIMIT_KINDS; kind++) {
		__u32 due = w->limit.due >> (kind * CT_MEASURES);

		if (!(due & ((1U << CT_MEASURES) - 1)) ||
		    !ct_limit_key(w, kind, w->pkt.src, w->pkt.dst_port_be))
			continue;
		for (__u32 measure = 0; measure < CT_MEASURE_DONE; measure++) {
			w->limit.key.measure = measure;
			if (due & (1U << measure))
				ct_suspect_more(w);
		}
	}
	return 0;
}

/*
 * A connection of a fingerprint that is banned is not begun. No fragment has a fingerprint,
 * so there is no rest of it to drop. Returns enum ct_verdict.
 */
static __always_inline int ct_limit_print(struct ct_work *w)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);

	if (w->pkt.proto != IPPROTO_TCP || !cpu || !ct_print_banned(w) ||
	    ct_limit_spared(w, w->pkt.src))
		return CT_VERDICT_PASS;
	cpu->drops[CT_DROP_FINGERPRINT] += w->pkt.segs;
	return CT_VERDICT_DROP;
}

/*
 * A packet is about to begin a connection: is that too much? Returns enum ct_verdict. A
 * TCP segment in mid-stream begins none: it goes on with one that we have not seen begin.
 * All limits are asked before any of them counts it exactly: what one of them refuses is
 * nothing to the others.
 */
__weak __noinline int ct_limit(struct ct_work *w)
{
	struct ct_cpu *cpu;
	__u32 over = CT_LIMIT_KINDS;

	if (!w)
		return CT_VERDICT_PASS;
	w->limit.asked = 1;
	w->limit.due = 0;
	if (w->pkt.proto == IPPROTO_TCP && ct_word_state(w->bits) != CT_TCP_SYN_SENT)
		return CT_VERDICT_PASS;
	if (ct_settings.print_bans && ct_limit_print(w) == CT_VERDICT_DROP)
		return CT_VERDICT_DROP;
	if (!ct_limits.action)
		return CT_VERDICT_PASS;
	if (ct_limit_nets() && ct_limit_spared(w, w->pkt.src))
		return CT_VERDICT_PASS;
	w->limit.half = ct_half_of(w->pkt.now);
	for (__u32 kind = 0; kind < CT_LIMIT_KINDS && over == CT_LIMIT_KINDS; kind++) {
		if (ct_limit_kind(w, kind))
			over = kind;
	}
	if (over == CT_LIMIT_KINDS && w->limit.due)
		ct_limit_begun(w);
	cpu = ct_cpu_of(w->cpu);
	if (over == CT_LIMIT_KINDS || !cpu || ct_limit_spared(w, w->pkt.src))
		return CT_VERDICT_PASS;
	cpu->limit[CT_LIMITED_OVER]++;
	if (ct_limits.action == CT_LIMIT_COUNT)
		return CT_VERDICT_PASS;
	if (ct_limits.action == CT_LIMIT_BAN && ct_limits.on_syn)
		ct_limit_ban(w);
	cpu->drops[CT_DROP_THRESHOLD] += w->pkt.segs;
	w->refused = CT_DROPPED;
	return CT_VERDICT_DROP;
}

/* Has this packet to be asked about before it begins a connection? */
static __always_inline int ct_limit_due(const struct ct_work *w)
{
	return (ct_limits.action || ct_settings.print_bans) && !w->ask.egress && !w->limit.asked;
}

/* The handshake of w->pkt's connection has come through: for whom it is counted. */
__weak __noinline int ct_limit_through(struct ct_work *w, __u32 kind)
{
	__u32 most;

	if (!w || kind >= CT_LIMIT_KINDS || !ct_limit_key(w, kind, w->pkt.src, w->pkt.dst_port_be))
		return 0;
	most = ct_limits.most[kind];
	if (ct_limit_half_open(kind)) {
		w->limit.key.measure = CT_MEASURE_HALF;
		ct_sketch_count(w, 0);
		ct_suspect_less(w);
	}
	if (!ct_limit_waits() || !most)
		return 0;
	w->limit.key.measure = CT_MEASURE_DONE;
	w->limit.most = most;
	if (ct_sketch_count(w, 1) <= most / 2 || ct_suspect_more(w) <= most)
		return 0;
	return ct_limit_spared(w, w->pkt.src) ? 0 : ct_limit_ban(w);
}

/*
 * Has a packet of the answering end come a way that whoever sends the opener's packets
 * cannot take? It goes out: this host, or one behind it, has answered. Or it has come in
 * by another interface than the opener's packets do.
 */
static __always_inline int ct_limit_apart(const struct ct_work *w, const struct ct_flow *flow)
{
	return w->ask.egress || (w->pkt.ifindex & 0xffffff) != flow->proto_if >> 8;
}

/*
 * A packet has changed the word of its flow, which was `before`. All three packets of a
 * handshake can be forged by who is not the opener: then nothing has shown that the opener
 * is there. What shows it is that he knows the number which the other end has just chosen.
 * So the answer has to have come a way of its own, and the last packet to bear exactly
 * that number, whatever the window would let pass.
 *
 * What is to be counted is counted once the step has returned, for the stacks would add up.
 */
static __always_inline void ct_limit_settled(struct ct_work *w, struct ct_flow *flow,
					     enum ct_dir dir, __u64 before, __u64 word)
{
	__u8 *scale = &flow->tcp[CT_REPLY].scale;

	if (!ct_limits.action || w->pkt.proto != IPPROTO_TCP)
		return;
	if (dir == CT_REPLY && ct_word_state(word) == CT_TCP_SYN_RECV) {
		if (!ct_limit_apart(w, flow))
			*scale &= ~CT_END_SHOWN;
		else if (ct_tcp_segment(w->pkt.tcp_flags) == CT_SEG_SYNACK)
			*scale |= CT_END_SHOWN;
		return;
	}
	if (dir != CT_ORIGINAL || w->ask.egress || ct_word_state(before) != CT_TCP_SYN_RECV ||
	    ct_word_state(word) != CT_TCP_ESTABLISHED)
		return;
	if (!(*scale & CT_END_SHOWN) || w->pkt.ack != flow->tcp[CT_REPLY].end)
		return;
	w->limit.half = ct_half_of(w->pkt.now);
	w->limit.then = ct_half_of(flow->start);
	w->limit.shaken = 1;
}

__weak __noinline int ct_limit_shaken(struct ct_work *w)
{
	if (!w)
		return 0;
	w->limit.shaken = 0;
	if (ct_limit_nets() && ct_limit_spared(w, w->pkt.src))
		return 0;
	for (__u32 kind = 0; kind < CT_LIMIT_KINDS; kind++)
		ct_limit_through(w, kind);
	return 0;
}

#endif
