/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What user space sets up, and leaves for the next process. A part of types.h, and under its rules. */
#ifndef CT_TYPES_SETUP_H
#define CT_TYPES_SETUP_H

/* Interfaces by ifindex: open addressing, CT_IF_PROBE steps from ifindex &
 * mask. */
#define CT_IF_SLOTS 4096
#define CT_IF_PROBE 8
#define CT_IFACES   256

#define CT_IF_ATTACHED 1 /* one of our programs sits on it */
#define CT_IF_UPPER    2 /* stacked on an attached one: bridge, VLAN, bond, macvlan */
#define CT_IF_RAW_IP   4 /* frames start with the IP header: tun, wireguard */

/* One 8-byte word, so that user space changes it in one store. */
struct ct_iface {
	__u32 ifindex; /* 0: empty */
	__u16 stat;    /* slot in ct_ifstats, below CT_IFACES */
	__u16 flags;   /* CT_IF_* */
};
_Static_assert(sizeof(struct ct_iface) == 8, "stored in one go");

/* Settings that change while packets run; each field is read by itself. */
struct ct_settings {
	__u64 timeout_ns[CT_TMO_MAX]; /* [enum ct_timeout] */
	__u64 grace_ns;		      /* a freed slot rests this long */
	__u32 tcp_loose;
	__u32 tcp_be_liberal;
	__u32 tcp_ignore_invalid_rst;
	__u32 tcp_max_retrans;
	__u32 checksum;
	__u32 frag6_timeout; /* seconds; fragment.h */
	__u32 event_types;   /* 1 << enum ct_event_type: somebody listens */
	__u32 pad;
	__u64 sweep_ns;	  /* the background sweep goes round in this time; 0: not at all */
	__u32 tables;	  /* moves on whenever user space puts other tables in place */
	__u32 moving;	  /* 1: flows go over from the other table; move.h */
	__u32 print_bans; /* entries of ct_print_bans to look at; 0: none */
	__u32 pad2;
	__u32 reserved[4];
};
_Static_assert(sizeof(struct ct_settings) == 512 + 8 + 72, "no hidden padding");

/* The replayed packet's time and size; used when cfg_replay is set. */
struct ct_replay {
	__u64 now;	/* ns */
	__u32 wire_len; /* length of the frame on the wire, from the capture record */
	__u32 pad;
};

/*
 * How far the replacement of tables has come: which programs may sit on the hooks. It
 * is written before the first of them does.
 */
enum ct_resize {
	CT_RESIZE_NONE,	   /* those that know the tables */
	CT_RESIZE_PREPARE, /* also some that know the next ones, and create in the old */
	CT_RESIZE_MOVE,	   /* such, and some that create in the next */
	CT_RESIZE_FINISH,  /* the latter, and some that know the next tables only */
};

/* Written by user space, for the next process that opens the pins. */
struct ct_meta {
	__u32 abi;
	__u32 ready; /* 0 while an instance is being set up */
	__u32 buckets4, buckets6;
	__u32 hash_seed[12];
	__u64 netns_ino, netns_dev;
	__u64 created; /* CLOCK_BOOTTIME ns */
	__u64 max_flows4, max_flows6;
	__u32 phase;			    /* enum ct_resize */
	__u32 next_buckets4, next_buckets6; /* of the tables to come; 0: it stays */
	__u32 foreground;		    /* 1: it ends with the process that holds its lock */
	__u64 next_flows4, next_flows6;
	__u32 health; /* CT_HEALTH_* */
	__u32 pad;
	char version[32]; /* of the crate that its programs are of */
	char netns[128];  /* how the user named the namespace, or empty */
	char state[256];  /* folder in which bans are kept over a restart, or empty */
};
_Static_assert(sizeof(struct ct_meta) == 16 + 48 + 40 + 40 + 160 + 256, "no hidden padding");

/* One attached interface, for `status`; key of the map: ifindex. */
enum ct_hook {
	CT_HOOK_NONE,
	CT_HOOK_XDP_NATIVE,
	CT_HOOK_XDP_GENERIC,
	CT_HOOK_XDP_OFFLOAD,
	CT_HOOK_TCX,
	CT_HOOK_CLSACT,
};

struct ct_attach {
	char name[16];
	__u32 ingress, egress;		    /* enum ct_hook */
	__u32 made_clsact;		    /* 1: the clsact qdisc is ours */
	__u32 tc_handle[2], tc_priority[2]; /* [0] ingress, [1] egress; clsact only */
	__u32 pad;
	__u64 since;   /* CLOCK_BOOTTIME ns */
	char why[200]; /* why not the hook one would expect; may be empty */
};
_Static_assert(sizeof(struct ct_attach) == 16 + 32 + 8 + 200, "no hidden padding");

#endif
