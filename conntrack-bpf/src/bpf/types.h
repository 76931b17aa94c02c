/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Everything that the kernel side and user space both look at.
 *
 * Rust gets these through BTF (the skeleton's `types`), host tests include
 * this file directly, so it may use nothing but <linux/types.h>. Fields whose
 * name ends in _be are in network byte order. Padding is explicit and zero.
 * A change of layout or meaning bumps CT_ABI.
 */
#ifndef CT_TYPES_H
#define CT_TYPES_H

#include <linux/types.h>

#define CT_ABI 15

/* Slots in a bucket, and the pairs of nanoseconds everything is counted in. */
#define CT_SLOTS 15
#define CT_NSEC	 1000000000ULL

/* Life of a slot; the low two bits of ct_flow.word. */
enum ct_phase {
	CT_FREE = 0,	/* nobody's; `seen` is the time it was given up (grace) */
	CT_BUSY = 1,	/* one CPU is filling it; not yet a flow */
	CT_LIVE = 2,	/* a flow, unless its time is up */
	CT_CLOSING = 3, /* one CPU is taking it down; no longer a flow */
};

/*
 * ct_flow.word: all that changes by compare-and-swap, so that a change of
 * state can never be lost, applied twice, or applied to the slot's next owner.
 *
 *   0..1   phase               8..11  protocol state (enum ct_tcp_state, ...)
 *   2      SEEN_REPLY         12..17  timeout in force (enum ct_timeout)
 *   3      ASSURED            18..29  TCP facts that outlive a packet
 *   4      ORIG_HI            32..47  policy generation the verdict is of
 *   5      AGAIN, then FIRST_BYTE             48..63  generation of the slot
 *   6      DROP
 */
#define CT_W_PHASE	   0x3ULL
#define CT_W_SEEN_REPLY	   (1ULL << 2)
#define CT_W_ASSURED	   (1ULL << 3)
#define CT_W_ORIG_HI	   (1ULL << 4) /* the opener is the key's `hi` end */
#define CT_W_AGAIN	   (1ULL << 5) /* a SYN came again; health.h */
#define CT_W_FIRST_BYTE	   (1ULL << 5) /* once that is through: the answer has begun */
#define CT_W_DROP	   (1ULL << 6) /* cached policy verdict */
#define CT_W_STATE_SHIFT   8
#define CT_W_STATE	   (0xfULL << CT_W_STATE_SHIFT)
#define CT_W_TMO_SHIFT	   12
#define CT_W_TMO	   (0x3fULL << CT_W_TMO_SHIFT)
#define CT_W_FIN_SHIFT	   18 /* +dir: this end has sent its FIN (CLOSE_INIT) */
#define CT_W_WSCALE_SHIFT  20 /* +dir: this end offered window scaling */
#define CT_W_SACK_SHIFT	   22 /* +dir: this end offered SACK, or may have */
#define CT_W_LIBERAL_SHIFT 24 /* +dir: its history is lost, do not judge its window */
#define CT_W_SIMOPEN	   (1ULL << 26)
#define CT_W_CHALLENGE	   (1ULL << 27) /* an ignored SYN may draw a challenge ACK */
#define CT_W_SYN_WSCALE	   (1ULL << 28) /* the ignored SYN offered window scaling, */
#define CT_W_SYN_SACK	   (1ULL << 29) /* and SACK */
#define CT_W_POLICY_SHIFT  32
#define CT_W_POLICY	   (0xffffULL << CT_W_POLICY_SHIFT)
/* Of a CLOSING slot, while the table is being replaced; see move.h. */
#define CT_W_LEFT      (1ULL << 7)  /* its flow goes to the other table */
#define CT_W_MOVED     (1ULL << 30) /* and has a slot there, */
#define CT_W_ARRIVED   (1ULL << 31) /* in which it is LIVE */
#define CT_W_GEN_SHIFT 48
#define CT_W_GEN       (0xffffULL << CT_W_GEN_SHIFT)

enum ct_dir {
	CT_ORIGINAL = 0,
	CT_REPLY = 1,
	CT_DIRS = 2,
};

/* nf_conntrack's names and order
 * (include/uapi/linux/netfilter/nf_conntrack_tcp.h). */
enum ct_tcp_state {
	CT_TCP_NONE,
	CT_TCP_SYN_SENT,
	CT_TCP_SYN_RECV,
	CT_TCP_ESTABLISHED,
	CT_TCP_FIN_WAIT,
	CT_TCP_CLOSE_WAIT,
	CT_TCP_LAST_ACK,
	CT_TCP_TIME_WAIT,
	CT_TCP_CLOSE,
	CT_TCP_SYN_SENT2,
	CT_TCP_STATES,
	/* answers of the transition table that are not states */
	CT_TCP_IGNORE = 14,
	CT_TCP_INVALID = 15,
};

/* What a segment is, by its flags. */
enum ct_tcp_segment {
	CT_SEG_SYN,
	CT_SEG_SYNACK,
	CT_SEG_FIN,
	CT_SEG_ACK,
	CT_SEG_RST,
	CT_SEG_NONE,
	CT_SEG_KINDS,
};

/* nf_conntrack's SCTP states (nf_conntrack_sctp.h). */
enum ct_sctp_state {
	CT_SCTP_NONE,
	CT_SCTP_CLOSED,
	CT_SCTP_COOKIE_WAIT,
	CT_SCTP_COOKIE_ECHOED,
	CT_SCTP_ESTABLISHED,
	CT_SCTP_SHUTDOWN_SENT,
	CT_SCTP_SHUTDOWN_RECD,
	CT_SCTP_SHUTDOWN_ACK_SENT,
	CT_SCTP_HEARTBEAT_SENT,
	CT_SCTP_STATES,
};

/* Index of ct_settings.timeout_ns. A TCP state is its own index. */
enum ct_timeout {
	CT_TMO_TCP = 0, /* + enum ct_tcp_state, 0..9 */
	CT_TMO_TCP_RETRANS = 10,
	CT_TMO_TCP_UNACK = 11,
	CT_TMO_UDP = 16,
	CT_TMO_UDP_STREAM = 17,
	CT_TMO_ICMP = 18,
	CT_TMO_ICMPV6 = 19,
	CT_TMO_GRE = 20,
	CT_TMO_GRE_STREAM = 21,
	CT_TMO_GENERIC = 22,
	CT_TMO_SCTP = 32, /* + enum ct_sctp_state, 32..40 */
	CT_TMO_MAX = 64,
};

/*
 * One end of a TCP connection, as its segments left it. Written by packets of
 * both directions; tcp_edges.h says which fields, and why that is harmless.
 */
struct ct_tcp_end {
	__u32 end;    /* max(seq + len) sent */
	__u32 maxend; /* max(ack + max(win, 1)) the other end granted */
	__u32 maxwin; /* largest window this end granted, scaled; 0: not heard yet */
	__u32 maxack; /* highest ack this end sent */
	__u32 seq;    /* of the last segment, host order; */
	__u32 ack;    /* end 1, while `flags` are 0: both are ct_opener() */
	__u16 win;    /* of the last segment, unscaled */
	__u16 shared; /* where the remembered segment ended: end 0 the low half, end 1 the high */
	__u8 flags;   /* of the last segment: FIN 1 .. CWR 128 */
	__u8 bits;    /* CT_END_* */
	__u8 scale;   /* low half: window scale; high half, end 0: that of an ignored SYN; end 1:
		       * CT_END_SHOWN */
	__u8 aux;     /* end 0: times the remembered segment came again; end 1: CT_LAST_*
             */
};

#define CT_END_UNACKED 1 /* data beyond the highest ack of the other end */
#define CT_END_MAXACK  2 /* maxack is set */
/* In `scale` of end 1, before the handshake is through: all that was heard of the answering
 * end came the way that nobody can take who sends from where the opener's packets come. */
#define CT_END_SHOWN 0x10
/* The bits above: what is left of the remembered segment, see CT_LAST_SEQ_SHOWN. */
#define CT_END_LEFT	  0xfc
#define CT_END_LEFT_SHIFT 2

/*
 * Two memories, as nf_conntrack has them: the kind and direction of the last
 * segment that was accepted or ignored; and one segment to recognise when it
 * comes again, the last that was an ACK inside the window or was ignored. Where
 * that one ended is kept in full. Its other numbers are those of its end's last
 * segment, as long as there was none since. From then on, and where it was
 * ignored, what there is no room for is known in part, by six bits each: end 0 has
 * those of the ack, end 1 those of seq and window.
 */
#define CT_LAST_SEGMENT	  0x07 /* enum ct_tcp_segment + 1; 0: none yet */
#define CT_LAST_REPLY	  0x08 /* its direction */
#define CT_LAST_REC_REPLY 0x10 /* the direction of the remembered one */
#define CT_LAST_REC_WIN	  0x20 /* its window was not 0 */
#define CT_LAST_SEQ_SHOWN 0x40 /* seq and win of its end are its own */
#define CT_LAST_ACK_SHOWN 0x80 /* and so is ack */
_Static_assert(sizeof(struct ct_tcp_end) == 32, "two ends fill one cache line");

/*
 * A flow, whatever its family: first line what every packet touches, second
 * line what TCP adds. IPv4 keeps its whole key in the first line.
 */
struct ct_flow {
	__u64 word;	  /* see above */
	__u64 seen;	  /* last accepted packet, CLOCK_MONOTONIC ns; never moves back */
	__u64 start;	  /* first packet, CLOCK_MONOTONIC ns */
	__u64 bytes[2];	  /* [enum ct_dir] IP total lengths */
	__u32 packets[2]; /* low 32 bits; the high 16 are in the bucket's `carry` */
	__u32 lo, hi;	  /* IPv4: addresses, network order as loaded; IPv6: 64 bits of hash */
	__be16 lo_port_be, hi_port_be;
	__u32 proto_if;		  /* protocol, low 8 bits; ifindex of the first packet, high 24 */
	struct ct_tcp_end tcp[2]; /* [enum ct_dir] */
};
_Static_assert(sizeof(struct ct_flow) == 128, "two cache lines");
_Static_assert(__builtin_offsetof(struct ct_flow, tcp) == 64, "TCP in the second");

struct ct_flow6 {
	struct ct_flow flow;
	__u32 lo[4], hi[4];
	__u64 reserved[4];
};
_Static_assert(sizeof(struct ct_flow6) == 192, "three cache lines");

/*
 * Fifteen slots behind one line of tags. A tag is 16 bits of the key's hash,
 * never 0; 0 is an empty slot. Tags only say where to look: the word is the
 * truth. tags[15] is always 0. `queue` and `due` tell where to look first in a
 * full bucket; see queue.h.
 */
struct ct_bucket_head {
	__u16 tags[16];
	__u64 queue;
	__u64 due;
	__u64 reserved[2];
	__u16 carry[CT_SLOTS][2]; /* [slot][dir] bits 32..47 of packets */
	__u32 pad;
};
_Static_assert(sizeof(struct ct_bucket_head) == 128, "two cache lines");

struct ct_bucket4 {
	struct ct_bucket_head head;
	struct ct_flow slot[CT_SLOTS];
};
_Static_assert(sizeof(struct ct_bucket4) == 2048, "slots are aligned to 128");

struct ct_bucket6 {
	struct ct_bucket_head head;
	struct ct_flow6 slot[CT_SLOTS];
};
_Static_assert(sizeof(struct ct_bucket6) == 3008, "slots are aligned to 64");

/* What the fragments of a packet have in common. */
struct ct_frag_key {
	__u32 src[4], dst[4]; /* IPv4 in the first word */
	__u32 id_be;
	__u8 proto;
	__u8 family; /* 4 or 6 */
	__u16 pad;
};
_Static_assert(sizeof(struct ct_frag_key) == 40, "no hidden padding");

enum ct_frag_state {
	CT_FRAG_EARLY,	 /* the first one has not come; the others wait for it */
	CT_FRAG_COUNTED, /* it counted: so do the others */
	CT_FRAG_REFUSED, /* it did not: nor do they */
	CT_FRAG_DROPPED, /* it was dropped: so are they */
};

/* What is known of a packet that comes in fragments. */
struct ct_frag {
	__u64 seen;			 /* when the first to come came */
	__be16 src_port_be, dst_port_be; /* ICMP: id; type and code */
	__u8 proto;
	__u8 reply;	/* ICMP: an answer by its type */
	__u8 state;	/* enum ct_frag_state */
	__u8 anew;	/* TCP: the first one began what is known of its sender */
	__u32 base;	/* TCP: sequence number of the packet's first byte, header and all */
	__u32 from, to; /* bytes that have come, without a gap: of the first's block, if it has */
	__u32 have;	/* all bytes that have come */
	__u32 total;	/* bytes of the packet; 0 before the last one has come */
	__u32 first;	/* bytes of the first one */
};
_Static_assert(sizeof(struct ct_frag) == 40, "no hidden padding");

#include "types_count.h"
#include "types_policy.h"
#include "types_print.h"
#include "types_event.h"
#include "types_icmp.h"
#include "types_limit.h"
#include "types_ports.h"
#include "types_side.h"
#include "types_service.h"
#include "types_setup.h"

#endif
