/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counters. Plain adds: an entry is one CPU's, and packet programs of one CPU
 * do not interrupt each other (on PREEMPT_RT they may, and a count of a packet
 * here can be lost; flows count atomically and lose none).
 */
#ifndef CT_STATS_H
#define CT_STATS_H

#include "config.h"
#include "maps.h"
#include "packet.h"

static __always_inline struct ct_cpu *ct_this_cpu(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&ct_cpu, &cpu);
}

static __always_inline void ct_count_pass(struct ct_cpu *cpu, enum ct_pass reason, __u32 packets)
{
	__u32 index = reason;

	if (index < CT_PASS_REASONS)
		cpu->passed[index] += packets;
}

static __always_inline void ct_count_class(struct ct_cpu *cpu, enum ct_dir dir, enum ct_class class,
					   __u32 packets)
{
	__u32 index = class;

	if (index < CT_CLASSES)
		cpu->classes[dir & 1][index] += packets;
}

static __always_inline void ct_count_table(struct ct_cpu *cpu, enum ct_table_event event)
{
	cpu->table[event]++;
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

static __always_inline void ct_count_packet(struct ct_cpu *cpu, const struct ct_pkt *pkt,
					    const struct ct_iface *iface)
{
	__u32 index = bpf_get_smp_processor_id() * CT_IFACES + (iface ? iface->stat : 0);
	struct ct_ifstat *stat = bpf_map_lookup_elem(&ct_ifstats, &index);

	cpu->packets += pkt->segs;
	cpu->bytes += pkt->bytes;
	if (stat) {
		stat->packets += pkt->segs;
		stat->bytes += pkt->bytes;
	}
}

#endif
