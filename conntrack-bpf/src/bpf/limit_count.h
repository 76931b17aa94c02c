/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The counts that limits are held against: the sketch, which counts everybody, and the
 * suspects, who are counted exactly.
 *
 * Races: rates are changed by compare-and-swap, and after some tries an event is not
 * counted. A suspect that the kernel makes another's room (LRU) while we hold it may be
 * that other's by then: one event of its window may be counted for somebody else. Nobody
 * is dropped or banned for it, unless it is the one event that he had left.
 */
#ifndef CT_LIMIT_COUNT_H
#define CT_LIMIT_COUNT_H

#include "sketch.h"
#include "work.h"

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
	__u32 kind = (__u32)key->epoch << 24 | (__u32)key->family << 16 | (__u32)key->kind << 8 |
		     key->measure;
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
 * Has a suspect had w->limit.most, which one more is too much for? The key is copied, for
 * Linux 6.1 takes none from what a global function is handed.
 */
__weak __noinline int ct_suspect_over(struct ct_work *w)
{
	struct ct_suspect *suspect;
	struct ct_limit_key key;

	if (!w)
		return 0;
	key = w->limit.key;
	suspect = bpf_map_lookup_elem(&ct_suspects, &key);
	if (!suspect ||
	    ct_rate_sum(ct_rate_at(ct_load(&suspect->rate.word), w->limit.half)) < w->limit.most)
		return 0;
	suspect->last = w->pkt.now;
	__sync_fetch_and_add(&suspect->over, 1);
	return 1;
}

/*
 * One more of a suspect, who was asked about before unless it is a handshake that has come
 * through. Returns how many there are in the window.
 */
__weak __noinline __u32 ct_suspect_more(struct ct_work *w)
{
	struct ct_suspect *suspect, first = {};
	struct ct_limit_key key;
	__u32 sum;

	if (!w)
		return 0;
	key = w->limit.key;
	suspect = bpf_map_lookup_elem(&ct_suspects, &key);
	if (suspect) {
		suspect->last = w->pkt.now;
		sum = ct_rate_count(w, &suspect->rate, 1);
		if (key.measure == CT_MEASURE_DONE && sum > w->limit.most)
			__sync_fetch_and_add(&suspect->over, 1);
		return sum;
	}
	first.rate.word = ct_rate_of(w->limit.half, 1, 0);
	first.last = w->pkt.now;
	/* Another CPU may be first: then this event is not counted. */
	bpf_map_update_elem(&ct_suspects, &key, &first, BPF_NOEXIST);
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
	key->epoch = ct_limits.epoch;
	key->addr[0] = addr[0] & ct_mask(prefix, 0);
	key->addr[1] = v6 ? addr[1] & ct_mask(prefix, 1) : 0;
	key->addr[2] = v6 ? addr[2] & ct_mask(prefix, 2) : 0;
	key->addr[3] = v6 ? addr[3] & ct_mask(prefix, 3) : 0;
	return 1;
}

#endif
