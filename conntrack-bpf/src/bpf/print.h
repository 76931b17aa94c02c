/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counts SYNs and SYN+ACKs by what they tell of their sender, and keeps the last record of
 * each source. Done where a packet has passed, so what is dropped costs no more for it.
 *
 * Whoever floods with records or sources of his own making makes new entries. A CPU puts
 * in only so many in a slice of time, and counts those it leaves out; what is known
 * already goes on to be counted.
 *
 * Races: counts are atomic adds. Two CPUs that see something new at the same moment both
 * put it in, and one of their packets is not counted. The record of a source is never
 * changed in place, for that would be torn: where it differs the entry is put in anew, and
 * packets that come meanwhile on other CPUs are not counted. The last source of a signature
 * is that of the first segment in a millisecond, or in a flood all CPUs would take turns
 * at it. It is written by one CPU at a time; one that finds another at it leaves it to
 * that. A flow keeps a record's id, one word for each end, of whoever wrote last.
 */
#ifndef CT_PRINT_H
#define CT_PRINT_H

#include "key.h"
#include "print_walk.h"
#include "side.h"
#include "work.h"
#include "stats.h"

/* May this CPU put one more new entry in? Counts it if not. */
static __always_inline int ct_print_room(struct ct_work *w, enum ct_unprinted which)
{
	__u32 slice = w->pkt.now >> CT_PRINT_SLICE;
	__u32 most = which == CT_UNPRINTED_SOURCE ? CT_PRINT_NEW_SOURCES : CT_PRINT_NEW;
	struct ct_cpu *cpu;

	if (cfg_print_all)
		return 1;
	if (w->print_slice != slice) {
		w->print_slice = slice;
		w->print_new[CT_UNPRINTED_SIGNATURE] = 0;
		w->print_new[CT_UNPRINTED_SOURCE] = 0;
	}
	if (w->print_new[which] < most) {
		w->print_new[which]++;
		return 1;
	}
	cpu = ct_cpu_of(w->cpu);
	if (cpu)
		cpu->unprinted[which]++;
	return 0;
}

/* Of a record: what flows keep of it. As with flows, nobody can choose what collides. */
static __always_inline __u64 ct_print_id(const struct ct_print *print)
{
	const __u32 *word = (const __u32 *)print;
	__u64 h = 0;

#pragma unroll
	for (int i = 0; i < 10; i += 2)
		h += ct_nh(word[i], word[i + 1], cfg_hash_seed + i);
	h = ct_mix(h);
	return h ? h : 1;
}

static __always_inline void ct_print_source(struct ct_printed *known, const struct ct_pkt *pkt)
{
	int v6 = pkt->family == 6;

	known->addr[0] = pkt->src[0];
	known->addr[1] = v6 ? pkt->src[1] : 0;
	known->addr[2] = v6 ? pkt->src[2] : 0;
	known->addr[3] = v6 ? pkt->src[3] : 0;
	known->port_be = pkt->src_port_be;
}

/* Counts w's record. */
__weak __noinline int ct_print_signature(struct ct_work *w)
{
	struct ct_printed *known, first = {};
	struct ct_print key;
	__u64 turn, was;

	if (!w)
		return 0;
	key = w->frame.syn.print;
	known = bpf_map_lookup_elem(&ct_prints, &key);
	if (!known) {
		if (!ct_print_room(w, CT_UNPRINTED_SIGNATURE))
			return 0;
		first.count = 1;
		first.first = first.last = w->pkt.now;
		first.id = ct_print_id(&key);
		ct_print_source(&first, &w->pkt);
		return bpf_map_update_elem(&ct_prints, &key, &first, BPF_NOEXIST);
	}
	__sync_fetch_and_add(&known->count, 1);
	was = ct_load(&known->last);
	known->last = w->pkt.now;
	if (!((was ^ w->pkt.now) >> CT_PRINT_SOURCE))
		return 0;
	turn = ct_load(&known->turns);
	if (ct_load(&known->turn) == turn &&
	    __sync_val_compare_and_swap(&known->turns, turn, turn + 1) == turn) {
		ct_print_source(known, &w->pkt);
		__sync_lock_test_and_set(&known->turn, turn + 1);
	}
	return 0;
}

static __always_inline void ct_print_key(struct ct_print_key *key, const struct ct_pkt *pkt,
					 const __u32 *addr, int synack)
{
	int v6 = pkt->family == 6;

	__builtin_memset(key, 0, sizeof(*key));
	key->family = pkt->family;
	key->synack = synack;
	key->addr[0] = addr[0];
	key->addr[1] = v6 ? addr[1] : 0;
	key->addr[2] = v6 ? addr[2] : 0;
	key->addr[3] = v6 ? addr[3] : 0;
}

static __always_inline int ct_print_same(const struct ct_print *a, const struct ct_print *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}

/* Keeps w's record as the last of its source. */
__weak __noinline int ct_print_sender(struct ct_work *w)
{
	struct ct_print_of *known, now = {};
	struct ct_print_key key;

	if (!w)
		return 0;
	ct_print_key(&key, &w->pkt, w->pkt.src, !!(w->frame.syn.print.bits & CT_P_SYNACK));
	known = bpf_map_lookup_elem(&ct_print_of, &key);
	if (known && ct_print_same(&known->print, &w->frame.syn.print)) {
		__sync_fetch_and_add(&known->count, 1);
		known->last = w->pkt.now;
		return 0;
	}
	if (!ct_print_room(w, CT_UNPRINTED_SOURCE)) {
		/* Another record of a known source: that there was a segment is kept. */
		if (known) {
			__sync_fetch_and_add(&known->count, 1);
			known->last = w->pkt.now;
		}
		return 0;
	}
	now.print = w->frame.syn.print;
	now.count = known ? known->count + 1 : 1;
	now.first = known ? known->first : w->pkt.now;
	now.last = w->pkt.now;
	return bpf_map_update_elem(&ct_print_of, &key, &now, BPF_ANY);
}

/*
 * The MSS of the SYN that a SYN+ACK answers: that of the last SYN of the address it goes
 * to. Where hosts share that address it may be another's; then the window mostly does not
 * follow from it, and the record does without.
 */
__weak __noinline int ct_print_answers(struct ct_work *w)
{
	struct ct_print_of *known;
	struct ct_print_key key;

	if (!w || !w->frame.syn.print.window)
		return 0;
	ct_print_key(&key, &w->pkt, w->pkt.dst, 0);
	known = bpf_map_lookup_elem(&ct_print_of, &key);
	if (known)
		w->frame.syn.print.peer_mss =
			ct_print_peer(w->frame.syn.print.window, known->print.mss);
	return 0;
}

/* Do flows keep the fingerprints of their ends? A constant to the verifier. */
static __always_inline int ct_print_kept(void)
{
	return cfg_prints && ct_side_on();
}

/* This packet begins a flow: w->frame.syn.opener. */
__weak __noinline int ct_print_begin(struct ct_work *w)
{
	if (!w)
		return 0;
	w->frame.syn.opener = 0;
	/* It may have been another flow's before that went. */
	w->frame.syn.taken = 0;
	if (!(w->pkt.tcp_flags & CT_TCP_SYN) || w->frame.syn.there == CT_SYN_NONE)
		return 0;
	ct_print_make(&w->frame.syn);
	w->frame.syn.opener = ct_print_id(&w->frame.syn.print);
	return 0;
}

/* Before a flow is changed by a segment, of which it makes `answer`. */
static __always_inline void ct_print_taken(struct ct_work *w, const struct ct_flow *flow,
					   enum ct_dir dir, enum ct_answer answer)
{
	struct ct_syn *syn = &w->frame.syn;

	if (!ct_print_kept() || w->pkt.proto != IPPROTO_TCP)
		return;
	syn->start = flow->start;
	syn->dir = dir & 1;
	/* The SYN of an end that opens, too, is none that keeps a flow alive, but changes it. */
	syn->taken = answer == CT_ACCEPT ||
		     (answer == CT_IGNORE && ((w->fx.word ^ w->taken_word) & CT_W_STATE));
	if (dir == CT_REPLY && w->fx.note && answer != CT_END)
		syn->moves = ct_opener(flow);
}

/* The entry of w's flow, which is given one if need be; or NULL. */
static __always_inline struct ct_side *ct_print_side(struct ct_work *w)
{
	ct_side_begin(w, w->frame.syn.start, 0);
	return ct_side_take(w) ? ct_side_of(w) : NULL;
}

/* The answer has come: the opener's id goes where there is room for both. */
__weak __noinline int ct_print_move(struct ct_work *w)
{
	struct ct_side *side = w ? ct_print_side(w) : NULL;

	if (side)
		side->print[CT_ORIGINAL] = w->frame.syn.moves;
	return 0;
}

/* Keeps w's record as that of an end of its flow. */
__weak __noinline int ct_print_flow(struct ct_work *w)
{
	struct ct_side *side;

	if (!w || !ct_print_kept() || !w->frame.syn.taken)
		return 0;
	side = ct_print_side(w);
	if (side)
		side->print[w->frame.syn.dir & 1] = ct_print_id(&w->frame.syn.print);
	return 0;
}

/* A segment with SYN has passed. */
__weak __noinline int ct_print(struct ct_work *w)
{
	if (!w || w->frame.syn.there == CT_SYN_NONE)
		return 0;
	ct_print_make(&w->frame.syn);
	if (w->frame.syn.print.bits & CT_P_SYNACK)
		ct_print_answers(w);
	ct_print_signature(w);
	ct_print_sender(w);
	return ct_print_flow(w);
}

#endif
