/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the background sweep remembers. Of BPF it uses <linux/bpf.h>. */
#ifndef CT_SWEEPER_H
#define CT_SWEEPER_H

#include "types.h"

/* Where a slice of the sweep is, and what it did; in the map, for what is on the
 * stack the verifier follows through every turn of the loop. */
struct ct_slice {
	__u64 now;	/* coarse; when the slice began */
	__u64 deadline; /* no bucket is begun after it */
	__u64 scanned;
	__u64 removed[CT_GONE_BY_TIME];
	__u32 left; /* buckets until the clock is looked at */
	__u32 cut;  /* the deadline has passed */
};

/* Its timer, where it is, what it has done. */
struct ct_sweeper {
	struct bpf_timer timer;
	__u64 asked; /* hurry until `runs` is this */
	__u32 bucket, v6;
	__u32 pressure[2]; /* enum ct_pressure: v4, v6 */
	__u64 weighed;	   /* when it was looked how full the tables are; coarse ns */
	struct ct_sweep_stats stats;
	struct ct_slice slice;
	struct ct_event event; /* scratch */
};

#endif
