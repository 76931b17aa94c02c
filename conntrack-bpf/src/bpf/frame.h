/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A frame in memory, and the one way to read from it.
 *
 * Offsets are numbers, not pointers: adding a length from the packet to a
 * packet pointer more than once exceeds what older verifiers can follow.
 */
#ifndef CT_FRAME_H
#define CT_FRAME_H

#include "packet.h"

#define CT_PARSED ((enum ct_pass)CT_PASS_REASONS)

/* The bytes of the frame that are in reach, and the context they came from. */
struct ct_mem {
	void *data;
	void *end;
	void *ctx;
	int xdp;    /* which context: known when compiled */
	int verify; /* it came from outside: what IP itself would drop is BAD_HEADER */
};

/*
 * The one place that makes a packet pointer. `off` is bounded for the verifier
 * by the largest frame that can be; a real one ends long before.
 */
static __always_inline void *ct_at(const struct ct_mem *m, __u32 off, __u32 size)
{
	void *p;

	if (off > 0x3fff)
		return NULL;
	p = m->data + off;
	if (p + size > m->end)
		return NULL;
	return p;
}

/*
 * The same for what a packet is not understood without, and that its lengths say is there:
 * TC brings it into reach and parses anew. Asked for past the end of what is there it would
 * have a packet pulled together for nothing.
 */
static __always_inline void *ct_need(const struct ct_mem *m, struct ct_frame *f, __u32 off,
				     __u32 size)
{
	void *p = ct_at(m, off, size);

	if (!p)
		f->beyond = 1;
	return p;
}

static __always_inline __u16 ct_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Each segment of a super-packet has headers of its own, up to `header` bytes of layer 4. */
static __always_inline void ct_cut(struct ct_pkt *pkt, struct ct_frame *f, __u32 header)
{
	__u32 headers = f->off - f->l3 + header, payload = f->l3_end - f->off - header;

	if (f->gso_size) {
		pkt->segs = payload ? (payload + f->gso_size - 1) / f->gso_size : 1;
		f->gso_size = 0;
	}
	pkt->bytes += (pkt->segs - 1) * headers;
}

#endif
