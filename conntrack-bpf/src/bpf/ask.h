/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What bans are asked of one packet; a part of the scratch of work.h. */
#ifndef CT_ASK_H
#define CT_ASK_H

#include "types.h"

/* What bans make of a packet. */
enum ct_verdict {
	CT_VERDICT_PASS,
	CT_VERDICT_DROP,
};

#define CT_ASK_ALL ((1U << CT_SCOPES) - 1)

struct ct_ask {
	/* Of the packet. */
	__u32 generation; /* of its ends' policy, before it was asked for; 0: not yet */
	__u8 egress;	  /* it goes out */
	__u8 asked;	  /* 1 << enum ct_scope: looked for already */
	__u8 concerned;	  /* some ban concerns one of its ends, be it the other way */
	__u8 pad;
	__u32 bytes; /* of a fragment, as it came */
	__u32 pad2;
	__u64 boot; /* CLOCK_BOOTTIME ns; 0: not read yet */
	/* Of the end that is being asked about. */
	__u32 addr[4];
	__be16 port_be; /* this side's */
	__u8 proto;
	__u8 scopes;  /* to look for */
	__u8 source;  /* the packet came from there: every ban counts */
	__u8 allowed; /* enum ct_ask_allow */
	__u8 origin;  /* enum ct_ban_origin, of the ban that drops */
	__u8 pad3;
};
_Static_assert(sizeof(struct ct_ask) == 48, "no hidden padding");

/* Whether an address is never banned. */
enum ct_ask_allow {
	CT_ALLOW_UNKNOWN,
	CT_ALLOW_YES,
	CT_ALLOW_NO,
};

/* What limits are asked of one packet; a part of the scratch as well. */
struct ct_limit_ask {
	struct ct_limit_key key; /* of whom, and of what */
	__u32 half, then;	 /* halves of the window: now, and when the flow began */
	__u32 most;
	__u32 asked;  /* this packet was counted */
	__u32 shaken; /* with it a handshake has come through, which is to be counted */
	__u32 due;    /* what is counted exactly if it passes: 1 << CT_MEASURES * kind + measure */
};

/* A packet begins. */
static __always_inline void ct_ask_begin(struct ct_ask *ask, int egress)
{
	ask->generation = 0;
	ask->egress = egress;
	ask->asked = 0;
	ask->concerned = 0;
	ask->pad = 0;
}

#endif
