/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A part of table.c: one table replaces another, as user space has it done. */
#ifndef CT_NATIVE_RESIZE_H
#define CT_NATIVE_RESIZE_H

/* Makes the tables to come. 0 if there is no memory. */
static __u32 ct_native_second(struct ct_world *world, __u32 buckets4, __u32 buckets6)
{
	return ct_tables_make(&world->tables[1], buckets4, buckets6);
}

/* What a thread runs from its next operation on. */
static void ct_native_set_program(struct ct_world *world, __u32 thread, __u32 program)
{
	__atomic_store_n(&world->program[thread], program, __ATOMIC_SEQ_CST);
}

static void ct_native_set_moving(struct ct_world *world, __u32 moving)
{
	__atomic_store_n(&world->settings.moving, moving, __ATOMIC_SEQ_CST);
}

/* Whether the operation that a thread was in at `turn` has ended; its turn now. */
static __u64 ct_native_wait(struct ct_world *world, __u32 thread)
{
	return __atomic_load_n(&world->turn[thread], __ATOMIC_SEQ_CST);
}

/* Moves what is in some buckets of the first table; adds what became of their slots. */
static void ct_native_evacuate(struct ct_world *world, __u32 thread, __u32 v6, __u32 bucket,
			       __u32 buckets, __u64 now, __u32 done[CT_EVAC_KINDS])
{
	struct ct_work w = {.cpu = thread, .mover = 1, .pkt.now = now};

	ct_enter(world, thread);
	for (__u32 i = 0; i < buckets; i++) {
		w.from_bucket = ct_own_buckets(v6) + bucket + i;
		if (v6)
			ct_evacuate_bucket6(&w);
		else
			ct_evacuate_bucket4(&w);
	}
	ct_leave_program(world, thread);
	for (__u32 kind = 0; kind < CT_EVAC_KINDS; kind++)
		done[kind] += w.done[kind];
}

#endif
