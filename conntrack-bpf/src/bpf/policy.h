/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * When bans are asked, and what of their answer is kept.
 *
 * A flow keeps that no ban concerns its ends, and under which generation that was
 * found. The generation changes when something was banned, or is no longer
 * allowed: that of the shard of its address, or everybody's. A flow that some ban
 * concerns keeps just that (CT_W_DROP), and is asked about with each packet: so
 * hits are exact, a ban ends on time, and who was unbanned goes on, without
 * anybody having to tell the flow.
 *
 * The generation has 15 bits. A flow without a packet while exactly 32,768 of its
 * changes come about, or a multiple, would take the last answer for the present one.
 */
#ifndef CT_POLICY_H
#define CT_POLICY_H

#include "hint.h"

/*
 * Of IPv4 the /24, of IPv6 the /64: what is banned by itself is in one shard. User space
 * knows this, too (policy.rs).
 */
static __always_inline __u32 ct_shard(const __u32 *addr, int v6)
{
	if (v6)
		return (addr[0] * 0x9e3779b1U + addr[1] * 0x85ebca77U) >> 24;
	return ((addr[0] & bpf_htonl(0xffffff00)) * 0x9e3779b1U) >> 24;
}

/* Of the policy for both ends of the packet's flow; never 0, which is that of nobody. */
static __always_inline __u32 ct_generation(const struct ct_key *key, int v6)
{
	__u32 sum = ct_policy.all, lo = ct_shard(key->lo, v6), hi = ct_shard(key->hi, v6);

	sum += ct_policy.gen[lo] + ct_policy.gen[hi];
	return (sum & 0x7fff) | 0x8000;
}

/* Must bans be asked before this packet is the flow's, whose word this is? 0: of none. */
static __always_inline int ct_due(struct ct_work *w, __u64 word, int v6)
{
	if (!ct_policy.active || w->ask.asked == CT_ASK_ALL)
		return 0;
	/* Before they are asked: what changes meanwhile will be found to have changed. */
	w->ask.generation = ct_generation(&w->key, v6);
	return (word & CT_W_POLICY) >> CT_W_POLICY_SHIFT != w->ask.generation || word & CT_W_DROP;
}

/* The word of a flow, with the answer in it. */
static __always_inline __u64 ct_word_judged(const struct ct_work *w, __u64 word)
{
	word &= ~(CT_W_POLICY | CT_W_DROP);
	word |= (__u64)w->ask.generation << CT_W_POLICY_SHIFT;
	return w->ask.concerned ? word | CT_W_DROP : word;
}

/*
 * Asks about a packet, and keeps the answer in its flow, if it has one. The word
 * changes by compare-and-swap, and that only as for the answer; if another CPU
 * changed it meanwhile, the flow's next packet asks again. A packet that is dropped
 * touches nothing else of its flow. Returns enum ct_verdict.
 */
static __always_inline int ct_judge(struct ct_work *w, int found, int v6)
{
	int verdict = ct_ask(w, CT_ASK_ALL & ~w->ask.asked);
	struct ct_bucket_head *head;
	struct ct_ref ref = {};
	__u64 word;

	if (verdict == CT_VERDICT_DROP && w->ask.source)
		ct_hint_take(w);
	if (!found)
		return verdict;
	head = ct_any_bucket(w->taken_bucket, v6);
	if (!head)
		return verdict;
	ct_take_in(w, head, v6, &ref);
	word = ct_word_judged(w, ref.word);
	if (word != ref.word)
		__sync_val_compare_and_swap(&ref.flow->word, ref.word, word);
	return verdict;
}

__weak __noinline int ct_judge4(struct ct_work *w, int found)
{
	return w ? ct_judge(w, found, 0) : CT_VERDICT_PASS;
}

__weak __noinline int ct_judge6(struct ct_work *w, int found)
{
	return w ? ct_judge(w, found, 1) : CT_VERDICT_PASS;
}

/*
 * Asks about a packet that is not simply one of a flow: a fragment, an ICMP error,
 * what is INVALID or could not be parsed. Neighbour discovery is never dropped: it
 * comes from the link itself, which is to stay reachable. Of fragments ports are
 * asked about later, when those of the first one are known.
 */
__weak __noinline int ct_ask_stray(struct ct_work *w, __u32 parsed)
{
	__u32 scopes = CT_ASK_ALL;

	if (!w || w->pkt.neighbour)
		return CT_VERDICT_PASS;
	w->ask.bytes = w->pkt.bytes;
	if (w->frame.fragmented && parsed == CT_PARSED && w->pkt.kind < CT_KIND_ERROR)
		scopes &= ~(1U << CT_SCOPE_PORT);
	return ct_ask(w, scopes);
}

static __always_inline int ct_stray_dropped(struct ct_work *w, enum ct_pass parsed)
{
	if (!ct_policy.active)
		return 0;
	if (!w->frame.fragmented && parsed == CT_PARSED && w->pkt.kind == CT_KIND_FLOW)
		return 0;
	return ct_ask_stray(w, parsed) == CT_VERDICT_DROP;
}

#endif
