/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Two clocks. The coarse one is what the timer interrupt left in memory: cheap,
 * up to a tick behind, and up to two where a CPU asks it once a tick only. The
 * precise one reads the hardware. In a replay both are the capture's.
 */
#ifndef CT_TIME_H
#define CT_TIME_H

#include "config.h"

static __always_inline __u64 ct_now(void)
{
	return cfg_replay ? ct_replay.now : bpf_ktime_get_ns();
}

static __always_inline __u64 ct_now_coarse(void)
{
	return cfg_replay ? ct_replay.now : bpf_ktime_get_coarse_ns();
}

/* The clock that goes on while the host sleeps: by it bans end. */
static __always_inline __u64 ct_now_boot(void)
{
	return cfg_replay ? ct_replay.now : bpf_ktime_get_boot_ns();
}

#endif
