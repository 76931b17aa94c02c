//! Rows read while packets write to them.

mod common;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

use common::Lab;
use common::TIME;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_bpf::table::Tables;
use conntrack_core::Direction;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::FlowKey;
use conntrack_core::Timestamp;

fn flows(tables: &Tables) -> impl Iterator<Item = Flow> {
    let walk = tables.walk(FlowFilter::default(), Clock::stopped(TIME));
    walk.map(|flow| flow.expect("a flow"))
}

/// Packets of one direction of a flow, all of one size.
struct Lane {
    name: FlowKey,
    direction: Direction,
    frame: Vec<u8>,
    size: u64,
    started: AtomicU64,
    finished: AtomicU64,
}

impl Lane {
    fn new(name: FlowKey, direction: Direction, packet: &Packet) -> Self {
        Self {
            name,
            direction,
            frame: packet.frame(),
            size: packet.ip_len(),
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }

    fn send(&self, lab: &Lab) {
        self.started.fetch_add(1, Ordering::SeqCst);
        lab.run(&self.frame);
        self.finished.fetch_add(1, Ordering::SeqCst);
    }
}

/// Both directions of flows in both families, in the order of their opening.
fn lanes() -> Vec<[Lane; 2]> {
    let pairs = [
        ("10.0.0.1:1000", "10.0.0.2:2000"),
        ("10.0.0.2:1000", "10.0.0.1:2000"),
        ("[2001:db8::1]:1000", "[2001:db8::2]:2000"),
        ("[2001:db8::2]:1000", "[2001:db8::1]:2000"),
    ];
    let lane = |(a, b): (&str, &str)| {
        let name = format!("udp {a} {b}").parse().expect("a name");
        let there = Packet::udp(end(a), end(b)).payload(72);
        let back = Packet::udp(end(b), end(a)).payload(1000);
        [
            Lane::new(name, Direction::Original, &there),
            Lane::new(name, Direction::Reply, &back),
        ]
    };
    pairs.into_iter().map(lane).collect()
}

/// Counts of a row lie between what was sent before it was read and after, and
/// an answer that was counted is known to the row's flags.
fn check_bracket(lab: &Lab, lanes: &[Lane; 2]) -> u64 {
    let finished = [0, 1].map(|dir| lanes[dir].finished.load(Ordering::SeqCst));
    let flow = lab.flow(&lanes[0].name).expect("a flow");
    let started = [0, 1].map(|dir| lanes[dir].started.load(Ordering::SeqCst));
    for (dir, lane) in lanes.iter().enumerate() {
        let side = flow.side(lane.direction);
        let bracket = finished[dir]..=started[dir];
        assert!(bracket.contains(&side.packets), "{bracket:?}: {side:?}");
        assert_eq!(side.bytes % lane.size, 0, "{side:?}");
        assert!(bracket.contains(&(side.bytes / lane.size)), "{side:?}");
    }
    assert!(flow.seen_reply || flow.reply.packets == 0, "{flow:?}");
    flow.packets()
}

#[test]
#[ignore = "root"]
fn counts_of_busy_flows_are_never_out_of_range() {
    const ROUNDS: u64 = 20_000;
    let mut lab = Lab::new(1000);
    lab.replayer.set(TIME, 2000);
    let lanes = lanes();
    for [original, _] in &lanes {
        original.send(&lab);
    }
    let writers = AtomicU64::new(2);
    let mut readings = 0_u64;
    let mut moved = 0_u64;
    thread::scope(|scope| {
        for dir in [0, 1] {
            let (lab, lanes, writers) = (&lab, &lanes, &writers);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    lanes.iter().for_each(|lane| lane[dir].send(lab));
                }
                writers.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let mut last = vec![0; lanes.len()];
        while writers.load(Ordering::SeqCst) > 0 {
            for (lane, last) in lanes.iter().zip(&mut last) {
                let packets = check_bracket(&lab, lane);
                moved += u64::from(packets > *last);
                *last = packets;
                readings += 1;
            }
        }
    });
    for lane in &lanes {
        assert_eq!(check_bracket(&lab, lane), 2 * ROUNDS + 1);
    }
    assert!(moved > 100, "{moved} of {readings} readings saw news");
}

/// A SYN all of whose fields follow from a number.
struct Syn(u32);

impl Syn {
    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let host = |net: u32| -> IpAddr {
            if self.0.is_multiple_of(2) {
                Ipv4Addr::from_bits(net << 24 | self.0).into()
            } else {
                let words = u128::from(!self.0) << 96 | u128::from(net) << 32 | u128::from(self.0);
                Ipv6Addr::from_bits(words).into()
            }
        };
        let port = |salt: u32| (self.0.wrapping_mul(salt) >> 8) as u16;
        (
            SocketAddr::new(host(10), port(0x9e37_79b1)),
            SocketAddr::new(host(11), port(0x85eb_ca6b)),
        )
    }

    fn packet(&self) -> Packet {
        let (a, b) = self.ends();
        let packet = Packet::tcp(a, b).flags(SYN).seq(!self.0).ack(0);
        packet.window(self.0 as u16).payload((self.0 % 97) as usize)
    }

    fn time(&self) -> i64 {
        TIME + i64::from(self.0)
    }

    /// The one that made this flow; everything in it must be of that one.
    fn check(flow: &Flow) {
        let number = match flow.original.tuple.src {
            IpAddr::V4(addr) => addr.to_bits() & 0xff_ffff,
            IpAddr::V6(addr) => addr.to_bits() as u32,
        };
        let syn = Self(number);
        let (a, b) = syn.ends();
        let tuple = &flow.original.tuple;
        let segment = flow.original.tcp.expect("TCP");
        let time = Timestamp(syn.time());
        assert_eq!(
            (tuple.src, tuple.dst, tuple.ports()),
            (a.ip(), b.ip(), Some((a.port(), b.port())))
        );
        assert_eq!((flow.start, flow.last_seen), (time, time), "{flow:?}");
        assert_eq!((segment.seq, segment.window), (!number, number as u16));
        assert_eq!(flow.original.packets, 1);
        assert_eq!(flow.original.bytes, syn.packet().ip_len());
        assert_eq!((flow.reply.packets, flow.reply.bytes), (0, 0));
    }
}

#[test]
#[ignore = "root"]
fn rows_are_of_one_flow_while_slots_change_hands() {
    const FLOWS: u32 = 150_000;
    // The smallest tables there are: each slot is given away hundreds of times.
    let mut lab = Lab::new(1);
    let tables = lab.tables.clone();
    let done = AtomicBool::new(false);
    let mut rows = 0_u64;
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..FLOWS {
                let syn = Syn(number);
                lab.send_at(syn.time(), &syn.packet());
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            for flow in flows(&tables) {
                Syn::check(&flow);
                rows += 1;
            }
        }
    });
    let table = lab.counters().table;
    assert_eq!(table.created, u64::from(FLOWS));
    assert!(table.evicted() > u64::from(FLOWS) / 2, "{table:?}");
    assert!(rows > 10_000, "{rows} rows read");
}

#[test]
#[ignore = "root"]
fn no_answer_is_counted_that_the_flags_do_not_know_of() {
    const FLOWS: u32 = 100_000;
    let mut lab = Lab::new(1);
    lab.replayer.set(TIME, 2000);
    let done = AtomicBool::new(false);
    let (mut answered, mut unanswered) = (0_u64, 0_u64);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..FLOWS {
                let (a, b) = Syn(number).ends();
                lab.run(&Packet::udp(a, b).frame());
                lab.run(&Packet::udp(b, a).frame());
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            for flow in flows(&lab.tables) {
                assert!(flow.seen_reply || flow.reply.packets == 0, "{flow:?}");
                answered += u64::from(flow.seen_reply);
                unanswered += u64::from(!flow.seen_reply);
            }
        }
    });
    assert!(answered > 1000 && unanswered > 0, "{answered} {unanswered}");
}
