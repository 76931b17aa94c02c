/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who reaches which port: the sources of connections that come in, counted as their flow is
 * published.
 *
 * Two stages. The sources of a port are entered one by one, in an LRU map that all ports
 * share, until they are so many that it would be for them alone. From then on new ones go
 * into registers of the port's own (distinct.h), which only count, but take the same memory
 * whatever comes. A reader takes both together, so nothing is lost in between.
 *
 * A source that is new to very many ports is a scan: beyond so many in a minute it is not
 * entered any more, and each port that it goes on to remembers when it missed one. Ports that
 * have registers do not mind.
 *
 * Races: an entry's count is added to atomically, its times are whichever packet's wrote
 * last. The number of sources entered, and of ports a source was new to, may miss what two
 * CPUs did at once: then a little more is entered. Two CPUs may take a slot each for one
 * port; the reader takes both, and the one that the port does not point at is given up as
 * idle. A CPU that is about to note a source while its slot is taken for another port, which
 * takes an hour without any, may note it there: one too many at the most.
 */
#ifndef CT_PORTS_H
#define CT_PORTS_H

#include "distinct.h"
#include "limit.h"

static __always_inline __u32 ct_port_index(const struct ct_pkt *pkt)
{
	__u32 kind = (pkt->family == 6) << 1 | (pkt->proto == IPPROTO_UDP);

	return kind << 16 | bpf_ntohs(pkt->dst_port_be);
}

/* Of a source. A shift of the seed: what is at one place of a table is not here. */
static __always_inline __u64 ct_port_hash(const struct ct_pkt *pkt)
{
	__u64 h = ct_nh(pkt->src[0], pkt->family, cfg_hash_seed + 1);

	if (pkt->family == 6)
		h += ct_nh(pkt->src[1], pkt->src[2], cfg_hash_seed + 5) +
		     ct_nh(pkt->src[3], 0, cfg_hash_seed + 9);
	return ct_mix(h);
}

/* Notes the source of w->pkt in the registers of its port. */
__weak __noinline int ct_port_note(struct ct_work *w, __u32 number)
{
	__u32 tick, at = number - 1;
	struct ct_port_register *reg;
	struct ct_port_slot *slot;
	__u64 hash;

	if (!w)
		return 0;
	slot = bpf_map_lookup_elem(&ct_port_slots, &at);
	if (!slot || slot->port != ct_port_index(&w->pkt) + 1)
		return 0;
	tick = ct_distinct_tick(w->pkt.now);
	slot->last = tick;
	hash = ct_port_hash(&w->pkt);
	at = at * ct_port_rules.registers + ct_distinct_register(hash, ct_port_rules.registers);
	reg = bpf_map_lookup_elem(&ct_port_registers, &at);
	if (reg)
		reg->last[ct_index(ct_distinct_rank(hash), CT_PORT_RANKS)] = tick;
	return 0;
}

/* Takes a slot for a port if it is nobody's, or idle. Returns whether it did. */
__weak __noinline int ct_port_take(struct ct_work *w, __u32 index, __u32 at)
{
	struct ct_port_slot *slot;
	struct ct_port *before;
	__u32 tick, old, idle;

	if (!w)
		return 0;
	slot = bpf_map_lookup_elem(&ct_port_slots, &at);
	if (!slot)
		return 0;
	tick = ct_distinct_tick(w->pkt.now);
	old = slot->port;
	idle = tick - slot->last;
	/* Another CPU may have looked at the clock later: then it has just been used. */
	if (old && (idle < CT_PORT_IDLE_TICKS || (__s32)idle < 0))
		return 0;
	if (__sync_val_compare_and_swap(&slot->port, old, index + 1) != old)
		return 0;
	slot->since = slot->last = tick;
	old--;
	before = bpf_map_lookup_elem(&ct_ports, &old);
	if (before && before->slot == at + 1) {
		before->slot = 0;
		before->entered = 0;
	}
	return 1;
}

/* A slot for a port: its number, or 0. */
static __always_inline __u32 ct_port_slot_for(struct ct_work *w, __u32 index)
{
	for (__u32 at = 0; at < CT_PORT_SLOTS && at < ct_port_rules.slots; at++) {
		if (ct_port_take(w, index, at))
			return at + 1;
	}
	return 0;
}

/* Gives a port registers, and notes the source of w->pkt there. */
static __always_inline void ct_port_promote(struct ct_work *w, struct ct_port *port, __u32 index,
					    struct ct_port_cpu *cpu)
{
	__u32 number = 0;

	if (!cpu->failed || ct_age(w->pkt.now, cpu->failed) >= CT_NSEC)
		number = ct_port_slot_for(w, index);
	if (number) {
		port->slot = number;
		ct_port_note(w, number);
		return;
	}
	cpu->failed = w->pkt.now;
	cpu->full++;
	port->missed = ct_distinct_tick(w->pkt.now);
}

/* May the source of w->pkt be entered for one more port? */
__weak __noinline int ct_port_budget(struct ct_work *w)
{
	struct ct_port_budget *budget, first = {};
	struct ct_port_budget_key key = {};

	if (!w)
		return 0;
	key.family = w->pkt.family;
	key.addr[0] = w->pkt.src[0];
	if (key.family == 6) {
		key.addr[1] = w->pkt.src[1];
		key.addr[2] = w->pkt.src[2];
		key.addr[3] = w->pkt.src[3];
	}
	budget = bpf_map_lookup_elem(&ct_port_budgets, &key);
	if (!budget) {
		first.since = w->pkt.now;
		first.entered = 1;
		bpf_map_update_elem(&ct_port_budgets, &key, &first, BPF_ANY);
		return 1;
	}
	if (ct_age(w->pkt.now, budget->since) >= CT_PORT_BUDGET_NS) {
		budget->since = w->pkt.now;
		budget->entered = 0;
	}
	if (budget->entered >= ct_port_rules.per_source)
		return 0;
	budget->entered++;
	return 1;
}

static __always_inline void ct_port_key_of(struct ct_port_key *key, const struct ct_pkt *pkt)
{
	int v6 = ct_is_v6(pkt);

#pragma unroll
	for (int i = 0; i < 4; i++) {
		key->src[i] = i && !v6 ? 0 : pkt->src[i];
		key->dst[i] = i && !v6 ? 0 : pkt->dst[i];
	}
	key->port_be = pkt->dst_port_be;
	key->proto = pkt->proto;
	key->family = pkt->family;
	key->pad = 0;
}

/* Whether a source that is not known yet is entered for a port. */
static __always_inline int ct_port_enters(struct ct_work *w, struct ct_port *port, __u32 index)
{
	/* Linux 6.1 takes keys from maps and from the stack only, not from what is handed on. */
	__u32 at = w->cpu;
	struct ct_port_cpu *cpu = bpf_map_lookup_elem(&ct_port_cpus, &at);

	if (port->slot || !cpu)
		return 0;
	if (port->entered >= ct_port_rules.per_port) {
		ct_port_promote(w, port, index, cpu);
		return 0;
	}
	if (!ct_port_budget(w)) {
		cpu->scans++;
		port->missed = ct_distinct_tick(w->pkt.now);
		return 0;
	}
	port->entered++;
	cpu->entered++;
	return 1;
}

/* A connection has come in, and is a flow: its source has reached a port. */
__weak __noinline int ct_port_reached(struct ct_work *w)
{
	struct ct_port_source *source, first = {};
	struct ct_port_key key;
	struct ct_port *port;
	__u32 index;

	if (!w)
		return 0;
	index = ct_port_index(&w->pkt);
	port = bpf_map_lookup_elem(&ct_ports, &index);
	if (!port)
		return 0;
	if (port->slot)
		ct_port_note(w, port->slot);
	ct_port_key_of(&key, &w->pkt);
	source = bpf_map_lookup_elem(&ct_port_sources, &key);
	if (!source) {
		if (!ct_port_enters(w, port, index))
			return 0;
		first.first = w->pkt.now;
		bpf_map_update_elem(&ct_port_sources, &key, &first, BPF_NOEXIST);
		source = bpf_map_lookup_elem(&ct_port_sources, &key);
		if (!source)
			return 0;
	}
	__sync_fetch_and_add(&source->count, 1);
	source->last = w->pkt.now;
	source->ifindex = w->pkt.ifindex;
	return 0;
}

/* Is the flow that was just published a connection that came in? */
static __always_inline int ct_port_is_due(const struct ct_work *w)
{
	const struct ct_pkt *pkt = &w->pkt;

	if (!cfg_ports || !w->begun || w->ask.egress)
		return 0;
	if (pkt->proto == IPPROTO_TCP)
		return (pkt->tcp_flags & (CT_TCP_SYN | CT_TCP_ACK)) == CT_TCP_SYN;
	return pkt->proto == IPPROTO_UDP;
}

#endif
