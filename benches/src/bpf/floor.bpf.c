// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What a flow counter costs at the very least, written the way everybody does:
 * parse Ethernet, IPv4 or IPv6, TCP or UDP; one canonical key; one lookup in a
 * preallocated hash map; plain packets, bytes and precise clock; pass. No
 * states, no timeouts, no directions, and two CPUs lose counts to each other.
 *
 * Also the empty program, whose cost is taken off everything that is compared.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct floor_key4 {
	__u32 lo, hi;
	__u32 ports; /* of `lo` in the low half, of `hi` in the high half */
	__u32 proto;
};
_Static_assert(sizeof(struct floor_key4) == 16, "no hidden padding");

struct floor_key6 {
	__u32 lo[4], hi[4];
	__u32 ports; /* of `lo` in the low half, of `hi` in the high half */
	__u32 proto;
};
_Static_assert(sizeof(struct floor_key6) == 40, "no hidden padding");

struct floor_value {
	__u64 packets;
	__u64 bytes; /* IP total lengths */
	__u64 seen;  /* CLOCK_MONOTONIC ns */
};
_Static_assert(sizeof(struct floor_value) == 24, "no hidden padding");

/* Key: both directions of a flow. Written by packets. Full: refuses new flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct floor_key4);
	__type(value, struct floor_value);
} floor4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct floor_key6);
	__type(value, struct floor_value);
} floor6 SEC(".maps");

static __always_inline void floor_count(void *map, const void *key, __u32 bytes)
{
	struct floor_value *value = bpf_map_lookup_elem(map, key);
	struct floor_value fresh = {.packets = 1, .bytes = bytes};

	if (value) {
		value->packets++;
		value->bytes += bytes;
		value->seen = bpf_ktime_get_ns();
		return;
	}
	fresh.seen = bpf_ktime_get_ns();
	bpf_map_update_elem(map, key, &fresh, BPF_NOEXIST);
}

/* The two ports at `l4`, or none where the protocol has none; 0: truncated. */
static __always_inline int floor_ports(void *l4, void *end, __u8 proto, __be16 ports[2])
{
	ports[0] = 0;
	ports[1] = 0;
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return 1;
	if (l4 + 4 > end)
		return 0;
	ports[0] = ((__be16 *)l4)[0];
	ports[1] = ((__be16 *)l4)[1];
	return 1;
}

static __always_inline void floor_ipv4(void *l3, void *end)
{
	struct floor_key4 key = {};
	struct iphdr *ip = l3;
	__be16 ports[2];
	int hi;

	if (l3 + sizeof(*ip) > end || ip->ihl < 5)
		return;
	if (!floor_ports(l3 + ip->ihl * 4, end, ip->protocol, ports))
		return;
	hi = (((__u64)ip->saddr << 16) | ports[0]) > (((__u64)ip->daddr << 16) | ports[1]);
	key.lo = hi ? ip->daddr : ip->saddr;
	key.hi = hi ? ip->saddr : ip->daddr;
	key.ports = hi ? ports[1] | ((__u32)ports[0] << 16) : ports[0] | ((__u32)ports[1] << 16);
	key.proto = ip->protocol;
	floor_count(&floor4, &key, bpf_ntohs(ip->tot_len));
}

/* Order of two end points: addresses word by word, then ports. */
static __always_inline int floor_src_is_hi6(const struct ipv6hdr *ip, const __be16 ports[2])
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		__u32 src = ip->saddr.in6_u.u6_addr32[i];
		__u32 dst = ip->daddr.in6_u.u6_addr32[i];

		if (src != dst)
			return src > dst;
	}
	return ports[0] > ports[1];
}

static __always_inline void floor_ipv6(void *l3, void *end)
{
	struct floor_key6 key = {};
	struct ipv6hdr *ip = l3;
	__be16 ports[2];
	int hi;

	if (l3 + sizeof(*ip) > end)
		return;
	if (!floor_ports(l3 + sizeof(*ip), end, ip->nexthdr, ports))
		return;
	hi = floor_src_is_hi6(ip, ports);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		__u32 src = ip->saddr.in6_u.u6_addr32[i];
		__u32 dst = ip->daddr.in6_u.u6_addr32[i];

		key.lo[i] = hi ? dst : src;
		key.hi[i] = hi ? src : dst;
	}
	key.ports = hi ? ports[1] | ((__u32)ports[0] << 16) : ports[0] | ((__u32)ports[1] << 16);
	key.proto = ip->nexthdr;
	floor_count(&floor6, &key, sizeof(*ip) + bpf_ntohs(ip->payload_len));
}

static __always_inline void floor_frame(void *data, void *end)
{
	struct ethhdr *eth = data;

	if (data + sizeof(*eth) > end)
		return;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		floor_ipv4(data + sizeof(*eth), end);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		floor_ipv6(data + sizeof(*eth), end);
}

SEC("xdp.frags")
int floor_xdp(struct xdp_md *ctx)
{
	floor_frame((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return XDP_PASS;
}

SEC("tc")
int floor_tc(struct __sk_buff *skb)
{
	floor_frame((void *)(long)skb->data, (void *)(long)skb->data_end);
	return TC_ACT_UNSPEC;
}

SEC("xdp.frags")
int empty_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("tc")
int empty_tc(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
