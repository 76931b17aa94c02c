// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The flow table and the packet's way through it, on memory of the test's. The
 * maps, the settings and the CPU number are what this file makes of them; all
 * else is the packet path's own code.
 *
 * Compiled several times, each under its own CT_NAME: see build.rs.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <stdlib.h>

#include "native.h"
#include "types.h"

#define CT_THREADS 8
#define CT_ENDS	   256 /* flows one operation may end: no more than a sweep finds */

struct ct_world {
	__u32 buckets4, buckets6;
	__u32 seed[12];
	struct ct_settings settings;
	struct ct_cpu cpu[CT_THREADS];
	struct ct_listener listener; /* to DESTROY events */
	struct ct_bucket4 *table4;
	struct ct_bucket6 *table6;
};

/* Where a thread is, as a packet is in one network namespace. */
static _Thread_local struct ct_world *ct_here;
static _Thread_local __u32 ct_thread;

/* What the DESTROY events of a thread's last operation said. */
static _Thread_local struct ct_native_end ct_ends[CT_ENDS];
static _Thread_local __u32 ct_ended;

/* Instead of config.h: what a loader fixes, and globals, are each table's own. */
#define CT_CONFIG_H
#define cfg_buckets4   (ct_here->buckets4)
#define cfg_buckets6   (ct_here->buckets6)
#define cfg_hash_seed  (ct_here->seed)
#define ct_settings    (ct_here->settings)
#define cfg_cpus       CT_THREADS
#define cfg_max_flows4 0 /* no PRESSURE */
#define cfg_max_flows6 0
#define cfg_replay     0
static struct ct_replay ct_replay;
static struct ct_iface ct_ifaces[CT_IF_SLOTS];

/* Instead of maps.h: names with addresses. */
#define CT_MAPS_H
static char ct_table4, ct_table6, ct_cpu, ct_ifstats, ct_listeners, ct_rings, ct_sweep, ct_frag;

static long bpf_ringbuf_output(void *ring, void *data, __u64 size, __u64 flags);

/* No packet of the test comes in fragments. */
static __always_inline void *bpf_map_lookup_elem(const void *map, const void *of)
{
	const __u32 *key = of;

	if (map == &ct_table4)
		return *key < ct_here->buckets4 ? &ct_here->table4[*key] : NULL;
	if (map == &ct_table6)
		return *key < ct_here->buckets6 ? &ct_here->table6[*key] : NULL;
	if (map == &ct_cpu)
		return *key < CT_THREADS ? &ct_here->cpu[*key] : NULL;
	if (map == &ct_listeners)
		return *key == 0 ? &ct_here->listener : NULL;
	if (map == &ct_rings)
		return *key == 0 ? &ct_ends : NULL;
	return NULL;
}

static long bpf_map_update_elem(const void *map, const void *key, const void *value, __u64 flags)
{
	return -1;
}

/* What a command that removes flows takes for the time. */
static _Thread_local __u64 ct_clock;

/* The sweep is called by the test, not by a timer. */
static __u32 bpf_get_smp_processor_id(void)
{
	return ct_thread;
}

static __u64 bpf_ktime_get_ns(void)
{
	return ct_clock;
}

#define bpf_ktime_get_coarse_ns bpf_ktime_get_ns

static long bpf_loop(__u32 n, long (*turn)(__u32 i, void *context), void *context, __u64 flags)
{
	__u32 i = 0;

	while (i < n && !turn(i++, context))
		;
	return i;
}

static long bpf_timer_init(struct bpf_timer *timer, const void *map, __u64 clock)
{
	return 0;
}

static long bpf_timer_set_callback(struct bpf_timer *timer, const void *callback)
{
	return 0;
}

static long bpf_timer_start(struct bpf_timer *timer, __u64 ns, __u64 flags)
{
	return 0;
}

#include "time.h"
#include "frame.h"
#include "settle.h"

/*
 * Two steps of the packet's way are listened to, to know which flow it met; the
 * way itself is the product's.
 */
static _Thread_local struct ct_native_done ct_done;

static __u32 ct_gen_of(__u64 word)
{
	return (word & CT_W_GEN) >> CT_W_GEN_SHIFT;
}

static void ct_met(const struct ct_ref *ref, enum ct_dir dir, enum ct_native_outcome outcome)
{
	ct_done = (struct ct_native_done){
		.outcome = outcome,
		.dir = dir,
		.place = ref->place,
		.gen = ct_gen_of(ref->word),
		.strays = ct_done.strays,
	};
}

static __always_inline enum ct_answer ct_listen_settle(struct ct_work *w, struct ct_cpu *cpu,
						       struct ct_ref *ref, int v6, enum ct_dir dir,
						       enum ct_answer answer, __u64 word)
{
	enum ct_answer settled = ct_settle(w, cpu, ref, v6, dir, answer, word);

	if (settled == CT_ACCEPT || settled == CT_END)
		ct_met(ref, dir, CT_NATIVE_COUNTED);
	else if (settled == CT_IGNORE)
		ct_met(ref, dir, CT_NATIVE_IGNORED);
	else if (settled == CT_AGAIN && ref->word == word)
		ct_done.strays++; /* the word was ours, the slot no longer was */
	return settled;
}

static __always_inline int ct_listen_publish(const struct ct_table *table, const struct ct_key *key,
					     const struct ct_hash *hash, struct ct_ref *ref,
					     __u64 bits)
{
	int published = ct_publish(table, key, hash, ref, bits);

	if (published)
		ct_met(ref, CT_ORIGINAL, CT_NATIVE_CREATED);
	return published;
}

#define ct_settle  ct_listen_settle
#define ct_publish ct_listen_publish
#include "pipeline.h"
#include "remove.h"
#include "sweeper.h"
#include "sweep.h"

/* Called with the events that the listener wished for. */
static long bpf_ringbuf_output(void *ring, void *data, __u64 size, __u64 flags)
{
	const struct ct_event *e = data;
	struct ct_native_end *end = &ct_ends[ct_ended];

	if (ct_ended == CT_ENDS)
		return -1;
	ct_ended++;
	*end = (struct ct_native_end){
		.place = e->place,
		.gen = ct_gen_of(e->flow.flow.word),
		.v6 = e->family == 6,
		.reason = e->reason,
	};
	for (int dir = 0; dir < CT_DIRS; dir++) {
		end->packets[dir] = e->packets[dir];
		end->bytes[dir] = e->flow.flow.bytes[dir];
	}
	return 0;
}

/* How many there are; as many as there is room for are copied. */
static __u32 ct_native_ends(struct ct_native_end *out, __u32 max)
{
	if (max)
		memcpy(out, ct_ends, (ct_ended < max ? ct_ended : max) * sizeof(*out));
	return ct_ended;
}

static void ct_native_free(struct ct_world *world)
{
	free(world->table4);
	free(world->table6);
	free(world);
}

/* NULL if there is no memory. */
static struct ct_world *ct_native_make(__u32 buckets4, __u32 buckets6, const __u32 seed[12])
{
	struct ct_world *world = calloc(1, sizeof(*world));

	if (!world)
		return NULL;
	memcpy(world->seed, seed, sizeof(world->seed));
	world->buckets4 = buckets4;
	world->buckets6 = buckets6;
	world->table4 = aligned_alloc(64, buckets4 * sizeof(*world->table4));
	world->table6 = aligned_alloc(64, buckets6 * sizeof(*world->table6));
	if (!world->table4 || !world->table6) {
		ct_native_free(world);
		return NULL;
	}
	memset(world->table4, 0, buckets4 * sizeof(*world->table4));
	memset(world->table6, 0, buckets6 * sizeof(*world->table6));
	world->settings.tcp_loose = 1;
	world->settings.event_types = 1 << CT_EVENT_DESTROY;
	world->listener = (struct ct_listener){.types = 1 << CT_EVENT_DESTROY};
	for (int side = 0; side < 3; side++)
		world->listener.port_hi[side] = 0xffff;
	return world;
}

static void ct_native_set_timeout(struct ct_world *world, __u32 index, __u64 ns)
{
	if (index < CT_TMO_MAX)
		world->settings.timeout_ns[index] = ns;
}

static void ct_native_set_grace(struct ct_world *world, __u64 ns)
{
	world->settings.grace_ns = ns;
}

/* The beginning of an operation. */
static void ct_enter(struct ct_world *world, __u32 thread)
{
	ct_here = world;
	ct_thread = thread;
	ct_ended = 0;
}

static void ct_native_packet(struct ct_world *world, __u32 thread,
			     const struct ct_native_packet *in, struct ct_native_done *done)
{
	struct ct_cpu *cpu = &world->cpu[thread];
	__u64 full = cpu->passed[CT_PASS_TABLE_FULL];
	__u64 busy = cpu->passed[CT_PASS_BUSY];
	struct ct_work w = {.cpu = thread};

	ct_enter(world, thread);
	ct_native_fill(in, &w.pkt);
	ct_done = (struct ct_native_done){.outcome = CT_NATIVE_REFUSED};
	ct_track_flow(&w, cpu);
	*done = ct_done;
	if (cpu->passed[CT_PASS_TABLE_FULL] != full)
		done->outcome = CT_NATIVE_FULL;
	else if (cpu->passed[CT_PASS_BUSY] != busy)
		done->outcome = CT_NATIVE_BUSY;
}

/* Removes the flow of a packet's key, whatever its age. Returns 0 if there is none, or it went. */
static __u32 ct_native_release(struct ct_world *world, __u32 thread,
			       const struct ct_native_packet *in)
{
	struct ct_ref ref = {};
	struct ct_work w = {};
	struct ct_table table;
	int v6;

	ct_enter(world, thread);
	ct_native_fill(in, &w.pkt);
	v6 = ct_is_v6(&w.pkt);
	table = ct_table_of(v6);
	ct_make_key(&w.pkt, &w.key, v6);
	ct_hash_key(&w.key, cfg_hash_seed, table.buckets, v6, &w.hash);
	if (!ct_find(&table, &w.key, &w.hash, &ref))
		return 0;
	ct_clock = in->now;
	return ct_remove_one(ref.place / CT_SLOTS, ref.slot, ref.word, ct_load(&ref.flow->start),
			     v6);
}

/* Removes all that began by now. */
static void ct_native_flush(struct ct_world *world, __u32 thread, __u64 now)
{
	ct_enter(world, thread);
	ct_clock = now;
	for (__u32 bucket = 0; bucket < cfg_buckets4; bucket++)
		ct_remove_bucket4(bucket, now);
	for (__u32 bucket = 0; bucket < cfg_buckets6; bucket++)
		ct_remove_bucket6(bucket, now);
}

/* A time round of the sweep. */
static void ct_native_sweep(struct ct_world *world, __u32 thread, __u64 now)
{
	struct ct_sweeper s = {.slice = {.now = now, .deadline = ~0ULL}};

	ct_enter(world, thread);
	ct_sweep_slice(&s, cfg_buckets4 + cfg_buckets6);
}

static struct ct_flow *ct_flow_at(__u32 place, int v6, struct ct_bucket_head **head)
{
	*head = ct_bucket(place / CT_SLOTS, v6);
	return ct_slot(*head, place % CT_SLOTS, v6);
}

static void ct_key_at(const struct ct_flow *flow, int v6, struct ct_key *key)
{
	const struct ct_flow6 *flow6 = (const struct ct_flow6 *)flow;

	memset(key, 0, sizeof(*key));
	key->lo[0] = flow->lo;
	key->hi[0] = flow->hi;
	if (v6) {
		memcpy(key->lo, flow6->lo, sizeof(key->lo));
		memcpy(key->hi, flow6->hi, sizeof(key->hi));
	}
	key->lo_port_be = flow->lo_port_be;
	key->hi_port_be = flow->hi_port_be;
	key->proto = flow->proto_if;
}

/* Nothing may move meanwhile, but by other threads' packets if the test can bear it. */
static void ct_native_slot(struct ct_world *world, __u32 v6, __u32 place,
			   struct ct_native_slot *out)
{
	struct ct_bucket_head *head;
	__u32 slot = place % CT_SLOTS;
	struct ct_hash hash = {};
	struct ct_flow *flow;
	struct ct_key key;
	__u64 word;

	ct_here = world;
	memset(out, 0, sizeof(*out));
	flow = ct_flow_at(place, v6, &head);
	word = ct_load(&flow->word);
	ct_key_at(flow, v6, &key);
	ct_native_key_bytes(&key, out->key);
	ct_hash_key(&key, cfg_hash_seed, v6 ? cfg_buckets6 : cfg_buckets4, v6, &hash);
	out->seen = ct_load(&flow->seen);
	out->timeout = ct_timeout_of(word);
	for (int dir = 0; dir < CT_DIRS; dir++) {
		out->packets[dir] = ((__u64)head->carry[slot][dir] << 32) | flow->packets[dir];
		out->bytes[dir] = flow->bytes[dir];
	}
	out->phase = ct_phase_of(word);
	out->gen = ct_gen_of(word);
	out->assured = !!(word & CT_W_ASSURED);
	out->tag = head->tags[slot];
	out->want_tag = hash.tag;
	out->home = hash.bucket[0] == place / CT_SLOTS && hash.home == slot;
}

/*
 * Pairs of flows with one key, alive at one moment: both words are the same
 * before and after both keys were read, so both flows were there in between.
 * Others may be at work meanwhile.
 */
static __u32 ct_native_duplicates(struct ct_world *world, __u32 v6)
{
	__u32 places, found = 0;

	ct_here = world;
	places = (v6 ? cfg_buckets6 : cfg_buckets4) * CT_SLOTS;
	for (__u32 a = 0; a < places; a++) {
		struct ct_bucket_head *head;
		struct ct_flow *one = ct_flow_at(a, v6, &head);
		__u64 word = ct_load(&one->word);
		struct ct_key key;

		if (ct_phase_of(word) != CT_LIVE)
			continue;
		ct_key_at(one, v6, &key);
		for (__u32 b = a + 1; b < places; b++) {
			struct ct_flow *two = ct_flow_at(b, v6, &head);
			__u64 other = ct_load(&two->word);
			struct ct_key twin;

			if (ct_phase_of(other) != CT_LIVE)
				continue;
			ct_key_at(two, v6, &twin);
			if (memcmp(&key, &twin, sizeof(key)))
				continue;
			__sync_synchronize();
			found += ((word ^ ct_load(&one->word)) & (CT_W_GEN | CT_W_PHASE)) == 0 &&
				 ((other ^ ct_load(&two->word)) & (CT_W_GEN | CT_W_PHASE)) == 0;
		}
	}
	return found;
}

/* The counter of an enum ct_table_event, or behind them of an enum ct_gone, of all threads. */
static __u64 ct_native_event(struct ct_world *world, __u32 event)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < CT_THREADS; i++) {
		if (event < CT_TABLE_EVENTS)
			sum += world->cpu[i].table[event];
		else if (event - CT_TABLE_EVENTS < CT_GONE_REASONS)
			sum += world->cpu[i].gone[event - CT_TABLE_EVENTS];
	}
	return sum;
}

const struct ct_native_table CT_NAME = {
	.make = ct_native_make,
	.free = ct_native_free,
	.set_timeout = ct_native_set_timeout,
	.set_grace = ct_native_set_grace,
	.packet = ct_native_packet,
	.release = ct_native_release,
	.slot = ct_native_slot,
	.duplicates = ct_native_duplicates,
	.event = ct_native_event,
	.sweep = ct_native_sweep,
	.flush = ct_native_flush,
	.ends = ct_native_ends,
};
