/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counters. Plain adds: an entry is one CPU's, and packet programs of one CPU
 * do not interrupt each other. On PREEMPT_RT they may: one that has interrupted
 * another touches no flow (work.h), but a count of theirs here can be lost.
 */
#ifndef CT_STATS_H
#define CT_STATS_H

#include "config.h"
#include "index.h"
#include "maps.h"
#include "packet.h"

static __always_inline struct ct_cpu *ct_cpu_of(__u32 cpu)
{
	return bpf_map_lookup_elem(&ct_cpu, &cpu);
}

static __always_inline void ct_count_pass(struct ct_cpu *cpu, enum ct_pass reason, __u32 packets)
{
	cpu->passed[ct_index(reason, CT_PASS_REASONS)] += packets;
}

static __always_inline void ct_count_class(struct ct_cpu *cpu, enum ct_dir dir, enum ct_class class,
					   __u32 packets)
{
	cpu->classes[dir & 1][ct_index(class, CT_CLASSES)] += packets;
}

static __always_inline void ct_count_table(struct ct_cpu *cpu, enum ct_table_event event)
{
	cpu->table[event]++;
}

/* A flow is no more; by a program that soft interrupts cannot interrupt. */
static __always_inline void ct_count_gone(struct ct_cpu *cpu, int v6, enum ct_gone reason)
{
	cpu->gone[ct_index(reason, CT_GONE_REASONS)]++;
	cpu->live[!!v6]--;
}

/* The same by a program that they can interrupt, while they are about to add. */
static __always_inline void ct_count_removed(struct ct_cpu *cpu, int v6, enum ct_gone reason)
{
	__sync_fetch_and_add(&cpu->gone[ct_index(reason, CT_GONE_REASONS)], 1);
	__sync_fetch_and_add(&cpu->live[!!v6], -1);
}

/* The entry of an interface, or NULL: not one of ours. */
static __always_inline struct ct_iface *ct_iface_of(__u32 ifindex)
{
	for (__u32 i = 0; i < CT_IF_PROBE; i++) {
		struct ct_iface *iface = &ct_ifaces[(ifindex + i) & (CT_IF_SLOTS - 1)];

		if (iface->ifindex == ifindex)
			return iface;
		if (!iface->ifindex)
			return NULL;
	}
	return NULL;
}

static __always_inline void ct_count_packet(struct ct_cpu *cpu, __u32 number,
					    const struct ct_pkt *pkt, const struct ct_iface *iface)
{
	__u32 index = number * CT_IFACES + (iface ? iface->stat : 0);
	struct ct_ifstat *stat = bpf_map_lookup_elem(&ct_ifstats, &index);

	cpu->packets += pkt->segs;
	cpu->bytes += pkt->bytes;
	if (stat) {
		stat->packets += pkt->segs;
		stat->bytes += pkt->bytes;
	}
}

#endif
