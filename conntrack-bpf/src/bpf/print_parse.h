/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The headers of a SYN or SYN+ACK, copied for print_walk.h: packet memory is not touched
 * after parsing, and whether the record is wanted is known only then.
 */
#ifndef CT_PRINT_PARSE_H
#define CT_PRINT_PARSE_H

#include "parse_ip.h"

/* What IP's header says. Returns 0 if it is not in reach. */
static __always_inline int ct_syn_ip(const struct ct_mem *m, const struct ct_frame *f,
				     struct ct_syn *s, int v6)
{
	__u32 options = f->off - f->l3 - (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));

	s->ip_options = options > 255 ? 255 : options;
	s->bits = 0;
	if (v6) {
		struct ipv6hdr *ip = ct_at(m, f->l3, sizeof(*ip));

		if (!ip)
			return 0;
		s->ttl = ip->hop_limit;
		s->bits |= CT_P_IPV6;
		if (((__u8 *)ip)[1] & 0x30)
			s->bits |= CT_Q_ECN;
		if (*(__be32 *)ip & bpf_htonl(0xfffff))
			s->bits |= CT_Q_FLOW;
	} else {
		struct iphdr *ip = ct_at(m, f->l3, sizeof(*ip));
		int whole;

		if (!ip)
			return 0;
		s->ttl = ip->ttl;
		whole = !!(ip->frag_off & bpf_htons(0x4000));
		if (ip->tos & 3)
			s->bits |= CT_Q_ECN;
		if (ip->frag_off & bpf_htons(0x8000))
			s->bits |= CT_Q_MBZ;
		if (whole)
			s->bits |= ip->id ? CT_Q_DF | CT_Q_ID : CT_Q_DF;
		else if (!ip->id)
			s->bits |= CT_Q_ZERO_ID;
	}
	return 1;
}

/* TCP's header, in words. Returns 0 if it is not in reach. */
static __always_inline int ct_syn_tcp(const struct ct_mem *m, struct ct_frame *f, struct ct_syn *s)
{
	for (__u32 i = 0; i < 60; i += 4) {
		__u32 *word;

		if (i >= s->end)
			break;
		word = ct_need(m, f, f->off + i, 4);
		if (!word)
			return 0;
		*(__u32 *)&s->tcp[i] = *word;
	}
	return 1;
}

static __always_inline int ct_syn_copy(const struct ct_mem *m, struct ct_frame *f,
				       const struct ct_pkt *pkt)
{
	struct ct_syn *s = &f->syn;

	if (!ct_syn_ip(m, f, s, pkt->family == 6) || !ct_syn_tcp(m, f, s))
		return 0;
	if (pkt->payload)
		s->bits |= CT_P_PAYLOAD;
	s->there = CT_SYN_COPIED;
	return 0;
}

__weak __noinline int ct_syn_xdp(struct xdp_md *ctx, struct ct_frame *f, struct ct_pkt *pkt)
{
	struct ct_mem m = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};

	return f && pkt ? ct_syn_copy(&m, f, pkt) : 0;
}

__weak __noinline int ct_syn_skb(struct __sk_buff *ctx, struct ct_frame *f, struct ct_pkt *pkt)
{
	struct ct_mem m = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};

	return f && pkt ? ct_syn_copy(&m, f, pkt) : 0;
}

/* A segment with SYN, whose TCP header of so many bytes is at f->off. */
static __always_inline void ct_syn_take(const struct ct_mem *m, struct ct_frame *f,
					struct ct_pkt *pkt, __u32 header)
{
	f->syn.there = CT_SYN_NONE;
	f->syn.taken = 0;
	if (f->fragmented || (pkt->tcp_flags & (CT_TCP_FIN | CT_TCP_RST)))
		return;
	f->syn.end = header;
	if (m->xdp)
		ct_syn_xdp(m->ctx, f, pkt);
	else
		ct_syn_skb(m->ctx, f, pkt);
}

#endif
