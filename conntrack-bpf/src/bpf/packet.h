/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A packet, once parsed. Nothing after parse.h touches packet memory. */
#ifndef CT_PACKET_H
#define CT_PACKET_H

#include "types.h"

#define CT_TCP_FIN 0x01
#define CT_TCP_SYN 0x02
#define CT_TCP_RST 0x04
#define CT_TCP_ACK 0x10
#define CT_TCP_URG 0x20

/* TCP options, of a SYN; and whether there are any that matter. */
#define CT_OPT_SOME   1
#define CT_OPT_WSCALE 2
#define CT_OPT_SACK   4
#define CT_OPT_TIME   16 /* ts_val and ts_ecr are known */
#define CT_OPT_EDGES  8	 /* SACK blocks were seen: only the first option with any counts */

/* Chunks of an SCTP packet that are looked at; an honest bundle of more is data. */
#define CT_SCTP_CHUNKS 64

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
	__be16 src_port_be, dst_port_be; /* ICMP: see key.h */
	__u32 bytes;			 /* IP total lengths, of all segments */
	__u32 segs;			 /* 1, or the segments of a GSO super-packet */
	__u32 ifindex;
	__u32 seq, ack; /* TCP, host order; of a later fragment: its end, and the first one's */
	__u32 payload;	/* TCP payload bytes; of a later fragment: all it carries */
	__u32 sack;	/* TCP: highest right edge of a SACK block, or ack */
	__u32 ts_val, ts_ecr; /* TCP: timestamp and echo, host order */
	__u32 chunk_kinds; /* SCTP: 1 << enum ct_sctp_chunk; its tag is in `seq`, INIT's in `ack` */
	__u32 chunks;	   /* and how many there are */
	__u8 chunk[CT_SCTP_CHUNKS]; /* that change states: enum ct_sctp_chunk, and CT_SCTP_T */
	__u16 window;		    /* TCP, host order */
	__u8 tcp_flags;
	__u8 family; /* 4 or 6 */
	__u8 proto;
	__u8 kind;	/* enum ct_kind */
	__u8 reply;	/* ICMP: this is an answer by its type */
	__u8 returned;	/* ICMP error: goes to whoever sent the packet inside it */
	__u8 options;	/* CT_OPT_* */
	__u8 wscale;	/* TCP window scale, at most 14 */
	__u8 inner;	/* src and dst are those of the packet inside an ICMP error, */
	__u8 neighbour; /* neighbour discovery, sent on this very link */
	__u8 anew;	/* a later fragment: its packet began what is known of its sender */
	__u8 icmp;	/* ICMP of its family, of this type and code */
	__u8 icmp_type, icmp_code;
	__u32 mtu;			  /* that an ICMP error tells of */
	__u32 outer_src[4], outer_dst[4]; /* and these those of the error */
};

/* Room for TCP's header, which has 60 bytes at the most. */
#define CT_SYN_ROOM 64

enum ct_syn_there {
	CT_SYN_NONE,   /* it has FIN or RST, too, came in fragments, or was not in reach */
	CT_SYN_COPIED, /* its headers are in `tcp` and beside it */
	CT_SYN_MADE,   /* and `print` is made of them */
};

/* The headers of a SYN or SYN+ACK; of this packet only where its flags have SYN. */
struct ct_syn {
	__u32 there; /* enum ct_syn_there */
	__u32 end;   /* bytes of TCP's header */
	__u32 at;    /* where the walk through the options is */
	__u32 bits;  /* of the record: what IP's header says, and whether there is data */
	__u8 ttl, ip_options;
	__u8 taken;   /* a flow has accepted it: */
	__u8 dir;     /* as its sender's, enum ct_dir, */
	__u64 start;  /* and it began then; */
	__u64 opener; /* the flow it begins has this as ct_opener(), */
	__u64 moves;  /* this answer takes its place, if it is not 0 */
	struct ct_print print;
	__u8 tcp[CT_SYN_ROOM]; /* as it came */
};

/* How far the parser has come, and what it found out about the frame. */
struct ct_frame {
	__u32 wire_len;
	__u32 off;	   /* of the header that is parsed next */
	__u32 l3;	   /* of the IP header */
	__u32 l3_end;	   /* where the IP packet ends, by its own length field */
	__u32 options_end; /* of TCP's options */
	__be32 frag_id;
	__u16 frag_off; /* in bytes; 0 is a first or only fragment */
	__be16 ethertype;
	__u8 fragmented;
	__u8 proto;
	__u16 frag_headers; /* bytes of IPv6 fragment headers */
	__u8 frag_more;	    /* not the last fragment */
	__u32 frag_start;   /* where what is in fragments begins */
	__u32 gso_size;	    /* of a super-packet whose segments nobody has counted yet */
	__u32 beyond;	    /* at TC: something was needed past what is in reach */
	struct ct_syn syn;
};

/*
 * Scratch is not wiped between packets. These are the fields that somebody may
 * read without the parser having written them.
 */
static __always_inline void ct_pkt_begin(struct ct_pkt *pkt, struct ct_frame *f, __u32 segs,
					 __u32 ifindex)
{
	pkt->src_port_be = 0;
	pkt->dst_port_be = 0;
	pkt->bytes = 0;
	pkt->segs = segs;
	pkt->ifindex = ifindex;
	pkt->tcp_flags = 0;
	pkt->proto = 0;
	pkt->kind = CT_KIND_FLOW;
	pkt->reply = 0;
	pkt->returned = 0;
	pkt->options = 0;
	pkt->wscale = 0;
	pkt->inner = 0;
	pkt->neighbour = 0;
	pkt->icmp = 0;
	f->frag_off = 0;
	f->fragmented = 0;
	f->frag_headers = 0;
	f->gso_size = 0;
}

/* Who sent an ICMP error and to whom, for the packet inside takes their place. */
static __always_inline void ct_keep_outer(struct ct_pkt *pkt)
{
	pkt->inner = 1;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		pkt->outer_src[i] = pkt->src[i];
		pkt->outer_dst[i] = pkt->dst[i];
	}
}

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
