// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One system call, many flows: each repeat of a test run turns the packet into
 * the next flow's, then jumps to the program that is measured. The jump is a
 * tail call of a constant index, so what runs is that program as it was loaded.
 * The same way to the empty program costs what has to be taken off.
 *
 * A flow's packets go to and fro like question and answer, each with the
 * sequence numbers an honest stack would use, so a tracker finds them in window.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wide stores below put fields together for little-endian machines"
#endif

/* Programs that can be driven; index of `targets_*` and of `cursors`. */
enum drive_target {
	DRIVE_EMPTY,
	DRIVE_FLOOR,
	DRIVE_PRODUCT,
	DRIVE_TARGETS,
};

enum drive_proto {
	DRIVE_TCP,
	DRIVE_UDP,
	DRIVE_ICMP, /* ICMPv6 where the family is 6 */
};

/* What the next packets are. User space writes it between test runs. */
struct drive_script {
	__u32 family;  /* 4 or 6 */
	__u32 proto;   /* enum drive_proto */
	__u32 first;   /* number of the first flow */
	__u32 flows;   /* how many there are */
	__u32 stride;  /* from one flow to the next; shares no factor with `flows` */
	__u32 dir;     /* 0: the first lap's packets are the client's, 1: the server's */
	__u32 flip;    /* 1: every lap changes direction */
	__u32 payload; /* TCP bytes by which sequence numbers move each second lap */
	__u32 seq[2];  /* of client and server in the first lap */
};

/* How far a target has come. A lap is one packet of each flow. */
struct drive_cursor {
	__u32 at;
	__u32 lap;
};

struct drive_script script SEC(".data.script") = {};
struct drive_cursor cursors[DRIVE_TARGETS] SEC(".data.cursors") = {};

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, DRIVE_TARGETS);
	__type(key, __u32);
	__type(value, __u32);
} targets_xdp SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, DRIVE_TARGETS);
	__type(key, __u32);
	__type(value, __u32);
} targets_tc SEC(".maps");

#define CLIENTS	 0x0a000000 /* 10.0.0.0, or 2001:db8::a00:0 */
#define SERVER	 0xc0000201 /* 192.0.2.1, or 2001:db8::c000:201 */
#define PORTS	 64	    /* flows of one client, from PORT_MIN on */
#define PORT_MIN 32768
#define SERVICE	 443

#define L4_IPV4 (ETH_HLEN + sizeof(struct iphdr))
#define L4_IPV6 (ETH_HLEN + sizeof(struct ipv6hdr))
#define L4_SIZE 12 /* what is written of a TCP header */

/*
 * Stores are as wide as any load a parser may do of them: the CPU hands a
 * pending store to a narrower load, but stalls on a wider one, and a packet
 * that came by DMA would not have stalled.
 */
static __always_inline void put8(void *p, __u64 value)
{
	*(volatile __u64 *)p = value;
}

static __always_inline void put4(void *p, __u32 value)
{
	*(volatile __u32 *)p = value;
}

static __always_inline void put_l4(void *l4, __u32 flow, __u32 dir, __u32 half)
{
	__u32 client = bpf_htons(PORT_MIN + (flow & (PORTS - 1)));
	__u32 server = bpf_htons(SERVICE);
	__u32 sent = half * script.payload;
	__u32 seq, ack;

	if (script.proto == DRIVE_ICMP) {
		__u8 echo = script.family == 4 ? 8 : 128;
		__u8 answer = script.family == 4 ? 0 : 129;

		put4(l4, dir ? answer : echo); /* with code 0, and no checksum */
		put4(l4 + 4, client);	       /* the id; the sequence number stays 0 */
		return;
	}
	put4(l4, dir ? server | (client << 16) : client | (server << 16));
	if (script.proto != DRIVE_TCP)
		return;
	seq = script.seq[dir & 1] + sent;
	/* The server answers what the client has just sent. */
	ack = script.seq[(dir & 1) ^ 1] + sent + (dir ? script.payload : 0);
	put8(l4 + 4, bpf_htonl(seq) | ((__u64)bpf_htonl(ack) << 32));
}

/* Between these addresses; the sum of the header with them. */
static __always_inline void put_ipv4(__u32 *ip, __u64 src, __u64 dst)
{
	__u32 ttl_proto = bpf_ntohl(ip[2]) & 0xffff0000;
	__u64 sum = (__u64)ip[0] + ip[1] + bpf_htonl(ttl_proto) + src + dst;

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put4(ip + 2, bpf_htonl(ttl_proto | bpf_ntohs(~(__u16)sum)));
	put8(ip + 3, src | (dst << 32));
}

/* The next packet of `target`, in place of the one that is there. */
static __always_inline void rewrite(void *data, void *end, enum drive_target target)
{
	struct drive_cursor *cursor = &cursors[target];
	__u32 at = cursor->at, lap = cursor->lap;
	__u32 flow = script.first + at;
	__u32 dir = (script.dir ^ (lap & script.flip)) & 1;
	__u64 client = bpf_htonl(CLIENTS + flow / PORTS);
	__u64 server = bpf_htonl(SERVER);
	__u64 src = dir ? server : client;
	__u64 dst = dir ? client : server;

	at += script.stride;
	if (at >= script.flows)
		at -= script.flows;
	cursor->at = at;
	cursor->lap = lap + (at == 0);
	if (script.family == 4) {
		if (data + L4_IPV4 + L4_SIZE > end)
			return;
		put_ipv4(data + ETH_HLEN, src, dst);
		put_l4(data + L4_IPV4, flow, dir, lap >> 1);
	} else {
		if (data + L4_IPV6 + L4_SIZE > end)
			return;
		put8(data + ETH_HLEN + 16, src << 32);
		put8(data + ETH_HLEN + 32, dst << 32);
		put_l4(data + L4_IPV6, flow, dir, lap >> 1);
	}
}

static __always_inline int drive_xdp(struct xdp_md *ctx, enum drive_target target)
{
	rewrite((void *)(long)ctx->data, (void *)(long)ctx->data_end, target);
	bpf_tail_call_static(ctx, &targets_xdp, target);
	return XDP_ABORTED;
}

static __always_inline int drive_tc(struct __sk_buff *skb, enum drive_target target)
{
	rewrite((void *)(long)skb->data, (void *)(long)skb->data_end, target);
	bpf_tail_call_static(skb, &targets_tc, target);
	return TC_ACT_SHOT;
}

SEC("xdp.frags")
int drive_xdp_empty(struct xdp_md *ctx)
{
	return drive_xdp(ctx, DRIVE_EMPTY);
}

SEC("xdp.frags")
int drive_xdp_floor(struct xdp_md *ctx)
{
	return drive_xdp(ctx, DRIVE_FLOOR);
}

SEC("xdp.frags")
int drive_xdp_product(struct xdp_md *ctx)
{
	return drive_xdp(ctx, DRIVE_PRODUCT);
}

SEC("tc")
int drive_tc_empty(struct __sk_buff *skb)
{
	return drive_tc(skb, DRIVE_EMPTY);
}

SEC("tc")
int drive_tc_floor(struct __sk_buff *skb)
{
	return drive_tc(skb, DRIVE_FLOOR);
}

SEC("tc")
int drive_tc_product(struct __sk_buff *skb)
{
	return drive_tc(skb, DRIVE_PRODUCT);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
