/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The background sweep: takes out flows whose time is up, so that DESTROY comes
 * without a packet that would need the slot. A timer in a pinned map, no process
 * of ours. Each tick it looks at a slice of the tables, and stops early when the
 * slice takes long; the next tick then comes sooner.
 *
 * It runs in soft interrupts, as packet programs do: on one CPU they do not meet,
 * so counters are plain. With packets on other CPUs it agrees through the word: a
 * flow is taken out by compare-and-swap of the word that was judged. A packet that
 * came at its very deadline and moved `seen` in between finds, when it has
 * counted, that the slot is not its flow's any more, and opens the tuple anew. The
 * clock is the coarse one, as the packets', so a flow is never over sooner here.
 */
#ifndef CT_SWEEP_H
#define CT_SWEEP_H

#include "settle.h"

/* A slice may take this long, nanoseconds; the clock is looked at every so many buckets. A
 * packet that comes to this CPU meanwhile waits for its end. */
#define CT_SLICE_NS 800000
#define CT_LOOK	    16
/* The next tick when a slice was cut short. */
#define CT_HURRY_NS 1000000
/* Slices in a time round, if none is cut short: of so many buckets, as a packet is to wait
 * for tens of microseconds rather than hundreds; but no fewer and no more than this, as
 * each wakes a CPU. */
#define CT_SLICE_BUCKETS 64
#define CT_SLICES_MIN	 128
#define CT_SLICES_MAX	 2048
/* The shortest and longest time between two ticks. */
#define CT_TICK_MIN 1000000
#define CT_TICK_MAX (CT_NSEC)
/* How often it is looked how full the tables are, at most. */
#define CT_WEIGH_NS (CT_NSEC / 20)
/* Most buckets in one slice; the clock ends it long before. */
#define CT_SLICE_MAX (1 << 20)

#define CT_CLOCK_MONOTONIC 1

/* A flow of this slot whose time is up: taken out, counted, told. */
static __always_inline void ct_sweep_slot(struct ct_slice *slice, struct ct_event *event,
					  struct ct_bucket_head *head, __u32 bucket, __u32 slot,
					  int v6)
{
	struct ct_flow *flow = ct_slot(head, slot, v6);
	struct ct_cpu *cpu = ct_cpu_of(bpf_get_smp_processor_id());
	enum ct_gone why;
	struct ct_ref ref = {
		.flow = flow,
		.head = head,
		.slot = slot,
		.place = bucket * CT_SLOTS + slot,
		.word = ct_load(&flow->word),
	};

	if (!cpu || ct_phase_of(ref.word) != CT_LIVE || !ct_expired(flow, ref.word, slice->now))
		return;
	if (!ct_close(&ref))
		return;
	why = ct_expiry(flow, ref.word);
	ct_count_gone(cpu, v6, why);
	ct_tell(event, &ref, v6, ref.word, CT_EVENT_DESTROY, why);
	ct_give_back(&ref, slice->now);
	/* Not indexed: the verifier would follow each reason by itself. */
	slice->removed[CT_GONE_TIMEOUT] += why == CT_GONE_TIMEOUT;
	slice->removed[CT_GONE_FIN] += why == CT_GONE_FIN;
	slice->removed[CT_GONE_RST] += why == CT_GONE_RST;
}

static __always_inline int ct_sweep_in(struct ct_slice *slice, struct ct_event *event,
				       struct ct_bucket_head *head, __u32 bucket, int v6)
{
	__u32 used = ~ct_untagged(head) & ((1U << CT_SLOTS) - 1);

	for (int i = 0; i < CT_SLOTS && used; i++, used &= used - 1) {
		slice->scanned++;
		ct_sweep_slot(slice, event, head, bucket, ct_lowest(used), v6);
	}
	return 0;
}

/* A bucket of either table; as plain memory, so that the verifier walks through it once. */
__weak __noinline int ct_sweep_in4(struct ct_slice *slice, struct ct_event *event,
				   struct ct_bucket4 *bucket, __u32 number)
{
	return slice && event && bucket ? ct_sweep_in(slice, event, &bucket->head, number, 0) : 0;
}

__weak __noinline int ct_sweep_in6(struct ct_slice *slice, struct ct_event *event,
				   struct ct_bucket6 *bucket, __u32 number)
{
	return slice && event && bucket ? ct_sweep_in(slice, event, &bucket->head, number, 1) : 0;
}

/* One bucket. Returns 1 to stop: the slice takes too long. */
static __always_inline long ct_sweep_bucket(struct ct_sweeper *s, int v6)
{
	struct ct_slice *slice = &s->slice;
	__u32 bucket = s->bucket;

	if (v6)
		ct_sweep_in6(slice, &s->event, ct_any_bucket(bucket, 1), bucket);
	else
		ct_sweep_in4(slice, &s->event, ct_any_bucket(bucket, 0), bucket);
	s->bucket = bucket + 1;
	if (slice->left--)
		return 0;
	slice->left = CT_LOOK;
	slice->cut = bpf_ktime_get_ns() >= slice->deadline;
	return slice->cut;
}

static long ct_sweep_bucket4(__u32 i, void *sweeper)
{
	return ct_sweep_bucket(*(struct ct_sweeper **)sweeper, 0);
}

static long ct_sweep_bucket6(__u32 i, void *sweeper)
{
	return ct_sweep_bucket(*(struct ct_sweeper **)sweeper, 1);
}

/* Goes on in one table, `n` buckets at the most; how many it did. */
static __always_inline __u32 ct_sweep_table(struct ct_sweeper *s, __u32 n)
{
	__u32 buckets = ct_own_buckets(s->v6) + ct_other_buckets(s->v6);
	__u32 from = s->bucket;

	if (from >= buckets)
		s->bucket = from = 0;
	if (n > buckets - from)
		n = buckets - from;
	s->slice.left = CT_LOOK;
	if (s->v6)
		bpf_loop(n, ct_sweep_bucket6, &s, 0);
	else
		bpf_loop(n, ct_sweep_bucket4, &s, 0);
	n = s->bucket - from;
	if (s->bucket >= buckets) {
		s->bucket = 0;
		s->v6 = !s->v6;
	}
	return n;
}

/* A time round is over. */
static __always_inline void ct_sweep_round(struct ct_sweeper *s)
{
	__u64 now = bpf_ktime_get_ns();

	s->stats.runs++;
	s->stats.round_ns = now - s->stats.began;
	s->stats.began = now;
}

static __always_inline void ct_sweep_slice(struct ct_sweeper *s, __u32 n)
{
	__u32 was6 = s->v6;

	n -= ct_sweep_table(s, n);
	/* The rest of the slice goes to IPv6's table; a new time round begins with the next. */
	if (n && !s->slice.cut && !was6 && s->v6)
		ct_sweep_table(s, n);
}

/* Flows of both tables, over all CPUs. */
struct ct_sum {
	__s64 live[2];
};

static long ct_add_live(__u32 i, void *into)
{
	struct ct_sum *sum = into;
	struct ct_cpu *cpu = ct_cpu_of(i);

	if (!cpu)
		return 1;
	sum->live[0] += cpu->live[0];
	sum->live[1] += cpu->live[1];
	return 0;
}

/* Up at 80 and 95 %, down at 75 and 90: so that it does not flutter. */
static __always_inline enum ct_pressure ct_pressure_of(__u64 live, __u64 max, __u32 before)
{
	__u64 percent = max ? live * 100 / max : 0;

	if (percent >= 95 || (before == CT_PRESSURE_CRITICAL && percent >= 90))
		return CT_PRESSURE_CRITICAL;
	if (percent >= 80 || (before != CT_PRESSURE_NONE && percent >= 75))
		return CT_PRESSURE_HIGH;
	return CT_PRESSURE_NONE;
}

static __always_inline void ct_press(struct ct_sweeper *s, __u64 live, __u64 max, int v6, __u64 now)
{
	struct ct_event *e = &s->event;
	__u32 level = ct_pressure_of(live, max, s->pressure[v6]);

	if (level == s->pressure[v6])
		return;
	s->pressure[v6] = level;
	if (!ct_heard(CT_EVENT_PRESSURE))
		return;
	__builtin_memset(e, 0, sizeof(*e));
	e->time = now;
	e->type = CT_EVENT_PRESSURE;
	e->reason = level;
	e->family = v6 ? 6 : 4;
	e->packets[0] = live;
	e->packets[1] = max;
	ct_event_send(e);
}

static __always_inline void ct_weigh(struct ct_sweeper *s, __u64 now)
{
	struct ct_sum sum = {};

	if (now - s->weighed < CT_WEIGH_NS)
		return;
	s->weighed = now;
	bpf_loop(cfg_cpus, ct_add_live, &sum, 0);
	ct_press(s, sum.live[0] < 0 ? 0 : sum.live[0], cfg_max_flows4, 0, now);
	ct_press(s, sum.live[1] < 0 ? 0 : sum.live[1], cfg_max_flows6, 1, now);
}

static __always_inline __u64 ct_all_buckets(void)
{
	return (__u64)cfg_buckets4 + cfg_other_buckets4 + cfg_buckets6 + cfg_other_buckets6;
}

/* The timer's callback; it starts the timer again. */
static int ct_sweep_tick(void *map, int *key, struct ct_sweeper *s)
{
	__u64 begin = bpf_ktime_get_ns(), period = ct_settings.sweep_ns, spent;
	__u64 buckets = ct_all_buckets(), slices = buckets / CT_SLICE_BUCKETS, tick, n = 0;
	struct ct_slice *slice = &s->slice;
	int hurry = s->stats.runs < s->asked;

	__builtin_memset(slice, 0, sizeof(*slice));
	slice->now = ct_now_coarse();
	slice->deadline = begin + CT_SLICE_NS;
	if (slices < CT_SLICES_MIN)
		slices = CT_SLICES_MIN;
	if (slices > CT_SLICES_MAX)
		slices = CT_SLICES_MAX;
	tick = period / slices;
	if (!period || tick > CT_TICK_MAX)
		tick = CT_TICK_MAX;
	if (tick < CT_TICK_MIN)
		tick = CT_TICK_MIN;
	if (hurry)
		n = CT_SLICE_MAX;
	else if (period)
		n = buckets * tick / period + 1;
	if (n)
		ct_sweep_slice(s, n > CT_SLICE_MAX ? CT_SLICE_MAX : n);
	ct_weigh(s, slice->now);
	spent = bpf_ktime_get_ns() - begin;
	s->stats.slices++;
	s->stats.scanned += slice->scanned;
	for (int i = 0; i < CT_GONE_BY_TIME; i++)
		s->stats.removed[i] += slice->removed[i];
	s->stats.time_ns += spent;
	if (spent > s->stats.worst_ns)
		s->stats.worst_ns = spent;
	/* Last: who waits for it reads what was removed. */
	if (n && !s->v6 && !s->bucket)
		ct_sweep_round(s);
	/* A time round is to take its period, what is spent in the slices included. */
	tick = tick > spent + CT_HURRY_NS ? tick - spent : CT_HURRY_NS;
	bpf_timer_start(&s->timer, hurry || slice->cut ? CT_HURRY_NS : tick, 0);
	return 0;
}

/*
 * Run by user space when an instance is set up, or when another program takes
 * over; and, with a mark, to ask for a time round at once. Who asks leaves the
 * callback alone: it may have become a newer program's.
 */
SEC("tc")
int ct_sweep_start(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct ct_sweeper *s = bpf_map_lookup_elem(&ct_sweep, &key);

	if (!s)
		return 1;
	if (skb->mark) {
		/* Two: the one that is under way may be past what the asker means. */
		s->asked = s->stats.runs + 2;
	} else {
		/* Refused if that has been done before, which does no harm. */
		bpf_timer_init(&s->timer, &ct_sweep, CT_CLOCK_MONOTONIC);
		if (bpf_timer_set_callback(&s->timer, ct_sweep_tick))
			return 2;
	}
	if (!s->stats.began)
		s->stats.began = bpf_ktime_get_ns();
	return bpf_timer_start(&s->timer, 0, 0) ? 3 : 0;
}

#endif
