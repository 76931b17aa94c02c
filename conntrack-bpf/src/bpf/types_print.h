/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a SYN or SYN+ACK tells of its sender. A part of types.h, and under its rules. */
#ifndef CT_TYPES_PRINT_H
#define CT_TYPES_PRINT_H

/* Options that are read: p0f reads no further. */
#define CT_PRINT_OPTIONS 24

/* ct_print.bits: p0f's quirks, in its order from bit 0 on, */
#define CT_Q_DF	     (1U << 0)
#define CT_Q_ID	     (1U << 1)
#define CT_Q_ZERO_ID (1U << 2)
#define CT_Q_ECN     (1U << 3)
#define CT_Q_MBZ     (1U << 4)
#define CT_Q_FLOW    (1U << 5)
#define CT_Q_SEQ     (1U << 6)
#define CT_Q_ACK     (1U << 7)
#define CT_Q_NO_ACK  (1U << 8)
#define CT_Q_URP     (1U << 9)
#define CT_Q_URG     (1U << 10)
#define CT_Q_PSH     (1U << 11)
#define CT_Q_TS_ZERO (1U << 12)
#define CT_Q_TS_ECHO (1U << 13)
#define CT_Q_AFTER   (1U << 14)
#define CT_Q_EXWS    (1U << 15)
#define CT_Q_BAD     (1U << 16)
/* and what else there is. */
#define CT_P_IPV6    (1U << 24)
#define CT_P_SYNACK  (1U << 25)
#define CT_P_PAYLOAD (1U << 26)
#define CT_P_STAMP   (1U << 27) /* the last timestamp option's own value is not 0 */

/*
 * All of a SYN or SYN+ACK that its signature follows from, and nothing else: numbers in
 * the machine's order. conntrack-core's p0f::Raw is the same.
 */
struct ct_print {
	__u32 bits;
	__u16 mss; /* of the last MSS option, or 0 */
	__u16 window;
	__u16 peer_mss; /* SYN+ACK: MSS of the SYN it answers, if the window follows from it */
	__u8 ttl;
	__u8 ip_options; /* bytes, at most 255 */
	__u8 tcp_header; /* bytes */
	__u8 scale;
	__u8 options; /* of `layout` */
	__u8 padding; /* bytes after the end mark */
	__u8 layout[CT_PRINT_OPTIONS];
};
_Static_assert(sizeof(struct ct_print) == 40, "no hidden padding");

/*
 * What is known of a signature. The last source is written by one CPU at a time: `turn` and
 * `turns` are equal but while one does; a reader that finds them unequal looks again.
 */
struct ct_printed {
	__u64 turn;
	__u64 count;	   /* segments */
	__u64 first, last; /* CLOCK_MONOTONIC ns */
	__u64 id;	   /* of the record, a hash; never 0 */
	__u32 addr[4];	   /* the last source; network order as loaded, IPv4 in the first word */
	__be16 port_be;
	__u16 pad[3];
	__u64 turns;
};
_Static_assert(sizeof(struct ct_printed) == 72, "no hidden padding");

/* A source, as client or as server. */
struct ct_print_key {
	__u32 addr[4]; /* network order as loaded; IPv4 in the first word */
	__u8 family;   /* 4 or 6 */
	__u8 synack;   /* 0: its SYNs; 1: its SYN+ACKs */
	__u16 pad[3];
};
_Static_assert(sizeof(struct ct_print_key) == 24, "no hidden padding");

/* What is known of a source. Where its record changes, all of it is written anew. */
struct ct_print_of {
	struct ct_print print; /* the last one */
	__u64 count;	       /* segments, whatever their records */
	__u64 first, last;     /* CLOCK_MONOTONIC ns */
};
_Static_assert(sizeof(struct ct_print_of) == 64, "no hidden padding");

/* Fingerprints that can be banned at once, and bytes of a pattern's text. */
#define CT_PRINT_BANS 64
#define CT_PRINT_TEXT 256

/* What a pattern wants of the window. */
enum ct_print_window {
	CT_WINDOW_ANY,
	CT_WINDOW_BYTES,
	CT_WINDOW_MODULO, /* a multiple of so many bytes */
	CT_WINDOW_MSS,	  /* so many times the MSS, */
	CT_WINDOW_MTU,	  /* or the MTU */
};

/* Beside the factor of a window that is a multiple of the MTU. */
#define CT_PRINT_OF_MTU (1U << 16)

/* A ban of the SYNs whose record fits. */
struct ct_print_ban {
	__u64 until; /* CLOCK_BOOTTIME ns; 0: for ever */
	__u64 since; /* civil time, ns since 1970 */
	__u64 hits, bytes;
	__u64 last; /* CLOCK_BOOTTIME ns; 0: no hit */
	__u32 live; /* 0: there is none here */
	__u32 dry_run;
	__u32 bits;    /* quirks, and whether there is data: as in ct_print, */
	__u32 mask[2]; /* [v6] those that are looked at */
	__u16 mss;
	__u16 window;	  /* bytes, or the factor */
	__u8 window_kind; /* enum ct_print_window */
	__u8 any_mss, any_scale;
	__u8 families; /* 1: IPv4, 2: IPv6 */
	__u8 ttl_min, ttl_max;
	__u8 ip_options, scale, options, padding;
	__u8 pad[6];
	__u8 layout[CT_PRINT_OPTIONS];
	char text[CT_PRINT_TEXT]; /* the pattern, for user space */
};
_Static_assert(sizeof(struct ct_print_ban) == 104 + CT_PRINT_TEXT, "no hidden padding");

/* What did not come into a map, because too much that is new came. Index of ct_cpu.unprinted. */
enum ct_unprinted {
	CT_UNPRINTED_SIGNATURE,
	CT_UNPRINTED_SOURCE,
	CT_UNPRINTED_MAPS,
};

/* New entries a CPU puts in within a slice of time: signatures, and sources. */
#define CT_PRINT_NEW	     16
#define CT_PRINT_NEW_SOURCES 128
#define CT_PRINT_SLICE	     26 /* of 2 to that power ns: 67 ms */

/* The last source of a signature is the first in a time of 2 to that power ns: a millisecond. */
#define CT_PRINT_SOURCE 20

#endif
