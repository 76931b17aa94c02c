//! What the packet path counts is what was sent; and the counters that do not
//! fit in one word.

mod common;

use std::net::SocketAddr;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_bpf::counters;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::testrun;
use conntrack_core::Family;
use conntrack_core::Protocol;
use conntrack_core::stats::FlowCounts;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;

#[test]
#[ignore = "root"]
fn packets_are_counted_by_class_and_reason() {
    let mut lab = Lab::new(1000);
    let (a, b) = (end("10.0.0.1:1000"), end("10.0.0.2:2000"));
    let (c, d) = (end("[fe80::1]:1000"), end("[fe80::2]:2000"));
    let there = [
        Packet::udp(a, b).payload(10),
        Packet::udp(c, d).payload(20),
        Packet::udp(b, a).payload(30),
        Packet::udp(a, b).payload(40),
        Packet::icmp_error(b.ip(), a.ip(), [3, 3], &Packet::udp(a, b)),
        Packet::icmp(c.ip(), d.ip(), [135, 0], 0),
        Packet::tcp(a, b).flags(SYN | FIN),
    ];
    there.iter().for_each(|packet| lab.send(packet));
    let mut arp = vec![0xff; 42];
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    lab.replayer.packet(TIME, &arp, 42).expect("test run");
    lab.replayer.packet(TIME, &arp[..9], 9).expect("test run");

    let counters = lab.counters();
    assert_eq!(counters.packets, there.len() as u64);
    let bytes: u64 = there.iter().map(Packet::ip_len).sum();
    assert_eq!(counters.bytes, bytes);
    let (original, reply) = (counters.ct_state.original, counters.ct_state.reply);
    assert_eq!((original.new, original.established), (2, 1));
    assert_eq!((original.invalid, original.untracked), (1, 1));
    assert_eq!((reply.established, reply.related), (1, 1));
    let reasons = counters.passed_untracked.iter();
    let counted: Vec<_> = reasons.filter(|(_, count)| **count > 0).collect();
    let want = [
        ("invalid", 1),
        ("not_ip", 1),
        ("truncated", 1),
        ("untracked", 1),
    ];
    assert_eq!(
        counted,
        want.each_ref().map(|(reason, count)| (reason, count))
    );
    assert_eq!(counters.drops.values().sum::<u64>(), 0);
    assert_eq!(counters.table.created, 2);
    let cpus = &counters.per_cpu;
    assert_eq!(
        cpus.iter().map(|cpu| cpu.packets).sum::<u64>(),
        counters.packets
    );
    assert_eq!(cpus.iter().map(|cpu| cpu.bytes).sum::<u64>(), bytes);
    assert!(cpus.iter().map(|cpu| cpu.cpu).eq(0..cpus.len() as u32));
}

#[test]
#[ignore = "root"]
fn super_packets_nobody_has_cut_yet() {
    let lab = Lab::at(&[Entry::Xdp, Entry::TcIngress], |config| {
        config.table.max_flows = 1000
    });
    let (a, b) = (end("10.0.0.1:1000"), end("10.0.0.2:2000"));
    let (c, d) = (end("[fe80::1]:1000"), end("[fe80::2]:2000"));
    let mut sent = [0, 0];
    for (packet, segments, headers) in [
        (Packet::tcp(a, b).flags(SYN).window(60_000), 1, 40),
        (
            Packet::tcp(b, a).flags(SYN | ACK).ack(2).payload(1000),
            1,
            40,
        ),
        (Packet::tcp(a, b).seq(2).ack(1002).window(60_000), 1, 40),
        (Packet::tcp(b, a).seq(1002).ack(2).payload(1001), 2, 40),
        (Packet::tcp(b, a).seq(2003).ack(2).payload(3000), 3, 40),
        (Packet::udp(c, d).payload(2500), 3, 48),
        // Nonsense: it has no segments.
        (Packet::icmp(a.ip(), b.ip(), [8, 0], 7), 1, 0),
    ] {
        let program = lab.program(Entry::TcIngress);
        testrun::run_uncut(program, &packet.frame(), 1000).expect("test run");
        sent[0] += segments;
        sent[1] += packet.ip_len() + (segments - 1) * headers;
        let counters = lab.counters();
        assert_eq!([counters.packets, counters.bytes], sent, "{packet:?}");
    }
    let flows = lab.flows_at(0);
    let tcp = flows
        .iter()
        .find(|flow| flow.key().protocol() == Protocol::TCP);
    let reply = tcp.expect("the connection").reply;
    assert_eq!((reply.packets, reply.bytes), (6, 5001 + 6 * 40));
}

#[test]
#[ignore = "root"]
fn flows_are_counted_as_they_are_listed() {
    let mut lab = Lab::new(1000);
    for port in 1..=20 {
        let (a, b) = (SocketAddr::new(addr("10.0.0.1"), port), end("10.0.0.2:80"));
        let (c, d) = (SocketAddr::new(addr("fe80::1"), port), end("[fe80::2]:80"));
        for (client, server) in [(a, b), (c, d)] {
            lab.send(&Packet::udp(client, server));
            lab.send(&Packet::tcp(client, server).flags(SYN));
            if port % 2 == 0 {
                lab.send(&Packet::tcp(server, client).flags(SYN | ACK).ack(2));
            }
            if port % 4 == 0 {
                lab.send(&Packet::tcp(client, server).seq(2).ack(2));
            }
        }
        lab.send(&Packet::other(a.ip(), b.ip(), 200 + port as u8, &[0; 8]));
    }
    let mut want = FlowCounts {
        max: 2000,
        ..FlowCounts::default()
    };
    lab.flows().iter().for_each(|flow| want.add(flow));
    assert_eq!((want.active, want.assured), (100, 10));
    assert_eq!(want.by_state["SYN_RECV"], 10);
    assert_eq!(lab.tables.count(&Clock::stopped(TIME)), want);
}

#[test]
#[ignore = "root"]
fn interfaces_have_counters_of_their_own() {
    const LOOPBACK: u32 = 1; // what test runs come in by
    let mut lab = Lab::new(1000);
    let packet = Packet::udp(end("10.0.0.1:1"), end("10.0.0.2:2")).payload(100);
    lab.send(&packet);
    assert_eq!(lab.meter.interfaces(), []);

    // ct_ifaces[1]: interface 1, counters 5, attached.
    let ifaces = &lab.datapath.maps.ifaces;
    let mut value = lookup(ifaces, 0);
    value[8..12].copy_from_slice(&LOOPBACK.to_ne_bytes());
    value[12..14].copy_from_slice(&5_u16.to_ne_bytes());
    value[14..16].copy_from_slice(&1_u16.to_ne_bytes());
    update(ifaces, 0, &value);
    lab.send(&packet);
    lab.send(&packet);
    let counts = lab.meter.interfaces();
    let [counts] = counts.as_slice() else {
        panic!("{counts:?}");
    };
    assert_eq!(counts.ifindex, LOOPBACK);
    assert_eq!((counts.packets, counts.bytes), (2, 2 * packet.ip_len()));
    assert_eq!(lab.counters().packets, 3);
}

#[test]
#[ignore = "root"]
fn memory_is_at_least_that_of_the_tables() {
    let lab = Lab::new(100_000);
    let tables = [Family::Ipv4, Family::Ipv6].map(|family| lab.tables.slots(family));
    let least = tables[0] / 15 * 2048 + tables[1] / 15 * 3008;
    let bytes = counters::memory_bytes(&lab.datapath.maps).expect("/proc");
    assert!(
        tables[0] >= 100_000 && (least..least * 2).contains(&bytes),
        "{bytes}"
    );
}

fn lookup(map: &MapHandle, key: u32) -> Vec<u8> {
    let value = map.lookup(&key.to_ne_bytes(), MapFlags::ANY);
    value.expect("look up").expect("a value")
}

fn update(map: &MapHandle, key: u32, value: &[u8]) {
    let done = map.update(&key.to_ne_bytes(), value, MapFlags::ANY);
    done.expect("update");
}

/// Where the only flow of a table is: bucket, and offset in it.
fn place(map: &MapHandle, slot_size: usize) -> (u32, usize) {
    for bucket in 0..map.max_entries() {
        let value = lookup(map, bucket);
        for offset in (128..).step_by(slot_size).take(15) {
            if value[offset] & 3 == 2 {
                return (bucket, offset);
            }
        }
    }
    panic!("no flow");
}

fn table_of(lab: &Lab, slot_size: usize) -> &MapHandle {
    let maps = &lab.datapath.maps;
    if slot_size == 128 {
        &maps.table4
    } else {
        &maps.table6
    }
}

#[test]
#[ignore = "root"]
fn packet_counts_go_on_past_32_bits() {
    const BYTES_SO_FAR: u64 = 60 << 32;
    for (a, b, slot_size) in [
        ("10.0.0.1:1000", "10.0.0.2:2000", 128),
        ("[fe80::1]:1000", "[fe80::2]:2000", 192),
    ] {
        let (a, b) = (end(a), end(b));
        let mut lab = Lab::new(1000);
        let there = Packet::udp(a, b);
        lab.send(&there);
        let table = table_of(&lab, slot_size);
        let (bucket, offset) = place(table, slot_size);
        let mut value = lookup(table, bucket);
        let packets = [u32::MAX - 2, u32::MAX];
        for dir in [0, 1] {
            let (bytes_at, packets_at) = (offset + 24 + dir * 8, offset + 40 + dir * 4);
            value[bytes_at..bytes_at + 8].copy_from_slice(&BYTES_SO_FAR.to_ne_bytes());
            value[packets_at..packets_at + 4].copy_from_slice(&packets[dir].to_ne_bytes());
        }
        // The carry of the reply direction has been set once before.
        let carry_at = 64 + (offset - 128) / slot_size * 4;
        value[carry_at + 2..carry_at + 4].copy_from_slice(&7_u16.to_ne_bytes());
        update(table, bucket, &value);

        let count = |lab: &Lab| {
            let flow = lab.flows().remove(0);
            (flow.original.packets, flow.reply.packets)
        };
        let full = u64::from(u32::MAX);
        assert_eq!(count(&lab), (full - 2, (7 << 32) + full));
        for sent in 1..=5 {
            lab.send(&there);
            assert_eq!(count(&lab), (full - 2 + sent, (7 << 32) + full));
        }
        let back = Packet::udp(b, a);
        lab.send(&back);
        assert_eq!(count(&lab), (full + 3, 8 << 32));
        let flow = lab.flows().remove(0);
        assert_eq!(flow.original.bytes, BYTES_SO_FAR + 5 * there.ip_len());
        assert_eq!(flow.reply.bytes, BYTES_SO_FAR + back.ip_len());

        // The next flow in that slot begins at nothing.
        let later = TIME + 1000 * SECOND;
        lab.send_at(later, &there);
        assert_eq!(
            place(table_of(&lab, slot_size), slot_size),
            (bucket, offset)
        );
        let next = lab.flows_at(later).remove(0);
        assert_eq!((next.original.packets, next.reply.packets), (1, 0));
    }
}
