/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What ICMP says, kept: how often each kind of message came, and of errors who sent them
 * about which packet.
 *
 * All of it is bounded, and a flood stays cheap: a kind that is known is one look-up and
 * two plain adds to this CPU's own counts; an error that came before is one look-up; and
 * of new errors each CPU records a few in each slice of time and counts the others.
 *
 * Races: kinds are counted by CPU. An error's entry is shared: its counts are added to
 * atomically, the rest is what the last packet said, on whichever CPU. Two CPUs that meet
 * a new error at once may both put it in; the later one finds it and adds.
 */
#ifndef CT_ICMP_COUNT_H
#define CT_ICMP_COUNT_H

#include "stats.h"
#include "table.h"
#include "work.h"

static __always_inline struct ct_icmp_cpu *ct_icmp_cpu_of(__u32 cpu)
{
	return bpf_map_lookup_elem(&ct_icmp_cpus, &cpu);
}

/* A kind that nobody has a meaning for must not take the place of one that has. */
static __always_inline int ct_icmp_has_room(struct ct_icmp_cpu *cpu,
					    const struct ct_icmp_kind *kind)
{
	if (ct_icmp_is_known(kind->family, kind->type, kind->code))
		return 1;
	if (cpu->strange && cpu->strange >= CT_ICMP_STRANGE / cfg_cpus)
		return 0;
	cpu->strange++;
	return 1;
}

/* Counts w->pkt by its kind. */
__weak __noinline int ct_icmp_count(struct ct_work *w)
{
	struct ct_icmp_kind kind = {};
	struct ct_icmp_count *count, first = {};
	struct ct_icmp_cpu *cpu;

	if (!w)
		return 0;
	cpu = ct_icmp_cpu_of(w->cpu);
	if (!cpu)
		return 0;
	kind.family = w->pkt.family;
	kind.type = w->pkt.icmp_type;
	kind.code = w->pkt.icmp_code;
	if (w->pkt.inner && w->pkt.kind == CT_KIND_INVALID)
		cpu->unreadable += w->pkt.segs;
	count = bpf_map_lookup_elem(&ct_icmp_counts, &kind);
	if (!count && ct_icmp_has_room(cpu, &kind)) {
		bpf_map_update_elem(&ct_icmp_counts, &kind, &first, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&ct_icmp_counts, &kind);
	}
	if (count) {
		count->packets += w->pkt.segs;
		count->bytes += w->pkt.bytes;
	} else {
		cpu->unlisted[0] += w->pkt.segs;
		cpu->unlisted[1] += w->pkt.bytes;
	}
	return 0;
}

static __always_inline void ct_icmp_error_key(struct ct_icmp_error_key *key,
					      const struct ct_pkt *pkt)
{
	int v6 = ct_is_v6(pkt);

#pragma unroll
	for (int i = 0; i < 4; i++) {
		key->from[i] = i && !v6 ? 0 : pkt->outer_src[i];
		key->to[i] = i && !v6 ? 0 : pkt->outer_dst[i];
		key->src[i] = i && !v6 ? 0 : pkt->src[i];
		key->dst[i] = i && !v6 ? 0 : pkt->dst[i];
	}
	key->src_port_be = pkt->src_port_be;
	key->dst_port_be = pkt->dst_port_be;
	key->proto = pkt->proto;
	key->family = pkt->family;
	key->type = pkt->icmp_type;
	key->code = pkt->icmp_code;
}

/* May one more new error be recorded in this slice of time? */
static __always_inline int ct_icmp_may_record(struct ct_icmp_cpu *cpu, __u64 now)
{
	if (ct_age(now, cpu->slice) >= CT_ICMP_SLICE_NS || !cpu->slice) {
		cpu->slice = now;
		cpu->begun = 0;
	}
	return cpu->begun++ < CT_ICMP_BURST;
}

/* Records w->pkt, an error whose inner packet was read: w->related if its flow is known. */
__weak __noinline int ct_icmp_record(struct ct_work *w)
{
	struct ct_icmp_error_key key;
	struct ct_icmp_error *error, first = {};
	struct ct_icmp_cpu *cpu;

	if (!w)
		return 0;
	cpu = ct_icmp_cpu_of(w->cpu);
	if (!cpu)
		return 0;
	ct_icmp_error_key(&key, &w->pkt);
	error = bpf_map_lookup_elem(&ct_icmp_errors, &key);
	if (!error) {
		if (!ct_icmp_may_record(cpu, w->pkt.now)) {
			cpu->unrecorded += w->pkt.segs;
			return 0;
		}
		first.first = w->pkt.now;
		bpf_map_update_elem(&ct_icmp_errors, &key, &first, BPF_NOEXIST);
		error = bpf_map_lookup_elem(&ct_icmp_errors, &key);
		if (!error) {
			cpu->unrecorded += w->pkt.segs;
			return 0;
		}
	}
	__sync_fetch_and_add(&error->packets, w->pkt.segs);
	__sync_fetch_and_add(&error->bytes, w->pkt.bytes);
	if (w->related)
		__sync_fetch_and_add(&error->related, w->pkt.segs);
	error->last = w->pkt.now;
	error->ifindex = w->pkt.ifindex;
	error->mtu = w->pkt.mtu;
	return 0;
}

#endif
