// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The headers that need no memory of their own, behind plain arguments. */
#include <bpf/bpf_helpers.h>

#include <string.h>

#include "icmp.h"
#include "key.h"
#include "native.h"
#include "histogram.h"
#include "distinct.h"
#include "sketch.h"
#include "table.h"
#include "tcp.h"

/* table.h wants them; nothing here calls what does. */
static __always_inline void *ct_bucket(__u32 index, int v6)
{
	return NULL;
}

static __always_inline __u64 ct_timeout_of(__u64 word)
{
	return 0;
}

static __always_inline __u64 ct_grace(void)
{
	return 0;
}

__u32 ct_native_tcp_segment(__u8 flags)
{
	return ct_tcp_segment(flags);
}

__u32 ct_native_tcp_flags_valid(__u8 flags)
{
	return ct_tcp_flags_valid(flags);
}

__u32 ct_native_tcp_next(__u32 dir, __u32 segment, __u32 state)
{
	return ct_tcp_next(dir, segment, state);
}

__u32 ct_native_icmp_classify(__u8 proto, __u8 type)
{
	return ct_icmp_classify(proto, type);
}

__u32 ct_native_icmp_is_reply(__u8 proto, __u8 type)
{
	return ct_icmp_is_reply(proto, type);
}

__u8 ct_native_icmp_inverse(__u8 proto, __u8 type)
{
	return ct_icmp_inverse(proto, type);
}

/* Writes the key's bytes, less what is no part of it. Returns src_is_hi. */
__u32 ct_native_key(const struct ct_native_packet *in, __u8 out[CT_NATIVE_KEY])
{
	struct ct_key key = {};
	struct ct_pkt pkt;

	ct_native_fill(in, &pkt);
	ct_make_key(&pkt, &key, ct_is_v6(&pkt));
	ct_native_key_bytes(&key, out);
	return key.src_is_hi;
}

void ct_native_hash(const struct ct_native_packet *in, const __u32 seed[12], __u32 buckets,
		    struct ct_native_hash *out)
{
	struct ct_key key = {};
	struct ct_hash hash = {};
	struct ct_pkt pkt;

	ct_native_fill(in, &pkt);
	ct_make_key(&pkt, &key, ct_is_v6(&pkt));
	ct_hash_key(&key, seed, buckets, ct_is_v6(&pkt), &hash);
	out->bucket[0] = hash.bucket[0];
	out->bucket[1] = hash.bucket[1];
	out->home = hash.home;
	out->tag = hash.tag;
}

__u32 ct_native_tagged(const __u16 tags[16], __u16 tag)
{
	struct ct_bucket_head head = {};

	memcpy(head.tags, tags, sizeof(head.tags));
	return ct_tagged(&head, tag);
}

__u32 ct_native_untagged(const __u16 tags[16])
{
	struct ct_bucket_head head = {};

	memcpy(head.tags, tags, sizeof(head.tags));
	return ct_untagged(&head);
}

__u32 ct_native_lowest(__u32 bits)
{
	return ct_lowest(bits);
}

__u32 ct_native_bits(__u32 bits)
{
	return ct_bits(bits);
}

__u64 ct_native_rate_at(__u64 rate, __u32 half)
{
	return ct_rate_at(rate, half);
}

__u32 ct_native_rate_sum(__u64 rate)
{
	return ct_rate_sum(rate);
}

__u64 ct_native_rate_more(__u64 rate)
{
	return ct_rate_more(rate);
}

__u64 ct_native_rate_less(__u64 rate, __u32 half)
{
	return ct_rate_less(rate, half);
}

__u32 ct_native_bucket_of(__u32 value)
{
	return ct_bucket_of(value);
}

__u32 ct_native_sketch_cell(__u64 hash, __u32 row, __u32 width)
{
	return ct_sketch_cell(hash, row, width);
}

__u32 ct_native_distinct_register(__u64 hash, __u32 registers)
{
	return ct_distinct_register(hash, registers);
}

__u32 ct_native_distinct_rank(__u64 hash)
{
	return ct_distinct_rank(hash);
}

__u32 ct_native_distinct_tick(__u64 now)
{
	return ct_distinct_tick(now);
}
