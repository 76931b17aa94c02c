/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From the IP payload to struct ct_pkt. */
#ifndef CT_PARSE_H
#define CT_PARSE_H

#include "checksum.h"
#include "icmp.h"
#include "parse_sctp.h"
#include "parse_tcp.h"

/* UDP and UDP-Lite begin with two ports. `min` is the whole
 * header. */
static __always_inline enum ct_pass ct_parse_ports(const struct ct_mem *m, struct ct_frame *f,
						   struct ct_pkt *pkt, __u32 min)
{
	__be16 *ports = ct_at(m, f->off, 4);

	if (!ports || f->off + 4 > f->l3_end)
		return CT_PASS_TRUNCATED;
	pkt->src_port_be = ports[0];
	pkt->dst_port_be = ports[1];
	if (f->off + min > f->l3_end)
		pkt->kind = CT_KIND_INVALID;
	else if (pkt->segs > 1)
		ct_cut(pkt, f, min);
	return CT_PARSED;
}

/* UDP's own length must fit; of a fragment or a super-packet it cannot. */
static __always_inline enum ct_pass ct_parse_udp(const struct ct_mem *m, struct ct_frame *f,
						 struct ct_pkt *pkt)
{
	__be16 *udp = ct_need(m, f, f->off, 8);
	__u32 len;

	if (udp && !f->fragmented && pkt->segs == 1) {
		len = bpf_ntohs(udp[2]);
		if (len < 8 || f->off + len > f->l3_end)
			pkt->kind = CT_KIND_INVALID;
	}
	return ct_parse_ports(m, f, pkt, 8);
}

/*
 * UDP-Lite has how much its checksum covers where UDP has its length, 0 for all
 * of it; and the checksum is a must. Of a fragment nobody can tell.
 */
static __always_inline enum ct_pass ct_parse_udplite(const struct ct_mem *m, struct ct_frame *f,
						     struct ct_pkt *pkt)
{
	__be16 *udp = ct_need(m, f, f->off, 8);
	__u32 covered;

	if (udp && !f->fragmented) {
		covered = bpf_ntohs(udp[2]);
		if (!udp[3] || (covered && (covered < 8 || f->off + covered > f->l3_end)))
			pkt->kind = CT_KIND_INVALID;
	}
	return ct_parse_ports(m, f, pkt, 8);
}

/*
 * PPTP's GRE (version 1) has a call id; plain GRE is one flow a pair of hosts,
 * and so is what is too short to tell.
 */
static __always_inline enum ct_pass ct_parse_gre(const struct ct_mem *m, struct ct_frame *f,
						 struct ct_pkt *pkt)
{
	__be16 *gre = ct_at(m, f->off, 4);

	if (f->off + 4 > f->l3_end)
		return CT_PARSED;
	if (!gre)
		return CT_PASS_TRUNCATED;
	if ((gre[0] & bpf_htons(0x0007)) != bpf_htons(1) || f->off + 8 > f->l3_end)
		return CT_PARSED;
	gre = ct_at(m, f->off, 8);
	if (!gre)
		return CT_PASS_TRUNCATED;
	if (gre[1] != bpf_htons(0x880b)) {
		pkt->kind = CT_KIND_INVALID;
		return CT_PARSED;
	}
	pkt->dst_port_be = gre[3];
	return CT_PARSED;
}

/*
 * The extension headers of the packet inside an ICMP error. If it was a fragment, the
 * error is none for that. 0: it is a later one, or has no transport header.
 */
static __always_inline int ct_skip_inner(const struct ct_mem *m, struct ct_frame *f)
{
	__u32 id = f->frag_id, start = f->frag_start, later;
	__u8 fragmented = f->fragmented, more = f->frag_more;
	__u16 headers = f->frag_headers;
	enum ct_pass pass;

	f->frag_off = 0;
	f->frag_headers = 0;
	pass = ct_skip_ext(m, f);
	if (pass == CT_PASS_TRUNCATED)
		f->beyond = 1;
	later = f->frag_off;
	f->frag_off = 0; /* an error is read in a first fragment only */
	f->fragmented = fragmented;
	f->frag_headers = headers;
	f->frag_id = id;
	f->frag_more = more;
	f->frag_start = start;
	return pass == CT_PARSED && !later;
}

/* Addresses of the packet inside an ICMP error; leaves f->off at what it carries. 0: none. */
static __always_inline int ct_inner_ip(const struct ct_mem *m, struct ct_frame *f,
				       struct ct_pkt *pkt)
{
	if (pkt->family == 4) {
		struct iphdr *ip = ct_need(m, f, f->off, sizeof(*ip));

		/* Its length may be any, as long as it ends within the error. */
		if (!ip || f->off + sizeof(*ip) > f->l3_end || f->off + ip->ihl * 4 > f->l3_end ||
		    (ip->frag_off & bpf_htons(CT_IP_OFFSET)))
			return 0;
		pkt->returned = pkt->dst[0] == ip->saddr;
		pkt->src[0] = ip->saddr;
		pkt->dst[0] = ip->daddr;
		f->proto = ip->protocol;
		f->off += ip->ihl * 4;
	} else {
		struct ipv6hdr *ip = ct_need(m, f, f->off, sizeof(*ip));

		if (!ip || f->off + sizeof(*ip) > f->l3_end)
			return 0;
		pkt->returned = pkt->dst[0] == ip->saddr.in6_u.u6_addr32[0] &&
				pkt->dst[1] == ip->saddr.in6_u.u6_addr32[1] &&
				pkt->dst[2] == ip->saddr.in6_u.u6_addr32[2] &&
				pkt->dst[3] == ip->saddr.in6_u.u6_addr32[3];
		ct_copy_addr6(pkt->src, &ip->saddr);
		ct_copy_addr6(pkt->dst, &ip->daddr);
		f->proto = ip->nexthdr;
		f->off += sizeof(*ip);
		if (!ct_skip_inner(m, f))
			return 0;
	}
	pkt->proto = f->proto;
	return 1;
}

/*
 * The packet inside an ICMP error. Its tuple replaces the outer one. An honest
 * error goes back to whoever sent it; whether this one does is kept.
 * Four bytes of the inner layer 4 are enough, as they are for nf_conntrack.
 */
static __always_inline enum ct_pass ct_parse_inner(const struct ct_mem *m, struct ct_frame *f,
						   struct ct_pkt *pkt)
{
	struct ct_icmp *icmp;
	__be16 *ports;

	pkt->kind = CT_KIND_ERROR;
	ct_keep_outer(pkt);
	if (!ct_inner_ip(m, f, pkt))
		goto invalid;
	switch (f->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		ports = ct_need(m, f, f->off, 4);
		if (!ports || f->off + 4 > f->l3_end)
			goto invalid;
		pkt->src_port_be = ports[0];
		pkt->dst_port_be = ports[1];
		return CT_PARSED;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (!ct_is_icmp(pkt))
			return CT_PARSED;
		icmp = ct_need(m, f, f->off, sizeof(*icmp));
		if (!icmp || f->off + sizeof(*icmp) > f->l3_end ||
		    ct_icmp_classify(f->proto, icmp->type) != CT_ICMP_QUERY)
			goto invalid;
		ct_icmp_tuple(pkt, f->proto, icmp);
		return CT_PARSED;
	case IPPROTO_GRE:
		return ct_parse_gre(m, f, pkt);
	default:
		return CT_PARSED;
	}
invalid:
	pkt->kind = CT_KIND_INVALID;
	return CT_PARSED;
}

__weak __noinline int ct_inner_xdp(struct xdp_md *ctx, struct ct_frame *f, struct ct_pkt *pkt)
{
	struct ct_mem m = {
		.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
		.ctx = ctx,
		.xdp = 1,
	};

	return f && pkt ? ct_parse_inner(&m, f, pkt) : CT_PASS_INTERNAL;
}

__weak __noinline int ct_inner_skb(struct __sk_buff *ctx, struct ct_frame *f, struct ct_pkt *pkt)
{
	struct ct_mem m = {
		.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
		.ctx = ctx,
		.xdp = 0,
	};

	return f && pkt ? ct_parse_inner(&m, f, pkt) : CT_PASS_INTERNAL;
}

/*
 * ICMPv6's redirect has a target and a destination before its options, the first
 * of which is the packet it is about. Only a router on the link may send it.
 * Leaves f->off at that packet.
 */
#define CT_REDIRECT_OPTIONS  40
#define CT_REDIRECTED_HEADER 4

static __always_inline int ct_redirect_sound(const struct ct_mem *m, struct ct_frame *f,
					     const struct ct_pkt *pkt)
{
	__u8 *hop_limit = ct_at(m, f->l3 + 7, 1);
	__u8 *code = ct_at(m, f->off + 1, 1);
	__u8 *option = ct_need(m, f, f->off + CT_REDIRECT_OPTIONS, 2);

	if (!hop_limit || !code || !option || f->off + CT_REDIRECT_OPTIONS + 2 > f->l3_end)
		return 0;
	if (*code || *hop_limit != 255 ||
	    (pkt->src[0] & bpf_htonl(0xffc00000)) != bpf_htonl(0xfe800000))
		return 0;
	if (option[0] != CT_REDIRECTED_HEADER || !option[1])
		return 0;
	f->off += CT_REDIRECT_OPTIONS + 8;
	return 1;
}

static __always_inline enum ct_pass ct_parse_icmp(const struct ct_mem *m, struct ct_frame *f,
						  struct ct_pkt *pkt)
{
	struct ct_icmp *icmp;
	__u8 *hop_limit;

	/* ICMP in IPv6 and ICMPv6 in IPv4: nf_conntrack has no use for them. */
	if (!ct_is_icmp(pkt)) {
		pkt->kind = CT_KIND_INVALID;
		return CT_PARSED;
	}
	icmp = ct_at(m, f->off, sizeof(*icmp));
	if (!icmp || f->off + sizeof(*icmp) > f->l3_end)
		return CT_PASS_TRUNCATED;
	ct_icmp_note(pkt, icmp);
	switch (ct_icmp_classify(f->proto, icmp->type)) {
	case CT_ICMP_QUERY:
		ct_icmp_tuple(pkt, f->proto, icmp);
		return CT_PARSED;
	case CT_ICMP_REDIRECT:
		if (!ct_redirect_sound(m, f, pkt)) {
			pkt->kind = CT_KIND_INVALID;
			return CT_PARSED;
		}
		return m->xdp ? ct_inner_xdp(m->ctx, f, pkt) : ct_inner_skb(m->ctx, f, pkt);
	case CT_ICMP_ERROR:
		f->off += sizeof(*icmp);
		return m->xdp ? ct_inner_xdp(m->ctx, f, pkt) : ct_inner_skb(m->ctx, f, pkt);
	case CT_ICMP_UNTRACKED:
		hop_limit = ct_at(m, f->l3 + 7, 1);
		pkt->neighbour = hop_limit && ct_is_neighbour(icmp->type, *hop_limit);
		return CT_PASS_UNTRACKED;
	default:
		pkt->kind = CT_KIND_INVALID;
		return CT_PARSED;
	}
}

/* Layer 4 of a packet that is whole, or the first of its fragments. */
static __always_inline enum ct_pass ct_parse_l4(const struct ct_mem *m, struct ct_frame *f,
						struct ct_pkt *pkt)
{
	pkt->proto = f->proto;
	if (ct_settings.checksum &&
	    !(m->xdp ? ct_checksum_xdp(m->ctx, f, pkt) : ct_checksum_skb(m->ctx, f, pkt)))
		return CT_PASS_CHECKSUM;
	switch (f->proto) {
	case IPPROTO_TCP:
		return ct_parse_tcp(m, f, pkt);
	case IPPROTO_UDP:
		return ct_parse_udp(m, f, pkt);
	case IPPROTO_UDPLITE:
		return ct_parse_udplite(m, f, pkt);
	case IPPROTO_SCTP:
		return ct_parse_sctp(m, f, pkt);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return ct_parse_icmp(m, f, pkt);
	case IPPROTO_GRE:
		return ct_parse_gre(m, f, pkt);
	case IPPROTO_NONE: /* in IPv4 a protocol like any other */
		if (ct_is_v6(pkt))
			pkt->kind = CT_KIND_INVALID;
		return CT_PARSED;
	default:
		return CT_PARSED;
	}
}

#endif
