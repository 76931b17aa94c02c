/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where the tables' buckets are. Each family has one table; while it is replaced, two:
 * the one that this program creates flows in, and the other. Which of them is the old
 * one depends on the program; see ARCHITECTURE.md, "Another size".
 */
#ifndef CT_BUCKETS_H
#define CT_BUCKETS_H

#include "config.h"
#include "maps.h"
#include "table.h"

static __always_inline void *ct_bucket(__u32 index, int v6)
{
	return v6 ? (void *)bpf_map_lookup_elem(&ct_flow_table_6, &index)
		  : (void *)bpf_map_lookup_elem(&ct_flow_table_4, &index);
}

/* Buckets of the other table; 0 unless one of the two replaces the other. */
static __always_inline __u32 ct_other_buckets(int v6)
{
	return v6 ? cfg_other_buckets6 : cfg_other_buckets4;
}

static __always_inline void *ct_other_bucket(__u32 index, int v6)
{
	return v6 ? (void *)bpf_map_lookup_elem(&ct_flow_table_6_other, &index)
		  : (void *)bpf_map_lookup_elem(&ct_flow_table_4_other, &index);
}

static __always_inline __u32 ct_own_buckets(int v6)
{
	return v6 ? cfg_buckets6 : cfg_buckets4;
}

static __always_inline struct ct_table ct_table_of(int v6)
{
	return (struct ct_table){.buckets = ct_own_buckets(v6), .v6 = v6};
}

/* Whether a bucket, numbered as ct_any_bucket() has it, is the other table's. */
static __always_inline int ct_is_other(__u32 bucket, int v6)
{
	return ct_other_buckets(v6) && bucket >= ct_own_buckets(v6);
}

static __always_inline void *ct_any_bucket(__u32 index, int v6)
{
	if (ct_is_other(index, v6))
		return ct_other_bucket(index - ct_own_buckets(v6), v6);
	return ct_bucket(index, v6);
}

#endif
