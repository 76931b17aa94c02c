/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How the connections of a port, and those of an interface, are doing: sums, moved where
 * something is noted of a connection whose handshake was seen. Atomic adds.
 */
#ifndef CT_HEALTH_SUM_H
#define CT_HEALTH_SUM_H

#include "histogram.h"
#include "stats.h"
#include "work.h"

static __always_inline int ct_sum_any(const struct ct_health_sum *sum)
{
	return sum->flows || sum->retrans || sum->resets || sum->zeros || sum->duration;
}

/* The entry of a key, made if there is room, or that of all others. */
static __always_inline struct ct_service *ct_service_of(__u32 cpu, struct ct_service_key *key)
{
	struct ct_service *service = bpf_map_lookup_elem(&ct_services, key);
	/* Linux 6.1 takes values from maps and from the stack only, not from what is handed on. */
	struct ct_work *w = ct_work_of(cpu);

	if (service || !w)
		return service;
	/* Another CPU may make it first: so be it. */
	bpf_map_update_elem(&ct_services, key, &w->no_service, BPF_NOEXIST);
	service = bpf_map_lookup_elem(&ct_services, key);
	if (service)
		return service;
	key->ifindex = 0;
	key->port_be = 0;
	key->proto = 0;
	key->kind = CT_SERVICE_OTHER;
	return bpf_map_lookup_elem(&ct_services, key);
}

/* Adds w->health.sum to the service or the interface of w->health. */
__weak __noinline int ct_health_add(struct ct_work *w, __u32 kind)
{
	struct ct_service_key key = {.kind = kind};
	const struct ct_health_sum *sum;
	struct ct_service *service;

	if (!w)
		return 0;
	sum = &w->health.sum;
	if (kind == CT_SERVICE_IFACE) {
		key.ifindex = w->health.ifindex;
	} else {
		key.proto = w->pkt.proto;
		key.port_be =
			w->health.dir == CT_ORIGINAL ? w->pkt.dst_port_be : w->pkt.src_port_be;
	}
	service = ct_service_of(w->cpu, &key);
	if (!service)
		return 0;
	if (sum->flows)
		__sync_fetch_and_add(&service->flows, 1);
	if (sum->retrans)
		__sync_fetch_and_add(&service->retrans, sum->retrans);
	if (sum->resets)
		__sync_fetch_and_add(&service->resets, 1);
	if (sum->zeros)
		__sync_fetch_and_add(&service->zeros, 1);
	if (sum->rtt)
		__sync_fetch_and_add(&service->rtt[ct_index(sum->rtt - 1, CT_HISTOGRAM)], 1);
	if (sum->duration)
		__sync_fetch_and_add(&service->duration[ct_index(sum->duration - 1, CT_HISTOGRAM)],
				     1);
	return 0;
}

#endif
