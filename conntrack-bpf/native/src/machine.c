// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The TCP machine, put into any state, a segment, and what it has made of that; and
 * SCTP's table. The way of a segment is that of steps.h and settle.h, with nobody
 * else in between.
 */
#include <bpf/bpf_helpers.h>

#include <string.h>

#include "table.h"

/* Instead of config.h: the settings of the question. */
#define CT_CONFIG_H
#define cfg_windows 1
static _Thread_local struct ct_settings ct_settings;

/* table.h wants them; nothing here calls what does. */
static __always_inline void *ct_bucket(__u32 index, int v6)
{
	return NULL;
}

static __always_inline __u64 ct_grace(void)
{
	return 0;
}

static __always_inline __u64 ct_timeout_of(__u64 word)
{
	return ct_settings.timeout_ns[(word & CT_W_TMO) >> CT_W_TMO_SHIFT];
}

#include "sctp.h"
#include "track_tcp.h"

/* As in machine.rs. */
struct ct_native_tcp_end {
	__u32 end, maxend, maxwin, maxack;
	__u8 has_maxack, scale, scales, sacks;
	__u8 closed, liberal, unacked, pad;
};
_Static_assert(sizeof(struct ct_native_tcp_end) == 24, "as in machine.rs");

struct ct_native_tcp {
	struct ct_native_tcp_end end[2];
	__u32 seq, ack, rec_end; /* of the remembered segment */
	__u16 window;
	__u8 state, seen_reply;
	__u8 assured;
	__u8 last, last_dir; /* enum ct_tcp_segment + 1, or 0 */
	__u8 again;
	__u8 syn_scale, syn_scales, syn_sacks; /* of an ignored SYN */
	__u8 challenge, simopen;
	__u8 timeout; /* enum ct_timeout */
	__u8 pad[2];
	__u64 age; /* ns since the last packet */
};
_Static_assert(sizeof(struct ct_native_tcp) == 88, "as in machine.rs");

struct ct_native_question {
	__u64 timeout_ns[CT_TMO_MAX];
	__u32 be_liberal, ignore_invalid_rst, max_retrans;
	__u32 dir;
	__u32 seq, ack, payload, sack;
	__u16 window;
	__u8 flags, options, wscale;
	__u8 pad[3];
};
_Static_assert(sizeof(struct ct_native_question) == 512 + 40, "as in machine.rs");

#define CT_NATIVE_NOW (1ULL << 60)

static __u64 ct_native_word(const struct ct_native_tcp *in)
{
	__u64 word = ct_word_with(CT_LIVE, in->state, in->timeout);

	word |= in->seen_reply ? CT_W_SEEN_REPLY : 0;
	word |= in->assured ? CT_W_ASSURED : 0;
	word |= in->simopen ? CT_W_SIMOPEN : 0;
	word |= in->challenge ? CT_W_CHALLENGE : 0;
	word |= in->syn_scales ? CT_W_SYN_WSCALE : 0;
	word |= in->syn_sacks ? CT_W_SYN_SACK : 0;
	for (int dir = 0; dir < CT_DIRS; dir++) {
		const struct ct_native_tcp_end *end = &in->end[dir];

		word |= end->closed ? ct_end_bit(CT_W_FIN_SHIFT, dir) : 0;
		word |= end->scales ? ct_end_bit(CT_W_WSCALE_SHIFT, dir) : 0;
		word |= end->sacks ? ct_end_bit(CT_W_SACK_SHIFT, dir) : 0;
		word |= end->liberal ? ct_end_bit(CT_W_LIBERAL_SHIFT, dir) : 0;
	}
	return word;
}

/* The remembered segment is the last of its direction, so all of it is known. */
static void ct_native_put(const struct ct_native_tcp *in, struct ct_flow *flow)
{
	struct ct_tcp_end *rec = &flow->tcp[in->last_dir & 1];

	memset(flow, 0, sizeof(*flow));
	flow->word = ct_native_word(in);
	flow->seen = CT_NATIVE_NOW - in->age;
	for (int dir = 0; dir < CT_DIRS; dir++) {
		const struct ct_native_tcp_end *end = &in->end[dir];
		struct ct_tcp_end *to = &flow->tcp[dir];

		to->end = end->end;
		to->maxend = end->maxend;
		to->maxwin = end->maxwin;
		to->maxack = end->maxack;
		to->bits =
			(end->unacked ? CT_END_UNACKED : 0) | (end->has_maxack ? CT_END_MAXACK : 0);
		to->scale = end->scale;
	}
	rec->seq = in->seq;
	rec->ack = in->ack;
	rec->win = in->window;
	flow->tcp[0].scale |= in->syn_scale << 4;
	flow->tcp[0].shared = in->rec_end;
	flow->tcp[1].shared = in->rec_end >> 16;
	flow->tcp[0].aux = in->again;
	flow->tcp[1].aux = in->last | CT_LAST_SEQ_SHOWN | CT_LAST_ACK_SHOWN;
	if (in->last_dir)
		flow->tcp[1].aux |= CT_LAST_REPLY | CT_LAST_REC_REPLY;
	if (in->window)
		flow->tcp[1].aux |= CT_LAST_REC_WIN;
}

/* Of the remembered segment only what every later segment may ask for. */
static void ct_native_get(const struct ct_flow *flow, struct ct_native_tcp *out)
{
	__u64 word = flow->word;

	memset(out, 0, sizeof(*out));
	for (int dir = 0; dir < CT_DIRS; dir++) {
		const struct ct_tcp_end *end = &flow->tcp[dir];
		struct ct_native_tcp_end *to = &out->end[dir];

		to->end = end->end;
		to->maxend = end->maxend;
		to->maxwin = end->maxwin;
		to->has_maxack = !!(end->bits & CT_END_MAXACK);
		to->maxack = to->has_maxack ? end->maxack : 0;
		to->unacked = !!(end->bits & CT_END_UNACKED);
		to->scale = end->scale & 15;
		to->closed = !!(word & ct_end_bit(CT_W_FIN_SHIFT, dir));
		to->scales = !!(word & ct_end_bit(CT_W_WSCALE_SHIFT, dir));
		to->sacks = !!(word & ct_end_bit(CT_W_SACK_SHIFT, dir));
		to->liberal = !!(word & ct_end_bit(CT_W_LIBERAL_SHIFT, dir));
	}
	out->rec_end = ct_rec_end(flow);
	out->window = !!(flow->tcp[1].aux & CT_LAST_REC_WIN);
	out->state = ct_word_state(word);
	out->assured = !!(word & CT_W_ASSURED);
	out->last = flow->tcp[1].aux & CT_LAST_SEGMENT;
	out->last_dir = ct_last_dir(flow);
	out->again = flow->tcp[0].aux;
	out->syn_scale = flow->tcp[0].scale >> 4;
	out->syn_scales = !!(word & CT_W_SYN_WSCALE);
	out->syn_sacks = !!(word & CT_W_SYN_SACK);
	out->challenge = !!(word & CT_W_CHALLENGE);
	out->simopen = !!(word & CT_W_SIMOPEN);
	out->timeout = (word & CT_W_TMO) >> CT_W_TMO_SHIFT;
	out->age = CT_NATIVE_NOW - flow->seen;
}

static void ct_native_settings(const struct ct_native_question *q)
{
	memcpy(ct_settings.timeout_ns, q->timeout_ns, sizeof(q->timeout_ns));
	ct_settings.tcp_be_liberal = q->be_liberal;
	ct_settings.tcp_ignore_invalid_rst = q->ignore_invalid_rst;
	ct_settings.tcp_max_retrans = q->max_retrans;
}

/*
 * The answer: enum ct_answer. `fast`: 0 if the short way does not take this segment, 1 if it
 * comes to the same, 2 if it does not.
 */
__u32 ct_native_tcp_ask(const struct ct_native_tcp *in, const struct ct_native_question *q,
			struct ct_native_tcp *out, __u32 *fast)
{
	struct ct_flow flow, other;
	struct ct_tcp_effect fx;
	struct ct_pkt pkt = {
		.now = CT_NATIVE_NOW,
		.proto = 6,
		.segs = 1,
		.seq = q->seq,
		.ack = q->ack,
		.payload = q->payload,
		.sack = q->sack,
		.window = q->window,
		.tcp_flags = q->flags,
		.options = q->options,
		.wscale = q->wscale,
	};

	ct_native_settings(q);
	ct_native_put(in, &flow);
	other = flow;
	ct_effect_begin(&fx);
	*fast = ct_tcp_fast(&other, &other.word, q->dir, &pkt, &fx);
	if (*fast)
		ct_tcp_apply(&other, q->dir, &pkt, &fx);
	ct_effect_begin(&fx);
	if (ct_tcp_step(&flow, flow.word, q->dir, &pkt, &fx))
		ct_tcp_decide(&flow, flow.word, q->dir, &pkt, &fx);
	if (fx.answer != CT_REOPEN && fx.answer != CT_END) {
		flow.word = fx.word;
		ct_tcp_apply(&flow, q->dir, &pkt, &fx);
		if (fx.mismatch)
			ct_tcp_mismatch(&flow, flow.word, q->dir, &pkt);
	}
	if (*fast && (fx.answer != CT_ACCEPT || memcmp(&flow, &other, sizeof(flow))))
		*fast = 2;
	ct_native_get(&flow, out);
	return fx.answer;
}

/* By the type on the wire; 255 for a chunk that changes no state. */
__u32 ct_native_sctp_next(__u32 dir, __u8 type, __u8 state)
{
	__u32 kind = ct_sctp_kind(type);

	return kind == CT_CHUNK_OTHER ? 255 : ct_sctp_next(dir, kind, state);
}
