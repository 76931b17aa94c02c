/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Events and listeners, the background sweep, removal by command: a part of types.h. */
#ifndef CT_TYPES_EVENT_H
#define CT_TYPES_EVENT_H

/* Who can listen at once; each has a ring of its own. */
#define CT_LISTENERS 8

enum ct_event_type {
	CT_EVENT_NEW,	   /* a flow began */
	CT_EVENT_UPDATE,   /* its state changed, or it was answered or assured */
	CT_EVENT_DESTROY,  /* it is no more; why: enum ct_gone */
	CT_EVENT_INVALID,  /* a packet that is no valid one of any flow, one in a while */
	CT_EVENT_PRESSURE, /* a table fills up, or empties again */
	CT_EVENT_BAN,	   /* somebody is banned, or the ban is another now */
	CT_EVENT_UNBAN,	   /* a ban was taken back */
	CT_EVENT_TYPES,
};

/* How full a table is; ct_event.reason of CT_EVENT_PRESSURE. */
enum ct_pressure {
	CT_PRESSURE_NONE,
	CT_PRESSURE_HIGH,     /* 80 % of the flows it is sized for; ends at 75 % */
	CT_PRESSURE_CRITICAL, /* 95 %; ends at 90 % */
};

/*
 * One record of a ring: all of this for IPv6, less the addresses of `flow` for
 * IPv4. INVALID has the packet's tuple in `flow`, and its size as counts. BAN and UNBAN
 * have a ban there, see ban_event.h.
 */
struct ct_event {
	__u64 seq;	  /* of this listener's events, those lost included */
	__u64 time;	  /* CLOCK_MONOTONIC ns */
	__u64 packets[2]; /* [enum ct_dir]; PRESSURE: flows, flows the table is sized for */
	__u8 type;	  /* enum ct_event_type */
	__u8 reason;	  /* DESTROY: enum ct_gone; PRESSURE: enum ct_pressure */
	__u8 family;	  /* 4 or 6 */
	__u8 pad;
	__u32 place;	      /* the slot: bucket * CT_SLOTS + slot, as the teller counts buckets;
				with its word's generation, the flow's name until it moves */
	struct ct_flow6 flow; /* its word as it is now; of a destroyed one, as it last was */
};
_Static_assert(sizeof(struct ct_event) == 40 + 192, "no hidden padding");
#define CT_EVENT_SIZE4 (sizeof(struct ct_event) - sizeof(struct ct_flow6) + sizeof(struct ct_flow))

/* A listener's wish and its losses; key: the number of its ring. */
struct ct_listener {
	__u32 types;	/* 1 << enum ct_event_type; 0: nobody listens here */
	__u8 family;	/* 0: both */
	__u8 proto_set; /* 1: `proto` counts */
	__u8 proto;
	__u8 pad;
	__u16 port_lo[3], port_hi[3]; /* either end's, the original source's and destination's;
					 host order, inclusive; 0..65535 is any */
	__u32 ifindex;		      /* of the original direction; 0: any */
	__u64 seq;		      /* events it wished for */
	__u64 lost[8];		      /* [enum ct_event_type] those its ring had no room for */
	__u64 owner;		      /* process id, and when it began: whose slot this is */
	__u32 addr[3][4], mask[3][4]; /* as the ports; network order, IPv4 in the first word */
};
_Static_assert(sizeof(struct ct_listener) == 8 + 16 + 80 + 96, "no hidden padding");

/* What ct_remove is run for. */
enum ct_remove_what {
	CT_REMOVE_NONE, /* nothing: it only says what time it is, in `start` */
	CT_REMOVE_ONE,	/* the flow that was read in `slot` of `bucket` */
	CT_REMOVE_ALL,	/* every flow of `buckets` buckets that began by `start` */
	CT_REMOVE_TELL, /* nothing: listeners are told of `ban`; `slot` is the enum ct_event_type */
};

/* An order to ct_remove, the context it is run in; and the answer. */
struct ct_removal {
	__u64 word;  /* ONE: as it was read; its generation counts */
	__u64 start; /* ONE: as it was read */
	__u32 what;  /* enum ct_remove_what */
	__u32 v6;
	__u32 bucket, slot;
	__u32 buckets; /* ALL: CT_REMOVE_BUCKETS at the most */
	__u32 table; /* buckets of the table that is meant: while there are two, their sizes differ */
	__u32 removed; /* answer: flows that were alive */
	__u32 pad;
	struct ct_ban_key key; /* TELL: whose ban, */
	struct ct_ban ban;     /* and which */
};
_Static_assert(sizeof(struct ct_removal) == 16 + 32 + 24 + 64, "no hidden padding");

/* The most buckets of one CT_REMOVE_ALL. */
#define CT_REMOVE_BUCKETS 64

/* What became of a slot of the table that is replaced. */
enum ct_evacuated {
	CT_EVAC_EMPTY, /* there was nothing to do */
	CT_EVAC_MOVED,
	CT_EVAC_ENDED, /* its flow's time was up */
	CT_EVAC_STAYS, /* there is no room for its flow */
	CT_EVAC_AGAIN, /* somebody was at it */
	CT_EVAC_KINDS,
};

/* An order to ct_evacuate_some, the context it is run in; and the answer. */
struct ct_evacuation {
	__u64 now; /* of the coarse clock, which this program cannot ask */
	__u32 v6;
	__u32 bucket, buckets;		 /* CT_EVAC_BUCKETS at the most */
	__u32 moved, ended, stay, again; /* answer: slots */
	__u32 pad;
};
_Static_assert(sizeof(struct ct_evacuation) == 40, "no hidden padding");

/* The most buckets of one run of ct_evacuate_some. */
#define CT_EVAC_BUCKETS 32

/* What the sweep has done since the instance was set up. */
struct ct_sweep_stats {
	__u64 runs;    /* times round the tables */
	__u64 slices;  /* ticks */
	__u64 scanned; /* slots looked at */
	/* Flows taken out, by enum ct_gone. */
	__u64 removed[CT_GONE_BY_TIME];
	__u64 time_ns;	/* spent */
	__u64 worst_ns; /* longest slice */
	__u64 round_ns; /* the last time round took */
	__u64 began;	/* this time round; CLOCK_MONOTONIC ns */
};
_Static_assert(sizeof(struct ct_sweep_stats) == 80, "no hidden padding");

#endif
