/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whom this CPU has just dropped. A packet from there is asked about before its flow is
 * looked for: a flood from banned sources then costs little more than its bans. It is a
 * hint only: the bans say whether it is dropped, and whoever passes is forgotten. While
 * nobody is dropped nobody is looked for.
 */
#ifndef CT_HINT_H
#define CT_HINT_H

#include "ban.h"

#define CT_HINT_NS CT_NSEC

/* Key: CPU * CT_HINTS + a hash of the source. The packet programs alone look at it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CT_HINTS);
	__type(key, __u32);
	__type(value, struct ct_hint);
} ct_hints SEC(".maps");

static __always_inline struct ct_hint *ct_hint_at(__u32 cpu, __u32 h)
{
	__u32 index = cpu * CT_HINTS + h / (0x100000000ULL / CT_HINTS);

	return bpf_map_lookup_elem(&ct_hints, &index);
}

static __always_inline struct ct_hint *ct_hint_of4(__u32 cpu, __u32 addr)
{
	return ct_hint_at(cpu, addr * 0x9e3779b1U);
}

static __always_inline struct ct_hint *ct_hint_of(const struct ct_work *w)
{
	const __u32 *addr = w->pkt.src;

	if (w->pkt.family == 4)
		return ct_hint_of4(w->cpu, addr[0]);
	return ct_hint_at(w->cpu,
			  addr[0] * 0x9e3779b1U + addr[1] * 0x85ebca77U + addr[3] * 0xc2b2ae3dU);
}

static __always_inline int ct_hint_is(const struct ct_hint *hint, const struct ct_pkt *pkt)
{
	if (hint->family != pkt->family || hint->addr[0] != pkt->src[0])
		return 0;
	return pkt->family == 4 || (hint->addr[1] == pkt->src[1] && hint->addr[2] == pkt->src[2] &&
				    hint->addr[3] == pkt->src[3]);
}

/* The packet's source was dropped. */
static __always_inline void ct_hint_take(struct ct_work *w)
{
	struct ct_hint *hint = ct_hint_of(w);

	if (!hint)
		return;
	w->dropped = w->pkt.now;
	hint->family = w->pkt.family;
	__builtin_memcpy(hint->addr, w->pkt.src, sizeof(hint->addr));
}

/*
 * Is this source of IPv4 itself banned, of any scope, and not allowed? Only where this is
 * what ct_ask() would look at first. Counts as that does.
 */
static __always_inline int ct_hint_banned(struct ct_work *w, struct ct_cpu *cpu, __u32 addr)
{
	struct ct_ban_key key = {.family = 4, .prefix = 32, .addr[0] = addr};
	struct ct_ban *ban;

	if (ct_policy.scopes != 1U << CT_SCOPE_ANY)
		return 0;
	ban = bpf_map_lookup_elem(&ct_bans, &key);
	if (!ban || ban->flags & CT_BAN_DRY_RUN || ban->cleared != ct_policy.allowed)
		return 0;
	w->ask.boot = 0;
	if (ct_ban_over(w, ban))
		return 0;
	ct_ban_hit(w, ban);
	cpu->drops[CT_DROP_BAN] += w->pkt.segs;
	cpu->banned[ct_index(ban->origin, CT_ORIGINS)] += w->pkt.segs;
	return 1;
}

/* May packets of banned sources be dropped by ct_hint_banned()? */
static __always_inline int ct_hint_holds(const struct ct_work *w, __u64 now)
{
	return ct_policy.active && now - w->dropped <= CT_HINT_NS;
}

/* Asks the bans of a packet whose source was dropped before. Returns enum ct_verdict. */
__weak __noinline int ct_hint_ask(struct ct_work *w)
{
	struct ct_hint *hint;
	struct ct_cpu *cpu;

	if (!w)
		return CT_VERDICT_PASS;
	cpu = ct_cpu_of(w->cpu);
	if ((cpu && w->pkt.family == 4 && ct_hint_banned(w, cpu, w->pkt.src[0])) ||
	    ct_ask(w, CT_ASK_ALL) == CT_VERDICT_DROP) {
		w->dropped = w->pkt.now;
		return CT_VERDICT_DROP;
	}
	hint = ct_hint_of(w);
	if (hint)
		hint->family = 0;
	return CT_VERDICT_PASS;
}

/* Is the packet dropped, because its source was? It is one that may be of a flow. */
static __always_inline int ct_hint_dropped(struct ct_work *w)
{
	struct ct_hint *hint;

	if (!ct_hint_holds(w, w->pkt.now) || w->ask.asked || w->ask.egress)
		return 0;
	hint = ct_hint_of(w);
	return hint && ct_hint_is(hint, &w->pkt) && ct_hint_ask(w) == CT_VERDICT_DROP;
}

#endif
