/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The TCP state machine of nf_conntrack
 * (net/netfilter/nf_conntrack_proto_tcp.c, Linux 6.18) as one table. Pure:
 * flags and states in, a state out.
 */
#ifndef CT_TCP_H
#define CT_TCP_H

#include "packet.h"
#include "types.h"

/* RST beats SYN beats FIN beats ACK, as there. */
static __always_inline enum ct_tcp_segment ct_tcp_segment(__u8 flags)
{
	if (flags & CT_TCP_RST)
		return CT_SEG_RST;
	if (flags & CT_TCP_SYN)
		return flags & CT_TCP_ACK ? CT_SEG_SYNACK : CT_SEG_SYN;
	if (flags & CT_TCP_FIN)
		return CT_SEG_FIN;
	if (flags & CT_TCP_ACK)
		return CT_SEG_ACK;
	return CT_SEG_NONE;
}

/*
 * PSH, ECE and CWR may come with anything. Of the rest only these are sent by
 * an honest stack: SYN, SYN+URG, SYN+ACK, RST, RST+ACK, FIN+ACK, FIN+ACK+URG,
 * ACK, ACK+URG. One bit for each value of FIN, SYN, RST, ACK, URG (4 bits and
 * URG moved down to where PSH was).
 */
static __always_inline int ct_tcp_flags_valid(__u8 flags)
{
	const __u32 valid = (1U << 0x02) | (1U << 0x0a)	   /* SYN, +URG */
			    | (1U << 0x12)		   /* SYN+ACK */
			    | (1U << 0x04) | (1U << 0x14)  /* RST, RST+ACK */
			    | (1U << 0x11) | (1U << 0x19)  /* FIN+ACK, +URG */
			    | (1U << 0x10) | (1U << 0x18); /* ACK, +URG */
	__u32 index = (flags & 0x17) | ((flags & CT_TCP_URG) >> 2);

	return (valid >> index) & 1;
}

#define sNO CT_TCP_NONE
#define sSS CT_TCP_SYN_SENT
#define sSR CT_TCP_SYN_RECV
#define sES CT_TCP_ESTABLISHED
#define sFW CT_TCP_FIN_WAIT
#define sCW CT_TCP_CLOSE_WAIT
#define sLA CT_TCP_LAST_ACK
#define sTW CT_TCP_TIME_WAIT
#define sCL CT_TCP_CLOSE
#define sS2 CT_TCP_SYN_SENT2
#define sIG CT_TCP_IGNORE
#define sIV CT_TCP_INVALID

/*
 * A row holds the ten answers as four-bit fields, least significant first, so
 * that picking one is a shift: an index into memory would make the verifier
 * follow every state by itself.
 */
#define CT_ROW(no, ss, sr, es, fw, cw, la, tw, cl, s2)                                             \
	((__u64)(no) | (__u64)(ss) << 4 | (__u64)(sr) << 8 | (__u64)(es) << 12 |                   \
	 (__u64)(fw) << 16 | (__u64)(cw) << 20 | (__u64)(la) << 24 | (__u64)(tw) << 28 |           \
	 (__u64)(cl) << 32 | (__u64)(s2) << 36 | 0xffffffULL << 40)

/* clang-format off */
static __always_inline __u64 ct_tcp_row(enum ct_dir dir, enum ct_tcp_segment segment)
{
	int orig = dir == CT_ORIGINAL;

	/*                    sNO  sSS  sSR  sES  sFW  sCW  sLA  sTW  sCL  sS2 */
	if (segment == CT_SEG_ACK)
		/*
		 * sNO -> sES picked up in mid-stream; sSR -> sES the handshake is over.
		 * sFW -> sCW the first FIN is acknowledged; sLA -> sTW the second.
		 * Reply, sSS, sS2 -> sIG half open: the other end answers with a RST.
		 */
		return orig ? CT_ROW(sES, sIV, sES, sES, sCW, sCW, sTW, sTW, sCL, sIV)
			    : CT_ROW(sIV, sIG, sSR, sES, sCW, sCW, sTW, sTW, sCL, sIG);
	if (segment == CT_SEG_SYN)
		/*
		 * sNO -> sSS a connection begins; sSS again: retransmitted.
		 * sSR..sLA -> sIG we may be out of step: remember it, the answer tells.
		 * sTW, sCL -> sSS the tuple is used again, if the old end was proper.
		 * Reply, sSS -> sS2 simultaneous open; sTW -> sSS the other end opens
		 * anew, so the new connection runs the other way.
		 */
		return orig ? CT_ROW(sSS, sSS, sIG, sIG, sIG, sIG, sIG, sSS, sSS, sS2)
			    : CT_ROW(sIV, sS2, sIV, sIV, sIV, sIV, sIV, sSS, sIV, sS2);
	if (segment == CT_SEG_SYNACK)
		/*
		 * The opener sends none but in a simultaneous open: sS2 -> sSR, again sSR.
		 * Reply, sSS -> sSR the usual answer; later it may answer an ignored SYN.
		 */
		return orig ? CT_ROW(sIV, sIV, sSR, sIV, sIV, sIV, sIV, sIV, sIV, sSR)
			    : CT_ROW(sIV, sSR, sIG, sIG, sIG, sIG, sIG, sIG, sIG, sSR);
	if (segment == CT_SEG_FIN)
		/* sSR, sES -> sFW the first FIN; sFW, sCW -> sLA the second, or the first again. */
		return CT_ROW(sIV, sIV, sFW, sFW, sLA, sLA, sLA, sTW, sCL, sIV);
	if (segment == CT_SEG_RST)
		return CT_ROW(sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL);
	return ~0ULL;
}
/* clang-format on */

static __always_inline enum ct_tcp_state ct_tcp_next(enum ct_dir dir, enum ct_tcp_segment segment,
						     enum ct_tcp_state state)
{
	return (enum ct_tcp_state)((ct_tcp_row(dir, segment) >> ((state & 15) * 4)) & 15);
}

#endif
