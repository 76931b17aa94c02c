/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP and ICMPv6 as nf_conntrack sees them (nf_conntrack_proto_icmp.c,
 * nf_conntrack_proto_icmpv6.c). Pure.
 */
#ifndef CT_ICMP_H
#define CT_ICMP_H

#include <bpf/bpf_endian.h>

#include "packet.h"

/* <linux/icmp.h> pulls in libc headers that do not compile for BPF. */
struct ct_icmp {
	__u8 type;
	__u8 code;
	__be16 check;
	__be16 id_be;
	__be16 seq;
};

enum ct_icmp_class {
	CT_ICMP_INVALID,
	CT_ICMP_QUERY,	   /* a request, or the answer to one */
	CT_ICMP_ERROR,	   /* carries the packet it complains of */
	CT_ICMP_REDIRECT,  /* so does ICMPv6's redirect, further behind */
	CT_ICMP_UNTRACKED, /* neighbour discovery, multicast listeners and routers */
};

static __always_inline enum ct_icmp_class ct_icmp4_classify(__u8 type)
{
	switch (type) {
	case 0:	 /* echo reply */
	case 8:	 /* echo */
	case 13: /* timestamp */
	case 14:
	case 15: /* information */
	case 16:
	case 17: /* address mask */
	case 18:
		return CT_ICMP_QUERY;
	case 3:	 /* destination unreachable */
	case 4:	 /* source quench */
	case 5:	 /* redirect */
	case 11: /* time exceeded */
	case 12: /* parameter problem */
		return CT_ICMP_ERROR;
	default:
		return CT_ICMP_INVALID;
	}
}

static __always_inline enum ct_icmp_class ct_icmp6_classify(__u8 type)
{
	if (type < 128)
		return CT_ICMP_ERROR;
	switch (type) {
	case 128: /* echo */
	case 129:
	case 139: /* node information */
	case 140:
		return CT_ICMP_QUERY;
	case 130: /* multicast listeners, routers, neighbours */
	case 131:
	case 132:
	case 133:
	case 134:
	case 135:
	case 136:
	case 143:
	case 151:
	case 152:
		return CT_ICMP_UNTRACKED;
	case 137:
		return CT_ICMP_REDIRECT;
	default:
		return CT_ICMP_INVALID;
	}
}

static __always_inline enum ct_icmp_class ct_icmp_classify(__u8 proto, __u8 type)
{
	return proto == 1 ? ct_icmp4_classify(type) : ct_icmp6_classify(type);
}

static __always_inline int ct_icmp_is_reply(__u8 proto, __u8 type)
{
	if (proto == 1)
		return type == 0 || type == 14 || type == 16 || type == 18;
	return type == 129 || type == 140;
}

/* The type of the answer to a request, and of the request behind an answer. */
static __always_inline __u8 ct_icmp_inverse(__u8 proto, __u8 type)
{
	if (proto != 1)
		return type == 128 ? 129 : type == 129 ? 128 : type == 139 ? 140 : 139;
	switch (type) {
	case 0:
		return 8;
	case 8:
		return 0;
	case 13:
	case 15:
	case 17:
		return type + 1;
	default:
		return type - 1;
	}
}

/* Neighbour discovery of this link: from elsewhere the hop limit would be less. */
static __always_inline int ct_is_neighbour(__u8 type, __u8 hop_limit)
{
	return type >= 133 && type <= 136 && hop_limit == 255;
}

/* The id stands for the source port, type and code for the destination port. */
static __always_inline void ct_icmp_tuple(struct ct_pkt *pkt, __u8 proto,
					  const struct ct_icmp *icmp)
{
	pkt->src_port_be = icmp->id_be;
	pkt->dst_port_be = bpf_htons((icmp->type << 8) | icmp->code);
	pkt->reply = ct_icmp_is_reply(proto, icmp->type);
}

/* What kind of message it is, and the MTU of the next hop (RFC 1191, RFC 4443). */
static __always_inline void ct_icmp_note(struct ct_pkt *pkt, const struct ct_icmp *icmp)
{
	pkt->icmp = 1;
	pkt->icmp_type = icmp->type;
	pkt->icmp_code = icmp->code;
	pkt->mtu = 0;
	if (pkt->family == 4 && icmp->type == 3 && icmp->code == 4)
		pkt->mtu = bpf_ntohs(icmp->seq);
	else if (pkt->family == 6 && icmp->type == 2)
		pkt->mtu = (__u32)bpf_ntohs(icmp->id_be) << 16 | bpf_ntohs(icmp->seq);
}

/*
 * Types and codes near those that RFCs have given a meaning: 733 pairs at the most, for
 * which there always is room (types_icmp.h).
 */
static __always_inline int ct_icmp_is_known(__u8 family, __u8 type, __u8 code)
{
	if (family == 4)
		return (type <= 18 || (type >= 40 && type <= 43)) && code <= 16;
	return ((type >= 1 && type <= 4) || (type >= 128 && type <= 161)) && code <= 8;
}

#endif
