/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * nf_conntrack sees packets put together; that cannot be done here. The first
 * fragment stands for its packet: it is judged and classified. It has the ports,
 * and is remembered for the others, which add their payload to what it counted
 * and, in TCP, to what its end has sent; those that come before it wait for it.
 * So what is counted is the same in the end.
 *
 * What is known of a packet is read and written without a lock. Two CPUs that
 * see fragments of one packet at the same moment may lose each other's marks:
 * then a fragment that comes twice counts twice, or one that came early never.
 */
#ifndef CT_FRAGMENT_H
#define CT_FRAGMENT_H

#include "policy.h"

/* As long as the kernel waits for the rest of an IPv4 packet: net.ipv4.ipfrag_time. */
#define CT_FRAG4_NS (30 * CT_NSEC)

static __always_inline void ct_frag_key(const struct ct_frame *f, const struct ct_pkt *pkt,
					struct ct_frag_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->family = pkt->family;
	key->id_be = f->frag_id;
	/* In IPv6 the field may name an extension header, in the first fragment only. */
	key->proto = pkt->family == 4 ? pkt->inner ? IPPROTO_ICMP : f->proto : 0;
	/* Of an ICMP error, those of the error. */
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (i && pkt->family == 4)
			break;
		key->src[i] = pkt->inner ? pkt->outer_src[i] : pkt->src[i];
		key->dst[i] = pkt->inner ? pkt->outer_dst[i] : pkt->dst[i];
	}
}

/* Is it waited for more of this packet? If not, the next fragment begins another. */
static __always_inline int ct_frag_open(const struct ct_frag *frag, const struct ct_pkt *pkt)
{
	__u64 limit = pkt->family == 4 ? CT_FRAG4_NS : ct_settings.frag6_timeout * CT_NSEC;

	return (__s64)(pkt->now - frag->seen) < (__s64)limit &&
	       (!frag->total || frag->have < frag->total);
}

/* Takes down a fragment that is not the first. Returns 0 if it has been there before. */
static __always_inline int ct_frag_join(struct ct_frag *frag, __u32 from, __u32 to, int more)
{
	if (from >= frag->from && to <= frag->to)
		return 0;
	if (from <= frag->to && to >= frag->from) {
		frag->from = from < frag->from ? from : frag->from;
		frag->to = to > frag->to ? to : frag->to;
	}
	frag->have += to - from;
	if (!more)
		frag->total = to;
	return 1;
}

/* Returns 0 if it is not to be tracked: it has been there, must wait, or its packet was refused. */
static __always_inline int ct_frag_later(struct ct_work *w, const struct ct_frag_key *key)
{
	struct ct_frag *frag = bpf_map_lookup_elem(&ct_frag, key);
	__u32 from = w->frame.frag_off, to = from + w->pkt.payload;
	struct ct_pkt *pkt = &w->pkt;

	if (!frag || !ct_frag_open(frag, pkt)) {
		struct ct_frag early = {
			.seen = pkt->now,
			.state = CT_FRAG_EARLY,
			.from = from,
			.to = to,
			.have = to - from,
			.total = w->frame.frag_more ? 0 : to,
		};

		bpf_map_update_elem(&ct_frag, key, &early, BPF_ANY);
		return 0;
	}
	pkt->src_port_be = frag->src_port_be;
	pkt->dst_port_be = frag->dst_port_be;
	pkt->proto = frag->proto;
	pkt->reply = frag->reply;
	if (frag->state == CT_FRAG_DROPPED)
		w->refused = CT_DROPPED;
	if (!ct_frag_join(frag, from, to, w->frame.frag_more) || frag->state != CT_FRAG_COUNTED)
		return 0;
	pkt->seq = frag->base + to;
	pkt->ack = frag->base + frag->first;
	pkt->anew = frag->anew;
	return 1;
}

/* Returns 0 if it has been there before. */
static __always_inline int ct_frag_first(struct ct_work *w, const struct ct_frag_key *key)
{
	struct ct_frag *old = bpf_map_lookup_elem(&ct_frag, key);
	struct ct_frame *f = &w->frame;
	struct ct_pkt *pkt = &w->pkt;
	__u32 len = f->l3_end > f->frag_start ? f->l3_end - f->frag_start : 0;
	__u32 end = pkt->seq + pkt->payload + !!(pkt->tcp_flags & CT_TCP_SYN) +
		    !!(pkt->tcp_flags & CT_TCP_FIN);
	struct ct_frag frag = {
		.seen = pkt->now,
		.src_port_be = pkt->src_port_be,
		.dst_port_be = pkt->dst_port_be,
		.proto = pkt->proto,
		.reply = pkt->reply,
		.state = CT_FRAG_COUNTED,
		.base = end - len,
		.to = len,
		.have = len,
		.first = len,
	};

	/*
	 * What was dropped may have been another's, who forged the source: it says nothing of
	 * a first fragment that comes after it.
	 */
	if (old && old->state != CT_FRAG_DROPPED && ct_frag_open(old, pkt)) {
		__u32 known = old->total ? old->total : old->to;

		if (old->state != CT_FRAG_EARLY && len <= old->to)
			return 0;
		if (old->state == CT_FRAG_EARLY) {
			frag.seen = old->seen;
			frag.have += old->have;
			frag.total = old->total;
			if (old->from <= len && old->to > len)
				frag.to = old->to;
			pkt->bytes += old->have;
			if (known > len)
				pkt->payload += known - len;
		}
	}
	bpf_map_update_elem(&ct_frag, key, &frag, BPF_ANY);
	return 1;
}

/* What the interfaces count is on the wire; what flows count is put together. */
static __always_inline void ct_as_whole(struct ct_pkt *pkt, const struct ct_frame *f)
{
	if (pkt->kind == CT_KIND_FRAGMENT) {
		pkt->segs = 0;
		pkt->bytes = pkt->payload;
	} else {
		pkt->bytes -= f->frag_headers;
	}
}

/* Before a fragment is tracked. Returns 0 if it is not to be. */
__weak __noinline int ct_frag_begin(struct ct_work *w)
{
	struct ct_frag_key key;

	if (!w)
		return 0;
	w->refused = 0;
	ct_frag_key(&w->frame, &w->pkt, &key);
	return w->frame.frag_off ? ct_frag_later(w, &key) : ct_frag_first(w, &key);
}

/* A fragment that is not tracked. Returns enum ct_verdict. */
__weak __noinline int ct_frag_leave(struct ct_work *w)
{
	struct ct_cpu *cpu;

	if (!w)
		return CT_VERDICT_PASS;
	/* Whether it is the first one or not, its ports are known if any are. */
	if (ct_policy.active && ct_ask(w, CT_ASK_ALL & ~w->ask.asked) == CT_VERDICT_DROP)
		return CT_VERDICT_DROP;
	if (w->refused == CT_DROPPED) {
		cpu = ct_cpu_of(w->cpu);
		if (cpu)
			cpu->drops[CT_DROP_THRESHOLD]++;
		return CT_VERDICT_DROP;
	}
	/* Of no class: that is its packet's. */
	w->pkt.segs = 0;
	ct_refuse(w, CT_CLASS_UNTRACKED, CT_PASS_FRAGMENT);
	return CT_VERDICT_PASS;
}

/*
 * After it was: if the first did not count, nor do the others, and if it was dropped, so are
 * they. If nothing was known
 * of its sender before, all of the packet is where that begins.
 */
__weak __noinline int ct_frag_end(struct ct_work *w)
{
	struct ct_frag_key key;
	struct ct_frag *frag;
	int counted, anew;

	if (!w || w->frame.frag_off)
		return 0;
	counted = !w->refused && w->pkt.kind == CT_KIND_FLOW;
	anew = w->pkt.proto == IPPROTO_TCP && w->fx.view.anew;
	if (counted && !anew)
		return 0;
	ct_frag_key(&w->frame, &w->pkt, &key);
	frag = bpf_map_lookup_elem(&ct_frag, &key);
	if (frag && counted)
		frag->anew = 1;
	else if (frag)
		frag->state = w->refused == CT_DROPPED ? CT_FRAG_DROPPED : CT_FRAG_REFUSED;
	return 0;
}

#endif
