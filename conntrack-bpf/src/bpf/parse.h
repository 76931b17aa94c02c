/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From frame to struct ct_pkt. One function a header; each checks its bounds,
 * reads, and says where the next header is. No map but the fragments', no
 * clock.
 *
 * Offsets are numbers, not pointers: adding a length from the packet to a
 * packet pointer more than once exceeds what older verifiers can follow.
 */
#ifndef CT_PARSE_H
#define CT_PARSE_H

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include "icmp.h"
#include "packet.h"

#define CT_VLAN_DEPTH 4
#define CT_EXT_DEPTH  16

#define CT_IP_MF     0x2000
#define CT_IP_OFFSET 0x1fff

#define CT_PARSED ((enum ct_pass)CT_PASS_REASONS)

struct ct_vlan {
	__be16 tci;
	__be16 next;
};

struct ct_ext {
	__u8 next;
	__u8 len;
	__be16 frag_off;
	__be32 id;
};

/* The bytes of the frame that are in reach, and the context they came from. */
struct ct_mem {
	void *data;
	void *end;
	void *ctx;
	int xdp; /* which context: known when compiled */
};

/*
 * The one place that makes a packet pointer. `off` is bounded for the verifier
 * by the largest frame that can be; a real one ends long before.
 */
static __always_inline void *ct_at(const struct ct_mem *m, __u32 off, __u32 size)
{
	void *p;

	if (off > 0x3fff)
		return NULL;
	p = m->data + off;
	if (p + size > m->end)
		return NULL;
	return p;
}

static __always_inline int ct_is_vlan(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD) ||
	       ethertype == bpf_htons(ETH_P_QINQ1);
}

static __always_inline enum ct_pass ct_parse_ether(const struct ct_mem *m, struct ct_frame *f)
{
	struct ethhdr *eth = ct_at(m, 0, sizeof(*eth));

	if (!eth)
		return CT_PASS_TRUNCATED;
	f->ethertype = eth->h_proto;
	f->off = sizeof(*eth);

#pragma unroll
	for (int i = 0; i < CT_VLAN_DEPTH; i++) {
		struct ct_vlan *tag;

		if (!ct_is_vlan(f->ethertype))
			return CT_PARSED;
		tag = ct_at(m, f->off, sizeof(*tag));
		if (!tag)
			return CT_PASS_TRUNCATED;
		f->ethertype = tag->next;
		f->off += sizeof(*tag);
	}
	return ct_is_vlan(f->ethertype) ? CT_PASS_VLAN_DEPTH : CT_PARSED;
}

/* A frame that starts with the IP header (tun, WireGuard): the version is the
 * ethertype. */
static __always_inline enum ct_pass ct_parse_raw(const struct ct_mem *m, struct ct_frame *f)
{
	__u8 *first = ct_at(m, 0, 1);

	if (!first)
		return CT_PASS_TRUNCATED;
	f->ethertype = (*first >> 4) == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	f->off = 0;
	return CT_PARSED;
}

static __always_inline enum ct_pass ct_parse_ipv4(const struct ct_mem *m, struct ct_frame *f,
						  struct ct_pkt *pkt)
{
	struct iphdr *ip = ct_at(m, f->off, sizeof(*ip));
	__u32 header, total;
	__u16 frag;

	if (!ip)
		return CT_PASS_TRUNCATED;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip))
		return CT_PASS_BAD_HEADER;
	/* A TSO frame of more than 64 KiB has no length of its own. */
	if (total == 0 && pkt->segs > 1)
		total = f->wire_len - f->off;
	if (total < header)
		return CT_PASS_BAD_HEADER;
	f->l3 = f->off;
	f->l3_end = f->off + total;
	if (f->l3_end > f->wire_len)
		return CT_PASS_TRUNCATED;

	frag = bpf_ntohs(ip->frag_off);
	f->frag_off = (frag & CT_IP_OFFSET) * 8;
	f->fragmented = (frag & (CT_IP_MF | CT_IP_OFFSET)) != 0;
	f->frag_id = ip->id;
	f->proto = ip->protocol;
	f->off += header;

	pkt->family = 4;
	pkt->src[0] = ip->saddr;
	pkt->dst[0] = ip->daddr;
	pkt->bytes = total;
	return CT_PARSED;
}

static __always_inline void ct_copy_addr6(__u32 *to, const struct in6_addr *from)
{
	to[0] = from->in6_u.u6_addr32[0];
	to[1] = from->in6_u.u6_addr32[1];
	to[2] = from->in6_u.u6_addr32[2];
	to[3] = from->in6_u.u6_addr32[3];
}

static __always_inline int ct_is_ext(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS ||
	       proto == IPPROTO_FRAGMENT || proto == IPPROTO_AH;
}

/*
 * Walks the extension headers the kernel walks (ipv6_skip_exthdr): hop-by-hop,
 * routing, destination, fragment, AH. Leaves f->proto at the first other one.
 * All it learns goes to memory at once: the verifier does not follow memory it
 * was handed, so sixteen rounds cost sixteen rounds and not three to that
 * power.
 */
static __always_inline enum ct_pass ct_walk_ext(const struct ct_mem *m, struct ct_frame *f)
{
	for (int i = 0; i < CT_EXT_DEPTH; i++) {
		__u8 proto = *(volatile __u8 *)&f->proto;
		__u32 off = *(volatile __u32 *)&f->off;
		struct ct_ext *ext;
		__u16 frag;

		if (!ct_is_ext(proto))
			return CT_PARSED;
		ext = ct_at(m, off, sizeof(*ext));
		if (!ext || off + sizeof(*ext) > f->l3_end)
			return CT_PASS_TRUNCATED;
		*(volatile __u8 *)&f->proto = ext->next;
		if (proto != IPPROTO_FRAGMENT) {
			off += proto == IPPROTO_AH ? (ext->len + 2) * 4 : (ext->len + 1) * 8;
			*(volatile __u32 *)&f->off = off;
			continue;
		}
		frag = bpf_ntohs(ext->frag_off);
		f->frag_off = frag & 0xfff8;
		f->fragmented = (frag & 0xfff9) != 0;
		f->frag_id = ext->id;
		*(volatile __u32 *)&f->off = off + 8;
		/* What follows in a later fragment is payload, whatever it looks like. */
		if (frag & 0xfff8)
			return CT_PARSED;
	}
	return CT_PASS_EXT_DEPTH;
}

/* Global functions: checked once, however many ways lead here. */
__weak __noinline int ct_walk_xdp(struct xdp_md *ctx, struct ct_frame *f)
{
	struct ct_mem m = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};

	return f ? ct_walk_ext(&m, f) : CT_PASS_INTERNAL;
}

__weak __noinline int ct_walk_skb(struct __sk_buff *ctx, struct ct_frame *f)
{
	struct ct_mem m = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};

	return f ? ct_walk_ext(&m, f) : CT_PASS_INTERNAL;
}

static __always_inline enum ct_pass ct_skip_ext(const struct ct_mem *m, struct ct_frame *f)
{
	if (!ct_is_ext(f->proto))
		return CT_PARSED;
	return m->xdp ? ct_walk_xdp(m->ctx, f) : ct_walk_skb(m->ctx, f);
}

static __always_inline enum ct_pass ct_parse_ipv6(const struct ct_mem *m, struct ct_frame *f,
						  struct ct_pkt *pkt)
{
	struct ipv6hdr *ip = ct_at(m, f->off, sizeof(*ip));
	__u32 total;

	if (!ip)
		return CT_PASS_TRUNCATED;
	if (ip->version != 6)
		return CT_PASS_BAD_HEADER;
	total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	/* No payload length: a jumbogram, or a TSO frame of more than 64 KiB. */
	if (total == sizeof(*ip) && (pkt->segs > 1 || ip->nexthdr == IPPROTO_HOPOPTS))
		total = f->wire_len - f->off;
	f->l3 = f->off;
	f->l3_end = f->off + total;
	if (f->l3_end > f->wire_len)
		return CT_PASS_TRUNCATED;

	f->frag_off = 0;
	f->fragmented = 0;
	f->proto = ip->nexthdr;
	f->off += sizeof(*ip);

	pkt->family = 6;
	ct_copy_addr6(pkt->src, &ip->saddr);
	ct_copy_addr6(pkt->dst, &ip->daddr);
	pkt->bytes = total;
	return ct_skip_ext(m, f);
}

/*
 * Options as nf_conntrack reads them (tcp_options(), tcp_sack()): stop at EOL,
 * at a length below two, at one that overruns. As in ct_walk_ext(), the place
 * is kept in memory, so that forty bytes cost forty rounds.
 */
static __always_inline int ct_tcp_options(const struct ct_mem *m, struct ct_frame *f,
					  struct ct_pkt *pkt)
{
	for (int i = 0; i < 40; i++) {
		__u32 off = *(volatile __u32 *)&f->off;
		__u32 left = *(volatile __u32 *)&f->options_end - off;
		__u8 *opt = ct_at(m, off, 1);
		__u8 kind, len;

		if (off >= f->options_end || !opt)
			return 0;
		kind = *opt;
		if (kind == 0)
			return 0;
		if (kind == 1) {
			*(volatile __u32 *)&f->off = off + 1;
			continue;
		}
		opt = ct_at(m, off, 2);
		if (left < 2 || !opt)
			return 0;
		len = opt[1];
		if (len < 2 || len > left)
			return 0;
		if (kind == 3 && len == 3) {
			opt = ct_at(m, off, 3);
			if (!opt)
				return 0;
			pkt->wscale = opt[2] > 14 ? 14 : opt[2];
			pkt->options |= CT_OPT_WSCALE;
		} else if (kind == 4 && len == 2) {
			pkt->options |= CT_OPT_SACK;
		} else if (kind == 5 && len >= 10 && (len - 2) % 8 == 0 &&
			   !(pkt->options & CT_OPT_EDGES)) {
			pkt->options |= CT_OPT_EDGES;
			/* Right edges, four bytes into each block. */
			for (__u32 b = 0; b < 4; b++) {
				__be32 *edge = ct_at(m, off + 6 + b * 8, 4);

				if (b * 8 + 10 > len || !edge)
					break;
				if ((__s32)(bpf_ntohl(*edge) - *(volatile __u32 *)&pkt->sack) > 0)
					*(volatile __u32 *)&pkt->sack = bpf_ntohl(*edge);
			}
			if (!(pkt->tcp_flags & CT_TCP_SYN))
				return 0;
		}
		*(volatile __u32 *)&f->off = off + len;
	}
	return 0;
}

__weak __noinline int ct_options_xdp(struct xdp_md *ctx, struct ct_frame *f, struct ct_pkt *pkt)
{
	struct ct_mem m = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};

	return f && pkt ? ct_tcp_options(&m, f, pkt) : 0;
}

__weak __noinline int ct_options_skb(struct __sk_buff *ctx, struct ct_frame *f, struct ct_pkt *pkt)
{
	struct ct_mem m = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};

	return f && pkt ? ct_tcp_options(&m, f, pkt) : 0;
}

/* Nothing but a timestamp, as most segments of most connections have it. */
static __always_inline int ct_only_timestamp(const struct ct_mem *m, __u32 off, __u32 len)
{
	__be32 *first = ct_at(m, off, 4);

	return len == 12 && first && *first == bpf_htonl(0x0101080a);
}

static __always_inline enum ct_pass ct_parse_tcp(const struct ct_mem *m, struct ct_frame *f,
						 struct ct_pkt *pkt)
{
	struct tcphdr *tcp = ct_at(m, f->off, sizeof(*tcp));
	__u32 header, options;

	if (!tcp || f->off + sizeof(*tcp) > f->l3_end)
		return CT_PASS_TRUNCATED;
	header = tcp->doff * 4;
	pkt->src_port_be = tcp->source;
	pkt->dst_port_be = tcp->dest;
	if (header < sizeof(*tcp) || f->off + header > f->l3_end) {
		pkt->kind = CT_KIND_INVALID;
		return CT_PARSED;
	}
	pkt->seq = bpf_ntohl(tcp->seq);
	pkt->ack = bpf_ntohl(tcp->ack_seq);
	pkt->sack = pkt->ack;
	pkt->window = bpf_ntohs(tcp->window);
	pkt->tcp_flags = ((__u8 *)tcp)[13];
	pkt->payload = f->l3_end - f->off - header;
	if (pkt->segs > 1)
		pkt->bytes += (pkt->segs - 1) * (f->off - f->l3 + header);

	options = header - sizeof(*tcp);
	if (!options)
		return CT_PARSED;
	pkt->options = CT_OPT_SOME;
	f->off += sizeof(*tcp);
	if (!(pkt->tcp_flags & CT_TCP_SYN) && ct_only_timestamp(m, f->off, options))
		return CT_PARSED;
	f->options_end = f->off + options;
	if (m->xdp)
		ct_options_xdp(m->ctx, f, pkt);
	else
		ct_options_skb(m->ctx, f, pkt);
	return CT_PARSED;
}

/* UDP, UDP-Lite, SCTP, DCCP: all begin with two ports. `min` is the whole
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
		pkt->bytes += (pkt->segs - 1) * (f->off - f->l3 + min);
	return CT_PARSED;
}

/* UDP's own length must fit; of a fragment or a super-packet it cannot. */
static __always_inline enum ct_pass ct_parse_udp(const struct ct_mem *m, struct ct_frame *f,
						 struct ct_pkt *pkt)
{
	__be16 *udp = ct_at(m, f->off, 8);
	__u32 len;

	if (udp && !f->fragmented && pkt->segs == 1) {
		len = bpf_ntohs(udp[2]);
		if (len < 8 || f->off + len > f->l3_end)
			pkt->kind = CT_KIND_INVALID;
	}
	return ct_parse_ports(m, f, pkt, 8);
}

/* PPTP's GRE (version 1) has a call id; plain GRE is one flow a pair of hosts.
 */
static __always_inline enum ct_pass ct_parse_gre(const struct ct_mem *m, struct ct_frame *f,
						 struct ct_pkt *pkt)
{
	__be16 *gre = ct_at(m, f->off, 4);

	if (!gre || f->off + 4 > f->l3_end)
		return CT_PASS_TRUNCATED;
	if ((gre[0] & bpf_htons(0x0007)) != bpf_htons(1))
		return CT_PARSED;
	gre = ct_at(m, f->off, 8);
	if (!gre || f->off + 8 > f->l3_end)
		return CT_PASS_TRUNCATED;
	if (gre[1] != bpf_htons(0x880b)) {
		pkt->kind = CT_KIND_INVALID;
		return CT_PARSED;
	}
	pkt->dst_port_be = gre[3];
	return CT_PARSED;
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
	if (pkt->family == 4) {
		struct iphdr *ip = ct_at(m, f->off, sizeof(*ip));

		if (!ip || f->off + sizeof(*ip) > f->l3_end || ip->ihl < 5 ||
		    (ip->frag_off & bpf_htons(CT_IP_OFFSET)))
			goto invalid;
		pkt->returned = pkt->dst[0] == ip->saddr;
		pkt->src[0] = ip->saddr;
		pkt->dst[0] = ip->daddr;
		f->proto = ip->protocol;
		f->off += ip->ihl * 4;
	} else {
		struct ipv6hdr *ip = ct_at(m, f->off, sizeof(*ip));

		if (!ip || f->off + sizeof(*ip) > f->l3_end)
			goto invalid;
		pkt->returned = pkt->dst[0] == ip->saddr.in6_u.u6_addr32[0] &&
				pkt->dst[1] == ip->saddr.in6_u.u6_addr32[1] &&
				pkt->dst[2] == ip->saddr.in6_u.u6_addr32[2] &&
				pkt->dst[3] == ip->saddr.in6_u.u6_addr32[3];
		ct_copy_addr6(pkt->src, &ip->saddr);
		ct_copy_addr6(pkt->dst, &ip->daddr);
		f->proto = ip->nexthdr;
		f->off += sizeof(*ip);
		f->frag_off = 0;
		if (ct_skip_ext(m, f) != CT_PARSED || f->frag_off)
			goto invalid;
	}

	pkt->proto = f->proto;
	switch (f->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		ports = ct_at(m, f->off, 4);
		if (!ports || f->off + 4 > f->l3_end)
			goto invalid;
		pkt->src_port_be = ports[0];
		pkt->dst_port_be = ports[1];
		return CT_PARSED;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (!ct_is_icmp(pkt))
			return CT_PARSED;
		icmp = ct_at(m, f->off, sizeof(*icmp));
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

static __always_inline enum ct_pass ct_parse_icmp(const struct ct_mem *m, struct ct_frame *f,
						  struct ct_pkt *pkt)
{
	struct ct_icmp *icmp;

	if (!ct_is_icmp(pkt))
		return CT_PARSED;
	icmp = ct_at(m, f->off, sizeof(*icmp));
	if (!icmp || f->off + sizeof(*icmp) > f->l3_end)
		return CT_PASS_TRUNCATED;
	switch (ct_icmp_classify(f->proto, icmp->type)) {
	case CT_ICMP_QUERY:
		ct_icmp_tuple(pkt, f->proto, icmp);
		return CT_PARSED;
	case CT_ICMP_ERROR:
		f->off += sizeof(*icmp);
		return m->xdp ? ct_inner_xdp(m->ctx, f, pkt) : ct_inner_skb(m->ctx, f, pkt);
	case CT_ICMP_UNTRACKED:
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
	switch (f->proto) {
	case IPPROTO_TCP:
		return ct_parse_tcp(m, f, pkt);
	case IPPROTO_UDP:
		return ct_parse_udp(m, f, pkt);
	case IPPROTO_UDPLITE:
		return ct_parse_ports(m, f, pkt, 8);
	case IPPROTO_SCTP:
		return ct_parse_ports(m, f, pkt, 12);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return ct_parse_icmp(m, f, pkt);
	case IPPROTO_GRE:
		return ct_parse_gre(m, f, pkt);
	case IPPROTO_NONE:
		pkt->kind = CT_KIND_INVALID;
		return CT_PARSED;
	default:
		return CT_PARSED;
	}
}

#endif
