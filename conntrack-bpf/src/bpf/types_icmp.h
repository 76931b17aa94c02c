/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is known of ICMP and ICMPv6. A part of types.h, and under its rules. */
#ifndef CT_TYPES_ICMP_H
#define CT_TYPES_ICMP_H

#define CT_ICMP_PAIRS	1024 /* pairs of type and code that are counted apart */
#define CT_ICMP_STRANGE 256  /* those of them that no RFC has given a meaning */
#define CT_ICMP_ERRORS	4096 /* errors that are known one by one */

/* New errors that a CPU records in a slice of time. */
#define CT_ICMP_SLICE_NS (CT_NSEC / 10)
#define CT_ICMP_BURST	 64

/* A kind of message. */
struct ct_icmp_kind {
	__u8 family; /* 4 or 6 */
	__u8 type;
	__u8 code;
	__u8 pad[5];
};
_Static_assert(sizeof(struct ct_icmp_kind) == 8, "no hidden padding");

/* How often it came, on one CPU. */
struct ct_icmp_count {
	__u64 packets;
	__u64 bytes; /* IP total lengths */
};
_Static_assert(sizeof(struct ct_icmp_count) == 16, "no hidden padding");

/* An error, and the packet that it is about. */
struct ct_icmp_error_key {
	__u32 from[4], to[4];		 /* of the error; network order as loaded */
	__u32 src[4], dst[4];		 /* of the packet inside, as all below */
	__be16 src_port_be, dst_port_be; /* ICMP: id; type and code. GRE: 0; call id */
	__u8 proto;
	__u8 family; /* 4 or 6 */
	__u8 type, code;
};
_Static_assert(sizeof(struct ct_icmp_error_key) == 72, "no hidden padding");

/* How often it came. */
struct ct_icmp_error {
	__u64 packets;
	__u64 bytes;
	__u64 related; /* of the packets: they were about a flow that is known */
	__u64 first;   /* CLOCK_MONOTONIC ns */
	__u64 last;
	__u32 ifindex; /* that the last one was seen on */
	__u32 mtu;     /* that it told of; 0: it was about something else, or told of none */
};
_Static_assert(sizeof(struct ct_icmp_error) == 48, "no hidden padding");

/* What one CPU could not or did not record. */
struct ct_icmp_cpu {
	__u64 slice; /* when the slice of time began */
	__u32 begun; /* new errors in it */
	__u32 strange;
	__u64 unlisted[2]; /* packets and bytes of kinds that there was no room for */
	__u64 unreadable;  /* errors whose inner packet could not be read */
	__u64 unrecorded;  /* errors that were too many */
	__u64 reserved[2];
};
_Static_assert(sizeof(struct ct_icmp_cpu) == 64, "whole cache lines");

#endif
