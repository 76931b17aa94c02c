/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How many connections a source may begin. A part of types.h, and under its rules. */
#ifndef CT_TYPES_LIMIT_H
#define CT_TYPES_LIMIT_H

/* What is done about what is too much. */
enum ct_limit_action {
	CT_LIMIT_OFF,	/* nothing is counted */
	CT_LIMIT_COUNT, /* it is counted, and passes */
	CT_LIMIT_DROP,	/* the excess is dropped */
	CT_LIMIT_BAN,	/* and who has shown that it is there is banned */
};

/* Whose connections are counted together. */
enum ct_limit_kind {
	CT_LIMIT_ADDR,	 /* an address's */
	CT_LIMIT_PREFIX, /* a network's */
	CT_LIMIT_PORT,	 /* an address's to one port of this side */
	CT_LIMIT_KINDS,
};

/* Which of them. */
enum ct_measure {
	CT_MEASURE_NEW,	 /* begun */
	CT_MEASURE_HALF, /* begun, and their handshake is not through: TCP */
	CT_MEASURE_DONE, /* whose handshake has come through: TCP */
	CT_MEASURES,
};

#define CT_SKETCH_ROWS	  8 /* the most */
#define CT_LIMIT_SUSPECTS 16384
#define CT_LIMIT_STRIKES  8192
#define CT_LIMIT_TTLS	  4

/* The limits in force. User space writes it, word by word. */
struct ct_limits {
	__u32 action;			 /* enum ct_limit_action */
	__u32 on_syn;			 /* 1: beginning is enough to be banned */
	__u64 half_ns;			 /* half of the window */
	__u32 most[CT_LIMIT_KINDS];	 /* in a window; 0: any number */
	__u32 half_open[CT_LIMIT_KINDS]; /* the same of those without their handshake */
	__u32 prefix[2];		 /* [v6] length of CT_LIMIT_PREFIX */
	__u32 width, rows;		 /* of the sketch; its cells are ct_sketch */
	__u64 ttl[CT_LIMIT_TTLS]; /* ns, of the first ban and of the next; the last of all others */
	__u64 forget_ns;	  /* a ban is the next one if it comes so soon after the last */
	__u64 civil;		  /* CLOCK_REALTIME - CLOCK_BOOTTIME */
	__u32 ttls;		  /* of `ttl` */
	__u32 note;		  /* of ct_notes: the bans' reason */
	__u32 epoch;		  /* changes with the window: counts of another are not met again */
	__u32 room;		  /* bans that packets may have made at once, over or not */
};
_Static_assert(sizeof(struct ct_limits) == 16 + 24 + 16 + 32 + 16 + 16, "no hidden padding");

/* A source, or a part of what it does. */
struct ct_limit_key {
	__u8 family; /* 4 or 6 */
	__u8 prefix;
	__u8 kind;    /* enum ct_limit_kind */
	__u8 measure; /* enum ct_measure */
	__be16 port_be;
	__u8 proto;    /* of CT_LIMIT_PORT */
	__u8 epoch;    /* of ct_limits */
	__u32 addr[4]; /* network order as loaded */
};
_Static_assert(sizeof(struct ct_limit_key) == 24, "no hidden padding");

/* How often something happened in the window; see sketch.h. */
struct ct_rate {
	__u64 word;
};

/* What is known exactly of a source that the sketch has pointed at. */
struct ct_suspect {
	struct ct_rate rate;
	__u64 over; /* connections that were too much */
	__u64 last; /* when, CLOCK_MONOTONIC ns */
};
_Static_assert(sizeof(struct ct_suspect) == 24, "no hidden padding");

/* How often a source was banned by itself. */
struct ct_strike {
	__u64 until; /* the last time ends, CLOCK_BOOTTIME ns */
	__u32 count;
	__u32 pad;
};
_Static_assert(sizeof(struct ct_strike) == 16, "no hidden padding");

#endif
