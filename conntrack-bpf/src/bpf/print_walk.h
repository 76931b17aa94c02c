/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From a SYN's headers to its record. Pure; the reference is conntrack-core's
 * p0f/walk.rs and p0f/packet.rs, which say what is what.
 *
 * The place in the options is kept in memory, so that the verifier takes each round for
 * what it is: one, not as many as there are ways through those before it.
 */
#ifndef CT_PRINT_WALK_H
#define CT_PRINT_WALK_H

#include "packet.h"

#define CT_TCP_ECN (0x40 | 0x80) /* ECE and CWR */
#define CT_TCP_PSH 0x08

/* A byte of the header; what is beyond its room is no byte of it. */
static __always_inline __u8 ct_syn_byte(const struct ct_syn *s, __u32 at)
{
	return s->tcp[at & (CT_SYN_ROOM - 1)];
}

static __always_inline __u32 ct_syn_be16(const struct ct_syn *s, __u32 at)
{
	return (__u32)ct_syn_byte(s, at) << 8 | ct_syn_byte(s, at + 1);
}

/* 0: these four bytes are all zero. */
static __always_inline __u32 ct_syn_any(const struct ct_syn *s, __u32 at)
{
	return ct_syn_byte(s, at) | ct_syn_byte(s, at + 1) | ct_syn_byte(s, at + 2) |
	       ct_syn_byte(s, at + 3);
}

/* What follows the end mark at `at`. */
__weak __noinline int ct_print_end(struct ct_syn *s, __u32 at)
{
	__u32 rest = 0;

	if (!s)
		return 0;
	for (__u32 i = 1; i < 40; i++) {
		if (at + i >= s->end)
			break;
		rest |= ct_syn_byte(s, at + i);
	}
	s->print.padding = s->end - at - 1;
	if (rest)
		s->print.bits |= CT_Q_AFTER;
	return 0;
}

/* How many bytes an option takes that says it has `len`; 0: that cannot be. */
static __always_inline __u32 ct_option_size(struct ct_syn *s, __u8 kind, __u8 len)
{
	__u32 fixed = 0;

	switch (kind) {
	case 2:
		fixed = 4;
		break;
	case 3:
		fixed = 3;
		break;
	case 4:
		fixed = 2;
		break;
	case 8:
		fixed = 10;
		break;
	case 5:
		return len >= 10 && len <= 34 ? len : 0;
	default:
		return len >= 2 && len <= 40 ? len : 0;
	}
	if (len != fixed)
		s->print.bits |= CT_Q_BAD;
	return fixed;
}

/* What an option says that is whole. */
static __always_inline void ct_option_note(struct ct_syn *s, __u8 kind, __u32 at)
{
	struct ct_print *print = &s->print;

	if (kind == 2) {
		print->mss = ct_syn_be16(s, at + 2);
	} else if (kind == 3) {
		print->scale = ct_syn_byte(s, at + 2);
		if (print->scale > 14)
			print->bits |= CT_Q_EXWS;
	} else if (kind == 8) {
		print->bits &= ~CT_P_STAMP;
		print->bits |= ct_syn_any(s, at + 2) ? CT_P_STAMP : CT_Q_TS_ZERO;
		if (!(print->bits & CT_P_SYNACK) && ct_syn_any(s, at + 6))
			print->bits |= CT_Q_TS_ECHO;
	}
}

/* One option. Returns 0 after the last. */
static __always_inline int ct_option(struct ct_syn *s, __u32 number)
{
	__u32 at = *(volatile __u32 *)&s->at, left = s->end - at, size = 1;
	__u8 kind = ct_syn_byte(s, at);

	if (at >= s->end)
		return 0;
	s->print.layout[number] = kind;
	s->print.options = number + 1;
	if (kind == 0) {
		ct_print_end(s, at);
		*(volatile __u32 *)&s->at = s->end;
		return 0;
	}
	if (kind != 1) {
		size = left < 2 ? 0 : ct_option_size(s, kind, ct_syn_byte(s, at + 1));
		if (!size || size > left)
			return 0;
		ct_option_note(s, kind, at);
	}
	*(volatile __u32 *)&s->at = at + size;
	return 1;
}

__weak __noinline int ct_print_options(struct ct_syn *s)
{
	if (!s)
		return 0;
	for (__u32 i = 0; i < CT_PRINT_OPTIONS; i++) {
		if (!ct_option(s, i))
			break;
	}
	if (*(volatile __u32 *)&s->at < s->end)
		s->print.bits |= CT_Q_BAD;
	return 0;
}

/* What TCP's header says before the options. */
static __always_inline void ct_print_header(struct ct_syn *s)
{
	__u32 flags = ct_syn_byte(s, 13), bits = s->bits;

	if ((flags & CT_TCP_ECN) || (ct_syn_byte(s, 12) & 1))
		bits |= CT_Q_ECN;
	if (!ct_syn_any(s, 4))
		bits |= CT_Q_SEQ;
	if (flags & CT_TCP_ACK)
		bits |= CT_P_SYNACK;
	if (!(flags & CT_TCP_ACK) && ct_syn_any(s, 8))
		bits |= CT_Q_ACK;
	if ((flags & CT_TCP_ACK) && !ct_syn_any(s, 8))
		bits |= CT_Q_NO_ACK;
	if (flags & CT_TCP_URG)
		bits |= CT_Q_URG;
	else if (ct_syn_be16(s, 18))
		bits |= CT_Q_URP;
	if (flags & CT_TCP_PSH)
		bits |= CT_Q_PSH;
	s->print.bits = bits;
	s->print.window = ct_syn_be16(s, 14);
	s->print.tcp_header = s->end;
	s->print.ttl = s->ttl;
	s->print.ip_options = s->ip_options;
}

/* Makes the record, once. The MSS of the peer is not in it yet. */
__weak __noinline int ct_print_make(struct ct_syn *s)
{
	if (!s || s->there != CT_SYN_COPIED)
		return 0;
	s->there = CT_SYN_MADE;
	__builtin_memset(&s->print, 0, sizeof(s->print));
	ct_print_header(s);
	s->at = 20;
	ct_print_options(s);
	return 0;
}

/* Does a window follow from a divisor, by a factor that p0f takes? */
static __always_inline int ct_print_times(__u32 window, __u32 by)
{
	return window && by && window % by == 0 && window / by <= 1000;
}

/* What of the MSS of the SYN is kept in the record of its SYN+ACK. */
static __always_inline __u32 ct_print_peer(__u32 window, __u32 mss)
{
	return ct_print_times(window, mss) || (mss > 12 && ct_print_times(window, mss - 12)) ? mss
											     : 0;
}

#endif
