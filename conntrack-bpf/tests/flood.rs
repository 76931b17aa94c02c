//! Floods of ten times the table's size, while real connections go on, open and
//! close.

mod common;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_bpf::testrun;
use conntrack_core::Flow;
use conntrack_core::FlowKey;

/// Flows the tables are sized for, real connections that stay, and those that
/// open and close meanwhile.
const ROOM: u32 = 20_000;
const LASTING: u32 = 10_000;
const PASSING: u32 = 1_000;

/// Flood packets before each passing connection opens, a millisecond after the
/// one before: ten times the table in a second.
const BETWEEN: u32 = 10 * ROOM / PASSING;
const MILLI: i64 = SECOND / 1000;

/// From packet to packet of a real connection.
const RTT: i64 = 5 * MILLI;

/// What the flood is made of.
#[derive(Copy, Clone)]
enum Kind {
    Syn,
    Udp,
    Ping,
}

/// Real clients are in 10.0.0.0/8 and fd00::/16, forged ones are anybody.
fn client(v6: bool, number: u32) -> SocketAddr {
    let [_, b, c, d] = number.to_be_bytes();
    let addr: IpAddr = match v6 {
        false => Ipv4Addr::new(10, b, c, d).into(),
        true => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, b.into(), u16::from_be_bytes([c, d])).into(),
    };
    SocketAddr::new(addr, 40_000)
}

fn server(v6: bool) -> SocketAddr {
    match v6 {
        false => end("192.0.2.1:443"),
        true => end("[2001:db8::1]:443"),
    }
}

/// Every forged source is another one; by turns random, and close together, as
/// one chooses them who hopes that neighbours collide.
fn forged(kind: Kind, v6: bool, number: u32) -> Packet {
    let spread = match number % 2 {
        0 => number.wrapping_mul(0x9e37_79b1),
        _ => number,
    };
    let [a, b, c, d] = spread.to_be_bytes();
    let addr: IpAddr = match v6 {
        false => Ipv4Addr::new(172 + (a & 3), b, c, d).into(),
        true => Ipv6Addr::new(
            0x2001,
            0xbad,
            0,
            u16::from(a),
            0,
            0,
            b.into(),
            u16::from_be_bytes([c, d]),
        )
        .into(),
    };
    let source = SocketAddr::new(addr, 1024 + (number / 7) as u16 % 60_000);
    match kind {
        Kind::Syn => Packet::tcp(source, server(v6)).flags(SYN).seq(number),
        Kind::Udp => Packet::udp(source, server(v6)),
        Kind::Ping => {
            let echo = if v6 { [128, 0] } else { [8, 0] };
            Packet::icmp(addr, server(v6).ip(), echo, number as u16)
        }
    }
}

/// The packets of a short connection, in order; three of them open it, the last
/// three close it.
fn conversation(v6: bool, number: u32) -> Vec<Packet> {
    let (a, b) = (client(v6, number), server(v6));
    let out = |flags, seq, ack| Packet::tcp(a, b).flags(flags).seq(seq).ack(ack);
    let back = |flags, seq, ack| Packet::tcp(b, a).flags(flags).seq(seq).ack(ack);
    vec![
        out(SYN, 100, 0),
        back(SYN | ACK, 500, 101),
        out(ACK, 101, 501),
        out(ACK, 101, 501).payload(100),
        back(ACK, 501, 201).payload(1000),
        out(FIN | ACK, 201, 1501),
        back(FIN | ACK, 1501, 202),
        out(ACK, 202, 1502),
    ]
}

/// The flow of a real client.
fn flow(lab: &Lab, v6: bool, number: u32, epoch: i64) -> Option<Flow> {
    let name = format!("tcp {} {}", client(v6, number), server(v6));
    let name: FlowKey = name.parse().expect("a name");
    let clock = conntrack_bpf::Clock::stopped(epoch);
    lab.tables.find(&name, &clock).expect("a sound slot")
}

/// Sends a packet, which must pass.
fn pass(lab: &mut Lab, epoch: i64, packet: &Packet) {
    const XDP_PASS: u32 = 2;
    let frame = packet.frame();
    lab.replayer.set(epoch, frame.len() as u32);
    let verdict = testrun::run(lab.datapath.programs.xdp.as_fd(), &frame).expect("test run");
    assert_eq!(verdict, XDP_PASS);
}

fn real_connections_live_through(kind: Kind, v6: bool) {
    let mut lab = Lab::new(ROOM);
    for number in 0..LASTING {
        for packet in conversation(v6, number).iter().take(5) {
            pass(&mut lab, TIME, packet);
        }
    }
    let mut waiting: VecDeque<(i64, Packet)> = VecDeque::new();
    let mut sent = 0;
    for passing in 0..PASSING {
        let begin = TIME + SECOND + i64::from(passing) * MILLI;
        let packets = conversation(v6, LASTING + passing).into_iter().zip(0..);
        waiting.extend(packets.map(|(packet, step)| (begin + step * RTT, packet)));
        waiting.make_contiguous().sort_by_key(|(time, _)| *time);
        for number in 0..BETWEEN {
            let now = begin + MILLI * i64::from(number) / i64::from(BETWEEN);
            while waiting.front().is_some_and(|(time, _)| *time <= now) {
                let (time, packet) = waiting.pop_front().expect("one is there");
                pass(&mut lab, time, &packet);
            }
            pass(&mut lab, now, &forged(kind, v6, sent));
            sent += 1;
        }
    }
    for (time, packet) in waiting {
        pass(&mut lab, time, &packet);
    }
    assert_eq!(sent, 10 * ROOM);
    let end = TIME + 3 * SECOND;
    for number in 0..LASTING {
        let flow = flow(&lab, v6, number, end).expect("an assured flow was lost");
        assert!(
            flow.assured && flow.state.name() == Some("ESTABLISHED"),
            "{flow:?}"
        );
        assert_eq!(
            (flow.original.packets, flow.reply.packets),
            (3, 2),
            "{flow:?}"
        );
    }
    let whole = (LASTING..LASTING + PASSING).filter(|number| {
        flow(&lab, v6, *number, end).is_some_and(|flow| {
            flow.state.name() == Some("TIME_WAIT")
                && (flow.original.packets, flow.reply.packets) == (5, 3)
        })
    });
    let (whole, counters) = (whole.count() as u32, lab.counters());
    assert!(
        whole * 1000 >= PASSING * 999,
        "{whole} of {PASSING}: {:?}",
        counters.table
    );
    assert!(
        counters.table.evicted() > u64::from(8 * ROOM),
        "it was no flood"
    );
    assert_eq!(counters.passed_untracked["table_full"], 0);
    assert!(counters.drops.values().all(|count| *count == 0));
}

#[test]
#[ignore = "root"]
fn real_connections_live_through_a_syn_flood_v4() {
    real_connections_live_through(Kind::Syn, false);
}

#[test]
#[ignore = "root"]
fn real_connections_live_through_a_syn_flood_v6() {
    real_connections_live_through(Kind::Syn, true);
}

#[test]
#[ignore = "root"]
fn real_connections_live_through_a_udp_flood() {
    real_connections_live_through(Kind::Udp, false);
}

#[test]
#[ignore = "root"]
fn real_connections_live_through_a_ping_flood() {
    real_connections_live_through(Kind::Ping, false);
}

/// Where nothing can be pushed out, new connections pass untracked, and are
/// counted; nobody's packet is dropped, no assured flow is touched.
#[test]
#[ignore = "root"]
fn where_all_is_assured_new_ones_pass_untracked() {
    const ROOM: u32 = 192;
    let mut lab = Lab::new(ROOM);
    let mut opened = 0;
    while lab.counters().passed_untracked["table_full"] == 0 {
        for packet in conversation(false, opened).iter().take(5) {
            pass(&mut lab, TIME, packet);
        }
        opened += 1;
        assert!(opened < 4 * ROOM, "the table is never full");
    }
    let counters = lab.counters();
    let there = (0..opened).filter_map(|number| flow(&lab, false, number, TIME));
    assert!(there.clone().all(|flow| flow.assured));
    assert_eq!(there.count() as u64, counters.table.created);
    assert_eq!(counters.table.gone_total(), 0);
    assert!(
        counters.table.created > u64::from(ROOM),
        "sized for more than it holds"
    );
}
