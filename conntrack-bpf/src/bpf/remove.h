/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flows taken out by command: the one that user space has read, or all that are
 * there. A program that user space runs, because tables are mapped read-only, and
 * because only here the word can be judged and changed in one step.
 *
 * Unlike packet programs it can be interrupted, by them and by others of its kind,
 * but stays on its CPU. So what it shares with them there is added to atomically,
 * and its scratch is the stack. While a slot is CLOSING a packet of its flow finds
 * none and opens the tuple anew elsewhere: nobody waits for us.
 */
#ifndef CT_REMOVE_H
#define CT_REMOVE_H

#include "settle.h"

#define CT_REMOVE_TRIES 16

/* Counters that a soft interrupt may be about to add to. */
static __always_inline void ct_count_removed(int v6, enum ct_gone why)
{
	struct ct_cpu *cpu = ct_cpu_of(bpf_get_smp_processor_id());

	if (!cpu)
		return;
	__sync_fetch_and_add(&cpu->gone[ct_index(why, CT_GONE_REASONS)], 1);
	__sync_fetch_and_add(&cpu->live[!!v6], -1);
}

/* A slot, and the word that it has now. 0: no such slot. */
static __always_inline int ct_refer(__u32 bucket, __u32 slot, int v6, struct ct_ref *ref)
{
	ref->head = ct_bucket(bucket, v6);
	if (!ref->head || slot >= CT_SLOTS)
		return 0;
	ref->flow = ct_slot(ref->head, slot, v6);
	ref->slot = slot;
	ref->place = bucket * CT_SLOTS + slot;
	ref->word = ct_load(&ref->flow->word);
	return 1;
}

/*
 * Takes the flow of a slot out, which had this word, counts and tells it. Packets may
 * be changing its word meanwhile: as long as it is the same flow, it is tried again.
 * 0: it went by itself, or its word never stood still.
 */
static __always_inline int ct_take_out(__u32 bucket, __u32 slot, __u64 word, enum ct_gone why,
				       int v6)
{
	struct ct_event event;
	struct ct_ref ref = {};
	__u64 now = ct_now();

	for (int i = 0; i < CT_REMOVE_TRIES; i++) {
		if (!ct_refer(bucket, slot, v6, &ref) ||
		    ((ref.word ^ word) & (CT_W_GEN | CT_W_PHASE)))
			return 0;
		if (!ct_close(&ref))
			continue;
		ct_count_removed(v6, why);
		__builtin_memset(&event, 0, sizeof(event));
		ct_tell(&event, &ref, v6, ref.word, CT_EVENT_DESTROY, why);
		ct_give_back(&ref, now);
		return 1;
	}
	return 0;
}

__weak __noinline int ct_take_out4(__u32 bucket, __u32 slot, __u64 word, enum ct_gone why)
{
	return ct_take_out(bucket, slot, word, why, 0);
}

__weak __noinline int ct_take_out6(__u32 bucket, __u32 slot, __u64 word, enum ct_gone why)
{
	return ct_take_out(bucket, slot, word, why, 1);
}

static __always_inline int ct_take_out_of(int v6, const struct ct_ref *ref, __u32 bucket,
					  enum ct_gone why)
{
	return v6 ? ct_take_out6(bucket, ref->slot, ref->word, why)
		  : ct_take_out4(bucket, ref->slot, ref->word, why);
}

/*
 * The flow that was read in a slot, if it is still there: by the generation of its
 * word, and by when it began, because a generation comes round again.
 */
static __always_inline int ct_remove_one(__u32 bucket, __u32 slot, __u64 word, __u64 start, int v6)
{
	struct ct_ref ref = {};

	if (!ct_refer(bucket, slot, v6, &ref) || ct_phase_of(ref.word) != CT_LIVE)
		return 0;
	if (((ref.word ^ word) & CT_W_GEN) || ct_load(&ref.flow->start) != start)
		return 0;
	return ct_take_out_of(v6, &ref, bucket, CT_GONE_DELETED);
}

/*
 * All flows of a bucket that began by then. Those whose time was up are gone for
 * readers already: they are not counted as removed. `start` was written before the
 * slot became LIVE, and is not written again before the generation moves.
 */
static __always_inline int ct_remove_bucket(__u32 bucket, __u64 until, int v6)
{
	__u64 now = ct_now();
	int removed = 0;

	for (__u32 slot = 0; slot < CT_SLOTS; slot++) {
		struct ct_ref ref = {};
		int over;

		if (!ct_refer(bucket, slot, v6, &ref) || ct_phase_of(ref.word) != CT_LIVE ||
		    (__s64)(ct_load(&ref.flow->start) - until) > 0)
			continue;
		over = ct_expired(ref.flow, ref.word, now);
		if (ct_take_out_of(v6, &ref, bucket,
				   over ? ct_expiry(ref.flow, ref.word) : CT_GONE_FLUSHED))
			removed += !over;
	}
	return removed;
}

__weak __noinline int ct_remove_bucket4(__u32 bucket, __u64 until)
{
	return ct_remove_bucket(bucket, until, 0);
}

__weak __noinline int ct_remove_bucket6(__u32 bucket, __u64 until)
{
	return ct_remove_bucket(bucket, until, 1);
}

/* The context is the order, and takes the answer. */
SEC("syscall")
int ct_remove(struct ct_removal *order)
{
	__u32 v6 = order->v6, bucket = order->bucket, buckets = order->buckets, removed = 0;
	__u64 start = order->start;

	switch (order->what) {
	case CT_REMOVE_NONE:
		order->start = ct_now();
		return 0;
	case CT_REMOVE_ONE:
		removed = v6 ? ct_remove_one(bucket, order->slot, order->word, start, 1)
			     : ct_remove_one(bucket, order->slot, order->word, start, 0);
		break;
	case CT_REMOVE_ALL:
		for (__u32 i = 0; i < CT_REMOVE_BUCKETS && i < buckets; i++)
			removed += v6 ? ct_remove_bucket6(bucket + i, start)
				      : ct_remove_bucket4(bucket + i, start);
		break;
	default:
		return 1;
	}
	order->removed = removed;
	return 0;
}

#endif
