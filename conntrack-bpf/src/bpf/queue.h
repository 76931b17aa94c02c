/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The order in which a bucket's slots were given away, the first to come lowest, four bits
 * each: who needs a slot of a full bucket need not look at all of them. It stands beside
 * the tags, which he has looked at already; and it is only where to look first.
 *
 * Races. Plain loads and stores of one word. Each store is a permutation of all slots,
 * made of one that was: of two at once one is lost, and a slot stands further in front
 * than it should.
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

/* This slot is given away last, of those of its bucket. */
static __always_inline void ct_queue_up(struct ct_bucket_head *head, __u32 slot)
{
	*(volatile __u64 *)&head->queue = ct_queue_behind(ct_queue_of(head), ct_slot_index(slot));
}

#endif
