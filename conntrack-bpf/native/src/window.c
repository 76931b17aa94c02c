// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A segment against a flow's ends in two halves, so that tests can have those of
 * two CPUs overlap: what it makes of them, and the storing of that.
 */
#include <bpf/bpf_helpers.h>

#include "table.h"

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

#include "tcp_window.h"

/* As in window.rs. */
struct ct_native_segment {
	__u32 dir;
	__u32 seq, ack;
	__u32 payload;
	__u16 window;
	__u16 pad;
};
_Static_assert(sizeof(struct ct_native_segment) == 20, "as in window.rs");
_Static_assert(sizeof(struct ct_flow) == 128, "as in window.rs");
_Static_assert(sizeof(struct ct_tcp_view) <= 64, "as in window.rs");

/* Both ends have sent up to `end` and granted `window` more. */
void ct_native_window_open(struct ct_flow *flow, const __u32 end[2], __u32 window)
{
	for (int dir = 0; dir < 2; dir++) {
		flow->tcp[dir].end = end[dir];
		flow->tcp[dir].maxend = end[dir] + window;
		flow->tcp[dir].maxwin = window;
	}
}

/* First half: the verdict, enum ct_window. The flow is only read. */
__u32 ct_native_window_judge(const struct ct_flow *flow, const struct ct_native_segment *in,
			     struct ct_tcp_view *view)
{
	__u64 word = (__u64)CT_TCP_ESTABLISHED << CT_W_STATE_SHIFT;
	struct ct_pkt pkt = {
		.proto = 6,
		.seq = in->seq,
		.ack = in->ack,
		.sack = in->ack,
		.payload = in->payload,
		.window = in->window,
		.tcp_flags = CT_TCP_ACK,
	};

	ct_tcp_load(flow, in->dir, view);
	return ct_tcp_judge(&pkt, CT_TCP_ACK, &word, in->dir, view);
}

/* Second half. */
void ct_native_window_store(struct ct_flow *flow, __u32 dir, const struct ct_tcp_view *view)
{
	ct_tcp_store(flow, dir, view);
}
