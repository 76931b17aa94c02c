/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef CT_TICK_H
#define CT_TICK_H

#include "time.h"
#include "work.h"

/*
 * The coarse clock, asked once a tick. Another CPU may have moved jiffies on and be about
 * to move that clock: what is kept until the next tick is two ticks behind at most.
 */
static __always_inline __u64 ct_now_of_tick(struct ct_work *w)
{
	__u64 tick = bpf_jiffies64();

	if (cfg_replay)
		return ct_replay.now;
	if (w->tick != tick) {
		w->tick = tick;
		w->tick_now = ct_now_coarse();
	}
	return w->tick_now;
}

#endif
