/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The canonical key: both directions of a connection have the same one. End
 * points are sorted as pairs of address and port, never field by field, or
 * a:1000->b:2000 and a:2000->b:1000 would be one connection. Pure.
 */
#ifndef CT_KEY_H
#define CT_KEY_H

#include "icmp.h"
#include "packet.h"

struct ct_key {
	__u32 lo[4], hi[4]; /* IPv4 in the first word */
	__be16 lo_port_be, hi_port_be;
	__u8 proto;
	__u8 src_is_hi; /* not part of the key: which end sent this packet */
	__u16 pad;
};

/* Where a key may live, and how to tell it from others without reading it
 * whole. */
struct ct_hash {
	__u32 bucket[2];
	__u32 home; /* preferred slot of bucket[0] */
	__u16 tag;  /* never 0 */
	__u16 pad;
	__u64 mixed; /* all bits; IPv6 slots keep it in their first line */
};

/* Order of two end points: words as loaded, most significant first; then ports.
 */
static __always_inline int ct_src_is_hi(const struct ct_pkt *pkt, __be16 src_port, __be16 dst_port,
					int v6)
{
	if (v6) {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			if (pkt->src[i] != pkt->dst[i])
				return pkt->src[i] > pkt->dst[i];
		}
		return src_port > dst_port;
	}
	return (((__u64)pkt->src[0] << 16) | src_port) > (((__u64)pkt->dst[0] << 16) | dst_port);
}

/*
 * ICMP is sorted by address alone. The key holds the id and the message as the
 * lower end sends it: a request if that end asks, an answer if the other does.
 * So a ping and its answer meet, and two hosts pinging each other with one id
 * stay apart. A host that pings itself is filed under the request.
 */
static __always_inline void ct_icmp_key(const struct ct_pkt *pkt, struct ct_key *key, int v6)
{
	__u16 type_code = bpf_ntohs(pkt->dst_port_be);
	__u8 type = type_code >> 8;
	int same = pkt->src[0] == pkt->dst[0] &&
		   (!v6 || (pkt->src[1] == pkt->dst[1] && pkt->src[2] == pkt->dst[2] &&
			    pkt->src[3] == pkt->dst[3]));

	if (same)
		key->src_is_hi = pkt->reply;
	if (key->src_is_hi)
		type = ct_icmp_inverse(pkt->proto, type);
	key->lo_port_be = pkt->src_port_be;
	key->hi_port_be = bpf_htons((type << 8) | (type_code & 0xff));
}

static __always_inline void ct_make_key(const struct ct_pkt *pkt, struct ct_key *key, int v6)
{
	int icmp = ct_is_icmp(pkt);
	/* ICMP's ids and types are no part of the order. */
	int hi = ct_src_is_hi(pkt, icmp ? 0 : pkt->src_port_be, icmp ? 0 : pkt->dst_port_be, v6);

	key->src_is_hi = hi;
	key->proto = pkt->proto;
	key->pad = 0;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (i && !v6)
			break;
		key->lo[i] = hi ? pkt->dst[i] : pkt->src[i];
		key->hi[i] = hi ? pkt->src[i] : pkt->dst[i];
	}
	key->lo_port_be = hi ? pkt->dst_port_be : pkt->src_port_be;
	key->hi_port_be = hi ? pkt->src_port_be : pkt->dst_port_be;
	if (icmp)
		ct_icmp_key(pkt, key, v6);
}

/*
 * NH (Black et al., UMAC): sums of products of key words plus secret words. Two
 * keys collide for at most one secret in 2^32, whoever chose them, which no
 * fixed multiplier can promise. The finaliser (MurmurHash3) spreads the bits.
 */
static __always_inline __u64 ct_nh(__u32 a, __u32 b, const volatile __u32 *seed)
{
	return (__u64)(__u32)(a + seed[0]) * (__u32)(b + seed[1]);
}

static __always_inline __u64 ct_mix(__u64 h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	h ^= h >> 33;
	return h;
}

/* Both buckets of a hash in a table of this size: top bits of either half. */
static __always_inline void ct_hash_buckets(__u64 h, __u32 buckets, __u32 out[2])
{
	out[0] = ((h >> 32) * buckets) >> 32;
	out[1] = ((h & 0xffffffff) * buckets) >> 32;
	if (out[0] == out[1])
		out[1] = out[1] + 1 < buckets ? out[1] + 1 : 0;
}

static __always_inline void ct_hash_key(const struct ct_key *key, const volatile __u32 *seed,
					__u32 buckets, int v6, struct ct_hash *out)
{
	__u32 ports = ((__u32)key->hi_port_be << 16) | key->lo_port_be;
	__u64 h = ct_nh(key->lo[0], key->hi[0], seed) + ct_nh(ports, key->proto, seed + 2);

	if (v6)
		h += ct_nh(key->lo[1], key->hi[1], seed + 4) +
		     ct_nh(key->lo[2], key->hi[2], seed + 6) +
		     ct_nh(key->lo[3], key->hi[3], seed + 8);
	h = ct_mix(h);
	out->mixed = h;
	/* Top bits of either half choose a bucket, low bits the rest. */
	ct_hash_buckets(h, buckets, out->bucket);
	out->home = ((h & 0xffff) * CT_SLOTS) >> 16;
	out->tag = (h >> 32) & 0xffff;
	if (!out->tag)
		out->tag = 1;
}

#endif
