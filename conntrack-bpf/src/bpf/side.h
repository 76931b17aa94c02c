/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is known of a flow beside its slot: what few packets look at, and what may be
 * missing. Both families share one table of rows of four entries; a row follows from the
 * hash of the flow's key. An entry's tag is made of all bits of that hash and of the flow's
 * beginning: the next flow of the same tuple has another, and a flow that moves to another
 * table keeps its own. Nobody has to take an entry out: where there is no room, one makes
 * room: first whose handshake has not come through, then who has ended, then the others;
 * for a flow whose own handshake has not come through, only the first. So a flood of SYNs
 * pushes out its like only. Among equals it is who was not looked at for longest.
 *
 * Races. Who claims an entry makes its tag CT_SIDE_BUSY by compare-and-swap, wipes it, and
 * stores the new tag by an exchange. Two CPUs may so give one flow two entries of the row.
 * Both look at the row again after their exchange, so at least one of them sees the other;
 * the first entry of the row counts, and who has a later one gives it back. A packet that
 * found its entry just before somebody else got it may add to the latter's: as with slots,
 * a count too high by one is put up with.
 */
#ifndef CT_SIDE_H
#define CT_SIDE_H

#include "flow.h"
#include "stats.h"
#include "work.h"

/* Is there such a table? A constant to the verifier. */
static __always_inline int ct_side_on(void)
{
	return cfg_side_rows != 0;
}

static __always_inline struct ct_side_row *ct_side_row(const struct ct_work *w)
{
	__u32 key = w->side.row;

	return bpf_map_lookup_elem(&ct_side, &key);
}

/* The entry that ct_side_find() or ct_side_take() has found. */
static __always_inline struct ct_side *ct_side_of(const struct ct_work *w)
{
	struct ct_side_row *row = ct_side_row(w);

	return row ? &row->way[ct_index(w->side.way, CT_SIDE_WAYS)] : NULL;
}

/*
 * Of the flow that w->hash is of, and which began then. `through`: its handshake has come
 * through.
 */
static __always_inline void ct_side_begin(struct ct_work *w, __u64 start, int through)
{
	__u64 tag = ct_mix(w->hash.mixed ^ ct_mix(start));

	w->side.row = ((w->hash.mixed >> 32) * cfg_side_rows) >> 32;
	w->side.through = through;
	w->side.tag = tag && tag != CT_SIDE_BUSY ? tag : 1;
}

static __always_inline void ct_side_use(struct ct_side *side, __u64 now)
{
	__u32 used = now >> CT_SIDE_AGE_SHIFT;

	if (side->used != used)
		side->used = used;
}

/* The first entry of the row with this tag, into w->side.way. Returns 0 if there is none. */
__weak __noinline int ct_side_find(struct ct_work *w)
{
	struct ct_side_row *row = w && ct_side_on() ? ct_side_row(w) : NULL;

	if (!row)
		return 0;
	for (int i = 0; i < CT_SIDE_WAYS; i++) {
		if (ct_load(&row->way[i].tag) != w->side.tag)
			continue;
		ct_side_use(&row->way[i], w->pkt.now);
		w->side.way = i;
		return 1;
	}
	return 0;
}

/* How much an entry is worth, above its age: who is worth least makes room first. */
enum ct_worth {
	CT_WORTH_NOTHING,
	CT_WORTH_HALF_OPEN,
	CT_WORTH_ENDED,
	CT_WORTH_LIVE,
};

static __always_inline __u64 ct_side_worth(const struct ct_side *side, __u64 now)
{
	__u32 age = (__u32)(now >> CT_SIDE_AGE_SHIFT) - side->used;
	__u64 worth = CT_WORTH_LIVE;

	if (!ct_load(&side->tag))
		worth = CT_WORTH_NOTHING;
	else if (!(side->flags & CT_SIDE_THROUGH))
		worth = CT_WORTH_HALF_OPEN;
	else if (side->flags & CT_SIDE_ENDED)
		worth = CT_WORTH_ENDED;
	/* Somebody may have looked at the clock later than we did. */
	return worth << 32 | (0xffffffff - ((__s32)age < 0 ? 0 : age));
}

/* The entry of the row that is to make room, into w->side.way; its tag into w->side.old. */
static __always_inline int ct_side_choose(struct ct_work *w, struct ct_side_row *row)
{
	__u64 best = ~0ULL;

	for (int i = 0; i < CT_SIDE_WAYS; i++) {
		__u64 tag = ct_load(&row->way[i].tag);
		__u64 worth = ct_side_worth(&row->way[i], w->pkt.now);

		if (tag == CT_SIDE_BUSY || worth >= best)
			continue;
		best = worth;
		w->side.way = i;
		w->side.old = tag;
	}
	return best != ~0ULL && (w->side.through || best >> 32 < CT_WORTH_ENDED);
}

static __always_inline void ct_side_wipe(struct ct_side *side, __u64 now)
{
	__u64 *words = (__u64 *)side;

	/* All but the tag. */
	for (int i = 1; i < (int)(sizeof(*side) / sizeof(*words)); i++)
		words[i] = 0;
	side->used = now >> CT_SIDE_AGE_SHIFT;
}

/*
 * The same as ct_side_find(), but a flow that has no entry gets one. Returns 0 if nobody
 * makes room, or another CPU is in the way.
 */
__weak __noinline int ct_side_take(struct ct_work *w)
{
	struct ct_side_row *row = w && ct_side_on() ? ct_side_row(w) : NULL;
	struct ct_cpu *cpu = w ? ct_cpu_of(w->cpu) : NULL;
	struct ct_side *side;
	__u32 way;

	if (!row || !cpu)
		return 0;
	if (ct_side_find(w))
		return 1;
	if (!ct_side_choose(w, row))
		goto no_room;
	way = ct_index(w->side.way, CT_SIDE_WAYS);
	side = &row->way[way];
	if (__sync_val_compare_and_swap(&side->tag, w->side.old, CT_SIDE_BUSY) != w->side.old)
		goto no_room;
	if (w->side.old)
		cpu->side[CT_SIDE_EVICTED]++;
	ct_side_wipe(side, w->pkt.now);
	__sync_lock_test_and_set(&side->tag, w->side.tag);
	if (ct_side_find(w) && w->side.way < way)
		__sync_val_compare_and_swap(&side->tag, w->side.tag, 0);
	return 1;
no_room:
	cpu->side[CT_SIDE_NO_ROOM]++;
	return 0;
}

#endif
