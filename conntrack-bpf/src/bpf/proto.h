/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What each protocol makes of a packet: may it begin a flow, and what does it
 * change in one. Words in, words out; flow.h applies them.
 *
 * From net/netfilter/nf_conntrack_proto_{udp,icmp,icmpv6,gre,generic}.c.
 */
#ifndef CT_PROTO_H
#define CT_PROTO_H

#include <linux/in.h>

#include "flow.h"
#include "tcp_open.h"

/* A UDP flow counts as a stream once it has lasted this long and was answered.
 */
#define CT_UDP_STREAM_NS (2 * CT_NSEC)

static __always_inline int ct_has_ports(__u8 proto)
{
	return proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE;
}

/*
 * A flow of a host to itself with one port for both ends has one tuple for both
 * directions. In nf_conntrack's table that of the answers is met first, so all
 * but its first packet are answers; and so they are here, if the opener is the
 * end that sends none of them.
 */
static __always_inline int ct_one_tuple(const struct ct_pkt *pkt, const struct ct_key *key)
{
	if (key->lo[0] != key->hi[0] || key->lo_port_be != key->hi_port_be || ct_is_icmp(pkt))
		return 0;
	return pkt->family == 4 ||
	       (key->lo[1] == key->hi[1] && key->lo[2] == key->hi[2] && key->lo[3] == key->hi[3]);
}

/*
 * The first packet of a flow: its word, less phase and generation, or 0 if it
 * cannot begin one.
 */
static __always_inline __u64 ct_open(const struct ct_pkt *pkt, const struct ct_key *key)
{
	__u64 word = key->src_is_hi || ct_one_tuple(pkt, key) ? CT_W_ORIG_HI : 0;

	if (pkt->proto == IPPROTO_TCP)
		return ct_tcp_open(pkt, word);
	if (ct_is_icmp(pkt)) {
		if (pkt->reply)
			return 0;
		return ct_word_with(word, 0,
				    pkt->proto == IPPROTO_ICMP ? CT_TMO_ICMP : CT_TMO_ICMPV6);
	}
	if (ct_has_ports(pkt->proto))
		return ct_word_with(word, 0, CT_TMO_UDP);
	if (pkt->proto == IPPROTO_GRE)
		return ct_word_with(word, 0, CT_TMO_GRE);
	return ct_word_with(word, 0, CT_TMO_GENERIC);
}

/*
 * Stream and ASSURED look at SEEN_REPLY as it was before this packet. UDP-Lite
 * needs no two seconds for it.
 */
static __always_inline __u64 ct_udp_step(const struct ct_flow *flow, __u64 word,
					 const struct ct_pkt *pkt)
{
	if (!(word & CT_W_SEEN_REPLY) ||
	    (pkt->proto == IPPROTO_UDP && ct_age(pkt->now, flow->start) <= CT_UDP_STREAM_NS))
		return ct_word_with(word, 0, CT_TMO_UDP);
	return ct_word_with(word, 0, CT_TMO_UDP_STREAM) | CT_W_ASSURED;
}

static __always_inline __u64 ct_gre_step(__u64 word)
{
	if (!(word & CT_W_SEEN_REPLY))
		return ct_word_with(word, 0, CT_TMO_GRE);
	return ct_word_with(word, 0, CT_TMO_GRE_STREAM) | CT_W_ASSURED;
}

/* A further packet of a flow that is not TCP's, or has no TCP header. */
static __always_inline __u64 ct_step(const struct ct_flow *flow, __u64 word, enum ct_dir dir,
				     const struct ct_pkt *pkt)
{
	if (ct_has_ports(pkt->proto))
		word = ct_udp_step(flow, word, pkt);
	else if (pkt->proto == IPPROTO_GRE)
		word = ct_gre_step(word);
	return dir == CT_REPLY ? word | CT_W_SEEN_REPLY : word;
}

#endif
