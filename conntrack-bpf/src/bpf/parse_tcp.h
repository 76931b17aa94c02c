/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* TCP's header and options. */
#ifndef CT_PARSE_TCP_H
#define CT_PARSE_TCP_H

#include <linux/tcp.h>

#include "parse_ip.h"
#include "print_parse.h"

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
		__u8 kind, len, *opt;

		if (off >= f->options_end)
			return 0;
		opt = ct_need(m, f, off, 1);
		if (!opt)
			return 0;
		kind = *opt;
		if (kind == 0)
			return 0;
		if (kind == 1) {
			*(volatile __u32 *)&f->off = off + 1;
			continue;
		}
		if (left < 2)
			return 0;
		opt = ct_need(m, f, off, 2);
		if (!opt)
			return 0;
		len = opt[1];
		if (len < 2 || len > left)
			return 0;
		if (kind == 3 && len == 3) {
			opt = ct_need(m, f, off, 3);
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
				__be32 *edge;

				if (b * 8 + 10 > len)
					break;
				edge = ct_need(m, f, off + 6 + b * 8, 4);
				if (!edge)
					return 0;
				if ((__s32)(*(volatile __u32 *)&pkt->sack - bpf_ntohl(*edge)) < 0)
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
static __always_inline int ct_only_timestamp(const struct ct_mem *m, __u32 off, __u32 len,
					     struct ct_pkt *pkt)
{
	__be32 *word = ct_at(m, off, 12);

	if (len != 12 || !word || word[0] != bpf_htonl(0x0101080a))
		return 0;
	if (cfg_health & CT_HEALTH_RTT) {
		pkt->ts_val = bpf_ntohl(word[1]);
		pkt->ts_ecr = bpf_ntohl(word[2]);
		pkt->options = CT_OPT_SOME | CT_OPT_TIME;
	}
	return 1;
}

/*
 * The options of a SYN as Linux and Windows write them, without the walk: MSS, SACK,
 * timestamp, scale; and MSS, scale, SACK. Takes from them what the walk would.
 */
static __always_inline int ct_known_syn(const struct ct_mem *m, __u32 off, __u32 len,
					struct ct_pkt *pkt)
{
	const __be32 mss = bpf_htonl(0x02040000), scale = bpf_htonl(0x01030300);
	const __be32 top = bpf_htonl(0xffff0000), but_last = bpf_htonl(0xffffff00);
	__be32 *word, *ws;

	if (len == 20) {
		word = ct_at(m, off, 20);
		if (!word || word[1] != bpf_htonl(0x0402080a))
			return 0;
		ws = &word[4];
	} else if (len == 12) {
		word = ct_at(m, off, 12);
		if (!word || word[2] != bpf_htonl(0x01010402))
			return 0;
		ws = &word[1];
	} else {
		return 0;
	}
	if ((word[0] & top) != mss || (*ws & but_last) != scale)
		return 0;
	pkt->wscale = ((__u8 *)ws)[3] > 14 ? 14 : ((__u8 *)ws)[3];
	pkt->options |= CT_OPT_WSCALE | CT_OPT_SACK;
	return 1;
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
		ct_cut(pkt, f, header);
	if (cfg_prints && (pkt->tcp_flags & CT_TCP_SYN))
		ct_syn_take(m, f, pkt, header);

	options = header - sizeof(*tcp);
	if (!options)
		return CT_PARSED;
	pkt->options = CT_OPT_SOME;
	f->off += sizeof(*tcp);
	if (pkt->tcp_flags & CT_TCP_SYN ? ct_known_syn(m, f->off, options, pkt)
					: ct_only_timestamp(m, f->off, options, pkt))
		return CT_PARSED;
	f->options_end = f->off + options;
	if (m->xdp)
		ct_options_xdp(m->ctx, f, pkt);
	else
		ct_options_skb(m->ctx, f, pkt);
	return CT_PARSED;
}

#endif
