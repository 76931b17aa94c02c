/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How the connections of a service are doing. A part of types.h, and under its rules. */
#ifndef CT_TYPES_SERVICE_H
#define CT_TYPES_SERVICE_H

#define CT_SERVICES 512 /* the most; all others are counted together */

enum ct_service_kind {
	CT_SERVICE_OTHER, /* all that there was no room for */
	CT_SERVICE_PORT,  /* by protocol and responder's port */
	CT_SERVICE_IFACE, /* by the interface that the first packet came by */
	CT_SERVICE_KINDS,
};

struct ct_service_key {
	__u32 ifindex; /* of CT_SERVICE_IFACE */
	__be16 port_be;
	__u8 proto;
	__u8 kind; /* enum ct_service_kind */
};
_Static_assert(sizeof(struct ct_service_key) == 8, "no hidden padding");

/* Buckets of a histogram: four an octave, see ct_bucket_of(). */
#define CT_HISTOGRAM 96

struct ct_service {
	__u64 flows;   /* whose handshake has come through */
	__u64 retrans; /* segments, of both directions */
	__u64 resets;
	__u64 zeros;
	__u32 rtt[CT_HISTOGRAM];      /* of handshakes, units of 2^10 ns */
	__u32 duration[CT_HISTOGRAM]; /* of what is over, units of 2^20 ns */
};
_Static_assert(sizeof(struct ct_service) == 32 + 768, "no hidden padding");

#endif
