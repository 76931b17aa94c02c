/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Buckets of a histogram: 0 to 3 have one each, and every octave above has four. So who
 * takes the middle of a bucket is off by an eighth at most. Pure.
 */
#ifndef CT_HISTOGRAM_H
#define CT_HISTOGRAM_H

#include "types.h"

/* Index of the highest bit that is set; 0 of 0. */
static __always_inline __u32 ct_log2(__u32 value)
{
	__u32 log = 0;

#pragma unroll
	for (__u32 step = 16; step; step >>= 1) {
		__u32 more = value >> step ? step : 0;

		value >>= more;
		log += more;
	}
	return log;
}

static __always_inline __u32 ct_bucket_of(__u32 value)
{
	__u32 log, bucket;

	if (value < 4)
		return value;
	log = ct_log2(value);
	bucket = (log - 1) * 4 + ((value >> (log - 2)) & 3);
	return bucket < CT_HISTOGRAM ? bucket : CT_HISTOGRAM - 1;
}

#endif
