/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Room for one more flow, at the cost of another one if need be. */
#ifndef CT_ROOM_H
#define CT_ROOM_H

#include "other.h"

/* What a slot was given up for, by its CT_SPARE_ class; `word` as it was. */
static __always_inline void ct_count_spare(struct ct_work *w, struct ct_cpu *cpu,
					   const struct ct_ref *ref, int v6, __u64 spare,
					   __u64 word)
{
	if (spare == CT_SPARE_EXPIRED)
		ct_gone(w, cpu, ref, v6, word, ct_expiry(ref->flow, word));
	else if (spare && spare != CT_SPARE_UNRESTED)
		ct_gone(w, cpu, ref, v6, word, CT_GONE_EVICTED);
}

/* A slot in our table for the flow of w->key, which is new or comes from the other one. */
static __always_inline enum ct_claimed ct_room(struct ct_work *w, int v6)
{
	struct ct_cpu *cpu = ct_cpu_of(w->cpu);
	enum ct_claimed claimed;
	struct ct_ref ref = {};
	__u64 spare;

	if (!cpu)
		return CT_CLAIM_FULL;
	claimed = ct_claim(&w->hash, w->pkt.now, v6, &w->pick, &ref, &spare);
	if (claimed == CT_CLAIMED) {
		ct_count_spare(w, cpu, &ref, v6, spare, ct_load(&w->pick.word));
		ct_hand_on(w, &ref, CT_DONE);
	}
	return claimed;
}

__weak __noinline int ct_room4(struct ct_work *w)
{
	return w ? ct_room(w, 0) : CT_CLAIM_FULL;
}

__weak __noinline int ct_room6(struct ct_work *w)
{
	return w ? ct_room(w, 1) : CT_CLAIM_FULL;
}

#endif
