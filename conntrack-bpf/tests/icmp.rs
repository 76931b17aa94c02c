//! What is kept of ICMP: every packet by its kind, and errors with the packet inside them.

mod common;

use std::collections::BTreeMap;
use std::net::IpAddr;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::cpus;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_bpf::icmp;
use conntrack_core::Family;
use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::Timestamp;
use conntrack_core::Tuple;
use conntrack_core::icmp::IcmpCounts;
use conntrack_core::icmp::IcmpError;

fn counts(lab: &Lab) -> IcmpCounts {
    icmp::counts(&lab.datapath.maps).expect("counts")
}

fn errors(lab: &Lab) -> Vec<IcmpError> {
    icmp::errors(&lab.datapath.maps, &Clock::stopped(TIME)).expect("errors")
}

fn tuple(src: IpAddr, dst: IpAddr, protocol: u8, l4: L4) -> Tuple {
    let protocol = Protocol(protocol);
    Tuple {
        src,
        dst,
        protocol,
        l4,
    }
}

#[test]
#[ignore = "root"]
fn every_message_counts_whatever_its_class() {
    let mut lab = Lab::new(1000);
    let (a, b) = (addr("10.0.0.1"), addr("10.0.0.2"));
    let (c, d) = (addr("fe80::1"), addr("fe80::2"));
    let udp = Packet::udp(end("10.0.0.1:5"), end("10.0.0.2:6"));
    let sent = [
        Packet::icmp(a, b, [8, 0], 7).payload(56), // NEW
        Packet::icmp(b, a, [0, 0], 7).payload(56), // ESTABLISHED
        Packet::icmp(a, b, [200, 9], 7),           // INVALID
        Packet::icmp(b, a, [0, 0], 99),            // INVALID: an answer to nothing
        Packet::icmp_error(b, a, [3, 3], &udp),    // INVALID: about nothing
        Packet::icmp(c, d, [135, 0], 0),           // UNTRACKED
        Packet::icmp(c, d, [143, 0], 0),
        Packet::icmp(c, d, [128, 0], 7).extension(DESTINATION),
        Packet::icmp(c, d, [255, 255], 7),
    ];
    let mut want = BTreeMap::<_, (u64, u64)>::new();
    for packet in &sent {
        lab.send(packet);
        let ip = packet.ip_packet();
        let (family, at) = match packet.is_ipv4() {
            true => (Family::Ipv4, 20),
            false if ip[6] == DESTINATION => (Family::Ipv6, 48),
            false => (Family::Ipv6, 40),
        };
        let entry = want.entry((family, ip[at], ip[at + 1])).or_default();
        *entry = (entry.0 + 1, entry.1 + packet.ip_len());
    }
    // ICMP in the wrong family is none, nor is what ends before its header does.
    lab.send(&Packet::other(c, d, ICMP, &[8, 0, 0, 0, 0, 1, 0, 1]));
    lab.send(&Packet::other(a, b, ICMP, &[8, 0, 0, 0]));
    let counts = counts(&lab);
    let found: BTreeMap<_, _> = counts
        .kinds
        .iter()
        .map(|it| {
            let kind = it.kind;
            ((kind.family, kind.kind, kind.code), (it.packets, it.bytes))
        })
        .collect();
    assert_eq!(found, want);
    assert_eq!((counts.unlisted_packets, counts.errors_unreadable), (0, 0));
}

#[test]
#[ignore = "root"]
fn the_packet_inside_is_decoded_exactly() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let (v4, [a, b, router]) = match family {
            Family::Ipv4 => (true, ["10.0.0.1", "192.0.2.2", "10.0.0.9"]),
            Family::Ipv6 => (false, ["2001:db8::1", "2001:db8:1::2", "2001:db8::9"]),
        };
        let [a, b, router] = [a, b, router].map(addr);
        let (from, to) = (
            std::net::SocketAddr::new(a, 5000),
            std::net::SocketAddr::new(b, 53),
        );
        let ports = L4::Ports { src: 5000, dst: 53 };
        let (request, echo) = if v4 { (ICMP, 8) } else { (ICMPV6, 128) };
        let query = L4::Icmp {
            kind: echo,
            code: 0,
            id: 77,
        };
        let call = L4::Gre {
            src_key: 0,
            dst_key: 9,
        };
        let unreachable = if v4 { [3, 1] } else { [1, 3] };
        for (about, protocol, l4) in [
            (Packet::udp(from, to), UDP, ports),
            (Packet::tcp(from, to).flags(SYN).ack(0), TCP, ports),
            (Packet::sctp(from, to, 1), SCTP, ports),
            (Packet::udplite(from, to), UDPLITE, ports),
            (Packet::icmp(a, b, [echo, 0], 77), request, query),
            (Packet::pptp(a, b, 9), GRE, call),
            (Packet::other(a, b, 99, &[1; 8]), 99, L4::None),
        ] {
            let mut lab = Lab::new(1000);
            let error = Packet::icmp_error(router, a, unreachable, &about);
            lab.send(&error); // nothing is known yet
            lab.send(&about);
            lab.send_at(TIME + SECOND, &error);
            // Sent to somebody who has not sent that packet.
            let astray = Packet::icmp_error(router, b, unreachable, &about);
            lab.send(&astray);

            let mut found = errors(&lab);
            found.sort_by_key(|it| it.to != a);
            let [error_found, astray_found] = &found[..] else {
                panic!("{found:?}");
            };
            assert_eq!(error_found.about, tuple(a, b, protocol, l4));
            assert_eq!((error_found.from, error_found.to), (router, a));
            let kind = error_found.kind;
            assert_eq!((kind.family, [kind.kind, kind.code]), (family, unreachable));
            let (packets, bytes) = (error_found.packets, error_found.bytes);
            assert_eq!((packets, bytes), (2, 2 * error.ip_len()));
            assert_eq!((error_found.related, error_found.invalid()), (1, 1));
            let times = [error_found.first, error_found.last];
            assert_eq!(times, [TIME, TIME + SECOND].map(Timestamp));
            assert_eq!(error_found.mtu, None);
            assert_eq!(astray_found.about, error_found.about);
            assert_eq!((astray_found.to, astray_found.related), (b, 0));
            assert_eq!(lab.counters().ct_state.total().related, 1);
        }
    }
}

#[test]
#[ignore = "root"]
fn the_mtu_of_the_next_hop_is_told() {
    let mut lab = Lab::new(1000);
    let four = Packet::tcp(end("10.0.0.1:5"), end("192.0.2.2:6"));
    let six = Packet::tcp(end("[2001:db8::1]:5"), end("[2001:db8:1::2]:6"));
    let needed = Packet::icmp_error(addr("10.0.0.9"), addr("10.0.0.1"), [3, 4], &four)
        .put(6, &1400_u16.to_be_bytes());
    let big = Packet::icmp_error(addr("2001:db8::9"), addr("2001:db8::1"), [2, 0], &six)
        .put(4, &100_000_u32.to_be_bytes());
    lab.send(&needed);
    lab.send(&big);
    let mut found = errors(&lab);
    found.sort_by_key(|it| it.kind);
    let mtus: Vec<_> = found.iter().map(|it| it.mtu).collect();
    assert_eq!(mtus, [Some(1400), Some(100_000)]);
}

#[test]
#[ignore = "root"]
fn what_cannot_be_read_is_counted_only() {
    let mut lab = Lab::new(1000);
    let (a, b) = (addr("10.0.0.1"), addr("10.0.0.2"));
    let inner = Packet::udp(end("10.0.0.1:5"), end("10.0.0.2:6")).ip_packet();
    // Four bytes of its layer 4 are enough; with one less, or an option too long, not.
    let cuts = [(24, true), (23, false), (19, false), (0, false)];
    for (cut, readable) in cuts {
        let before = counts(&lab).errors_unreadable;
        lab.send(&Packet::icmp(b, a, [11, 0], 0).bytes(&inner[..cut]));
        let unreadable = counts(&lab).errors_unreadable - before;
        assert_eq!(unreadable, u64::from(!readable), "{cut}");
    }
    assert_eq!(errors(&lab).len(), 1);
    let of_kind: u64 = counts(&lab).kinds.iter().map(|it| it.packets).sum();
    assert_eq!(of_kind, 4);
}

#[test]
#[ignore = "root"]
fn a_flood_of_new_errors_is_recorded_in_part() {
    const BURST: usize = 64;
    let mut lab = Lab::new(1000);
    cpus::stay();
    let error = |n: u16| {
        let about = Packet::udp(end(&format!("10.0.0.1:{n}")), end("192.0.2.2:53"));
        Packet::icmp_error(addr("10.0.0.9"), addr("10.0.0.1"), [11, 0], &about)
    };
    for n in 1..=1000 {
        lab.send(&error(n));
    }
    assert_eq!(errors(&lab).len(), BURST);
    assert_eq!(counts(&lab).errors_unrecorded, 1000 - BURST as u64);
    // What is known goes on to count.
    lab.send(&error(1));
    let sum: u64 = errors(&lab).iter().map(|it| it.packets).sum();
    assert_eq!(sum, BURST as u64 + 1);
    lab.send_at(TIME + SECOND / 10, &error(2000));
    assert_eq!(errors(&lab).len(), BURST + 1);
    assert_eq!(counts(&lab).kinds[0].packets, 1002);
    // In the long run there is an end to it as well.
    for n in 3000..13_000 {
        lab.send_at(TIME + SECOND * i64::from(n), &error(n));
    }
    let known = errors(&lab).len();
    assert!((2000..=4096).contains(&known), "{known}");
}

#[test]
#[ignore = "root"]
fn nonsense_leaves_room_for_what_has_a_meaning() {
    let mut lab = Lab::new(1000);
    let (a, b) = (addr("10.0.0.1"), addr("10.0.0.2"));
    let (c, d) = (addr("fe80::1"), addr("fe80::2"));
    let known = |v4: bool, kind: u8, code: u8| match v4 {
        true => (kind <= 18 || (40..=43).contains(&kind)) && code <= 16,
        false => ((1..=4).contains(&kind) || (128..=161).contains(&kind)) && code <= 8,
    };
    // All that has none first.
    let all = || (0..=255).flat_map(|kind| (0..=255).map(move |code| (kind, code)));
    let mut sent = 0;
    for meaning in [false, true] {
        for (v4, src, dst) in [(true, a, b), (false, c, d)] {
            for (kind, code) in all().filter(|(kind, code)| known(v4, *kind, *code) == meaning) {
                lab.send(&Packet::icmp(src, dst, [kind, code], 1));
                sent += 1;
            }
        }
    }
    let counts = counts(&lab);
    let of = |meaning: bool| {
        let kinds = counts.kinds.iter().map(|it| it.kind);
        kinds
            .filter(|it| known(it.family == Family::Ipv4, it.kind, it.code) == meaning)
            .count()
    };
    assert_eq!(of(true), 23 * 17 + 38 * 9);
    assert!((64..=256).contains(&of(false)), "{}", of(false));
    let listed: u64 = counts.kinds.iter().map(|it| it.packets).sum();
    assert_eq!(listed + counts.unlisted_packets, sent);
    assert_eq!(sent, 2 * 65_536);
}
