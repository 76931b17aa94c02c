/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Looking an address up among the bans: the longest prefix first, of one prefix
 * the narrowest scope first. What has expired is passed over, so that it shadows
 * nothing; so is what only counts (a dry run), or drops another way.
 *
 * Which addresses are never banned is looked for when a ban was found, not
 * before. Both kinds of entries are hash maps: nothing is probable here.
 *
 * Counts of a ban are added to by all CPUs, atomically; `last` is stored by each,
 * and any of them is a hit of that moment.
 */
#ifndef CT_BAN_H
#define CT_BAN_H

#include "settle.h"

/* What came of a look at one prefix length. */
enum ct_found {
	CT_FOUND_NONE,	/* look on */
	CT_FOUND_ALLOW, /* the address is never banned */
	CT_FOUND_DROP,
};

/* The bits of word `i` of an address that a prefix covers, in network order. */
static __always_inline __u32 ct_mask(__u32 prefix, __u32 i)
{
	__u32 bits = prefix > i * 32 ? prefix - i * 32 : 0;

	if (bits >= 32)
		return 0xffffffff;
	return bits ? bpf_htonl(0xffffffffU << (32 - bits)) : 0;
}

static __always_inline void ct_ban_key(const struct ct_work *w, __u32 prefix,
				       struct ct_ban_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->family = w->pkt.family;
	key->prefix = prefix;
	key->addr[0] = w->ask.addr[0] & ct_mask(prefix, 0);
	if (w->pkt.family == 6) {
		key->addr[1] = w->ask.addr[1] & ct_mask(prefix, 1);
		key->addr[2] = w->ask.addr[2] & ct_mask(prefix, 2);
		key->addr[3] = w->ask.addr[3] & ct_mask(prefix, 3);
	}
}

/* How many bits are below the lowest that is set; a set that is not empty. */
static __always_inline __u32 ct_below(__u64 set)
{
	__u64 below = (set & -set) - 1;

	below -= (below >> 1) & 0x5555555555555555ULL;
	below = (below & 0x3333333333333333ULL) + ((below >> 2) & 0x3333333333333333ULL);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (below * 0x0101010101010101ULL) >> 56;
}

/* Is the end allowed by a prefix of this length? */
__weak __noinline int ct_allow_at(struct ct_work *w, __u32 prefix)
{
	struct ct_allowed *allowed;
	struct ct_ban_key key;

	if (!w)
		return 0;
	ct_ban_key(w, prefix, &key);
	allowed = bpf_map_lookup_elem(&ct_allow, &key);
	if (!allowed)
		return 0;
	__sync_fetch_and_add(&allowed->hits, 1);
	return 1;
}

__weak __noinline int ct_is_allowed(struct ct_work *w)
{
	__u32 v6, longest;

	if (!w)
		return 0;
	if (w->ask.allowed != CT_ALLOW_UNKNOWN)
		return w->ask.allowed == CT_ALLOW_YES;
	v6 = w->pkt.family == 6;
	longest = v6 ? 128 : 32;
	w->ask.allowed = CT_ALLOW_YES;
	for (__u32 i = 0; i < CT_LENGTHS; i++) {
		__u64 set = ct_load(&ct_policy.allow[v6][i]);

		for (int j = 0; j < 64 && set; j++, set &= set - 1) {
			if (ct_allow_at(w, longest - i * 64 - ct_below(set)))
				return 1;
		}
	}
	w->ask.allowed = CT_ALLOW_NO;
	return 0;
}

static __always_inline int ct_ban_over(struct ct_work *w, const struct ct_ban *ban)
{
	__u64 until = ct_load(&ban->until);

	if (!until)
		return 0;
	if (!w->ask.boot)
		w->ask.boot = ct_now_boot();
	return (__s64)(w->ask.boot - until) >= 0;
}

static __always_inline void ct_ban_hit(struct ct_work *w, struct ct_ban *ban)
{
	__sync_fetch_and_add(&ban->hits, w->frame.fragmented ? 1 : w->pkt.segs);
	__sync_fetch_and_add(&ban->bytes, w->frame.fragmented ? w->ask.bytes : w->pkt.bytes);
	ban->last = w->pkt.now;
}

/*
 * Is what this ban was found for allowed? Of a single address that it is not is kept in
 * the ban, until something is allowed: a flood is dropped without looking again. What
 * is allowed was asked for first, so the mark says too little rather than too much.
 */
static __always_inline int ct_ban_allowed(struct ct_work *w, struct ct_ban *ban, __u32 prefix)
{
	__u32 allowed = ct_load(&ct_policy.allowed);

	if (ban->cleared == allowed)
		return 0;
	if (ct_is_allowed(w))
		return 1;
	if (prefix == (w->pkt.family == 6 ? 128 : 32))
		ban->cleared = allowed;
	return 0;
}

static __always_inline enum ct_found ct_ban_look(struct ct_work *w, const struct ct_ban_key *key)
{
	struct ct_ban *ban = bpf_map_lookup_elem(&ct_bans, key);

	if (!ban || ct_ban_over(w, ban))
		return CT_FOUND_NONE;
	if (ct_ban_allowed(w, ban, key->prefix))
		return CT_FOUND_ALLOW;
	w->ask.concerned = 1;
	if (!w->ask.source && !(ban->flags & CT_BAN_BOTH))
		return CT_FOUND_NONE;
	ct_ban_hit(w, ban);
	w->ask.origin = ban->origin;
	return ban->flags & CT_BAN_DRY_RUN ? CT_FOUND_NONE : CT_FOUND_DROP;
}

/* Bans of one prefix length, by their scopes. Returns enum ct_found. */
__weak __noinline int ct_ban_at(struct ct_work *w, __u32 prefix)
{
	enum ct_found found = CT_FOUND_NONE;
	struct ct_ban_key key;

	if (!w)
		return CT_FOUND_NONE;
	ct_ban_key(w, prefix, &key);
	key.proto = w->ask.proto;
	key.port_be = w->ask.port_be;
	if ((w->ask.scopes & (1U << CT_SCOPE_PORT)) && key.port_be)
		found = ct_ban_look(w, &key);
	key.port_be = 0;
	if (!found && (w->ask.scopes & (1U << CT_SCOPE_PROTO)))
		found = ct_ban_look(w, &key);
	key.proto = 0;
	if (!found && (w->ask.scopes & (1U << CT_SCOPE_ANY)))
		found = ct_ban_look(w, &key);
	return found;
}

/* The end in w->ask. Returns enum ct_verdict. */
__weak __noinline int ct_ask_end(struct ct_work *w)
{
	__u32 v6, longest;

	if (!w)
		return CT_VERDICT_PASS;
	v6 = w->pkt.family == 6;
	longest = v6 ? 128 : 32;
	w->ask.allowed = CT_ALLOW_UNKNOWN;
	for (__u32 i = 0; i < CT_LENGTHS; i++) {
		__u64 set = ct_load(&ct_policy.bans[v6][i]);

		for (int j = 0; j < 64 && set; j++, set &= set - 1) {
			int found = ct_ban_at(w, longest - i * 64 - ct_below(set));

			if (found == CT_FOUND_DROP)
				return CT_VERDICT_DROP;
			if (found == CT_FOUND_ALLOW)
				return CT_VERDICT_PASS;
		}
	}
	return CT_VERDICT_PASS;
}

static __always_inline void ct_ask_of(struct ct_work *w, const __u32 *addr, __be16 port_be,
				      int source)
{
	w->ask.addr[0] = addr[0];
	w->ask.addr[1] = addr[1];
	w->ask.addr[2] = addr[2];
	w->ask.addr[3] = addr[3];
	w->ask.port_be = port_be;
	w->ask.source = source;
}

/*
 * Asks the bans of these scopes about a packet; counts it if they drop it. Whoever
 * sent it as it came in is what bans are of; whoever it goes to concerns those that
 * drop both ways. Both ends are looked for, because what is found of a flow's
 * packet is kept for the other way as well. Returns enum ct_verdict.
 */
__weak __noinline int ct_ask(struct ct_work *w, __u32 scopes)
{
	struct ct_cpu *cpu;
	struct ct_pkt *pkt;
	__u32 packets;

	if (!w)
		return CT_VERDICT_PASS;
	pkt = &w->pkt;
	w->ask.scopes = scopes & ct_policy.scopes;
	w->ask.asked |= scopes;
	w->ask.boot = 0;
	/* An ICMP error is of who sent it, not of the packet inside. */
	if (pkt->inner)
		w->ask.proto = pkt->family == 4 ? 1 : 58; /* ICMP */
	else
		w->ask.proto = pkt->proto ? pkt->proto : w->frame.proto;
	ct_ask_of(w, pkt->inner ? pkt->outer_src : pkt->src, pkt->inner ? 0 : pkt->dst_port_be,
		  !w->ask.egress);
	if (ct_ask_end(w) == CT_VERDICT_DROP)
		goto drop;
	ct_ask_of(w, pkt->inner ? pkt->outer_dst : pkt->dst, pkt->inner ? 0 : pkt->src_port_be, 0);
	if (ct_ask_end(w) == CT_VERDICT_DROP)
		goto drop;
	return CT_VERDICT_PASS;
drop:
	cpu = ct_cpu_of(w->cpu);
	if (cpu) {
		packets = w->frame.fragmented ? 1 : pkt->segs;
		cpu->drops[CT_DROP_BAN] += packets;
		cpu->banned[ct_index(w->ask.origin, CT_ORIGINS)] += packets;
	}
	w->refused = 1;
	return CT_VERDICT_DROP;
}

#endif
