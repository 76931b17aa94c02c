/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From the frame to the IP payload. One function a header; each checks its
 * bounds, reads, and says where the next header is. No map, no clock.
 */
#ifndef CT_PARSE_IP_H
#define CT_PARSE_IP_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>

#include "config.h"
#include "frame.h"

#define CT_LOOPBACK   1 /* ifindex, in every network namespace */
#define CT_VLAN_DEPTH 4
#define CT_EXT_DEPTH  33

#define CT_IP_MF     0x2000
#define CT_IP_OFFSET 0x1fff

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

/*
 * Whether the packet its header describes is there. A multi-buffer XDP frame is
 * longer than its first piece; how long costs a call, so it is asked if in doubt.
 */
static __always_inline int ct_fits(const struct ct_mem *m, struct ct_frame *f)
{
	if (f->l3_end <= f->wire_len)
		return 1;
	if (!m->xdp || !cfg_xdp_frags || cfg_replay)
		return 0;
	f->wire_len = bpf_xdp_get_buff_len(m->ctx);
	return f->l3_end <= f->wire_len;
}

/*
 * IPv4's header against its sum, as the kernel does it before anybody sees the packet:
 * what fails goes no further. Options out of reach are taken to be right.
 */
static __always_inline int ct_ipv4_sound(const struct ct_mem *m, struct ct_frame *f,
					 const struct iphdr *ip)
{
	const __be32 *word = (const __be32 *)ip, *option;
	__u64 sum = (__u64)word[0] + word[1] + word[2] + word[3] + word[4];
	__u32 header = ip->ihl * 4;

	for (__u32 at = sizeof(*ip); at < 60; at += 4) {
		if (at >= header)
			break;
		option = ct_need(m, f, f->off + at, 4);
		if (!option)
			return 1;
		sum += *option;
	}
	return ct_fold(sum) == 0xffff;
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
	if (total < header || (m->verify && !ct_ipv4_sound(m, f, ip)))
		return CT_PASS_BAD_HEADER;
	f->l3 = f->off;
	f->l3_end = f->off + total;
	if (!ct_fits(m, f))
		return CT_PASS_TRUNCATED;

	frag = bpf_ntohs(ip->frag_off);
	f->frag_off = (frag & CT_IP_OFFSET) * 8;
	f->fragmented = (frag & (CT_IP_MF | CT_IP_OFFSET)) != 0;
	f->frag_id = ip->id;
	f->frag_more = !!(frag & CT_IP_MF);
	f->proto = ip->protocol;
	f->off += header;
	f->frag_start = f->off;

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
 * was handed, so n rounds cost n rounds and not three to that
 * power.
 */
static __always_inline enum ct_pass ct_walk_ext(const struct ct_mem *m, struct ct_frame *f)
{
	for (int i = 0; i < CT_EXT_DEPTH; i++) {
		__u8 proto = *(volatile __u8 *)&f->proto;
		__u32 off = *(volatile __u32 *)&f->off;
		struct ct_ext *ext;
		__u32 size;
		__u16 frag;

		if (!ct_is_ext(proto))
			return CT_PARSED;
		/* Two bytes of an option header are enough, though it says it has eight. */
		size = proto == IPPROTO_FRAGMENT ? sizeof(*ext) : 2;
		ext = proto == IPPROTO_FRAGMENT ? ct_at(m, off, sizeof(*ext)) : ct_at(m, off, 2);
		if (!ext || off + size > f->l3_end)
			return CT_PASS_TRUNCATED;
		*(volatile __u8 *)&f->proto = ext->next;
		if (proto != IPPROTO_FRAGMENT) {
			off += proto == IPPROTO_AH ? (ext->len + 2) * 4 : (ext->len + 1) * 8;
			*(volatile __u32 *)&f->off = off;
			continue;
		}
		frag = bpf_ntohs(ext->frag_off);
		/* Only the first such header is taken away, and means what it says. */
		if (f->frag_headers) {
			if (frag & 0xfff8) {
				*(volatile __u8 *)&f->proto = IPPROTO_NONE;
				return CT_PARSED;
			}
			*(volatile __u32 *)&f->off = off + 8;
			continue;
		}
		f->frag_off = frag & 0xfff8;
		f->fragmented = (frag & 0xfff9) != 0;
		f->frag_id = ext->id;
		f->frag_more = frag & 1;
		f->frag_start = off + 8;
		f->frag_headers += 8;
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

/* Addresses with which ip6_rcv_core() drops a packet that did not come over loopback. */
static __always_inline int ct_nobody6(const struct in6_addr *src, const struct in6_addr *dst)
{
	const __u32 *s = src->in6_u.u6_addr32, *d = dst->in6_u.u6_addr32;

	if (src->in6_u.u6_addr8[0] == 0xff)
		return 1;
	if (!(s[0] | s[1] | s[2]) && s[3] == bpf_htonl(1))
		return 1;
	if (!(d[0] | d[1] | d[2]) && d[3] == bpf_htonl(1))
		return 1;
	return dst->in6_u.u6_addr8[0] == 0xff && (dst->in6_u.u6_addr8[1] & 15) <= 1;
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
	/* No payload length: a TSO frame of more than 64 KiB. */
	if (total == sizeof(*ip) && (pkt->segs > 1 || ip->nexthdr == IPPROTO_HOPOPTS))
		total = f->wire_len - f->off;
	if (m->verify && !cfg_replay && pkt->ifindex != CT_LOOPBACK &&
	    ct_nobody6(&ip->saddr, &ip->daddr))
		return CT_PASS_BAD_HEADER;
	f->l3 = f->off;
	f->l3_end = f->off + total;
	if (!ct_fits(m, f))
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

#endif
