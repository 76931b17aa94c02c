/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Telling listeners what becomes of flows. Each listener has a ring buffer of
 * its own, so they do not take each other's events; a ring that is full loses
 * the event, counts it, and holds nobody up. Without listeners it costs one load
 * and a branch, and only where something happened.
 *
 * A flow's event is copied while nobody else can take the slot, NEW before it is
 * LIVE and DESTROY between taking it out and giving it back; or, as UPDATE, checked
 * afterwards. What two CPUs tell of one flow at once may come in either order, be it
 * NEW and DESTROY; `time` is that of what happened. A listener's `seq` is drawn right
 * before an event is put into its ring, where two CPUs may change places.
 */
#ifndef CT_EVENTS_H
#define CT_EVENTS_H

#include "config.h"
#include "maps.h"
#include "table.h"

/* Changes of the word that are worth an UPDATE. */
#define CT_W_NOTABLE (CT_W_STATE | CT_W_SEEN_REPLY | CT_W_ASSURED)

/* Packets of a slot, 48 bits. */
static __always_inline __u64 ct_packets_of(const struct ct_bucket_head *head,
					   const struct ct_flow *flow, __u32 slot, int dir)
{
	return ((__u64)head->carry[ct_slot_index(slot)][dir] << 32) | flow->packets[dir];
}

static __always_inline int ct_addr_in(const __u32 addr[4], const __u32 net[4], const __u32 mask[4])
{
	__u32 differ = 0;

#pragma unroll
	for (int i = 0; i < 4; i++)
		differ |= (addr[i] ^ net[i]) & mask[i];
	return !differ;
}

static __always_inline int ct_port_in(const struct ct_listener *l, int side, __u16 port)
{
	return port >= l->port_lo[side] && port <= l->port_hi[side];
}

/* Both ends of the flow, as the opener sees them. */
static __always_inline int ct_ends_wanted(const struct ct_listener *l, const __u32 *src,
					  const __u32 *dst, __u16 sport, __u16 dport)
{
	return (ct_addr_in(src, l->addr[0], l->mask[0]) ||
		ct_addr_in(dst, l->addr[0], l->mask[0])) &&
	       ct_addr_in(src, l->addr[1], l->mask[1]) && ct_addr_in(dst, l->addr[2], l->mask[2]) &&
	       (ct_port_in(l, 0, sport) || ct_port_in(l, 0, dport)) && ct_port_in(l, 1, sport) &&
	       ct_port_in(l, 2, dport);
}

/* Is this what the listener wished for? IPv4 addresses are in the first word of both. */
static __always_inline int ct_event_wanted(const struct ct_listener *l, const struct ct_event *e)
{
	const struct ct_flow *flow = &e->flow.flow;
	__u16 lo_port = __builtin_bswap16(flow->lo_port_be);
	__u16 hi_port = __builtin_bswap16(flow->hi_port_be);

	if (e->type == CT_EVENT_PRESSURE)
		return 1;
	/* Of a ban only addresses are compared: its first one. */
	if (e->type >= CT_EVENT_BAN)
		return (!l->family || l->family == e->family) &&
		       ct_addr_in(e->flow.lo, l->addr[0], l->mask[0]) &&
		       ct_addr_in(e->flow.lo, l->addr[1], l->mask[1]);
	if ((l->family && l->family != e->family) ||
	    (l->proto_set && l->proto != (__u8)flow->proto_if) ||
	    (l->ifindex && l->ifindex != flow->proto_if >> 8))
		return 0;
	if (flow->word & CT_W_ORIG_HI)
		return ct_ends_wanted(l, e->flow.hi, e->flow.lo, hi_port, lo_port);
	return ct_ends_wanted(l, e->flow.lo, e->flow.hi, lo_port, hi_port);
}

/*
 * Hands an event to everybody who wished for it. The counters of a listener are
 * shared by all CPUs, therefore atomic.
 */
__weak __noinline int ct_event_send(struct ct_event *e)
{
	if (!e)
		return 0;
	for (__u32 i = 0; i < CT_LISTENERS; i++) {
		__u32 key = i;
		struct ct_listener *l = bpf_map_lookup_elem(&ct_listeners, &key);
		__u32 type = e->type & 7;
		void *ring;
		long refused = -1;

		if (!l || !(l->types & (1U << type)) || !ct_event_wanted(l, e))
			continue;
		e->seq = __sync_fetch_and_add(&l->seq, 1);
		ring = bpf_map_lookup_elem(&ct_rings, &key);
		if (ring && e->family == 4)
			refused = bpf_ringbuf_output(ring, e, CT_EVENT_SIZE4, 0);
		else if (ring)
			refused = bpf_ringbuf_output(ring, e, sizeof(*e), 0);
		if (refused)
			__sync_fetch_and_add(&l->lost[type], 1);
	}
	return 0;
}

/*
 * Copies the slot at e->place into the event, but for the word. 0: the slot has
 * another generation by now; if it is not ours, what was copied may be of either flow.
 */
static __always_inline int ct_event_copy(struct ct_event *e, int v6)
{
	__u32 slot = e->place % CT_SLOTS;
	struct ct_bucket_head *head = ct_any_bucket(e->place / CT_SLOTS, v6);
	__u64 word = e->flow.flow.word;
	struct ct_flow *flow;
	int heard;

	if (!head)
		return 0;
	flow = ct_slot(head, slot, v6);
	heard = ((const volatile struct ct_flow *)flow)->tcp[CT_REPLY].flags;
	if (v6) {
		__builtin_memcpy(&e->flow, flow, sizeof(struct ct_flow6));
	} else {
		__builtin_memcpy(&e->flow.flow, flow, sizeof(struct ct_flow));
		__builtin_memset(e->flow.lo, 0, sizeof(e->flow.lo) + sizeof(e->flow.hi));
		e->flow.lo[0] = flow->lo;
		e->flow.hi[0] = flow->hi;
	}
	e->flow.flow.word = word;
	/* What stood there is no segment's, and one may be written meanwhile: ct_opener(). */
	if (!heard)
		e->flow.flow.tcp[CT_REPLY].flags = 0;
	e->packets[CT_ORIGINAL] = ct_packets_of(head, flow, slot, CT_ORIGINAL);
	e->packets[CT_REPLY] = ct_packets_of(head, flow, slot, CT_REPLY);
	e->family = v6 ? 6 : 4;
	e->pad = 0;
	return ((ct_load(&flow->word) ^ word) & CT_W_GEN) == 0;
}

__weak __noinline int ct_event_copy4(struct ct_event *e)
{
	return e ? ct_event_copy(e, 0) : 0;
}

__weak __noinline int ct_event_copy6(struct ct_event *e)
{
	return e ? ct_event_copy(e, 1) : 0;
}

static __always_inline int ct_heard(enum ct_event_type type)
{
	return ct_settings.event_types & (1U << type);
}

/*
 * Makes an event of the flow in a slot, whose word is this. By the precise clock: the
 * coarse one, by which most packets go, would let ESTABLISHED come before NEW. 0: the
 * slot is not that flow's any more.
 */
static __always_inline int ct_note(struct ct_event *e, const struct ct_ref *ref, int v6, __u64 word,
				   enum ct_event_type type, __u8 reason)
{
	e->time = ct_now();
	e->type = type;
	e->reason = reason;
	e->place = ref->place;
	e->flow.flow.word = word;
	return v6 ? ct_event_copy6(e) : ct_event_copy4(e);
}

/*
 * And sends it. Who tells of an end has the slot, whatever its generation is by then;
 * an UPDATE of a flow that has ended meanwhile is none.
 */
static __always_inline void ct_tell(struct ct_event *e, const struct ct_ref *ref, int v6,
				    __u64 word, enum ct_event_type type, __u8 reason)
{
	if (!ct_heard(type))
		return;
	if (ct_note(e, ref, v6, word, type, reason) || type != CT_EVENT_UPDATE)
		ct_event_send(e);
}

/* What to call it that a flow's time is up. */
static __always_inline enum ct_gone ct_expiry(const struct ct_flow *flow, __u64 word)
{
	__u64 state = (word & CT_W_STATE) >> CT_W_STATE_SHIFT;

	if ((__u8)flow->proto_if != 6)
		return CT_GONE_TIMEOUT;
	if (state == CT_TCP_TIME_WAIT)
		return CT_GONE_FIN;
	return state == CT_TCP_CLOSE ? CT_GONE_RST : CT_GONE_TIMEOUT;
}

#endif
