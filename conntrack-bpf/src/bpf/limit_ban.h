/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet bans. User space has seen to it that packets look for bans of this prefix length
 * and scope; what both sides count of bans is changed atomically on both.
 *
 * Races. Of CPUs that ban one source at once, or of one and user space, one makes the
 * entry (BPF_NOEXIST), or takes over the one whose time is up by a compare-and-swap of its
 * end; only that one counts and tells of it, and the source has one strike more. User space
 * takes out what is over by a look and a removal in one, and puts back what a packet has
 * taken over meanwhile. An entry that was taken out while a packet took it over is not
 * there afterwards: then nothing was banned, and the next packet that is too much tries
 * again. The memory of an entry that was taken out is another's at once: so nothing but its
 * end is written, and taken back, before it was found under its key once more.
 */
#ifndef CT_LIMIT_BAN_H
#define CT_LIMIT_BAN_H

#include <linux/errno.h>

#include "ban_event.h"
#include "policy.h"

/* How long a source is banned that has been banned so often. */
static __always_inline __u64 ct_limit_ttl(__u32 strikes)
{
	__u32 last = ct_limits.ttls ? ct_limits.ttls - 1 : 0;

	return ct_limits.ttl[ct_index(strikes < last ? strikes : last, CT_LIMIT_TTLS)];
}

/* How often a source was banned lately. */
static __always_inline __u32 ct_strikes_of(const struct ct_ban_key *key, __u64 boot)
{
	struct ct_strike *known = bpf_map_lookup_elem(&ct_strikes, key);

	return known && (__s64)(boot - known->until) < (__s64)ct_limits.forget_ns ? known->count
										  : 0;
}

/* The counts of bans by what is looked for; as user space does in policy.rs. */
static __always_inline void ct_count_ban(const struct ct_ban_key *key, __s64 by)
{
	__u32 v6 = key->family == 6, scope = key->proto ? CT_SCOPE_PORT : CT_SCOPE_ANY;

	__sync_fetch_and_add(&ct_policy.ban_count[v6][ct_index(key->prefix, 129)], by);
	__sync_fetch_and_add(&ct_policy.scope_count[scope], by);
}

/* A new entry. Returns 0, or an error number below 0. */
static __always_inline long ct_ban_make(const struct ct_ban_key *key, const struct ct_ban *ban)
{
	long error;

	/* Before it is there, or user space could take it out before it is counted. */
	ct_count_ban(key, 1);
	error = bpf_map_update_elem(&ct_bans, key, ban, BPF_NOEXIST);
	if (error)
		ct_count_ban(key, -1);
	return error;
}

/*
 * An entry whose time is up, or that only counts: a dry run ends where it would be a ban.
 * `until` is its end as it was read. Returns whether it is ours.
 */
static __always_inline int ct_ban_take(const struct ct_ban_key *key, struct ct_ban *there,
				       __u64 until, const struct ct_ban *ban)
{
	struct ct_ban *ours;

	if (__sync_val_compare_and_swap(&there->until, until, ban->until) != until)
		return 0;
	/* The same one, or what user space has put back. */
	ours = bpf_map_lookup_elem(&ct_bans, key);
	if (!ours || ct_load(&ours->until) != ban->until) {
		__sync_val_compare_and_swap(&there->until, ban->until, until);
		return 0;
	}
	ours->flags = 0;
	ours->note = ban->note;
	ours->since = ban->since;
	ours->then = ours->hits = ours->bytes = ours->last = 0;
	ours->lists = 0;
	/* The last: user space takes what has another origin for not taken over. */
	asm volatile("" ::: "memory");
	ours->origin = CT_ORIGIN_THRESHOLD;
	return 1;
}

/* One ban less of packets' making. The count may be short of one: it never stays below 0. */
static __always_inline void ct_ban_unmade(void)
{
	if ((__s64)__sync_fetch_and_add(&ct_policy.made, -1) <= 0)
		__sync_fetch_and_add(&ct_policy.made, 1);
}

/* Whether packets may have one ban more, which is counted if so. */
static __always_inline int ct_ban_has_room(void)
{
	if ((__s64)__sync_fetch_and_add(&ct_policy.made, 1) < (__s64)ct_limits.room)
		return 1;
	ct_ban_unmade();
	return 0;
}

static __always_inline void ct_ban_made(struct ct_work *w, struct ct_cpu *cpu,
					const struct ct_ban_key *key, const struct ct_ban *ban,
					__u32 strikes)
{
	struct ct_strike strike = {.until = ban->until, .count = strikes + 1};
	__u32 shard = ct_shard(key->addr, key->family == 6);

	bpf_map_update_elem(&ct_strikes, key, &strike, BPF_ANY);
	/* The flows of a shard are asked about anew: a network has one as well. */
	__sync_fetch_and_add(&ct_policy.gen[ct_index(shard, CT_SHARDS)], 1);
	cpu->limit[CT_LIMITED_BANNED]++;
	if (ct_heard(CT_EVENT_BAN))
		ct_tell_ban(&w->event, key, ban, CT_EVENT_BAN);
}

/* May a packet take this ban over? One that lasts only if it counts, and is no list's. */
static __always_inline int ct_ban_free(const struct ct_ban *there, __u64 until, __u64 boot)
{
	if (until && (__s64)(boot - until) >= 0)
		return 1;
	return (there->flags & CT_BAN_DRY_RUN) && !there->lists;
}

/*
 * Bans the source of w->limit.key, unless there is a ban of it that lasts and drops, or
 * that is of a list. A share of the room for bans is for those of packets; where it is
 * taken, nothing is banned, and what is too much is dropped all the same.
 */
__weak __noinline int ct_limit_ban(struct ct_work *w)
{
	struct ct_ban_key key = {};
	struct ct_ban ban = {}, *there;
	__u64 until = 0, boot;
	struct ct_cpu *cpu;
	__u32 strikes;
	int fresh = 1;
	long error;

	if (!w || w->limit.key.prefix > 128)
		return 0;
	cpu = ct_cpu_of(w->cpu);
	if (!cpu)
		return 0;
	key.family = w->limit.key.family;
	key.prefix = w->limit.key.prefix;
	key.proto = w->limit.key.proto;
	key.port_be = w->limit.key.port_be;
	__builtin_memcpy(key.addr, w->limit.key.addr, sizeof(key.addr));
	boot = ct_now_boot();
	there = bpf_map_lookup_elem(&ct_bans, &key);
	if (there) {
		until = ct_load(&there->until);
		if (!ct_ban_free(there, until, boot))
			return 0;
		fresh = there->origin != CT_ORIGIN_THRESHOLD;
	}
	if (fresh && !ct_ban_has_room()) {
		cpu->limit[CT_LIMITED_NO_ROOM]++;
		return 0;
	}
	strikes = ct_strikes_of(&key, boot);
	ban.until = boot + ct_limit_ttl(strikes);
	ban.since = boot + ct_limits.civil;
	ban.note = ct_limits.note;
	ban.origin = CT_ORIGIN_THRESHOLD;
	if (there)
		error = ct_ban_take(&key, there, until, &ban) ? 0 : -EEXIST;
	else
		error = ct_ban_make(&key, &ban);
	if (!error) {
		ct_ban_made(w, cpu, &key, &ban, strikes);
		return 1;
	}
	if (fresh)
		ct_ban_unmade();
	/* Another CPU, or a command, was first. */
	if (error != -EEXIST)
		cpu->limit[CT_LIMITED_NO_ROOM]++;
	return 0;
}

#endif
