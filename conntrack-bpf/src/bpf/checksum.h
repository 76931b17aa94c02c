/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Layer 4's checksums, judged as nf_conntrack does with nf_conntrack_checksum=1:
 * what fails is INVALID. All of the payload is read, in chunks, which costs a
 * packet of 1500 bytes several times what the rest of its way does.
 *
 * In doubt a packet is good. Not judged are packets that this host made (nor
 * does nf_conntrack), fragments, super-packets, what the card has verified (TC
 * alone can tell), and what is not whole within reach (a capture's cut frames).
 * A checksum that is left to a card still is the sum of the pseudo-header, or 0
 * in SCTP; it is good, because it is not there yet.
 */
#ifndef CT_CHECKSUM_H
#define CT_CHECKSUM_H

#include "index.h"
#include "maps.h"
#include "parse_ip.h"

#define CT_CHUNK  512 /* the most that bpf_csum_diff() took at once before Linux 6.13 */
#define CT_CHUNKS (65536 / CT_CHUNK)

/* One a CPU, as ct_scratch, and for the same reasons. */
struct ct_csum {
	__u8 bytes[CT_CHUNK + 4]; /* a chunk, its last word filled up with zeros */
	__u32 off, left;	  /* what is to be read yet */
	__u32 len;		  /* of the chunk that is loaded */
	__u32 sum;		  /* Internet checksum or CRC-32C so far, */
	__u32 crc;		  /* and whether it is the latter */
};

/* Key: CPU. The packet programs alone look at it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_csum);
} ct_csums SEC(".maps");

/* Not 0, and Linux 6.1 knows it: there a test for 0 says nothing of the range. */
static __always_inline __u64 ct_some(__u64 len)
{
#ifdef __bpf__
	asm volatile("if %0 > 0 goto +1\n\t%0 = 1" : "+r"(len));
#endif
	return len;
}

/* Reads the next chunk; its length, or 0 if there is none or it is out of reach. */
static __always_inline __u32 ct_csum_load(const struct ct_mem *m, struct ct_csum *s)
{
	__u32 off = *(volatile __u32 *)&s->off;
	__u32 left = *(volatile __u32 *)&s->left;
	__u64 len = left;
	long failed = -1;

	if (len > CT_CHUNK)
		len = CT_CHUNK;
	len = ct_index(len, CT_CHUNK + 1);
	if (!len)
		return 0;
	len = ct_some(len);
	*(volatile __u32 *)(s->bytes + (len & ~3ULL)) = 0;
	if (!m->xdp)
		failed = bpf_skb_load_bytes(m->ctx, off, s->bytes, len);
	else if (cfg_xdp_frags) /* Linux 5.18 has both */
		failed = bpf_xdp_load_bytes(m->ctx, off, s->bytes, len);
	if (failed)
		return 0;
	*(volatile __u32 *)&s->off = off + len;
	*(volatile __u32 *)&s->left = left - len;
	s->len = len;
	return len;
}

static __always_inline void ct_csum_add(struct ct_csum *s, __u32 len)
{
	__u64 words = ct_index((len + 3) & ~3U, CT_CHUNK + 1);

	s->sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)s->bytes, words, s->sum);
}

/* The CRC-32C of a byte that `zeros` bytes of 0 follow. */
static __always_inline __u32 ct_crc(const __u32 zeros, __u32 byte)
{
	return cfg_crc32c[zeros][ct_index((__u8)byte, 256)];
}

/* CRC-32C of one chunk, four bytes at a time. */
__weak __noinline int ct_crc_add(struct ct_csum *s, __u32 len)
{
	__u32 crc, i;

	if (!s)
		return 0;
	crc = s->sum;
	for (i = 0; i + 4 <= CT_CHUNK && i + 4 <= len; i += 4) {
		const __u8 *b = s->bytes + i;

		crc = ct_crc(3, crc ^ b[0]) ^ ct_crc(2, (crc >> 8) ^ b[1]) ^
		      ct_crc(1, (crc >> 16) ^ b[2]) ^ ct_crc(0, (crc >> 24) ^ b[3]);
	}
	for (int tail = 0; tail < 3 && i < CT_CHUNK && i < len; tail++, i++)
		crc = ct_crc(0, crc ^ s->bytes[i]) ^ (crc >> 8);
	s->sum = crc;
	return 0;
}

/* Adds the chunk that is loaded and reads the next one; as ct_csum_load(). */
static __always_inline __u32 ct_csum_step(const struct ct_mem *m, struct ct_csum *s)
{
	if (s->crc)
		ct_crc_add(s, s->len);
	else
		ct_csum_add(s, s->len);
	return ct_csum_load(m, s);
}

__weak __noinline int ct_csum_step_xdp(struct xdp_md *ctx, struct ct_csum *s)
{
	struct ct_mem m = {.ctx = ctx, .xdp = 1};

	return s ? ct_csum_step(&m, s) : 0;
}

__weak __noinline int ct_csum_step_skb(struct __sk_buff *ctx, struct ct_csum *s)
{
	struct ct_mem m = {.ctx = ctx, .xdp = 0};

	return s ? ct_csum_step(&m, s) : 0;
}

/* The rest of the packet, of which `len` bytes are loaded. 0: out of reach. */
static __always_inline int ct_csum_rest(const struct ct_mem *m, struct ct_csum *s, __u32 len)
{
	for (int i = 0; i < CT_CHUNKS && len; i++)
		len = m->xdp ? ct_csum_step_xdp(m->ctx, s) : ct_csum_step_skb(m->ctx, s);
	return *(volatile __u32 *)&s->left == 0;
}

/* `tail` is protocol and length, the order of which does not matter. */
static __always_inline __u64 ct_pseudo(const struct ct_pkt *pkt, __u32 tail)
{
	__u64 sum = (__u64)pkt->src[0] + pkt->dst[0] + bpf_htonl(tail);

	if (ct_is_v6(pkt)) {
#pragma unroll
		for (int i = 1; i < 4; i++)
			sum += (__u64)pkt->src[i] + pkt->dst[i];
	}
	return sum;
}

/* TCP, UDP, ICMP and ICMPv6; the checksum is at `at`. */
static __always_inline int ct_csum_good(const struct ct_mem *m, struct ct_csum *s,
					const struct ct_pkt *pkt, __u32 len, const __u32 at)
{
	__u64 pseudo = pkt->proto == IPPROTO_ICMP ? 0 : ct_pseudo(pkt, pkt->proto + len);
	__u32 loaded = ct_csum_load(m, s);
	__u16 check = *(__u16 *)(s->bytes + at);

	if (loaded < at + 2)
		return 1;
	/* UDP without a checksum is good even in IPv6. */
	if (pkt->proto == IPPROTO_UDP ? !check : 0)
		return 1;
	if (pseudo && check == ct_fold(pseudo))
		return 1;
	s->sum = 0;
	return !ct_csum_rest(m, s, loaded) || ct_fold(pseudo + s->sum) == 0xffff;
}

/*
 * UDP-Lite as the kernel has it: nf_conntrack reckons with UDP's protocol
 * number, and in IPv4 with the low byte of the length only, so that what any
 * UDP-Lite socket sends is INVALID to it.
 */
static __always_inline int ct_csum_good_lite(const struct ct_mem *m, struct ct_csum *s,
					     const struct ct_pkt *pkt, __u32 len)
{
	__u64 pseudo = ct_pseudo(pkt, IPPROTO_UDP + (ct_is_v6(pkt) ? len : len & 0xff));
	__u32 start = s->off;
	__u32 cover;

	if (ct_csum_load(m, s) < 8)
		return 1;
	cover = bpf_ntohs(*(__be16 *)(s->bytes + 4));
	if (!cover)
		cover = len;
	if (cover < 8 || cover > len)
		return 1;
	s->off = start;
	s->left = cover;
	s->sum = 0;
	return !ct_csum_rest(m, s, ct_csum_load(m, s)) || ct_fold(pseudo + s->sum) == 0xffff;
}

/* SCTP's CRC is that of the packet with zeros in its place. */
static __always_inline int ct_csum_good_sctp(const struct ct_mem *m, struct ct_csum *s)
{
	__u32 loaded = ct_csum_load(m, s);
	__u8 *at = s->bytes + 8;
	__u32 crc = at[0] | at[1] << 8 | at[2] << 16 | (__u32)at[3] << 24;

	if (loaded < 12 || !crc)
		return 1;
	*(__u32 *)at = 0;
	s->sum = ~0U;
	return !ct_csum_rest(m, s, loaded) || ~s->sum == crc;
}

/* 0: the checksum is bad. `f` is at layer 4, of a packet whose tuple is not read yet. */
static __always_inline int ct_checksum_good(const struct ct_mem *m, const struct ct_frame *f,
					    const struct ct_pkt *pkt)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct ct_csum *s = bpf_map_lookup_elem(&ct_csums, &cpu);
	__u32 len = f->l3_end - f->off;

	if (!s || f->fragmented || pkt->segs > 1 || f->off > f->l3_end)
		return 1;
	s->off = f->off;
	s->left = len;
	s->crc = pkt->proto == IPPROTO_SCTP;
	switch (pkt->proto) {
	case IPPROTO_TCP:
		return ct_csum_good(m, s, pkt, len, 16);
	case IPPROTO_UDP:
		return ct_csum_good(m, s, pkt, len, 6);
	case IPPROTO_UDPLITE:
		return ct_csum_good_lite(m, s, pkt, len);
	case IPPROTO_SCTP:
		return ct_csum_good_sctp(m, s);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return ct_csum_good(m, s, pkt, len, 2);
	default:
		return 1;
	}
}

__weak __noinline int ct_checksum_xdp(struct xdp_md *ctx, struct ct_frame *f, struct ct_pkt *pkt)
{
	struct ct_mem m = {.ctx = ctx, .xdp = 1};

	return f && pkt ? ct_checksum_good(&m, f, pkt) : 1;
}

__weak __noinline int ct_checksum_skb(struct __sk_buff *ctx, struct ct_frame *f, struct ct_pkt *pkt)
{
	struct ct_mem m = {.ctx = ctx, .xdp = 0};

	/* Made by this host, or verified by the card. */
	if (!ctx->ingress_ifindex || bpf_csum_level(ctx, BPF_CSUM_LEVEL_QUERY) >= 0)
		return 1;
	return f && pkt ? ct_checksum_good(&m, f, pkt) : 1;
}

#endif
