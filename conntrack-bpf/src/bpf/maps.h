/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Every map. Sizes are set by user space before the load. */
#ifndef CT_MAPS_H
#define CT_MAPS_H

#include "sweeper.h"

/*
 * The flow tables. Key: bucket. Written by programs only (packets, the sweep, removal,
 * moves); user space maps them and reads. An array never refuses: full neighbourhoods
 * are table.h's matter. Mappable also for alignment: other arrays' values start at
 * byte 312.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_bucket4);
} ct_flow_table_4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_bucket6);
} ct_flow_table_6 SEC(".maps");

/*
 * While a table is replaced, the one of the two that no flow is created in by this
 * program. As the table. Not looked at where cfg_other_buckets is 0. The kernel keeps
 * 15 characters of a name, which are the table's: by that libbpf puts a table in either
 * place without giving the place the table's name.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_bucket4);
} ct_flow_table_4_other SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_bucket6);
} ct_flow_table_6_other SEC(".maps");

/*
 * Counters. Key: CPU. Each CPU writes its own entry, user space reads the
 * mapping. Not a per-CPU map, because that one cannot be mapped.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_cpu);
} ct_cpu SEC(".maps");

/* Counters by interface. Key: CPU * CT_IFACES + ct_iface.stat. As ct_cpu. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CT_IFACES);
	__type(key, __u32);
	__type(value, struct ct_ifstat);
} ct_ifstats SEC(".maps");

/*
 * Packets that come in fragments. Written and read by each of them. Full: the
 * least recently used go, their later fragments pass uncounted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct ct_frag_key);
	__type(value, struct ct_frag);
} ct_frag SEC(".maps");

/*
 * Who listens, and what for. Key: number of the listener. User space writes the
 * wish, packets the counters.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CT_LISTENERS);
	__type(key, __u32);
	__type(value, struct ct_listener);
} ct_listeners SEC(".maps");

/*
 * The listeners' rings. Key: number of the listener. User space puts a ring in
 * that it made, of a size of its choice, and takes it out again. Full: the event
 * is lost to this listener and counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CT_LISTENERS);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_RINGBUF);
			__uint(max_entries, 4096);
		});
} ct_rings SEC(".maps");

/*
 * Bans. Key: network and scope. User space adds and removes, packets count. Full:
 * user space takes out what has expired, or is refused. Memory is taken as bans come.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct ct_ban_key);
	__type(value, struct ct_ban);
} ct_bans SEC(".maps");

/* What is never banned; as ct_bans, of any scope. Packets count what it won over. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct ct_ban_key);
	__type(value, struct ct_allowed);
} ct_allow SEC(".maps");

/* Why somebody banned. Key: a hash of the text. User space only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct ct_note);
} ct_notes SEC(".maps");

/*
 * ICMP by kind of message. Packets count, each CPU for itself, user space sums. Full:
 * other kinds are counted together (ct_icmp_cpu.unlisted).
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, CT_ICMP_PAIRS);
	__type(key, struct ct_icmp_kind);
	__type(value, struct ct_icmp_count);
} ct_icmp_counts SEC(".maps");

/* ICMP errors. Packets write, user space reads. Full: the least recently used go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CT_ICMP_ERRORS);
	__type(key, struct ct_icmp_error_key);
	__type(value, struct ct_icmp_error);
} ct_icmp_errors SEC(".maps");

/* What of it was not recorded. Key: CPU. As ct_cpu. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_icmp_cpu);
} ct_icmp_cpus SEC(".maps");

/*
 * Ports. Key: ct_port_index(). Packets write, user space reads the mapping. One entry each
 * where ports are not kept; so the maps below.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_port);
} ct_ports SEC(".maps");

/* Who has reached them. Packets write, user space reads. Full: the least recently used go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct ct_port_key);
	__type(value, struct ct_port_source);
} ct_port_sources SEC(".maps");

/* Who scans. Packets alone look at it. Full: as above. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct ct_port_budget_key);
	__type(value, struct ct_port_budget);
} ct_port_budgets SEC(".maps");

/* Ports that have registers. Packets write, user space reads the mapping. Never full: what
 * finds no place stays without. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_port_slot);
} ct_port_slots SEC(".maps");

/* Their registers. Key: slot * ct_port_rules.registers + register. As above. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_port_register);
} ct_port_registers SEC(".maps");

/* What each CPU has done for it. Key: CPU. As ct_cpu. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_port_cpu);
} ct_port_cpus SEC(".maps");

/*
 * The cells of the sketch. Key: see sketch.h. Packets only; a word each. Never full:
 * sources share cells.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_rate);
} ct_sketch SEC(".maps");

/*
 * Sources that the sketch points at, counted exactly. Packets write, user space reads.
 * Full: the least recently used go.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CT_LIMIT_SUSPECTS);
	__type(key, struct ct_limit_key);
	__type(value, struct ct_suspect);
} ct_suspects SEC(".maps");

/* How often sources were banned by packets, which alone look at it. Full: as ct_suspects. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CT_LIMIT_STRIKES);
	__type(key, struct ct_ban_key);
	__type(value, struct ct_strike);
} ct_strikes SEC(".maps");

/*
 * What SYNs and SYN+ACKs tell of their senders. Key: the record. Packets write, user space
 * reads. Full: the least recently used go.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct ct_print);
	__type(value, struct ct_printed);
} ct_prints SEC(".maps");

/* The last of them of each source. Key: address, and which of the two. As ct_prints. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct ct_print_key);
	__type(value, struct ct_print_of);
} ct_print_of SEC(".maps");

/*
 * Bans of fingerprints. Key: number, below ct_settings.print_bans. User space writes, packets
 * count.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CT_PRINT_BANS);
	__type(key, __u32);
	__type(value, struct ct_print_ban);
} ct_print_bans SEC(".maps");

/* Named lists of bans. Key: the bit of ct_ban.lists. User space only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CT_LISTS);
	__type(key, __u32);
	__type(value, struct ct_list);
} ct_lists SEC(".maps");

/*
 * What is known of flows beside their slots. Key: row; see side.h. Packets write, user space
 * maps it and reads. Full: an entry of the row makes room.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_side_row);
} ct_side SEC(".maps");

/*
 * How the connections of services and interfaces are doing. Packets add, user space reads.
 * Full: what is new counts in the entry of all others, which user space makes beforehand.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CT_SERVICES);
	__type(key, struct ct_service_key);
	__type(value, struct ct_service);
} ct_services SEC(".maps");

/* The background sweep. Key: 0. Written by its timer; user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_sweeper);
} ct_sweep SEC(".maps");

/* What the next process must know. Key: 0. User space only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_meta);
} ct_meta SEC(".maps");

/* Where we are attached and why so. Key: ifindex. User space only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CT_IFACES);
	__type(key, __u32);
	__type(value, struct ct_attach);
} ct_attach SEC(".maps");

/* BTF keeps only enums that something refers to; user space wants their names.
 */
const enum ct_class *unused_class __attribute__((unused));
const enum ct_pass *unused_pass __attribute__((unused));
const enum ct_drop *unused_drop __attribute__((unused));
const enum ct_table_event *unused_table_event __attribute__((unused));
const enum ct_gone *unused_gone __attribute__((unused));
const enum ct_event_type *unused_event_type __attribute__((unused));
const enum ct_pressure *unused_pressure __attribute__((unused));
const struct ct_event *unused_event __attribute__((unused));
const enum ct_remove_what *unused_remove_what __attribute__((unused));
const struct ct_removal *unused_removal __attribute__((unused));
const enum ct_resize *unused_resize __attribute__((unused));
const struct ct_evacuation *unused_evacuation __attribute__((unused));
const enum ct_tcp_state *unused_tcp_state __attribute__((unused));
const enum ct_tcp_segment *unused_tcp_segment __attribute__((unused));
const enum ct_sctp_state *unused_sctp_state __attribute__((unused));
const enum ct_timeout *unused_timeout __attribute__((unused));
const enum ct_hook *unused_hook __attribute__((unused));
const enum ct_list_state *unused_list_state __attribute__((unused));
const enum ct_ban_origin *unused_ban_origin __attribute__((unused));
const enum ct_limit_action *unused_limit_action __attribute__((unused));
const enum ct_limit_kind *unused_limit_kind __attribute__((unused));
const enum ct_measure *unused_measure __attribute__((unused));
const enum ct_limited *unused_limited __attribute__((unused));
const enum ct_service_kind *unused_service_kind __attribute__((unused));
const enum ct_side_event *unused_side_event __attribute__((unused));
const enum ct_print_window *unused_print_window __attribute__((unused));
const enum ct_unprinted *unused_unprinted __attribute__((unused));
const enum ct_phase *unused_phase __attribute__((unused));

#endif
