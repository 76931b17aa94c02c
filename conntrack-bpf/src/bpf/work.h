/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * All that the steps of one packet share: one a CPU, in a map, because 512 bytes
 * of stack do not hold it, and because the verifier does not follow what is in
 * a map: the ways that lead to a step cost it no more than one. Packet programs
 * run with soft interrupts off, so on one CPU they never meet in it; where they do
 * (PREEMPT_RT), the later one passes.
 *
 * The steps are global functions, which the verifier checks once each, whatever
 * way led there; they may be handed nothing but plain memory.
 */
#ifndef CT_WORK_H
#define CT_WORK_H

#include "ask.h"
#include "key.h"
#include "packet.h"
#include "track_sctp.h"
#include "track_tcp.h"

/* An entry of ct_side: of which flow, and where it is; side.h. */
struct ct_side_ask {
	__u64 tag;
	__u64 old; /* of the entry that makes room */
	__u32 row;
	__u32 way;
	__u32 through;
	__u32 pad;
};

/* What of that counts for its service: numbers, and buckets of histograms, from 1. */
struct ct_health_sum {
	__u32 flows, retrans, resets, zeros;
	__u32 rtt, duration;
};

/* What is to be noted of a packet's connection; health.h. */
struct ct_health_ask {
	__u32 due; /* CT_DUE_* */
	__u32 dir;
	__u64 start;	   /* of its flow, */
	__u64 word;	   /* and its word then */
	__u64 seen;	   /* when it was last seen before this packet: the handshake only, */
	__u32 once;	   /* of which nothing came twice */
	__u32 end;	   /* of what its sender had sent before */
	__u32 win, maxwin; /* scaled: its sender's, and the largest so far */
	__u32 ifindex;	   /* of the flow's first packet */
	__u32 pad;
	struct ct_health_sum sum;
};

/* Of ct_work.refused: it was dropped, by what is asked of the first fragment only. */
#define CT_DROPPED 2

struct ct_work {
	struct ct_pkt pkt;
	struct ct_frame frame;
	struct ct_key key;
	struct ct_hash hash;
	struct ct_tcp_effect fx;
	struct ct_sctp sctp;
	__u64 bits;	  /* word of the flow this packet begins */
	__u64 taken_word; /* the slot found or held: its word, */
	__u32 taken_bucket;
	__u32 taken_slot; /* and where it is */
	__u32 cpu;
	__u32 busy;	 /* a packet is at work here; on PREEMPT_RT only */
	__u32 related;	 /* this ICMP error is about a flow that is known */
	__u32 begun;	 /* its flow was just published */
	__u32 refused;	 /* a fragment did not count; see fragment.h. Or CT_DROPPED */
	__u32 mover;	 /* this is the scratch of ct_evacuate_some, which packets interrupt */
	__u64 from_word; /* a slot of the other table: its word, and where it is */
	__u32 from_bucket;
	__u32 from_slot;
	__u32 from_over; /* its time is up */
	__u64 before;	 /* the word of a flow that left, before its last packet, */
	__u64 after;	 /* and after it, */
	__u32 late;	 /* what that packet was: enum ct_answer, */
	__u32 late_dir;
	__u32 done[6]; /* [enum ct_evacuated] */
	struct ct_pick pick;
	struct ct_ask ask;
	struct ct_limit_ask limit;
	struct ct_side_ask side;
	struct ct_health_ask health;
	__u32 print_slice; /* of time, and what came anew in it: [enum ct_unprinted] */
	__u32 print_new[2];
	__u32 pad;
	__u64 dropped;	  /* when a banned source was last dropped; hint.h */
	__u64 tick;	  /* jiffies when the coarse clock was last asked, */
	__u64 tick_now;	  /* and what it said */
	__u64 invalid_at; /* when an INVALID packet was last told of */
	struct ct_event event;
	struct ct_service no_service; /* zeros */
};

/* Key: CPU. The packet programs alone look at it; behind theirs is that of ct_evacuate_some. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_work);
} ct_scratch SEC(".maps");

static __always_inline struct ct_work *ct_work_of(__u32 cpu)
{
	return bpf_map_lookup_elem(&ct_scratch, &cpu);
}

#endif
