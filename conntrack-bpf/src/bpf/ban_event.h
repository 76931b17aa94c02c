/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Telling listeners of a ban that was made or taken back. It is put where a flow would be
 * (ct_event.flow), which user space knows, too (record.rs):
 *
 *	packets		hits, bytes
 *	word		note, and flags << 32
 *	seen, start	last hit, since
 *	bytes[0]	until
 *	lo, lo_port_be	address and port
 *	proto_if	protocol, and length of the prefix << 8
 *	reason		enum ct_ban_origin
 */
#ifndef CT_BAN_EVENT_H
#define CT_BAN_EVENT_H

#include "events.h"

static __always_inline void ct_tell_ban(struct ct_event *e, const struct ct_ban_key *key,
					const struct ct_ban *ban, enum ct_event_type type)
{
	__builtin_memset(e, 0, sizeof(*e));
	e->time = ct_now();
	e->packets[0] = ban->hits;
	e->packets[1] = ban->bytes;
	e->type = type;
	e->reason = ban->origin;
	e->family = key->family == 6 ? 6 : 4;
	e->flow.flow.word = (__u64)ban->flags << 32 | ban->note;
	e->flow.flow.seen = ban->last;
	e->flow.flow.start = ban->since;
	e->flow.flow.bytes[0] = ban->until;
	e->flow.flow.lo = key->addr[0];
	e->flow.flow.lo_port_be = key->port_be;
	e->flow.flow.proto_if = (__u32)key->prefix << 8 | key->proto;
	__builtin_memcpy(e->flow.lo, key->addr, sizeof(e->flow.lo));
	ct_event_send(e);
}

#endif
