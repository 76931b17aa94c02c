/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* SCTP's header and chunks. */
#ifndef CT_PARSE_SCTP_H
#define CT_PARSE_SCTP_H

#include <bpf/bpf_endian.h>

#include "frame.h"
#include "sctp.h"

/* Kinds of chunks that are to come alone. */
#define CT_SCTP_ALONES                                                                             \
	(1U << CT_CHUNK_INIT | 1U << CT_CHUNK_INIT_ACK | 1U << CT_CHUNK_SHUTDOWN_COMPLETE)

struct ct_sctp_head {
	__be16 ports[2];
	__be32 tag;
	__be32 crc;
};

struct ct_chunk_head {
	__u8 type;
	__u8 flags;
	__be16 len;
};

/*
 * INIT, INIT ACK and SHUTDOWN COMPLETE come alone, COOKIE ECHO and COOKIE ACK
 * first. As in ct_walk_ext(), what is found is kept in memory.
 */
static __always_inline int ct_sctp_chunks(const struct ct_mem *m, struct ct_frame *f,
					  struct ct_pkt *pkt)
{
	for (int i = 0; i < CT_SCTP_CHUNKS; i++) {
		__u32 off = *(volatile __u32 *)&f->off, len, kind;
		__u32 count, changes, other;
		struct ct_chunk_head *chunk;
		__be32 *init;

		if (off + sizeof(*chunk) > f->l3_end)
			return i > 0;
		chunk = ct_need(m, f, off, sizeof(*chunk));
		if (!chunk)
			return i > 0;
		len = bpf_ntohs(chunk->len);
		kind = ct_sctp_kind(chunk->type);
		if (!len || (i && (kind == CT_CHUNK_COOKIE_ECHO || kind == CT_CHUNK_COOKIE_ACK)))
			return 0;
		*(volatile __u8 *)&pkt->options |= (CT_SCTP_ALONES >> kind & 1) * CT_SCTP_ALONE;
		if (i && (*(volatile __u8 *)&pkt->options & CT_SCTP_ALONE))
			return 0;
		/* Reckoned, not branched on: each way would be walked through to the end. */
		changes = (kind + 15) >> 4;
		other = CT_SCTP_OTHER | (((chunk->type + 255U) >> 8) ^ 1) * CT_SCTP_DATA;
		count = *(volatile __u32 *)&pkt->chunks;
		*(volatile __u8 *)&pkt->options |= (changes ^ 1) * other;
		*(volatile __u32 *)&pkt->chunk_kinds |= changes << kind;
		*(volatile __u8 *)&pkt->chunk[count & (CT_SCTP_CHUNKS - 1)] =
			kind | (chunk->flags & 1) * CT_SCTP_T;
		*(volatile __u32 *)&pkt->chunks = count + changes;
		if (kind == CT_CHUNK_INIT || kind == CT_CHUNK_INIT_ACK) {
			init = ct_need(m, f, off + sizeof(*chunk), 16);
			if (init && off + sizeof(*chunk) + 16 <= f->l3_end)
				pkt->ack = *init;
			else
				pkt->options |= CT_SCTP_SHORT;
		}
		*(volatile __u32 *)&f->off = off + ((len + 3) & ~3U);
	}
	return 1;
}

__weak __noinline int ct_chunks_xdp(struct xdp_md *ctx, struct ct_frame *f, struct ct_pkt *pkt)
{
	struct ct_mem m = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};

	return f && pkt ? ct_sctp_chunks(&m, f, pkt) : 0;
}

__weak __noinline int ct_chunks_skb(struct __sk_buff *ctx, struct ct_frame *f, struct ct_pkt *pkt)
{
	struct ct_mem m = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};

	return f && pkt ? ct_sctp_chunks(&m, f, pkt) : 0;
}

/* The ports alone make the tuple; a packet without sound chunks is INVALID. */
static __always_inline enum ct_pass ct_parse_sctp(const struct ct_mem *m, struct ct_frame *f,
						  struct ct_pkt *pkt)
{
	struct ct_sctp_head *sctp = ct_at(m, f->off, sizeof(*sctp));

	if (f->off + sizeof(*sctp) > f->l3_end) {
		pkt->kind = CT_KIND_INVALID;
		return CT_PARSED;
	}
	if (!sctp)
		return CT_PASS_TRUNCATED;
	pkt->src_port_be = sctp->ports[0];
	pkt->dst_port_be = sctp->ports[1];
	pkt->seq = sctp->tag;
	pkt->ack = 0;
	pkt->chunks = 0;
	pkt->chunk_kinds = 0;
	if (pkt->segs > 1)
		ct_cut(pkt, f, sizeof(*sctp));
	f->off += sizeof(*sctp);
	if (!(m->xdp ? ct_chunks_xdp(m->ctx, f, pkt) : ct_chunks_skb(m->ctx, f, pkt)))
		pkt->kind = CT_KIND_INVALID;
	return CT_PARSED;
}

#endif
