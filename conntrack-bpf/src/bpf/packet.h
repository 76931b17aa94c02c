/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A packet, once parsed. Nothing after parse.h touches packet memory. */
#ifndef CT_PACKET_H
#define CT_PACKET_H

#include "types.h"

#define CT_TCP_FIN 0x01
#define CT_TCP_SYN 0x02
#define CT_TCP_RST 0x04
#define CT_TCP_PSH 0x08
#define CT_TCP_ACK 0x10
#define CT_TCP_URG 0x20

/* What the parser made of a packet. */
enum ct_kind {
	CT_KIND_FLOW,	  /* belongs to a flow by its own tuple */
	CT_KIND_FRAGMENT, /* a later fragment: a tuple, but no layer 4 */
	CT_KIND_ERROR,	  /* ICMP error: the tuple is that of the packet inside */
	CT_KIND_INVALID,  /* IP is sound, but nf_conntrack would call it INVALID */
};

struct ct_pkt {
	__u64 now;
	__u32 src[4], dst[4];		 /* network order as loaded; IPv4 in the first word */
	__u32 outer_dst[4];		 /* of an ICMP error */
	__be16 src_port_be, dst_port_be; /* ICMP: see key.h */
	__u32 bytes;			 /* IP total lengths, of all segments */
	__u32 segs;			 /* 1, or the segments of a GSO super-packet */
	__u32 ifindex;
	__u32 seq, ack; /* TCP, host order */
	__u32 payload;	/* TCP payload bytes */
	__u16 window;	/* TCP, host order */
	__u8 tcp_flags;
	__u8 family; /* 4 or 6 */
	__u8 proto;
	__u8 kind;  /* enum ct_kind */
	__u8 reply; /* ICMP: this is an answer by its type */
};

/* How far the parser has come, and what it found out about the frame. */
struct ct_frame {
	__u32 wire_len;
	__u32 off;    /* of the header that is parsed next */
	__u32 l3;     /* of the IP header */
	__u32 l3_end; /* where the IP packet ends, by its own length field */
	__be32 frag_id;
	__u16 frag_off; /* in bytes; 0 is a first or only fragment */
	__be16 ethertype;
	__u8 fragmented;
	__u8 proto;
	__u16 pad;
};

/* ICMP of the other family is a protocol like any other. */
static __always_inline int ct_is_icmp(const struct ct_pkt *pkt)
{
	return pkt->proto == (pkt->family == 4 ? 1 : 58);
}

static __always_inline int ct_is_v6(const struct ct_pkt *pkt)
{
	return pkt->family == 6;
}

#endif
