/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Bans of fingerprints: SYNs that would begin a connection, and whose record a pattern of
 * user space fits, are dropped. Asked where limits are; who is never banned is let pass.
 * The reference is conntrack-core's p0f/pattern.rs.
 *
 * Races: user space fills an entry before it is `live`, and lets packets under way come to
 * their end before it gives an entry to another pattern. Counts are atomic adds.
 */
#ifndef CT_PRINT_BAN_H
#define CT_PRINT_BAN_H

#include "print_walk.h"
#include "time.h"
#include "work.h"

/* How often `by` fits the window, if that is a factor that p0f takes; else 0. */
static __always_inline __u32 ct_print_factor(__u32 window, __u32 by)
{
	return ct_print_times(window, by) ? window / by : 0;
}

/* What a SYN's window is a multiple of: how often, and whether of the MTU. 0: of nothing. */
__weak __noinline __u32 ct_print_multiple(const struct ct_print *print)
{
	__u32 window, mss, v6, headers, found = 0;

	if (!print || print->mss < 100)
		return 0;
	window = print->window;
	mss = print->mss;
	v6 = print->bits & CT_P_IPV6;
	headers = (v6 ? 40 : 20) + print->ip_options + print->tcp_header;
	found = ct_print_factor(window, mss);
	if (!found && (print->bits & CT_P_STAMP))
		found = ct_print_factor(window, mss - 12);
	if (!found)
		found = ct_print_factor(window, 1500 - 40);
	if (!found)
		found = ct_print_factor(window, 1500 - 40 - 12);
	if (!found && v6)
		found = ct_print_factor(window, 1500 - 60);
	if (!found && v6)
		found = ct_print_factor(window, 1500 - 60 - 12);
	if (found)
		return found;
	found = ct_print_factor(window, mss + 40);
	if (!found)
		found = ct_print_factor(window, mss + headers);
	if (!found && v6)
		found = ct_print_factor(window, mss + 60);
	if (!found)
		found = ct_print_factor(window, 1500);
	return found ? found | CT_PRINT_OF_MTU : 0;
}

static __always_inline int ct_print_window_fits(const struct ct_print *print,
						const struct ct_print_ban *ban)
{
	switch (ban->window_kind) {
	case CT_WINDOW_ANY:
		return 1;
	case CT_WINDOW_BYTES:
		return print->window == ban->window;
	case CT_WINDOW_MODULO:
		return ban->window && print->window % ban->window == 0;
	case CT_WINDOW_MSS:
		return ct_print_multiple(print) == ban->window;
	default:
		return ct_print_multiple(print) == (ban->window | CT_PRINT_OF_MTU);
	}
}

static __always_inline int ct_print_fits(const struct ct_print *print,
					 const struct ct_print_ban *ban)
{
	__u32 v6 = !!(print->bits & CT_P_IPV6);
	const __u32 *layout = (const __u32 *)print->layout, *wanted = (const __u32 *)ban->layout;

	if (!(ban->families & (1U << v6)) || print->options != ban->options ||
	    print->padding != ban->padding || print->ip_options != ban->ip_options ||
	    print->ttl < ban->ttl_min || print->ttl > ban->ttl_max)
		return 0;
	if ((print->bits ^ ban->bits) & ban->mask[v6])
		return 0;
	if ((!ban->any_mss && print->mss != ban->mss) ||
	    (!ban->any_scale && print->scale != ban->scale))
		return 0;
	for (int i = 0; i < CT_PRINT_OPTIONS / 4; i++) {
		if (layout[i] != wanted[i])
			return 0;
	}
	return ct_print_window_fits(print, ban);
}

/* Does this ban drop w's SYN? Counts it, if it concerns that. */
__weak __noinline int ct_print_judge(struct ct_work *w, __u32 index)
{
	struct ct_print_ban *ban;
	__u32 key = index;
	__u64 boot;

	if (!w)
		return 0;
	ban = bpf_map_lookup_elem(&ct_print_bans, &key);
	if (!ban || !ban->live || !ct_print_fits(&w->frame.syn.print, ban))
		return 0;
	boot = ct_now_boot();
	if (ban->until && (__s64)(boot - ban->until) >= 0)
		return 0;
	__sync_fetch_and_add(&ban->hits, 1);
	__sync_fetch_and_add(&ban->bytes, w->pkt.bytes);
	ban->last = boot;
	return !ban->dry_run;
}

/* Is the SYN that is about to begin a connection of a fingerprint that is banned? */
__weak __noinline int ct_print_banned(struct ct_work *w)
{
	int drop = 0;

	if (!w || !cfg_prints || w->frame.syn.there == CT_SYN_NONE)
		return 0;
	ct_print_make(&w->frame.syn);
	for (__u32 i = 0; i < CT_PRINT_BANS; i++) {
		if (i >= ct_settings.print_bans)
			break;
		drop |= ct_print_judge(w, i);
	}
	return drop;
}

#endif
