/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * SCTP as nf_conntrack sees it (net/netfilter/nf_conntrack_proto_sctp.c, Linux
 * 6.18): a table of states, and the verification tags of both ends. Pure.
 */
#ifndef CT_SCTP_H
#define CT_SCTP_H

#include "packet.h"
#include "types.h"

/* Rows of the table, plus one: 0 is a chunk that changes no state. */
enum ct_sctp_chunk {
	CT_CHUNK_OTHER,
	CT_CHUNK_INIT,
	CT_CHUNK_INIT_ACK,
	CT_CHUNK_ABORT,
	CT_CHUNK_SHUTDOWN,
	CT_CHUNK_SHUTDOWN_ACK,
	CT_CHUNK_ERROR,
	CT_CHUNK_COOKIE_ECHO,
	CT_CHUNK_COOKIE_ACK,
	CT_CHUNK_SHUTDOWN_COMPLETE,
	CT_CHUNK_HEARTBEAT,
	CT_CHUNK_HEARTBEAT_ACK,
};

/* ct_pkt.options of an SCTP packet. */
#define CT_SCTP_OTHER 1 /* it has chunks that change no state, */
#define CT_SCTP_DATA  2 /* DATA among them */
#define CT_SCTP_SHORT 4 /* its INIT or INIT ACK is cut off */
#define CT_SCTP_ALONE 8 /* it has a chunk that must be the only one */

#define CT_SCTP_T 0x10 /* flag of a chunk in ct_pkt.chunk: the tag is the peer's */

/* By the chunk's type, four bits each. */
static __always_inline __u32 ct_sctp_kind(__u8 type)
{
	return type > 14 ? CT_CHUNK_OTHER : (0x900876543ba0210ULL >> (type * 4)) & 15;
}

#define aNO		CT_SCTP_NONE
#define aCL		CT_SCTP_CLOSED
#define aCW		CT_SCTP_COOKIE_WAIT
#define aCE		CT_SCTP_COOKIE_ECHOED
#define aES		CT_SCTP_ESTABLISHED
#define aSS		CT_SCTP_SHUTDOWN_SENT
#define aSR		CT_SCTP_SHUTDOWN_RECD
#define aSA		CT_SCTP_SHUTDOWN_ACK_SENT
#define aHS		CT_SCTP_HEARTBEAT_SENT
#define aIV		CT_SCTP_INVALID
#define CT_SCTP_INVALID 15

/* As CT_ROW of tcp.h. */
#define CT_SCTP_ROW(no, cl, cw, ce, es, ss, sr, sa, hs)                                            \
	((__u64)(no) | (__u64)(cl) << 4 | (__u64)(cw) << 8 | (__u64)(ce) << 12 |                   \
	 (__u64)(es) << 16 | (__u64)(ss) << 20 | (__u64)(sr) << 24 | (__u64)(sa) << 28 |           \
	 (__u64)(hs) << 32)

/* clang-format off */
static __always_inline __u64 ct_sctp_row(enum ct_dir dir, __u32 chunk)
{
	int orig = dir == CT_ORIGINAL;

	/*                                 aNO  aCL  aCW  aCE  aES  aSS  aSR  aSA  aHS */
	switch (chunk) {
	case CT_CHUNK_INIT:
		return orig ? CT_SCTP_ROW(aCL, aCL, aCW, aCE, aES, aCL, aCL, aSA, aCW)
			    : CT_SCTP_ROW(aIV, aCL, aCW, aCE, aES, aSS, aSR, aSA, aIV);
	case CT_CHUNK_INIT_ACK:
		return orig ? CT_SCTP_ROW(aCL, aCL, aCW, aCE, aES, aSS, aSR, aSA, aCL)
			    : CT_SCTP_ROW(aIV, aCW, aCW, aCE, aES, aSS, aSR, aSA, aIV);
	case CT_CHUNK_ABORT:
		return orig ? CT_SCTP_ROW(aCL, aCL, aCL, aCL, aCL, aCL, aCL, aCL, aCL)
			    : CT_SCTP_ROW(aIV, aCL, aCL, aCL, aCL, aCL, aCL, aCL, aIV);
	case CT_CHUNK_SHUTDOWN:
		return orig ? CT_SCTP_ROW(aCL, aCL, aCW, aCE, aSS, aSS, aSR, aSA, aCL)
			    : CT_SCTP_ROW(aIV, aCL, aCW, aCE, aSR, aSS, aSR, aSA, aIV);
	case CT_CHUNK_SHUTDOWN_ACK:
		return orig ? CT_SCTP_ROW(aSA, aCL, aCW, aCE, aES, aSA, aSA, aSA, aSA)
			    : CT_SCTP_ROW(aIV, aCL, aCW, aCE, aES, aSA, aSA, aSA, aIV);
	case CT_CHUNK_ERROR: /* a stale cookie ends what was echoed */
		return orig ? CT_SCTP_ROW(aCL, aCL, aCW, aCE, aES, aSS, aSR, aSA, aCL)
			    : CT_SCTP_ROW(aIV, aCL, aCW, aCL, aES, aSS, aSR, aSA, aIV);
	case CT_CHUNK_COOKIE_ECHO:
		return orig ? CT_SCTP_ROW(aCL, aCL, aCE, aCE, aES, aSS, aSR, aSA, aCL)
			    : CT_SCTP_ROW(aIV, aCL, aCE, aCE, aES, aSS, aSR, aSA, aIV);
	case CT_CHUNK_COOKIE_ACK:
		return orig ? CT_SCTP_ROW(aCL, aCL, aCW, aES, aES, aSS, aSR, aSA, aCL)
			    : CT_SCTP_ROW(aIV, aCL, aCW, aES, aES, aSS, aSR, aSA, aIV);
	case CT_CHUNK_SHUTDOWN_COMPLETE:
		return orig ? CT_SCTP_ROW(aCL, aCL, aCW, aCE, aES, aSS, aSR, aCL, aCL)
			    : CT_SCTP_ROW(aIV, aCL, aCW, aCE, aES, aSS, aSR, aCL, aIV);
	case CT_CHUNK_HEARTBEAT: /* of a path nobody opened: it may be one more of another association */
		return orig ? CT_SCTP_ROW(aHS, aCL, aCW, aCE, aES, aSS, aSR, aSA, aHS)
			    : CT_SCTP_ROW(aIV, aCL, aCW, aCE, aES, aSS, aSR, aSA, aHS);
	case CT_CHUNK_HEARTBEAT_ACK:
		return orig ? CT_SCTP_ROW(aCL, aCL, aCW, aCE, aES, aSS, aSR, aSA, aHS)
			    : CT_SCTP_ROW(aIV, aCL, aCW, aCE, aES, aSS, aSR, aSA, aES);
	default:
		return ~0ULL;
	}
}
/* clang-format on */

static __always_inline __u8 ct_sctp_next(enum ct_dir dir, __u32 chunk, __u8 state)
{
	return (ct_sctp_row(dir, chunk) >> ((state & 15) * 4)) & 15;
}

#endif
