/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Limits on how many connections a source may begin, asked where one is about to begin.
 * What comes in is limited, never what this host sends.
 *
 * Two stages. The sketch counts everybody, in little memory; but
 * sources share its cells, so it may say too much. Whom it puts beyond half of a limit is
 * counted exactly as well, in a map of suspects, from then on; and only what that count
 * says has consequences. So nobody pays for others. A source may begin half of the limit
 * more before the exact count has caught up, and twice the limit in a window that ends and
 * begins within halves of ours; and where a flood of more sources than there
 * is room for suspects pushes them out of that map, too much passes rather than too little.
 *
 * The addresses of SYNs can be forged. So where bans are made, what counts towards one is
 * that a handshake has come through; what is begun and left alone is dropped.
 *
 * Races: rates are changed by compare-and-swap, and after some tries an event is not
 * counted. Two CPUs may both take the last connection that a limit leaves: there is one
 * too many then, never one too few.
 */
#ifndef CT_LIMIT_H
#define CT_LIMIT_H

#include "ban_event.h"
#include "policy.h"
#include "sketch.h"

#define CT_RATE_TRIES 4

static __always_inline __u32 ct_half_of(__u64 now)
{
	__u64 half_ns = ct_limits.half_ns;

	return half_ns ? now / half_ns : 0;
}

/* Of w->limit.key. A shift of the seed: what is at one place in the table is not here. */
static __always_inline __u64 ct_limit_hash(const struct ct_limit_key *key)
{
	__u32 what = (__u32)key->port_be << 16 | key->proto;
	__u32 kind = (__u32)key->family << 16 | (__u32)key->kind << 8 | key->measure;
	__u64 h = ct_nh(key->addr[0], key->addr[1], cfg_hash_seed + 4) +
		  ct_nh(key->addr[2], key->addr[3], cfg_hash_seed + 6) +
		  ct_nh(what, kind, cfg_hash_seed + 8);

	return ct_mix(h);
}

/*
 * One event more, or one less of half w->limit.then. Returns how many there are in the
 * window. Here and below, functions for the verifier to walk through once.
 */
__weak __noinline __u32 ct_rate_count(struct ct_work *w, struct ct_rate *rate, int more)
{
	__u64 new = 0;

	if (!w || !rate)
		return 0;
	for (int i = 0; i < CT_RATE_TRIES; i++) {
		__u64 old = ct_load(&rate->word);

		new = ct_rate_at(old, w->limit.half);
		new = more ? ct_rate_more(new) : ct_rate_less(new, w->limit.then);
		if (new == old || __sync_val_compare_and_swap(&rate->word, old, new) == old)
			break;
	}
	return ct_rate_sum(new);
}

/* The same of w->limit.key in all rows. Returns the least of them. */
__weak __noinline __u32 ct_sketch_count(struct ct_work *w, int more)
{
	__u32 least = 2 * CT_RATE_MAX;
	__u64 hash;

	if (!w)
		return 0;
	hash = ct_limit_hash(&w->limit.key);
	for (__u32 row = 0; row < CT_SKETCH_ROWS && row < ct_limits.rows; row++) {
		__u32 index = ct_sketch_cell(hash, row, ct_limits.width), sum;
		struct ct_rate *cell = bpf_map_lookup_elem(&ct_sketch, &index);

		if (!cell)
			break;
		sum = ct_rate_count(w, cell, more);
		if (sum < least)
			least = sum;
	}
	return least;
}

/*
 * One more of a suspect, if that is not beyond w->limit.most; else returns 1. The key is
 * copied, for Linux 6.1 takes none from what a global function is handed.
 */
__weak __noinline int ct_suspect_more(struct ct_work *w)
{
	struct ct_suspect *suspect, first = {};
	struct ct_limit_key key;

	if (!w)
		return 0;
	key = w->limit.key;
	suspect = bpf_map_lookup_elem(&ct_suspects, &key);
	if (!suspect) {
		first.rate.word = ct_rate_of(w->limit.half, 1, 0);
		first.last = w->pkt.now;
		/* Another CPU may be first: then this event is not counted. */
		bpf_map_update_elem(&ct_suspects, &key, &first, BPF_NOEXIST);
		return 0;
	}
	suspect->last = w->pkt.now;
	if (ct_rate_sum(ct_rate_at(ct_load(&suspect->rate.word), w->limit.half)) < w->limit.most) {
		ct_rate_count(w, &suspect->rate, 1);
		return 0;
	}
	__sync_fetch_and_add(&suspect->over, 1);
	return 1;
}

__weak __noinline int ct_suspect_less(struct ct_work *w)
{
	struct ct_suspect *suspect;
	struct ct_limit_key key;

	if (!w)
		return 0;
	key = w->limit.key;
	suspect = bpf_map_lookup_elem(&ct_suspects, &key);
	if (suspect)
		ct_rate_count(w, &suspect->rate, 0);
	return 0;
}

/* One more of a measure of w->limit.key. Is that more than `most`? */
static __always_inline int ct_limit_more(struct ct_work *w, enum ct_measure measure, __u32 most)
{
	w->limit.key.measure = measure;
	w->limit.most = most;
	return ct_sketch_count(w, 1) > most / 2 && ct_suspect_more(w);
}

/* Whose connections are counted: this end's. Returns 0 where there is nothing to count. */
static __always_inline int ct_limit_key(struct ct_work *w, __u32 kind, const __u32 *addr,
					__be16 port_be)
{
	struct ct_limit_key *key = &w->limit.key;
	__u32 v6 = w->pkt.family == 6, prefix = v6 ? 128 : 32;
	int port = kind == CT_LIMIT_PORT;

	if (!ct_limits.most[kind] && !ct_limits.half_open[kind])
		return 0;
	if (port && (ct_is_icmp(&w->pkt) || !port_be))
		return 0;
	if (kind == CT_LIMIT_PREFIX && ct_limits.prefix[v6] < prefix)
		prefix = ct_limits.prefix[v6];
	key->family = w->pkt.family;
	key->prefix = prefix;
	key->kind = kind;
	key->port_be = port ? port_be : 0;
	key->proto = port ? w->pkt.proto : 0;
	key->pad = 0;
	key->addr[0] = addr[0] & ct_mask(prefix, 0);
	key->addr[1] = v6 ? addr[1] & ct_mask(prefix, 1) : 0;
	key->addr[2] = v6 ? addr[2] & ct_mask(prefix, 2) : 0;
	key->addr[3] = v6 ? addr[3] & ct_mask(prefix, 3) : 0;
	return 1;
}

/* Must a handshake come through before somebody is banned? */
static __always_inline int ct_limit_waits(void)
{
	return ct_limits.action == CT_LIMIT_BAN && !ct_limits.on_syn;
}

/* How many may be begun and not through; 0: any number. */
static __always_inline __u32 ct_limit_half_open(__u32 kind)
{
	__u32 half_open = ct_limits.half_open[kind], most = ct_limits.most[kind];

	if (ct_limit_waits() && most && (!half_open || most < half_open))
		return most;
	return half_open;
}

/* How long a source is banned that has been banned so often. */
static __always_inline __u64 ct_limit_ttl(__u32 strikes)
{
	__u32 last = ct_limits.ttls ? ct_limits.ttls - 1 : 0;

	return ct_limits.ttl[ct_index(strikes < last ? strikes : last, CT_LIMIT_TTLS)];
}

static __always_inline __u64 ct_limit_until(const struct ct_ban_key *key, __u64 boot)
{
	struct ct_strike *known = bpf_map_lookup_elem(&ct_strikes, key), strike = {};

	if (known && (__s64)(boot - known->until) < (__s64)ct_limits.forget_ns)
		strike.count = known->count;
	strike.until = boot + ct_limit_ttl(strike.count);
	strike.count++;
	bpf_map_update_elem(&ct_strikes, key, &strike, BPF_ANY);
	return strike.until;
}

/*
 * Bans the source of w->limit.key, unless there is a ban of it that lasts. User space has
 * seen to it that packets look for bans of this prefix length and scope; the counts of
 * them are its own, and atomic on both sides. A ban whose time is up is written over,
 * while user space may be about to take it out: then the source is banned the next time.
 */
__weak __noinline int ct_limit_ban(struct ct_work *w)
{
	struct ct_ban_key key = {};
	struct ct_ban ban = {}, *there;
	struct ct_cpu *cpu;
	__u32 v6, prefix;
	__u64 boot;

	if (!w)
		return 0;
	cpu = ct_cpu_of(w->cpu);
	if (!cpu)
		return 0;
	v6 = w->limit.key.family == 6;
	prefix = w->limit.key.prefix;
	if (prefix > 128)
		return 0;
	key.family = w->limit.key.family;
	key.prefix = prefix;
	key.proto = w->limit.key.proto;
	key.port_be = w->limit.key.port_be;
	__builtin_memcpy(key.addr, w->limit.key.addr, sizeof(key.addr));
	boot = ct_now_boot();
	there = bpf_map_lookup_elem(&ct_bans, &key);
	if (there && (!there->until || (__s64)(boot - there->until) < 0))
		return 0;
	ban.until = ct_limit_until(&key, boot);
	ban.since = boot + ct_limits.civil;
	ban.note = ct_limits.note;
	ban.origin = CT_ORIGIN_THRESHOLD;
	if (!there) {
		__sync_fetch_and_add(&ct_policy.ban_count[v6][ct_index(prefix, 129)], 1);
		__sync_fetch_and_add(
			&ct_policy.scope_count[key.proto ? CT_SCOPE_PORT : CT_SCOPE_ANY], 1);
	}
	if (bpf_map_update_elem(&ct_bans, &key, &ban, BPF_ANY)) {
		if (!there) {
			__sync_fetch_and_add(&ct_policy.ban_count[v6][ct_index(prefix, 129)], -1);
			__sync_fetch_and_add(
				&ct_policy.scope_count[key.proto ? CT_SCOPE_PORT : CT_SCOPE_ANY],
				-1);
		}
		cpu->limit[CT_LIMITED_NO_ROOM]++;
		return 0;
	}
	/* The flows of a shard are asked about anew: a network has one as well. */
	__sync_fetch_and_add(&ct_policy.gen[ct_index(ct_shard(key.addr, v6), CT_SHARDS)], 1);
	cpu->limit[CT_LIMITED_BANNED]++;
	if (ct_heard(CT_EVENT_BAN))
		ct_tell_ban(&w->event, &key, &ban, CT_EVENT_BAN);
	return 1;
}

/* Is the source one that is never dropped? */
static __always_inline int ct_limit_spared(struct ct_work *w, const __u32 *addr)
{
	ct_ask_of(w, addr, 0, 1);
	w->ask.allowed = CT_ALLOW_UNKNOWN;
	return ct_is_allowed(w);
}

/* Counts the connection that a packet is about to begin, for whom it is counted. */
__weak __noinline int ct_limit_kind(struct ct_work *w, __u32 kind)
{
	__u32 most, half_open;
	int tcp, over = 0;

	if (!w || kind >= CT_LIMIT_KINDS)
		return 0;
	most = ct_limits.most[kind];
	half_open = ct_limit_half_open(kind);
	tcp = w->pkt.proto == IPPROTO_TCP;
	if (!ct_limit_key(w, kind, w->pkt.src, w->pkt.dst_port_be))
		return 0;
	if (tcp && half_open)
		over = ct_limit_more(w, CT_MEASURE_HALF, half_open);
	if (most && !over && !(tcp && ct_limit_waits()))
		over = ct_limit_more(w, CT_MEASURE_NEW, most);
	return over;
}

/*
 * A packet is about to begin a connection: is that too much? Returns enum ct_verdict. A
 * TCP segment in mid-stream begins none: it goes on with one that we have not seen begin.
 */
__weak __noinline int ct_limit(struct ct_work *w)
{
	struct ct_cpu *cpu;
	__u32 over = CT_LIMIT_KINDS;

	if (!w)
		return CT_VERDICT_PASS;
	w->limit.asked = 1;
	if (w->pkt.proto == IPPROTO_TCP && ct_word_state(w->bits) != CT_TCP_SYN_SENT)
		return CT_VERDICT_PASS;
	w->limit.half = ct_half_of(w->pkt.now);
	for (__u32 kind = 0; kind < CT_LIMIT_KINDS && over == CT_LIMIT_KINDS; kind++) {
		if (ct_limit_kind(w, kind))
			over = kind;
	}
	cpu = ct_cpu_of(w->cpu);
	if (over == CT_LIMIT_KINDS || !cpu || ct_limit_spared(w, w->pkt.src))
		return CT_VERDICT_PASS;
	cpu->limit[CT_LIMITED_OVER]++;
	if (ct_limits.action == CT_LIMIT_COUNT)
		return CT_VERDICT_PASS;
	if (ct_limits.action == CT_LIMIT_BAN && ct_limits.on_syn)
		ct_limit_ban(w);
	cpu->drops[CT_DROP_THRESHOLD] += w->pkt.segs;
	w->refused = 1;
	return CT_VERDICT_DROP;
}

/* Has this packet to be asked about before it begins a connection? */
static __always_inline int ct_limit_due(const struct ct_work *w)
{
	return ct_limits.action && !w->ask.egress && !w->limit.asked;
}

/* The handshake of w->pkt's connection has come through: for whom it is counted. */
__weak __noinline int ct_limit_through(struct ct_work *w, __u32 kind)
{
	__u32 most;

	if (!w || kind >= CT_LIMIT_KINDS || !ct_limit_key(w, kind, w->pkt.src, w->pkt.dst_port_be))
		return 0;
	most = ct_limits.most[kind];
	if (ct_limit_half_open(kind)) {
		w->limit.key.measure = CT_MEASURE_HALF;
		ct_sketch_count(w, 0);
		ct_suspect_less(w);
	}
	if (!ct_limit_waits() || !most || !ct_limit_more(w, CT_MEASURE_DONE, most))
		return 0;
	return ct_limit_spared(w, w->pkt.src) ? 0 : ct_limit_ban(w);
}

/*
 * A packet has changed the word of its flow, which was `before`. If it is the one by which
 * a TCP handshake comes through, its sender is really there; that is counted once the step
 * has returned, for their stacks would add up.
 */
static __always_inline void ct_limit_settled(struct ct_work *w, const struct ct_flow *flow,
					     enum ct_dir dir, __u64 before, __u64 word)
{
	if (!ct_limits.action || dir != CT_ORIGINAL || w->ask.egress ||
	    w->pkt.proto != IPPROTO_TCP || ct_word_state(before) != CT_TCP_SYN_RECV ||
	    ct_word_state(word) != CT_TCP_ESTABLISHED)
		return;
	w->limit.half = ct_half_of(w->pkt.now);
	w->limit.then = ct_half_of(flow->start);
	w->limit.shaken = 1;
}

__weak __noinline int ct_limit_shaken(struct ct_work *w)
{
	if (!w)
		return 0;
	w->limit.shaken = 0;
	for (__u32 kind = 0; kind < CT_LIMIT_KINDS; kind++)
		ct_limit_through(w, kind);
	return 0;
}

#endif
