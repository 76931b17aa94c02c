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

#include "ban_event.h"
#include "settle.h"

#define CT_REMOVE_TRIES 16

/*
 * Takes the flow of a slot out, which had this word, counts and tells it. Packets may
 * be changing its word meanwhile: as long as it is the same flow, it is tried again.
 * 0: it went by itself, or its word never stood still.
 */
static __always_inline int ct_take_out(struct ct_ref *ref, __u64 word, enum ct_gone why, int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(bpf_get_smp_processor_id());
	struct ct_event event;

	if (!cpu)
		return 0;
	for (int i = 0; i < CT_REMOVE_TRIES; i++) {
		ref->word = ct_load(&ref->flow->word);
		if ((ref->word ^ word) & (CT_W_GEN | CT_W_PHASE))
			return 0;
		if (!ct_close(ref))
			continue;
		ct_count_removed(cpu, v6, why);
		__builtin_memset(&event, 0, sizeof(event));
		ct_tell(&event, ref, v6, ref->word, CT_EVENT_DESTROY, why);
		/* Asked anew, and read anew, to spare the stack. */
		ref->word = ct_load(&ref->flow->word);
		ct_give_back(ref, ct_now());
		return 1;
	}
	return 0;
}

/*
 * ONE, `word` as it was read: the flow that was read, if it is still there: by the
 * generation of its word, and by when it began, because a generation comes round again.
 *
 * ALL, `word` 0: whatever began by `start`, which was written before the slot became
 * LIVE, and is not written again before the generation moves. Flows whose time was up
 * are gone for readers already: they do not count as removed.
 */
static __always_inline int ct_remove_in(struct ct_bucket_head *head, __u32 place, __u64 word,
					__u64 start, int v6)
{
	__u32 slot = place % CT_SLOTS;
	struct ct_ref ref = {
		.head = head,
		.flow = ct_slot(head, slot, v6),
		.slot = slot,
		.place = place,
	};
	__u64 now = ct_load(&ref.flow->word), began = ct_load(&ref.flow->start);
	int over;

	if (ct_phase_of(now) != CT_LIVE)
		return 0;
	if (word)
		return !((now ^ word) & CT_W_GEN) && began == start &&
		       ct_take_out(&ref, now, CT_GONE_DELETED, v6);
	if ((__s64)(began - start) > 0)
		return 0;
	over = ct_expired(ref.flow, now, ct_now());
	return ct_take_out(&ref, now, over ? ct_expiry(ref.flow, now) : CT_GONE_FLUSHED, v6) &&
	       !over;
}

/*
 * The bucket is handed on as plain memory, so that the verifier walks through this once,
 * whichever table it is of.
 */
__weak __noinline int ct_remove_in4(struct ct_bucket4 *bucket, __u32 place, __u64 word, __u64 start)
{
	return bucket ? ct_remove_in(&bucket->head, place, word, start, 0) : 0;
}

__weak __noinline int ct_remove_in6(struct ct_bucket6 *bucket, __u32 place, __u64 word, __u64 start)
{
	return bucket ? ct_remove_in(&bucket->head, place, word, start, 1) : 0;
}

__weak __noinline int ct_remove_at4(__u32 place, __u64 word, __u64 start)
{
	return ct_remove_in4(ct_any_bucket(place / CT_SLOTS, 0), place, word, start);
}

__weak __noinline int ct_remove_at6(__u32 place, __u64 word, __u64 start)
{
	return ct_remove_in6(ct_any_bucket(place / CT_SLOTS, 1), place, word, start);
}

/* The number of the first bucket of a table of this size; of none: behind all there are. */
static __always_inline __u32 ct_first_of(__u32 table, int v6)
{
	if (table == ct_own_buckets(v6))
		return 0;
	if (table == ct_other_buckets(v6))
		return ct_own_buckets(v6);
	return ct_own_buckets(v6) + ct_other_buckets(v6);
}

/* Tells of a ban that user space has made or taken back. Its event is on this stack. */
static __noinline int ct_remove_tell(struct ct_removal *order)
{
	struct ct_event event;
	struct ct_ban_key key = order->key;
	struct ct_ban ban = order->ban;

	ct_tell_ban(&event, &key, &ban,
		    order->slot == CT_EVENT_BAN ? CT_EVENT_BAN : CT_EVENT_UNBAN);
	return 0;
}

/* The context is the order, and takes the answer. */
SEC("syscall")
int ct_remove(struct ct_removal *order)
{
	__u32 v6 = order->v6, removed = 0;
	__u32 place = (order->bucket + ct_first_of(order->table, !!v6)) * CT_SLOTS;
	__u64 start = order->start;

	switch (order->what) {
	case CT_REMOVE_NONE:
		order->start = ct_now();
		return 0;
	case CT_REMOVE_ONE:
		place += order->slot;
		removed = v6 ? ct_remove_at6(place, order->word, start)
			     : ct_remove_at4(place, order->word, start);
		break;
	case CT_REMOVE_ALL:
		for (__u32 i = 0; i < CT_REMOVE_BUCKETS * CT_SLOTS; i++) {
			if (i >= order->buckets * CT_SLOTS)
				break;
			removed += v6 ? ct_remove_at6(place + i, 0, start)
				      : ct_remove_at4(place + i, 0, start);
		}
		break;
	case CT_REMOVE_TELL:
		return ct_remove_tell(order);
	default:
		return 1;
	}
	order->removed = removed;
	return 0;
}

#endif
