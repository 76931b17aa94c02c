/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is fixed when the program is loaded: the verifier sees constants. */
#ifndef CT_CONFIG_H
#define CT_CONFIG_H

#include "types.h"

/* Buckets of the two tables; max_entries of the maps. Default: for 262,144
 * flows at 80 % load. */
const volatile __u32 cfg_buckets4 = 21846;
const volatile __u32 cfg_buckets6 = 10923;

/* The same of the tables that are replaced, or that replace them: of ct_flow_table_4_other and
 * ct_flow_table_6_other. 0: none, and the verifier takes all that knows of them away. */
const volatile __u32 cfg_other_buckets4 = 0;
const volatile __u32 cfg_other_buckets6 = 0;

/* Flows the tables are sized for: what pressure is measured by. */
const volatile __u32 cfg_max_flows4 = 262144;
const volatile __u32 cfg_max_flows6 = 131072;

/* Entries of ct_cpu: possible CPUs. */
const volatile __u32 cfg_cpus = 1;

/* 1: multi-buffer XDP (Linux 5.18), so frames may be larger than their first
 * piece. */
const volatile __u32 cfg_xdp_frags = 1;

/* 1: who reaches which port is kept; ports.h. */
const volatile __u32 cfg_ports = 0;

/* Random per instance, or tuples could be chosen to collide. */
const volatile __u32 cfg_hash_seed[12] = {};

/* CRC-32C, four bytes at a time: [n][b] is that of the byte b and n zeros. */
const volatile __u32 cfg_crc32c[4][256] = {};

/* 1: time and wire length come from ct_replay, not from the clock and the
 * frame. */
const volatile __u32 cfg_replay = 0;

/* Rows of the table of what is known beside the flows: max_entries of ct_side. 0: there is
 * none, and the verifier takes all that knows of it away. */
const volatile __u32 cfg_side_rows = 0;

/* What is measured of connections: CT_HEALTH_* groups. */
const volatile __u32 cfg_health = 0;

/* 1: PREEMPT_RT, where packet programs of one CPU may interrupt each other. */
const volatile __u32 cfg_realtime = 0;

/* 0: TCP segments are not held against their windows: what that costs is measured so. */
const volatile __u32 cfg_windows = 1;

/* 1: SYNs and SYN+ACKs are counted by what they tell of their sender; print.h. */
const volatile __u32 cfg_prints = 1;
/* 1: of what is new all is recorded, however much comes at once. */
const volatile __u32 cfg_print_all = 0;

/* Changed while packets run: one word at a time, each read on its own. */
struct ct_settings ct_settings SEC(".data.settings") = {};
struct ct_iface ct_ifaces[CT_IF_SLOTS] SEC(".data.ifaces") = {};
struct ct_replay ct_replay SEC(".data.replay") = {};
struct ct_policy ct_policy SEC(".data.policy") = {};
struct ct_limits ct_limits SEC(".data.limits") = {};
struct ct_port_rules ct_port_rules SEC(".data.ports") = {};

#endif
