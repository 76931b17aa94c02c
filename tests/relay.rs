//! The relay that impairs packets does what its seed says, and logs what it
//! does. Other tests compare with that log, so it has to be right.

mod support;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::AddressFamily;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::recv;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt;

use support::eventually;
use support::frame::Injector;
use support::frame::ethernet;
use support::frame::ipv4;
use support::frame::tcp;
use support::frame::udp;
use support::netns::Netns;
use support::pair::at;
use support::peer::Server;
use support::peer::http_get;
use support::relay::Log;
use support::relay::Relay;
use support::relay::lane::Lane;
use support::relay::lane::Record;
use support::relay::lane::Totals;
use support::relay::plan::Action;
use support::relay::plan::Impairment;
use support::relay::plan::Way;
use support::relay::seen::Segment;

const A: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Some of everything.
fn rough(seed: u64) -> Impairment {
    Impairment {
        seed,
        loss: 0.05,
        duplicate: 0.03,
        reorder: 0.04,
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(3),
        hold: Duration::from_millis(20),
    }
}

/// A datagram with a number: its source port.
fn numbered(number: u16) -> Vec<u8> {
    let datagram = udp(number, 9, &[0; 20]);
    ethernet([0xff; 6], [2; 6], &[], &ipv4(A, B, 17, &[], &datagram))
}

/// So many packets through a lane, a millisecond apart. The log, the totals, and
/// the numbers of the packets in the order they left.
fn simulate(impairment: &Impairment, packets: u16) -> (Vec<Record>, Totals, Vec<u16>) {
    let mut lane = Lane::new(Way::There, impairment.clone(), true);
    let mut order = Vec::new();
    let mut leave = |lane: &mut Lane, now| {
        while let Some(leaving) = lane.next(now) {
            let ports = leaving.frame[34..36].first_chunk();
            order.push(u16::from_be_bytes(*ports.expect("a source port")));
            lane.done(&leaving, true);
        }
    };
    for number in 0..packets {
        let now = Duration::from_millis(number.into());
        leave(&mut lane, now);
        assert_eq!(lane.take(now, &numbered(number)), None);
    }
    leave(&mut lane, Duration::MAX);
    assert!(lane.is_empty());
    (lane.records(), lane.totals(), order)
}

/// Packets of a log that met this fate.
fn fated(log: &[Record], action: Action) -> u64 {
    log.iter().filter(|record| record.action == action).count() as u64
}

/// The totals that a log adds up to, if all that left was taken.
fn summed(log: &[Record]) -> Totals {
    let mut places: Vec<(u64, u64)> = Vec::new();
    for record in log {
        places.extend(
            record
                .left
                .iter()
                .flatten()
                .map(|place| (*place, record.index)),
        );
    }
    places.sort_unstable();
    assert!(
        places
            .iter()
            .map(|(place, _)| *place)
            .eq(0..places.len() as u64)
    );
    let mut front = 0;
    let reordered = places.iter().filter(|(_, index)| {
        let overtaken = *index < front;
        front = front.max(*index);
        overtaken
    });
    Totals {
        reordered: reordered.count() as u64,
        came: log.len() as u64,
        lost: fated(log, Action::Lose),
        duplicated: fated(log, Action::Duplicate),
        held_back: fated(log, Action::HoldBack),
        left: places.len() as u64,
        ..Totals::default()
    }
}

#[test]
fn a_seed_and_packets_make_decisions() {
    let [first, again, other] = [7, 7, 8].map(|seed| simulate(&rough(seed), 5000));
    assert_eq!(first, again);
    let fates = |log: &[Record]| log.iter().map(|record| record.action).collect::<Vec<_>>();
    assert_ne!(fates(&first.0), fates(&other.0));
    // The ways have fates of their own.
    let plan = rough(7);
    let [there, back] = Way::BOTH.map(|way| [0; 5000].map(|_: u8| way));
    let decide = |ways: [Way; 5000]| {
        let decided = ways
            .iter()
            .zip(0..)
            .map(|(way, index)| plan.decide(*way, index).action);
        decided.collect::<Vec<_>>()
    };
    assert_eq!(decide(there), fates(&first.0));
    assert_ne!(decide(there), decide(back));
}

#[test]
fn a_share_does_not_move_the_others() {
    let lossless = Impairment {
        duplicate: 0.08,
        loss: 0.0,
        ..rough(7)
    };
    for index in 0..5000 {
        let (with, without) = (
            rough(7).decide(Way::Back, index),
            lossless.decide(Way::Back, index),
        );
        assert_eq!(with.copy, without.copy);
        assert_eq!(
            with.action == Action::HoldBack,
            without.action == Action::HoldBack
        );
    }
}

/// Five standard deviations; the seed is fixed, so it either holds or does not.
#[test]
fn rates_are_near_what_was_asked() {
    let packets = 60_000;
    let plan = rough(1);
    let (_, totals, _) = simulate(&plan, packets);
    let near = |count: u64, share: f64| {
        let packets = f64::from(packets);
        let off = (count as f64 - packets * share).abs();
        assert!(
            off < 5.0 * (packets * share * (1.0 - share)).sqrt(),
            "{totals:?}"
        );
    };
    near(totals.lost, plan.loss);
    near(totals.duplicated, plan.duplicate);
    near(totals.held_back, plan.reorder);
    let delays = (0..packets.into()).map(|index| plan.decide(Way::There, index));
    let passed = delays.filter(|decision| decision.action == Action::Pass);
    let delays: Vec<f64> = passed
        .map(|decision| decision.delay.as_secs_f64())
        .collect();
    let mean = delays.iter().sum::<f64>() / delays.len() as f64;
    assert!((mean - 0.0035).abs() < 0.000_02, "{mean} s on average");
    let most = delays.iter().copied().fold(0.0, f64::max);
    let least = delays.iter().copied().fold(1.0, f64::min);
    assert!(least >= 0.002 && most < 0.005, "{least} s to {most} s");
}

#[test]
fn the_log_tells_what_left_and_when() {
    let (log, totals, order) = simulate(&rough(3), 10_000);
    assert_eq!(totals, summed(&log));
    assert_eq!(totals.left, totals.came - totals.lost + totals.duplicated);
    for record in &log {
        let arrivals = match record.action {
            Action::Lose => 0,
            Action::Pass | Action::HoldBack => 1,
            Action::Duplicate => 2,
        };
        assert_eq!(record.arrivals(), arrivals);
        for place in record.left.iter().flatten() {
            assert_eq!(u64::from(order[*place as usize]), record.index);
        }
    }
    let originals = log
        .iter()
        .filter(|record| record.action != Action::HoldBack);
    let places = originals.filter_map(|record| record.left[0]);
    assert!(places.is_sorted(), "one overtook that was not held back");
    let held = log
        .iter()
        .filter(|record| record.action == Action::HoldBack);
    let overtaken = held.filter(|held| {
        let behind = log.iter().skip(held.index as usize + 1);
        behind
            .take(20)
            .any(|other| other.left[0].is_some() && other.left[0] < held.left[0])
    });
    // They wait for 10 ms at least, beyond what the others do; packets are 1 ms apart.
    assert_eq!(overtaken.count() as u64, totals.held_back);
}

#[test]
fn a_segment_is_told_and_a_neighbour_is_left_alone() {
    let mut lane = Lane::new(Way::Back, rough(3), true);
    let segment = tcp(80, 4000, 17, 23, 0x18, b"seven b");
    let frame = ethernet([2; 6], [4; 6], &[], &ipv4(A, B, 6, &[1, 1, 1, 1], &segment));
    assert_eq!(lane.take(Duration::ZERO, &frame), None);
    let packet = lane.records()[0].packet;
    assert_eq!((packet.src, packet.dst), (A.into(), B.into()));
    assert_eq!((packet.ports, packet.length), ((80, 4000), 24 + 20 + 7));
    let expected = Segment {
        seq: 17,
        ack: 23,
        flags: 0x18,
        payload: 7,
    };
    assert_eq!(packet.tcp, Some(expected));
    let arp = [&[0xff; 12][..], &[0x08, 0x06], &[0; 28]].concat();
    let untouched = lane.take(Duration::ZERO, &arp).expect("given back");
    assert_eq!(untouched.frame, arp);
    assert_eq!((lane.totals().came, lane.totals().untouched), (1, 1));
}

/// Every IPv4 frame that comes by the only link of a namespace.
struct Catcher(OwnedFd);

impl Catcher {
    fn open(ns: &Netns) -> Self {
        let fd = ns.run(|| {
            let ipv4 = nix::sys::socket::SockProtocol::EthIp;
            socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                ipv4,
            )
            .expect("open a packet socket")
        });
        setsockopt(&fd, sockopt::RcvBufForce, &(32 << 20)).expect("enlarge the receive buffer");
        Self(fd)
    }

    /// How often each number has come, after so many frames.
    fn numbers(&self, frames: u64) -> BTreeMap<u16, usize> {
        let (mut counts, mut caught, mut buffer) = (BTreeMap::new(), 0, [0; 2048]);
        eventually("all frames arrive", || {
            while let Ok(length) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                let port = buffer[34..length].first_chunk().expect("a source port");
                *counts.entry(u16::from_be_bytes(*port)).or_default() += 1;
                caught += 1;
            }
            let all = (caught == frames).then_some(());
            all.ok_or_else(|| format!("{caught} of {frames}"))
        });
        counts
    }
}

/// Frames over a real wire, both ways at once; what arrives is what the log says,
/// which is what the seed says.
fn over_a_wire(seed: u64) -> [Vec<Action>; 2] {
    const PACKETS: u16 = 3000;
    let (a, b) = (Netns::new(), Netns::new());
    let relay = Relay::between((&a, "a0"), (&b, "b0"), &rough(seed), Log::Packets);
    let catchers = [Catcher::open(&b), Catcher::open(&a)];
    let injectors = [Injector::new(&relay.a), Injector::new(&relay.b)];
    for number in 0..PACKETS {
        for injector in &injectors {
            injector.send(&numbered(number));
        }
        // Not more at once than a link queues.
        if number % 64 == 63 {
            relay.drain();
        }
    }
    let came = || Way::BOTH.map(|way| relay.totals(way).came);
    eventually("the relay sees them", || {
        (came() == [u64::from(PACKETS); 2])
            .then_some(())
            .ok_or_else(|| format!("{:?}", came()))
    });
    relay.drain();
    Way::BOTH.map(|way| {
        let (log, totals) = (relay.log(way), relay.totals(way));
        let untouched = totals.untouched;
        assert_eq!(
            totals,
            Totals {
                untouched,
                ..summed(&log)
            }
        );
        let arrived = catchers[way as usize].numbers(totals.left);
        let expected: BTreeMap<u16, usize> = log
            .iter()
            .map(|record| (record.packet.ports.0, record.arrivals()))
            .filter(|(_, arrivals)| *arrivals > 0)
            .collect();
        assert_eq!(arrived, expected);
        for record in &log {
            let decision = rough(seed).decide(way, record.index);
            assert_eq!(
                (record.action, record.delay),
                (decision.action, decision.delay)
            );
        }
        log.iter().map(|record| record.action).collect()
    })
}

#[test]
#[ignore = "root"]
fn a_wire_does_what_its_log_says() {
    let first = over_a_wire(11);
    assert_eq!(first, over_a_wire(11));
    assert_ne!(first, over_a_wire(12));
}

/// Pages over a wire that loses packets: they arrive whole, no checksum is wrong
/// on either side, and each lost piece of a page was sent again.
#[test]
#[ignore = "root"]
fn real_stacks_repair_what_is_lost() {
    const BODY: usize = 400_000;
    let (a, b) = (Netns::new(), Netns::new());
    let relay = Relay::between((&a, "a0"), (&b, "b0"), &rough(5), Log::Packets);
    relay.a.addr("10.9.0.1/24").addr("fd09::1/64");
    relay.b.addr("10.9.0.2/24").addr("fd09::2/64");
    for addr in ["10.9.0.2", "fd09::2"] {
        let _server = Server::http(&b, at(addr, 80), BODY);
        assert_eq!(http_get(&a, at(addr, 80)), BODY);
    }
    relay.drain();
    // Not InErrs: it has a SYN that comes twice, too.
    for ns in [&a, &b] {
        assert_eq!(ns.tcp_counter("InCsumErrors"), 0);
    }
    let log = relay.log(Way::Back);
    assert!(log.iter().all(|record| record.packet.length <= 1500));
    let pieces = |record: &Record| {
        let tcp = record.packet.tcp.filter(|tcp| tcp.payload > 0)?;
        let connection = (record.packet.dst, record.packet.ports);
        Some((connection, tcp.seq, tcp.payload))
    };
    let mut lost = 0;
    for record in log.iter().filter(|record| record.action == Action::Lose) {
        let Some((connection, seq, payload)) = pieces(record) else {
            continue;
        };
        lost += 1;
        // Whole or in part, before or after, and not lost that time.
        let arrived = log
            .iter()
            .filter(|other| other.arrivals() > 0)
            .filter_map(pieces);
        let again = arrived.filter(|(of, at, size)| {
            let offset = seq.wrapping_sub(*at);
            *of == connection && (offset < *size || offset.wrapping_neg() < payload)
        });
        assert!(again.count() > 0, "never arrived: {record:?}");
    }
    assert!(lost > 0, "nothing was lost: {:?}", relay.totals(Way::Back));
    assert!(b.tcp_counter("RetransSegs") >= lost);
}
