/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who reaches which port. A part of types.h, and under its rules. */
#ifndef CT_TYPES_PORTS_H
#define CT_TYPES_PORTS_H

#define CT_PORT_INDICES 262144 /* 2 families, 2 protocols, 65536 ports */
#define CT_PORT_RANKS	24     /* a rank this high is one of 2^23 */
#define CT_PORT_SLOTS	64     /* ports that registers may be kept for, the most */
#define CT_PORT_BUDGETS 4096   /* sources that are watched for scans */

/* A tick is 2^26 ns, 67 ms: 32 bits of them are nine years. */
#define CT_PORT_TICK_SHIFT 26

/* A slot may be taken from a port that nobody new has reached for an hour. */
#define CT_PORT_IDLE_TICKS 53644

/* New pairs of a source with a port and an address are counted for a minute. */
#define CT_PORT_BUDGET_NS (60 * CT_NSEC)

/* What is kept, and how much of it. User space writes it before the first packet. */
struct ct_port_rules {
	__u32 per_port;	  /* sources that are entered one by one, of each port */
	__u32 slots;	  /* of ct_port_slots */
	__u32 registers;  /* of each slot: a power of two */
	__u32 per_source; /* new entries of one source in a minute */
};
_Static_assert(sizeof(struct ct_port_rules) == 16, "no hidden padding");

/* A port of a family and a protocol. */
struct ct_port {
	__u16 entered; /* sources, as long as they were entered one by one */
	__u16 slot;    /* of its registers, from 1 on; 0: none */
	__u32 missed;  /* tick of the last source that was not entered; 0: none */
};
_Static_assert(sizeof(struct ct_port) == 8, "no hidden padding");

/* A source that has reached a port of an address. */
struct ct_port_key {
	__u32 src[4], dst[4]; /* network order as loaded; IPv4 in the first word */
	__be16 port_be;
	__u8 proto;
	__u8 family; /* 4 or 6 */
	__u32 pad;
};
_Static_assert(sizeof(struct ct_port_key) == 40, "no hidden padding");

struct ct_port_source {
	__u64 first; /* CLOCK_MONOTONIC ns */
	__u64 last;
	__u64 count;   /* connections */
	__u32 ifindex; /* of the last one */
	__u32 pad;
};
_Static_assert(sizeof(struct ct_port_source) == 32, "no hidden padding");

/* How many ports a source has been new to. */
struct ct_port_budget_key {
	__u32 addr[4];
	__u8 family;
	__u8 pad[7];
};
_Static_assert(sizeof(struct ct_port_budget_key) == 24, "no hidden padding");

struct ct_port_budget {
	__u64 since; /* CLOCK_MONOTONIC ns */
	__u32 entered;
	__u32 pad;
};
_Static_assert(sizeof(struct ct_port_budget) == 16, "no hidden padding");

/* Whose the registers of a slot are. */
struct ct_port_slot {
	__u32 port;  /* its index in ct_ports, from 1 on; 0: nobody's */
	__u32 since; /* tick: what is in the registers from before is another port's */
	__u32 last;  /* tick of its last source */
	__u32 pad;
};
_Static_assert(sizeof(struct ct_port_slot) == 16, "no hidden padding");

/* When a register last saw each rank, as a tick; 0: never. */
struct ct_port_register {
	__u32 last[CT_PORT_RANKS];
};
_Static_assert(sizeof(struct ct_port_register) == 96, "no hidden padding");

/* What one CPU has done. */
struct ct_port_cpu {
	__u64 entered; /* sources, one by one */
	__u64 scans;   /* connections that were not, for their source scans */
	__u64 full;    /* the same, for there was no slot for the port */
	__u64 failed;  /* when a slot was last looked for in vain; CLOCK_MONOTONIC ns */
	__u64 reserved[4];
};
_Static_assert(sizeof(struct ct_port_cpu) == 64, "whole cache lines");

#endif
