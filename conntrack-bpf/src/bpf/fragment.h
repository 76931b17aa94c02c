/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * nf_conntrack sees packets put together; that cannot be done here. The first
 * fragment stands for its packet: it is judged and classified. It has the ports,
 * and is remembered for the others, which add their payload to what it counted
 * and, in TCP, to what its end has sent; so that what is counted is the same in
 * the end. Two CPUs writing one entry write the same.
 */
#ifndef CT_FRAGMENT_H
#define CT_FRAGMENT_H

#include "maps.h"
#include "parse.h"

/* As long as the kernel waits for the rest of an IPv4 packet: net.ipv4.ipfrag_time. */
#define CT_FRAG4_NS (30 * CT_NSEC)

static __always_inline void ct_frag_key(const struct ct_frame *f, const struct ct_pkt *pkt,
					struct ct_frag_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->family = pkt->family;
	key->id_be = f->frag_id;
	/* In IPv6 the field may name an extension header, in the first fragment only.
   */
	key->proto = pkt->family == 4 ? f->proto : 0;
	key->src[0] = pkt->src[0];
	key->dst[0] = pkt->dst[0];
	if (pkt->family == 6) {
#pragma unroll
		for (int i = 1; i < 4; i++) {
			key->src[i] = pkt->src[i];
			key->dst[i] = pkt->dst[i];
		}
	}
}

/* `l4` is where the fragment's data begins. */
static __always_inline void ct_frag_remember(const struct ct_frame *f, const struct ct_pkt *pkt,
					     __u32 l4)
{
	__u32 end = pkt->seq + pkt->payload + !!(pkt->tcp_flags & CT_TCP_SYN) +
		    !!(pkt->tcp_flags & CT_TCP_FIN);
	struct ct_frag_key key;
	struct ct_frag frag = {
		.seen = pkt->now,
		.src_port_be = pkt->src_port_be,
		.dst_port_be = pkt->dst_port_be,
		.proto = pkt->proto,
		.reply = pkt->reply,
		.base = end - (f->l3_end - l4),
	};

	ct_frag_key(f, pkt, &key);
	bpf_map_update_elem(&ct_frag, &key, &frag, BPF_ANY);
}

static __always_inline enum ct_pass ct_frag_recall(const struct ct_frame *f, struct ct_pkt *pkt)
{
	__u64 limit = pkt->family == 4 ? CT_FRAG4_NS : ct_settings.frag6_timeout * CT_NSEC;
	struct ct_frag_key key;
	struct ct_frag *frag;

	ct_frag_key(f, pkt, &key);
	frag = bpf_map_lookup_elem(&ct_frag, &key);
	if (!frag || (__s64)(pkt->now - frag->seen) >= (__s64)limit)
		return CT_PASS_FRAGMENT;
	pkt->src_port_be = frag->src_port_be;
	pkt->dst_port_be = frag->dst_port_be;
	pkt->proto = frag->proto;
	pkt->reply = frag->reply;
	pkt->payload = f->l3_end > f->off ? f->l3_end - f->off : 0;
	pkt->seq = frag->base + f->frag_off + pkt->payload;
	pkt->kind = CT_KIND_FRAGMENT;
	return CT_PARSED;
}

/* The whole way from the frame to the packet. */
static __always_inline enum ct_pass ct_parse(const struct ct_mem *m, struct ct_frame *f,
					     struct ct_pkt *pkt, int raw_ip)
{
	enum ct_pass pass = raw_ip ? ct_parse_raw(m, f) : ct_parse_ether(m, f);
	__u32 l4;

	if (pass != CT_PARSED)
		return pass;
	if (f->ethertype == bpf_htons(ETH_P_IP))
		pass = ct_parse_ipv4(m, f, pkt);
	else if (f->ethertype == bpf_htons(ETH_P_IPV6))
		pass = ct_parse_ipv6(m, f, pkt);
	else
		return CT_PASS_NOT_IP;
	if (pass != CT_PARSED)
		return pass;
	if (f->fragmented && f->frag_off)
		return ct_frag_recall(f, pkt);
	l4 = f->off;
	pass = ct_parse_l4(m, f, pkt);
	if (pass == CT_PARSED && f->fragmented && pkt->kind == CT_KIND_FLOW)
		ct_frag_remember(f, pkt, l4);
	return pass;
}

#endif
