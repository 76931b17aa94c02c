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
#define CT_ENDS	   1024 /* flows one operation may end: no more than a sweep finds */

/* The tables of a family; the second is there while one replaces the other. */
struct ct_tables {
	__u32 buckets4, buckets6;
	struct ct_bucket4 *table4;
	struct ct_bucket6 *table6;
};

struct ct_world {
	struct ct_tables tables[2];
	__u32 program[CT_THREADS]; /* enum ct_native_program: what a thread runs next */
	__u64 turn[CT_THREADS];	   /* odd: it runs */
	__u32 seed[12];
	struct ct_settings settings;
	struct ct_cpu cpu[CT_THREADS];
	struct ct_listener listener; /* to DESTROY events */
};

/* Where a thread is, as a packet is in one network namespace. */
static _Thread_local struct ct_world *ct_here;
static _Thread_local __u32 ct_thread;

/* The table that flows are created in, and the other one. */
static _Thread_local struct ct_tables *ct_own, *ct_not_own;
static struct ct_tables ct_none;

/* What the DESTROY events of a thread's last operation said. */
static _Thread_local struct ct_native_end ct_ends[CT_ENDS];
static _Thread_local __u32 ct_ended;

/* Instead of config.h: what a loader fixes, and globals, are each table's own. */
#define CT_CONFIG_H
#define cfg_buckets4	   (ct_own->buckets4)
#define cfg_buckets6	   (ct_own->buckets6)
#define cfg_other_buckets4 (ct_not_own->buckets4)
#define cfg_other_buckets6 (ct_not_own->buckets6)
#define cfg_hash_seed	   (ct_here->seed)
#define ct_settings	   (ct_here->settings)
#define cfg_cpus	   CT_THREADS
#define cfg_max_flows4	   0 /* no PRESSURE */
#define cfg_max_flows6	   0
#define cfg_replay	   0
#define cfg_ports	   0
#define cfg_side_rows	   0
#define cfg_health	   0
#define cfg_prints	   0 /* no SYN is looked at */
#define cfg_print_all	   0
#define cfg_windows	   1
static struct ct_replay ct_replay;
static struct ct_iface ct_ifaces[CT_IF_SLOTS];
static struct ct_policy ct_policy;	   /* nothing is banned */
static struct ct_limits ct_limits;	   /* nor limited */
static struct ct_port_rules ct_port_rules; /* nor kept, of ports */

/* Instead of maps.h: names with addresses. */
#define CT_MAPS_H
static char ct_flow_table_4, ct_flow_table_6, ct_flow_table_4_other, ct_flow_table_6_other, ct_cpu,
	ct_ifstats, ct_listeners, ct_rings, ct_sweep, ct_frag, ct_bans, ct_allow, ct_sketch,
	ct_suspects, ct_strikes, ct_side, ct_services, ct_icmp_counts, ct_icmp_errors, ct_icmp_cpus,
	ct_prints, ct_print_of, ct_print_bans, ct_ports, ct_port_sources, ct_port_budgets,
	ct_port_slots, ct_port_registers, ct_port_cpus;

static long bpf_ringbuf_output(void *ring, void *data, __u64 size, __u64 flags);

/* No packet of the test comes in fragments. */
static __always_inline void *bpf_map_lookup_elem(const void *map, const void *of)
{
	const __u32 *key = of;

	if (map == &ct_flow_table_4)
		return *key < cfg_buckets4 ? &ct_own->table4[*key] : NULL;
	if (map == &ct_flow_table_6)
		return *key < cfg_buckets6 ? &ct_own->table6[*key] : NULL;
	if (map == &ct_flow_table_4_other)
		return *key < cfg_other_buckets4 ? &ct_not_own->table4[*key] : NULL;
	if (map == &ct_flow_table_6_other)
		return *key < cfg_other_buckets6 ? &ct_not_own->table6[*key] : NULL;
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
#define bpf_ktime_get_boot_ns	bpf_ktime_get_ns

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
static _Thread_local int ct_v6;

static __u32 ct_gen_of(__u64 word)
{
	return (word & CT_W_GEN) >> CT_W_GEN_SHIFT;
}

/* A place as tests have it, whatever program they run: the second table's are marked. */
static __u32 ct_place_of(__u32 place, int v6)
{
	__u32 own = ct_own_buckets(v6) * CT_SLOTS;
	int other = place >= own;
	int second = (ct_own == &ct_here->tables[1]) != other;

	return (other ? place - own : place) | (second ? CT_NATIVE_SECOND : 0);
}

static void ct_met(const struct ct_ref *ref, int v6, enum ct_dir dir,
		   enum ct_native_outcome outcome)
{
	ct_done = (struct ct_native_done){
		.outcome = outcome,
		.dir = dir,
		.place = ct_place_of(ref->place, v6),
		.gen = ct_gen_of(ref->word),
		.strays = ct_done.strays,
		.late = ct_done.late,
	};
}

static __always_inline enum ct_answer ct_listen_settle(struct ct_work *w, struct ct_cpu *cpu,
						       struct ct_ref *ref, int v6, enum ct_dir dir,
						       enum ct_answer answer, __u64 word, int other)
{
	enum ct_answer settled = ct_settle(w, cpu, ref, v6, dir, answer, word, other);

	if (settled == CT_ACCEPT || settled == CT_END)
		ct_met(ref, v6, dir, CT_NATIVE_COUNTED);
	else if (settled == CT_IGNORE)
		ct_met(ref, v6, dir, CT_NATIVE_IGNORED);
	else if (settled == CT_ABSENT && (w->late == CT_ACCEPT || w->late == CT_END))
		ct_met(ref, v6, dir, CT_NATIVE_COUNTED);
	else if (settled == CT_ABSENT && w->late == CT_IGNORE)
		ct_met(ref, v6, dir, CT_NATIVE_IGNORED);
	else if (settled == CT_AGAIN && ref->word == word)
		ct_done.strays++; /* the word was ours, the slot no longer was */
	ct_done.late += settled == CT_ABSENT;
	return settled;
}

static __always_inline int ct_listen_publish(struct ct_ref *ref, __u64 bits)
{
	int published = ct_publish(ref, bits);

	if (published)
		ct_met(ref, ct_v6, CT_ORIGINAL, CT_NATIVE_CREATED);
	return published;
}

#define ct_settle  ct_listen_settle
#define ct_publish ct_listen_publish
#include "pipeline.h"
#include "remove.h"
#include "evacuate.h"
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
		.place = ct_place_of(e->place, e->family == 6),
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

static void ct_tables_free(struct ct_tables *tables)
{
	free(tables->table4);
	free(tables->table6);
	*tables = (struct ct_tables){};
}

/* 0 if there is no memory. */
static int ct_tables_make(struct ct_tables *tables, __u32 buckets4, __u32 buckets6)
{
	tables->buckets4 = buckets4;
	tables->buckets6 = buckets6;
	tables->table4 = aligned_alloc(64, buckets4 * sizeof(*tables->table4));
	tables->table6 = aligned_alloc(64, buckets6 * sizeof(*tables->table6));
	if (!tables->table4 || !tables->table6)
		return 0;
	memset(tables->table4, 0, buckets4 * sizeof(*tables->table4));
	memset(tables->table6, 0, buckets6 * sizeof(*tables->table6));
	return 1;
}

static void ct_native_free(struct ct_world *world)
{
	ct_tables_free(&world->tables[0]);
	ct_tables_free(&world->tables[1]);
	free(world);
}

/* NULL if there is no memory. */
static struct ct_world *ct_native_make(__u32 buckets4, __u32 buckets6, const __u32 seed[12])
{
	struct ct_world *world = calloc(1, sizeof(*world));

	if (!world)
		return NULL;
	memcpy(world->seed, seed, sizeof(world->seed));
	if (!ct_tables_make(&world->tables[0], buckets4, buckets6)) {
		ct_native_free(world);
		return NULL;
	}
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

/* Which tables a program knows. */
static void ct_run(struct ct_world *world, enum ct_native_program program)
{
	int second = program == CT_NATIVE_NEW || program == CT_NATIVE_MOVE;

	ct_here = world;
	ct_own = &world->tables[second];
	ct_not_own = &ct_none;
	if (program == CT_NATIVE_PREPARE || program == CT_NATIVE_MOVE)
		ct_not_own = &world->tables[!second];
}

/* The beginning of an operation, and its end. */
static void ct_enter(struct ct_world *world, __u32 thread)
{
	__atomic_fetch_add(&world->turn[thread], 1, __ATOMIC_SEQ_CST);
	ct_run(world, __atomic_load_n(&world->program[thread], __ATOMIC_SEQ_CST));
	ct_thread = thread;
	ct_ended = 0;
}

static void ct_leave_program(struct ct_world *world, __u32 thread)
{
	__atomic_fetch_add(&world->turn[thread], 1, __ATOMIC_SEQ_CST);
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
	ct_v6 = ct_is_v6(&w.pkt);
	ct_track_flow(&w, cpu);
	ct_leave_program(world, thread);
	*done = ct_done;
	if (cpu->passed[CT_PASS_TABLE_FULL] != full)
		done->outcome = CT_NATIVE_FULL;
	else if (cpu->passed[CT_PASS_BUSY] != busy)
		done->outcome = CT_NATIVE_BUSY;
}

static __u32 ct_remove_at(__u32 place, __u64 word, __u64 start, int v6)
{
	return v6 ? ct_remove_at6(place, word, start) : ct_remove_at4(place, word, start);
}

/* Removes the flow of a packet's key, whatever its age. Returns 0 if there is none, or it went. */
static __u32 ct_native_release(struct ct_world *world, __u32 thread,
			       const struct ct_native_packet *in)
{
	struct ct_ref ref = {};
	struct ct_table table;
	struct ct_work w = {};
	__u32 removed = 0;
	int v6;

	ct_enter(world, thread);
	ct_clock = in->now;
	ct_native_fill(in, &w.pkt);
	v6 = ct_is_v6(&w.pkt);
	ct_make_key(&w.pkt, &w.key, v6);
	ct_hash_key(&w.key, cfg_hash_seed, ct_own_buckets(v6), v6, &w.hash);
	table = ct_table_of(v6);
	if (ct_find(&table, &w.key, &w.hash, &ref)) {
		removed = ct_remove_at(ref.place, ref.word, ct_load(&ref.flow->start), v6);
	} else if (ct_seek(&w, v6)) {
		struct ct_bucket_head *head = ct_any_bucket(w.from_bucket, v6);

		removed = ct_remove_at(w.from_bucket * CT_SLOTS + w.from_slot, w.from_word,
				       ct_load(&ct_slot(head, w.from_slot, v6)->start), v6);
	}
	ct_leave_program(world, thread);
	return removed;
}

/* Removes all that began by now. */
static void ct_native_flush(struct ct_world *world, __u32 thread, __u64 now)
{
	ct_enter(world, thread);
	ct_clock = now;
	for (int v6 = 0; v6 < 2; v6++) {
		__u32 buckets = ct_own_buckets(v6) + ct_other_buckets(v6);

		for (__u32 i = 0; i < buckets * CT_SLOTS; i++)
			ct_remove_at(i, 0, now, v6);
	}
	ct_leave_program(world, thread);
}

/* A time round of the sweep. */
static void ct_native_sweep(struct ct_world *world, __u32 thread, __u64 now)
{
	struct ct_sweeper s = {.slice = {.now = now, .deadline = ~0ULL}};

	ct_enter(world, thread);
	ct_sweep_slice(&s, ct_all_buckets());
	ct_leave_program(world, thread);
}

#include "look.h"

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

#include "resize.h"

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
	.second = ct_native_second,
	.set_program = ct_native_set_program,
	.set_moving = ct_native_set_moving,
	.wait = ct_native_wait,
	.evacuate = ct_native_evacuate,
};
