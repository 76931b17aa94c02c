/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a bucket knows of its slots, so that who needs one of a full bucket need not look at
 * all of them: the order in which they were given away, or passed over, the first lowest,
 * four bits each; and a time before which no flow in it is over (0: not known), which
 * flows move when they come or change their state, and whoever looks at all sets anew.
 * Both stand beside the tags, which he has looked at already, and only tell where to look
 * first. A timeout that a setting makes shorter, or a segment by the fast path (data that is
 * not acknowledged yet), does not move it: what is over by that is found by the sweep.
 *
 * Races. Plain loads and stores of one word each. What is stored in the queue is a
 * permutation of all slots, made of one that was: of two at once one is lost, and a slot
 * stands further in front than it should. A time that is lost leaves a flow that is over to
 * the sweep.
 */
#ifndef CT_QUEUE_H
#define CT_QUEUE_H

#include "slot.h"

#define CT_QUEUE_BITS 4
#define CT_QUEUE_LOOK 4 /* slots that are looked at first */
#define CT_QUEUE_LAST (CT_QUEUE_BITS * (CT_SLOTS - 1))
_Static_assert(CT_SLOTS == 15, "the sixteenth place is nobody's");

/* As the slots are numbered, where none was given away yet. */
#define CT_QUEUE_BEGIN 0xfedcba9876543210ULL

static __always_inline __u64 ct_queue_of(const struct ct_bucket_head *head)
{
	__u64 queue = ct_load(&head->queue);

	return queue ? queue : CT_QUEUE_BEGIN;
}

/* The same queue with this slot at its end. */
static __always_inline __u64 ct_queue_behind(__u64 queue, __u64 slot)
{
	const __u64 ones = 0x1111111111111111ULL;
	__u64 x = queue ^ (slot * ones);
	/* The lowest place that is zero, which is the only one, in its highest bit; */
	__u64 zero = (x - ones) & ~x & (ones << 3);
	/* and all places below it. */
	__u64 below = ((zero & -zero) >> 3) - 1;

	queue = (queue & below) | ((queue >> CT_QUEUE_BITS) & ~below);
	return (queue & ((1ULL << CT_QUEUE_LAST) - 1)) | slot << CT_QUEUE_LAST | 0xfULL << 60;
}

static __always_inline void ct_queue_set(struct ct_bucket_head *head, __u64 queue)
{
	if (ct_queue_of(head) != queue)
		*(volatile __u64 *)&head->queue = queue;
}

/* This slot is given away last, of those of its bucket. */
static __always_inline void ct_queue_up(struct ct_bucket_head *head, __u32 slot)
{
	ct_queue_set(head, ct_queue_behind(ct_queue_of(head), ct_slot_index(slot)));
}

/* No flow of this bucket is over. */
static __always_inline int ct_none_due(const struct ct_bucket_head *head, __u64 now)
{
	__u64 due = ct_load(&head->due);

	return due && (__s64)(now - due) < 0;
}

static __always_inline void ct_due_set(struct ct_bucket_head *head, __u64 due)
{
	*(volatile __u64 *)&head->due = due;
}

/* A flow of this bucket is over then, if it is not seen again. */
static __always_inline void ct_due_by(struct ct_bucket_head *head, __u64 when)
{
	__u64 due = ct_load(&head->due);

	if (due && when < due)
		ct_due_set(head, when);
}

#endif
