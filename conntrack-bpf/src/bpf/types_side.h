/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is known of a flow beside its slot. A part of types.h, and under its rules. */
#ifndef CT_TYPES_SIDE_H
#define CT_TYPES_SIDE_H

/* ct_side.flags */
#define CT_SIDE_THROUGH	   1   /* its handshake has come through, or it is assured */
#define CT_SIDE_ENDED	   2   /* both FINs have passed, or a RST has */
#define CT_SIDE_RST_SHIFT  2   /* +dir: this end has sent a RST */
#define CT_SIDE_ZERO_SHIFT 4   /* +dir: this end's window is zero */
#define CT_SIDE_SHAKEN	   256 /* its handshake was seen */
#define CT_SIDE_FIN_SHIFT  6   /* +dir: this end has sent its FIN */

/* A gap that a segment left in what its sender had sent before. */
struct ct_hole {
	__u32 from, to; /* sequence numbers; the same: there is none */
	__u32 time;	/* when, units of 1,024 ns; the lowest bit is the sender's enum ct_dir */
};

#define CT_HOLES 3

/* What one end of a TCP connection did. */
struct ct_health_end {
	__u32 srtt;	     /* ns, of its segments and their echoes; 0: none yet */
	__u32 ts_val;	     /* the timestamp that is timed, or was last, */
	__u32 ts_time;	     /* when it passed, units of 1,024 ns; 0: it is not timed */
	__u32 retrans;	     /* segments sent again, */
	__u64 retrans_bytes; /* and what was in them */
	__u32 reordered;     /* segments that another has overtaken */
	__u32 dup_acks;
	__u32 zeros;   /* times that it closed its window */
	__u32 zero_ms; /* for how long; while it is closed less the time it was closed at */
	__u32 win_min; /* smallest window but 0 it announced since the handshake, scaled; 0: none */
	__u32 ts_last; /* the last timestamp of those that may be timed */
};
_Static_assert(sizeof(struct ct_health_end) == 48, "no hidden padding");

struct ct_health {
	struct ct_health_end end[2]; /* [enum ct_dir] */
	__u64 ended;		     /* the second FIN, or the first RST: CLOCK_MONOTONIC ns */
	__u32 rtt[2]; /* ns, the handshake's: SYN to SYN+ACK, and from there to the ACK; 0: none */
	__u32 first_byte; /* us, from the SYN to the first byte of the answer; 0: none yet */
	__u32 hole_next;  /* index of the hole that makes room next */
	struct ct_hole holes[CT_HOLES];
	__u32 reserved;
};
_Static_assert(sizeof(struct ct_health) == 96 + 24 + 40, "no hidden padding");

/* An entry. A flow's is found by its key's hash and its beginning; see side.h. */
struct ct_side {
	__u64 tag;   /* 0: nobody's; CT_SIDE_BUSY: one CPU is filling it */
	__u32 used;  /* when somebody last looked: CLOCK_MONOTONIC ns >> CT_SIDE_AGE_SHIFT */
	__u32 flags; /* CT_SIDE_* */
	/* [enum ct_dir] id of the fingerprint of its SYN or SYN+ACK; 0: none, or ct_opener(). */
	__u64 print[2];
	struct ct_health health;
};
_Static_assert(sizeof(struct ct_side) == 192, "three cache lines");

#define CT_SIDE_BUSY	  (~0ULL)
#define CT_SIDE_AGE_SHIFT 30 /* about a second */
#define CT_SIDE_WAYS	  4

/* A flow's entry is in one row. */
struct ct_side_row {
	struct ct_side way[CT_SIDE_WAYS];
};
_Static_assert(sizeof(struct ct_side_row) == 768, "whole cache lines");

/* What became of entries. Index of ct_cpu.side. */
enum ct_side_event {
	CT_SIDE_EVICTED, /* an entry in use was given to another flow */
	CT_SIDE_NO_ROOM, /* a flow got none: nobody made room, or another CPU was in the way */
	CT_SIDE_EVENTS,
};

/*
 * What is measured: bits of cfg_health. The last is there with any of them, and alone: how
 * long connections last, and who resets them.
 */
#define CT_HEALTH_RTT	 1
#define CT_HEALTH_LOSS	 2
#define CT_HEALTH_WINDOW 4
#define CT_HEALTH_ON	 8

#endif
