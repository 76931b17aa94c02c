/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What crosses from the tests to the C and back; mirrored in ffi.rs. */
#ifndef CT_NATIVE_H
#define CT_NATIVE_H

#include <string.h>

#include <linux/types.h>

#include "icmp.h"
#include "key.h"
#include "packet.h"

#define CT_NATIVE_KEY 37 /* bytes of a key: two addresses, two ports, protocol */

/* A packet as the parser would hand it on. Ports and ICMP's id in host order. */
struct ct_native_packet {
	__u64 now;
	__u8 src[16], dst[16]; /* as on the wire; IPv4 in the first four */
	__u32 bytes;
	__u32 seq, ack;
	__u16 src_port, dst_port; /* ICMP: id in src_port */
	__u16 window;
	__u8 family, proto;
	__u8 tcp_flags;
	__u8 icmp_type, icmp_code;
	__u8 pad[5];
};
_Static_assert(sizeof(struct ct_native_packet) == 72, "as in ffi.rs");

struct ct_native_hash {
	__u32 bucket[2];
	__u32 home;
	__u32 tag;
};

/* Of a place: it is in the second table. */
#define CT_NATIVE_SECOND 0x80000000U

/* What a thread may run while the second table replaces the first. */
enum ct_native_program {
	CT_NATIVE_OLD,	   /* knows the first */
	CT_NATIVE_PREPARE, /* knows both, creates in the first */
	CT_NATIVE_MOVE,	   /* knows both, creates in the second */
	CT_NATIVE_NEW,	   /* knows the second */
};

/* How far a flow is that left the first table. */
enum ct_native_left {
	CT_NATIVE_STAYS,
	CT_NATIVE_LEFT,
	CT_NATIVE_MOVED,
	CT_NATIVE_ARRIVED,
};

/* What became of a packet. */
enum ct_native_outcome {
	CT_NATIVE_CREATED,
	CT_NATIVE_COUNTED,
	CT_NATIVE_IGNORED, /* the flow's, but it counts for nothing */
	CT_NATIVE_REFUSED, /* INVALID */
	CT_NATIVE_FULL,
	CT_NATIVE_BUSY,
};

/* And of which flow it is: a place in the table and its generation. */
struct ct_native_done {
	__u32 outcome;
	__u32 dir;
	__u32 place;
	__u32 gen;
	__u32 strays; /* times it was counted on a flow that was gone by then */
	__u32 late;   /* times its flow left for the second table meanwhile */
};

/* What a DESTROY event said of a flow, and the slot it was in. */
struct ct_native_end {
	__u64 packets[2], bytes[2];
	__u32 place;
	__u32 gen;
	__u32 v6;
	__u32 reason; /* enum ct_gone */
};
_Static_assert(sizeof(struct ct_native_end) == 48, "as in ffi.rs");

/* A slot, read while nothing moves. */
struct ct_native_slot {
	__u64 seen;
	__u64 timeout;
	__u64 packets[2], bytes[2];
	__u32 phase;
	__u32 gen;
	__u32 assured;
	__u32 tag;	/* in the bucket's line of tags */
	__u32 want_tag; /* of the key in the slot */
	__u32 home;	/* it sits at its key's home */
	__u32 left;	/* enum ct_native_left */
	__u32 to;	/* where its flow went: a place, */
	__u32 to_gen;	/* and its generation */
	__u8 key[CT_NATIVE_KEY];
	__u8 pad[7];
};
_Static_assert(sizeof(struct ct_native_slot) == 128, "as in ffi.rs");

struct ct_world;

/* One compilation of table.c. */
struct ct_native_table {
	struct ct_world *(*make)(__u32 buckets4, __u32 buckets6, const __u32 seed[12]);
	void (*free)(struct ct_world *world);
	void (*set_timeout)(struct ct_world *world, __u32 index, __u64 ns);
	void (*set_grace)(struct ct_world *world, __u64 ns);
	void (*packet)(struct ct_world *world, __u32 thread, const struct ct_native_packet *in,
		       struct ct_native_done *done);
	__u32 (*release)(struct ct_world *world, __u32 thread, const struct ct_native_packet *in);
	void (*slot)(struct ct_world *world, __u32 v6, __u32 place, struct ct_native_slot *out);
	__u32 (*duplicates)(struct ct_world *world, __u32 v6);
	__u64 (*event)(struct ct_world *world, __u32 event);
	void (*sweep)(struct ct_world *world, __u32 thread, __u64 now);
	void (*flush)(struct ct_world *world, __u32 thread, __u64 now);
	__u32 (*ends)(struct ct_native_end *out, __u32 max);
	__u32 (*second)(struct ct_world *world, __u32 buckets4, __u32 buckets6);
	void (*set_program)(struct ct_world *world, __u32 thread, __u32 program);
	void (*set_moving)(struct ct_world *world, __u32 moving);
	__u64 (*wait)(struct ct_world *world, __u32 thread);
	void (*evacuate)(struct ct_world *world, __u32 thread, __u32 v6, __u32 bucket,
			 __u32 buckets, __u64 now, __u32 *done);
};

static inline void ct_native_fill(const struct ct_native_packet *in, struct ct_pkt *pkt)
{
	memset(pkt, 0, sizeof(*pkt));
	memcpy(pkt->src, in->src, sizeof(pkt->src));
	memcpy(pkt->dst, in->dst, sizeof(pkt->dst));
	pkt->now = in->now;
	pkt->family = in->family;
	pkt->proto = in->proto;
	pkt->kind = CT_KIND_FLOW;
	pkt->segs = 1;
	pkt->bytes = in->bytes;
	pkt->src_port_be = bpf_htons(in->src_port);
	pkt->dst_port_be = bpf_htons(in->dst_port);
	pkt->seq = in->seq;
	pkt->ack = in->ack;
	pkt->window = in->window;
	pkt->tcp_flags = in->tcp_flags;
	if (ct_is_icmp(pkt)) {
		struct ct_icmp icmp = {
			.type = in->icmp_type,
			.code = in->icmp_code,
			.id_be = bpf_htons(in->src_port),
		};

		ct_icmp_tuple(pkt, in->proto, &icmp);
	}
}

static inline void ct_native_key_bytes(const struct ct_key *key, __u8 out[CT_NATIVE_KEY])
{
	memcpy(out, key->lo, 16);
	memcpy(out + 16, key->hi, 16);
	memcpy(out + 32, &key->lo_port_be, 2);
	memcpy(out + 34, &key->hi_port_be, 2);
	out[36] = key->proto;
}

#endif
