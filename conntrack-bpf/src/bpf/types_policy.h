/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whose packets are dropped, and whose never. */
#ifndef CT_TYPES_POLICY_H
#define CT_TYPES_POLICY_H

#include <linux/types.h>

/*
 * A network, and which of its packets: all (`proto` and port 0), those of a
 * protocol, or those that go to a port of this side as well. Bits beyond the
 * prefix are zero; IPv4 is in the first word.
 */
struct ct_ban_key {
	__u8 family; /* 4 or 6 */
	__u8 prefix;
	__u8 proto;
	__u8 pad;
	__be16 port_be;
	__u16 pad2;
	__u32 addr[4]; /* network order as loaded */
};
_Static_assert(sizeof(struct ct_ban_key) == 24, "no hidden padding");

#define CT_BAN_DRY_RUN	   1 /* count, do not drop */
#define CT_BAN_BOTH	   2 /* also what goes there */
#define CT_BAN_UNCONFIRMED 4 /* `until` is when it ends unless it is confirmed */
/* Of a ban that lists have as well: what the first two are of it alone. */
#define CT_BAN_OWN_DRY_RUN 8
#define CT_BAN_OWN_BOTH	   16

enum ct_ban_origin {
	CT_ORIGIN_MANUAL,
	CT_ORIGIN_API,
	CT_ORIGIN_THRESHOLD,
	CT_ORIGIN_LIST, /* nobody's but that of lists */
	CT_ORIGINS,
};

/* User space writes all of it, packets the three counts and `cleared`, and bans of theirs. */
struct ct_ban {
	__u64 until;   /* CLOCK_BOOTTIME ns; 0: for ever */
	__u64 then;    /* of an unconfirmed one: `until` once it is confirmed; of one that
			* lists have as well: when it ends without them */
	__u64 since;   /* CLOCK_REALTIME ns */
	__u64 hits;    /* packets */
	__u64 bytes;   /* IP total lengths */
	__u64 last;    /* hit, CLOCK_MONOTONIC ns; 0: none yet */
	__u32 note;    /* of ct_notes; 0: none */
	__u32 lists;   /* which have it: a bit each, by the key of ct_lists */
	__u16 flags;   /* CT_BAN_* */
	__u16 origin;  /* enum ct_ban_origin */
	__u32 cleared; /* ct_policy.allowed when its one address was found not to be allowed */
};
_Static_assert(sizeof(struct ct_ban) == 64, "one cache line");

/* Sources that a CPU remembers it has dropped. */
#define CT_HINTS 256

struct ct_hint {
	__u32 addr[4]; /* network order as loaded */
	__u32 family;  /* 4 or 6; 0: none */
	__u32 pad;
};
_Static_assert(sizeof(struct ct_hint) == 24, "no hidden padding");

/* Why an address is never banned, a bit each. */
#define CT_ALLOW_GUARD	 1 /* this host needs it, or its operator's session does */
#define CT_ALLOW_LIST	 2 /* the operator said so, */
#define CT_ALLOW_EXCEPT	 4 /* or made it an exception from a ban */
#define CT_ALLOW_SESSION 8 /* the session that it was attached from comes from there */

struct ct_allowed {
	__u64 hits; /* times it won over a ban */
	__u32 why;  /* CT_ALLOW_* */
	__u32 pad;
};
_Static_assert(sizeof(struct ct_allowed) == 16, "no hidden padding");

/* Why somebody banned. */
struct ct_note {
	char text[128]; /* ends in a NUL */
};

#define CT_LISTS 32

enum ct_list_state {
	CT_LIST_FREE,
	CT_LIST_USED,
	CT_LIST_HALF, /* it is being filled or emptied; to be emptied if nobody is at it */
};

/* A named list of bans. */
struct ct_list {
	char name[64];	  /* ends in a NUL, as the next */
	char source[128]; /* where it came from */
	__u64 updated;	  /* CLOCK_REALTIME ns */
	__u64 entries;
	__u32 state;	/* enum ct_list_state */
	__u32 flags;	/* CT_BAN_DRY_RUN, CT_BAN_BOTH */
	__u32 replaces; /* the key of the one it takes the place of, and 1; 0: none */
	__u32 pad;
};
_Static_assert(sizeof(struct ct_list) == 224, "no hidden padding");

#define CT_SHARDS  256 /* of the policy generation */
#define CT_LENGTHS 3   /* words of a set of prefix lengths */

/*
 * What packets ask before they look anything up. User space writes it: a bit is
 * there before the first entry it stands for, and goes after the last. Bit
 * 32 - prefix of IPv4, 128 - prefix of IPv6: the longest come first.
 */
struct ct_policy {
	__u64 active;		    /* 0: nothing is banned */
	__u64 scopes;		    /* in use: 1 << enum ct_scope */
	__u64 bans[2][CT_LENGTHS];  /* [v6] prefix lengths of bans, */
	__u64 allow[2][CT_LENGTHS]; /* and of ct_allow */
	__u64 allowed;		    /* changes once something more is; 0: nothing ever was */
	__u64 all;		    /* generation of everybody */
	__u32 gen[CT_SHARDS];	    /* and of those in a shard */
	/*
	 * Bits of `bans` and `scopes` that stay, whatever there is: packets ban by
	 * themselves.
	 */
	__u64 kept[2][CT_LENGTHS];
	__u64 kept_scopes;
	/* Entries by prefix length and by scope; packets add to those of bans. */
	__u64 ban_count[2][129];
	__u64 allow_count[2][129];
	__u64 scope_count[3];
	__u64 made; /* bans of packets' making, over or not; they add, too */
};
_Static_assert(sizeof(struct ct_policy) == 16 + 96 + 16 + 1024 + 56 + 4128 + 24 + 8,
	       "no hidden padding");

enum ct_scope {
	CT_SCOPE_ANY,
	CT_SCOPE_PROTO,
	CT_SCOPE_PORT,
	CT_SCOPES,
};

#endif
