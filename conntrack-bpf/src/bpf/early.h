/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A flood from a source that is banned, dropped before it is parsed: of a packet of TCP or
 * UDP in plain IPv4 that came in by XDP, and whose source this CPU has just dropped, no
 * more is read than who sent it and how long it is. What it would be called does not
 * matter: nothing of a banned address passes. All others go the whole way, and whatever
 * is in doubt does, too.
 */
#ifndef CT_EARLY_H
#define CT_EARLY_H

#include "hint.h"
#include "parse_ip.h"
#include "tick.h"

/* IP's header of a frame that may be dropped early, which is all there; or NULL. */
static __always_inline struct iphdr *ct_early_ip(const struct ct_mem *m)
{
	struct ethhdr *eth = ct_at(m, 0, sizeof(*eth) + sizeof(struct iphdr));
	struct iphdr *ip;
	__u32 total;

	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return NULL;
	ip = (void *)(eth + 1);
	if (ip->version != 4 || ip->ihl != 5 || ip->frag_off & bpf_htons(CT_IP_MF | CT_IP_OFFSET))
		return NULL;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return NULL;
	total = bpf_ntohs(ip->tot_len);
	if (total < sizeof(*ip) || total > m->end - m->data - sizeof(*eth))
		return NULL;
	return ip;
}

static __always_inline int ct_early_dropped(struct ct_work *w, struct ct_cpu *cpu,
					    const struct ct_mem *m, const struct ct_iface *iface)
{
	const struct ct_hint *hint;
	const struct iphdr *ip;

	/* The time of the last packet will do to tell whether anybody was dropped of late. */
	if (!ct_hint_holds(w, cfg_replay ? ct_replay.now : w->tick_now) ||
	    (iface && (iface->flags & CT_IF_RAW_IP)))
		return 0;
	ip = ct_early_ip(m);
	if (!ip)
		return 0;
	hint = ct_hint_of4(w->cpu, ip->saddr);
	if (!hint || hint->family != 4 || hint->addr[0] != ip->saddr)
		return 0;
	/* What ct_ban_hit() and ct_count_packet() know of a packet. */
	w->pkt.now = ct_now_of_tick(w);
	w->pkt.segs = 1;
	w->pkt.bytes = bpf_ntohs(ip->tot_len);
	w->frame.fragmented = 0;
	if (!ct_hint_banned(w, cpu, ip->saddr))
		return 0;
	ct_count_packet(cpu, w->cpu, &w->pkt, iface);
	w->dropped = w->pkt.now;
	return 1;
}

#endif
