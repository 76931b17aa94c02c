/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The rest of the other table, moved by a program that user space runs over it, some
 * buckets at a time: the flows that no packet comes for. Packets interrupt it, and
 * help it where they meet. It has a scratch of its own; one at a time runs.
 */
#ifndef CT_EVACUATE_H
#define CT_EVACUATE_H

#include "bring.h"

/* The key of the flow in a slot, and where it belongs in our table. */
static __always_inline void ct_key_of(struct ct_work *w, const struct ct_flow *flow, int v6)
{
	const struct ct_flow6 *flow6 = (const struct ct_flow6 *)flow;
	struct ct_key *key = &w->key;

	key->lo_port_be = flow->lo_port_be;
	key->hi_port_be = flow->hi_port_be;
	key->proto = (__u8)flow->proto_if;
	key->lo[0] = flow->lo;
	key->hi[0] = flow->hi;
	if (v6) {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			key->lo[i] = flow6->lo[i];
			key->hi[i] = flow6->hi[i];
		}
	}
	ct_hash_key(key, cfg_hash_seed, ct_own_buckets(v6), v6, &w->hash);
}

static __always_inline enum ct_evacuated ct_evacuate(struct ct_work *w, struct ct_bucket_head *head,
						     __u32 slot, int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	struct ct_ref ref = {};
	enum ct_gone why;

	if (!ct_other_buckets(v6) || !cpu || slot >= CT_SLOTS)
		return CT_EVAC_EMPTY;
	w->from_slot = slot;
	ct_refer_from(w, head, v6, &ref);
	if (ct_phase_of(ref.word) != CT_LIVE)
		return ct_is_leaving(ref.word) ? CT_EVAC_AGAIN : CT_EVAC_EMPTY;
	w->from_word = ref.word;
	ct_key_of(w, ref.flow, v6);
	if (!ct_expired(ref.flow, ref.word, w->pkt.now))
		return CT_EVAC_MOVED;
	ref.place = w->from_bucket * CT_SLOTS + slot;
	if (!ct_close(&ref))
		return CT_EVAC_AGAIN;
	why = ct_expiry(ref.flow, ref.word);
	ct_gone(w, cpu, &ref, v6, ref.word, why);
	ct_give_back(&ref, w->pkt.now);
	return CT_EVAC_ENDED;
}

__weak __noinline int ct_evacuate4(struct ct_work *w, struct ct_bucket4 *bucket, __u32 slot)
{
	return w && bucket ? ct_evacuate(w, &bucket->head, slot, 0) : CT_EVAC_EMPTY;
}

__weak __noinline int ct_evacuate6(struct ct_work *w, struct ct_bucket6 *bucket, __u32 slot)
{
	return w && bucket ? ct_evacuate(w, &bucket->head, slot, 1) : CT_EVAC_EMPTY;
}

/* All slots of a bucket; counts what became of them. */
static __always_inline void ct_evacuate_bucket(struct ct_work *w, int v6)
{
	for (__u32 slot = 0; slot < CT_SLOTS; slot++) {
		enum ct_evacuated done;
		enum ct_moving moved;

		if (v6)
			done = ct_evacuate6(w, ct_any_bucket(w->from_bucket, 1), slot);
		else
			done = ct_evacuate4(w, ct_any_bucket(w->from_bucket, 0), slot);
		if (done == CT_EVAC_MOVED) {
			moved = ct_bring(w, v6);
			if (moved == CT_MOVE_LIVE)
				done = CT_EVAC_STAYS;
			else if (moved != CT_MOVE_DONE)
				done = CT_EVAC_AGAIN;
		}
		w->done[ct_index(done, CT_EVAC_KINDS)]++;
	}
}

__weak __noinline int ct_evacuate_bucket4(struct ct_work *w)
{
	if (w)
		ct_evacuate_bucket(w, 0);
	return 0;
}

__weak __noinline int ct_evacuate_bucket6(struct ct_work *w)
{
	if (w)
		ct_evacuate_bucket(w, 1);
	return 0;
}

/* The context is the order, and takes the answer. */
SEC("syscall")
int ct_evacuate_some(struct ct_evacuation *order)
{
	struct ct_work *w = ct_work_of(cfg_cpus);
	__u32 bucket = order->bucket, buckets = order->buckets, v6 = order->v6;

	if (!w)
		return 1;
	w->mover = 1;
	w->cpu = bpf_get_smp_processor_id();
	w->pkt.now = order->now;
	__builtin_memset(w->done, 0, sizeof(w->done));
	for (__u32 i = 0; i < CT_EVAC_BUCKETS && i < buckets; i++) {
		w->from_bucket = ct_own_buckets(!!v6) + bucket + i;
		if (v6)
			ct_evacuate_bucket6(w);
		else
			ct_evacuate_bucket4(w);
	}
	order->moved = w->done[CT_EVAC_MOVED];
	order->ended = w->done[CT_EVAC_ENDED];
	order->stay = w->done[CT_EVAC_STAYS];
	order->again = w->done[CT_EVAC_AGAIN];
	return 0;
}

#endif
