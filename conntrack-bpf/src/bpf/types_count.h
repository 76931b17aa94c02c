/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is counted, and why. A part of types.h, and under its rules. */
#ifndef CT_TYPES_COUNT_H
#define CT_TYPES_COUNT_H

/* What nf_conntrack would say of a packet. */
enum ct_class {
	CT_CLASS_NEW,
	CT_CLASS_ESTABLISHED,
	CT_CLASS_RELATED,
	CT_CLASS_INVALID,
	CT_CLASS_UNTRACKED,
	CT_CLASSES,
};

/*
 * Why a packet passed without touching a flow. Index of ct_cpu.passed; user
 * space prints the names in lower case without the prefix.
 */
enum ct_pass {
	CT_PASS_NOT_IP,	    /* ARP, LLDP, ... : nothing to track */
	CT_PASS_TRUNCATED,  /* a header does not fit the frame */
	CT_PASS_BAD_HEADER, /* version, length or offset field makes no sense, or the sum is wrong */
	CT_PASS_VLAN_DEPTH, /* more than CT_VLAN_DEPTH tags */
	CT_PASS_EXT_DEPTH,  /* more than CT_EXT_DEPTH IPv6 extension headers */
	CT_PASS_FRAGMENT,  /* came before its first one, came twice, or its packet counts nothing */
	CT_PASS_UNTRACKED, /* what nf_conntrack leaves alone: ND, MLD */
	CT_PASS_INVALID,   /* no valid packet of any flow */
	CT_PASS_CHECKSUM,  /* its checksum is bad; nf_conntrack calls it INVALID */
	CT_PASS_TABLE_FULL, /* every slot in reach is live and assured */
	/* another CPU is creating or freeing this very flow; PREEMPT_RT: it has
	 * interrupted another packet */
	CT_PASS_BUSY,
	CT_PASS_DUPLICATE, /* counted on another hook already */
	CT_PASS_INTERNAL,  /* our own trouble: a map look-up that cannot fail did */
	CT_PASS_REASONS,
};

/* Why a packet was dropped, once the operator asked for it. Index of
 * ct_cpu.drops. */
enum ct_drop {
	CT_DROP_BAN,
	CT_DROP_THRESHOLD,
	CT_DROP_FILTER,
	CT_DROP_FINGERPRINT,
	CT_DROP_REASONS,
};

/* Index of ct_cpu.table. */
enum ct_table_event {
	CT_TABLE_CREATED,   /* flows created */
	CT_TABLE_CONFLICTS, /* two CPUs created one flow; one of them gave way */
	CT_TABLE_EVENTS,
};

/* What came of limits. Index of ct_cpu.limit. */
enum ct_limited {
	CT_LIMITED_OVER,    /* connections that were too much */
	CT_LIMITED_BANNED,  /* sources that were banned */
	CT_LIMITED_NO_ROOM, /* the same, but there was no room for the ban */
	CT_LIMITED_EVENTS,
};

/* Why a flow is no more. Index of ct_cpu.gone. */
enum ct_gone {
	CT_GONE_TIMEOUT,  /* its time was up */
	CT_GONE_FIN,	  /* the same, after both ends had closed it: TIME_WAIT */
	CT_GONE_RST,	  /* the same, after a RST: CLOSE; or at once, where it answers a SYN */
	CT_GONE_EVICTED,  /* unassured, pushed out by a new one */
	CT_GONE_REPLACED, /* its tuple was opened anew */
	CT_GONE_DELETED,  /* by command, this one */
	CT_GONE_FLUSHED,  /* by command, all of them */
	CT_GONE_REASONS,
};

/* The first of them are all that time does. */
#define CT_GONE_BY_TIME 3
_Static_assert(CT_GONE_EVICTED == CT_GONE_BY_TIME, "what time does comes first");

/*
 * Scratch of the search for a slot. In map memory, because the
 * verifier then follows one state through the search instead of one a slot.
 */
struct ct_pick {
	__u64 best;
	__u64 word;
	__u64 now;
	__u32 bucket;
	__u32 slot;
	__u32 home; /* the slot that is liked best if it is empty */
	__u32 keep; /* flows that are alive are not to make room */
	/* Of a bucket, and of both, as they are to be: queue.h. */
	__u64 queue, queues[2];
	__u64 due, dues[2];
};

/* Counters of one CPU. Only that CPU writes; readers map the array. */
struct ct_cpu {
	__u64 packets; /* IP packets, GSO super-packets as their segments */
	__u64 bytes;   /* IP total lengths */
	__u64 classes[CT_DIRS][CT_CLASSES];
	__u64 passed[CT_PASS_REASONS];
	__u64 drops[CT_DROP_REASONS];
	__u64 table[CT_TABLE_EVENTS];
	__u64 gone[CT_GONE_REASONS];
	__s64 live
		[2]; /* flows created less flows gone here: v4, v6. Only the sum over CPUs says anything */
	__u64 limit[CT_LIMITED_EVENTS];
	__u64 banned[4];    /* drops[CT_DROP_BAN] by enum ct_ban_origin */
	__u64 side[2];	    /* [enum ct_side_event] */
	__u64 unprinted[2]; /* [enum ct_unprinted] */
	__u64 reserved[5];
};
_Static_assert(sizeof(struct ct_cpu) == 448, "whole cache lines");

/* Counters of one interface on one CPU: ct_ifstats[cpu * CT_IFACES + slot]. */
struct ct_ifstat {
	__u64 packets;
	__u64 bytes;
};

#endif
