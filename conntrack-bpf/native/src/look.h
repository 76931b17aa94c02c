/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A part of table.c: looking at slots, whatever is in them. */
#ifndef CT_NATIVE_LOOK_H
#define CT_NATIVE_LOOK_H

static struct ct_flow *ct_flow_at(__u32 place, int v6, struct ct_bucket_head **head)
{
	ct_run(ct_here, place & CT_NATIVE_SECOND ? CT_NATIVE_NEW : CT_NATIVE_OLD);
	place &= ~CT_NATIVE_SECOND;
	*head = ct_bucket(place / CT_SLOTS, v6);
	return ct_slot(*head, place % CT_SLOTS, v6);
}

static void ct_key_at(const struct ct_flow *flow, int v6, struct ct_key *key)
{
	const struct ct_flow6 *flow6 = (const struct ct_flow6 *)flow;

	memset(key, 0, sizeof(*key));
	key->lo[0] = flow->lo;
	key->hi[0] = flow->hi;
	if (v6) {
		memcpy(key->lo, flow6->lo, sizeof(key->lo));
		memcpy(key->hi, flow6->hi, sizeof(key->hi));
	}
	key->lo_port_be = flow->lo_port_be;
	key->hi_port_be = flow->hi_port_be;
	key->proto = flow->proto_if;
}

/* Nothing may move meanwhile, but by other threads' packets if the test can bear it. */
static void ct_native_slot(struct ct_world *world, __u32 v6, __u32 place,
			   struct ct_native_slot *out)
{
	__u32 number = place & ~CT_NATIVE_SECOND;
	__u32 slot = number % CT_SLOTS;
	struct ct_bucket_head *head;
	struct ct_hash hash = {};
	struct ct_flow *flow;
	struct ct_key key;
	__u64 word;

	ct_here = world;
	memset(out, 0, sizeof(*out));
	flow = ct_flow_at(place, v6, &head);
	word = ct_load(&flow->word);
	ct_key_at(flow, v6, &key);
	ct_native_key_bytes(&key, out->key);
	ct_hash_key(&key, cfg_hash_seed, v6 ? cfg_buckets6 : cfg_buckets4, v6, &hash);
	out->seen = ct_load(&flow->seen);
	out->timeout = ct_timeout_of(word);
	for (int dir = 0; dir < CT_DIRS; dir++) {
		out->packets[dir] = ((__u64)head->carry[slot][dir] << 32) | flow->packets[dir];
		out->bytes[dir] = flow->bytes[dir];
	}
	out->phase = ct_phase_of(word);
	out->gen = ct_gen_of(word);
	out->assured = !!(word & CT_W_ASSURED);
	out->tag = head->tags[slot];
	out->want_tag = hash.tag;
	out->home = hash.bucket[0] == number / CT_SLOTS && hash.home == slot;
	if (out->phase != CT_CLOSING || !(word & CT_W_LEFT))
		return;
	out->left = !(word & CT_W_MOVED) ? CT_NATIVE_LEFT
		    : word & CT_W_REST	 ? CT_NATIVE_ARRIVED
					 : CT_NATIVE_MOVED;
	/* Into the second table: there is no other way in the tests. */
	ct_hash_buckets(hash.mixed, v6 ? world->tables[1].buckets6 : world->tables[1].buckets4,
			hash.bucket);
	out->to = hash.bucket[(word >> CT_W_TO_SHIFT) & 16 ? 1 : 0] * CT_SLOTS +
		  ((word >> CT_W_TO_SHIFT) & 15);
	out->to |= CT_NATIVE_SECOND;
	out->to_gen = ct_w_gen_to(word);
}

/*
 * Pairs of flows with one key, alive at one moment: both words are the same
 * before and after both keys were read, so both flows were there in between.
 * Others may be at work meanwhile.
 */
static __u32 ct_native_duplicates(struct ct_world *world, __u32 v6)
{
	__u32 first, places, found = 0;

	ct_here = world;
	first = (v6 ? world->tables[0].buckets6 : world->tables[0].buckets4) * CT_SLOTS;
	places = first + (v6 ? world->tables[1].buckets6 : world->tables[1].buckets4) * CT_SLOTS;
	for (__u32 a = 0; a < places; a++) {
		struct ct_bucket_head *head;
		struct ct_flow *one =
			ct_flow_at(a < first ? a : (a - first) | CT_NATIVE_SECOND, v6, &head);
		__u64 word = ct_load(&one->word);
		struct ct_key key;

		if (ct_phase_of(word) != CT_LIVE)
			continue;
		ct_key_at(one, v6, &key);
		for (__u32 b = a + 1; b < places; b++) {
			struct ct_flow *two = ct_flow_at(
				b < first ? b : (b - first) | CT_NATIVE_SECOND, v6, &head);
			__u64 other = ct_load(&two->word);
			struct ct_key twin;

			if (ct_phase_of(other) != CT_LIVE)
				continue;
			ct_key_at(two, v6, &twin);
			if (memcmp(&key, &twin, sizeof(key)))
				continue;
			__sync_synchronize();
			found += ((word ^ ct_load(&one->word)) & (CT_W_GEN | CT_W_PHASE)) == 0 &&
				 ((other ^ ct_load(&two->word)) & (CT_W_GEN | CT_W_PHASE)) == 0;
		}
	}
	return found;
}

#endif
