// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The three entries. XDP, or TC where XDP cannot be had, sees what comes in;
 * TC sees what goes out. They turn a context into a frame and a verdict into
 * a return code; everything between is pipeline.h.
 *
 * Passing in TC is TC_ACT_UNSPEC, which in tcx is TCX_NEXT: the programs after
 * ours have their say.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "types.h"
#include "config.h"
#include "maps.h"
#include "tick.h"
#include "early.h"
#include "parse_frame.h"
#include "pipeline.h"
#include "evacuate.h"
#include "remove.h"
#include "sweep.h"

#define CT_PULL 2048 /* bytes of headers asked for when a packet's are not in one piece */

/* SYN, FIN and RST delimit durations; they are stamped precisely. After parsing. */
static __always_inline void ct_stamp(struct ct_work *w)
{
	int precise = w->pkt.proto == IPPROTO_TCP &&
		      (w->pkt.tcp_flags & (CT_TCP_SYN | CT_TCP_FIN | CT_TCP_RST));

	w->pkt.now = precise ? ct_now() : ct_now_of_tick(w);
}

/* Takes the scratch, unless a packet that this one has interrupted is using it. */
static __always_inline int ct_work_begin(struct ct_work *w)
{
	return !cfg_realtime || !__sync_lock_test_and_set(&w->busy, 1);
}

static __always_inline void ct_work_end(struct ct_work *w)
{
	if (cfg_realtime)
		__sync_lock_test_and_set(&w->busy, 0);
}

SEC("xdp.frags")
int ct_xdp(struct xdp_md *ctx)
{
	struct ct_mem m = {
		.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
		.ctx = ctx,
		.xdp = 1,
		/* A capture may have packets that a card was to finish. */
		.verify = !cfg_replay || ct_settings.checksum,
	};
	struct ct_iface *iface = ct_iface_of(ctx->ingress_ifindex);
	__u32 number = bpf_get_smp_processor_id();
	struct ct_work *w = ct_work_of(number);
	struct ct_cpu *cpu = ct_cpu_of(number);
	enum ct_verdict verdict;
	enum ct_pass pass;

	if (!w || !cpu)
		return XDP_PASS;
	if (!ct_work_begin(w)) {
		ct_count_pass(cpu, CT_PASS_BUSY, 1);
		return XDP_PASS;
	}
	w->cpu = number;
	if (ct_early_dropped(w, cpu, &m, iface)) {
		ct_work_end(w);
		return XDP_DROP;
	}
	ct_pkt_begin(&w->pkt, &w->frame, 1, ctx->ingress_ifindex);
	w->frame.wire_len = cfg_replay ? ct_replay.wire_len : ctx->data_end - ctx->data;
	pass = ct_parse(&m, &w->frame, &w->pkt, iface && (iface->flags & CT_IF_RAW_IP));
	ct_stamp(w);
	verdict = ct_track(w, cpu, pass, iface, 0);
	ct_work_end(w);
	return verdict == CT_VERDICT_DROP ? XDP_DROP : XDP_PASS;
}

/* What is in reach; checked by the verifier once, however often it is called. */
__weak __noinline int ct_parse_here(struct __sk_buff *ctx, struct ct_frame *f, struct ct_pkt *pkt,
				    int raw_ip)
{
	struct ct_mem m = {
		.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
		.ctx = ctx,
		.xdp = 0,
		/* What this host makes is right. */
		.verify = ctx->ingress_ifindex && (!cfg_replay || ct_settings.checksum),
	};

	return f && pkt ? ct_parse(&m, f, pkt, raw_ip) : CT_PASS_INTERNAL;
}

/*
 * Headers of a TC packet are mostly in one piece. Where they are not, they are
 * pulled together once and parsed again; pulling always would copy the clones
 * that TCP sends.
 */
static __always_inline enum ct_pass ct_parse_skb(struct __sk_buff *skb, struct ct_work *w,
						 int raw_ip)
{
	enum ct_pass pass = CT_PASS_TRUNCATED;
	__u32 segs = skb->gso_segs, size = 0;

	/* What a guest sends by a tap is not counted before somebody cuts it. */
	if (!segs) {
		size = skb->gso_size;
		segs = size ? 2 : 1;
	}

	for (int i = 0; i < 2; i++) {
		ct_pkt_begin(&w->pkt, &w->frame, segs, skb->ifindex);
		w->frame.wire_len = skb->len;
		w->frame.gso_size = size;
		w->frame.beyond = 0;
		pass = ct_parse_here(skb, &w->frame, &w->pkt, raw_ip);
		if ((pass != CT_PASS_TRUNCATED && !w->frame.beyond) ||
		    skb->data_end - skb->data >= skb->len)
			break;
		if (bpf_skb_pull_data(skb, skb->len < CT_PULL ? skb->len : CT_PULL))
			break;
	}
	if (w->frame.gso_size)
		w->pkt.segs = 1;
	return pass;
}

static __always_inline int ct_tc(struct __sk_buff *skb, const struct ct_iface *iface, int egress)
{
	__u32 number = bpf_get_smp_processor_id();
	struct ct_work *w = ct_work_of(number);
	struct ct_cpu *cpu = ct_cpu_of(number);
	enum ct_verdict verdict;
	enum ct_pass pass;

	if (!w || !cpu)
		return TC_ACT_UNSPEC;
	if (!ct_work_begin(w)) {
		ct_count_pass(cpu, CT_PASS_BUSY, 1);
		return TC_ACT_UNSPEC;
	}
	w->cpu = number;
	pass = ct_parse_skb(skb, w, iface && (iface->flags & CT_IF_RAW_IP));
	ct_stamp(w);
	verdict = ct_track(w, cpu, pass, iface, egress);
	ct_work_end(w);
	return verdict == CT_VERDICT_DROP ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

SEC("tc")
int ct_tc_ingress(struct __sk_buff *skb)
{
	return ct_tc(skb, ct_iface_of(skb->ifindex), 0);
}

/*
 * A packet that came in on an interface of ours, or on a device stacked upon
 * one, has been counted there. One of this host's own has ingress_ifindex 0.
 */
SEC("tc")
int ct_tc_egress(struct __sk_buff *skb)
{
	if (skb->ingress_ifindex && ct_iface_of(skb->ingress_ifindex)) {
		struct ct_cpu *cpu = ct_cpu_of(bpf_get_smp_processor_id());

		if (cpu)
			ct_count_pass(cpu, CT_PASS_DUPLICATE, 1);
		return TC_ACT_UNSPEC;
	}
	return ct_tc(skb, ct_iface_of(skb->ifindex), 1);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
