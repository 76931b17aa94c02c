//! How connections are doing, summed up by service and by interface.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_bpf::services;
use conntrack_core::HealthStats;
use conntrack_core::Protocol;

const MS: i64 = SECOND / 1000;

fn lab() -> Lab {
    Lab::with(|config| config.table.max_flows = 10_000)
}

fn read(lab: &Lab) -> HealthStats {
    services::read(&lab.datapath, |index| format!("if{index}")).expect("the sums")
}

fn ends(number: u16, port: u16) -> (SocketAddr, SocketAddr) {
    let client = SocketAddr::new(addr("10.0.0.1"), 1024 + number);
    (client, SocketAddr::new(addr("10.0.0.2"), port))
}

/// A handshake of so many milliseconds each way.
fn shake(lab: &mut Lab, at: i64, (a, b): (SocketAddr, SocketAddr), rtt: i64) {
    lab.send_at(at, &Packet::tcp(a, b).flags(SYN).seq(100).ack(0));
    let answer = Packet::tcp(b, a).flags(SYN | ACK).seq(900).ack(101);
    lab.send_at(at + rtt * MS / 2, &answer);
    lab.send_at(at + rtt * MS, &Packet::tcp(a, b).seq(101).ack(901));
}

fn near(found: Option<Duration>, wanted: u64) -> bool {
    let wanted = Duration::from_millis(wanted);
    found.is_some_and(|found| found.abs_diff(wanted) <= wanted / 8)
}

#[test]
#[ignore = "root"]
fn a_port_s_connections_are_summed_up() {
    let mut lab = lab();
    for number in 0..100 {
        let (a, b) = ends(number, 443);
        let at = TIME + i64::from(number) * SECOND;
        let rtt = i64::from(number) + 1;
        shake(&mut lab, at, (a, b), rtt);
        let data = Packet::tcp(a, b).seq(101).ack(901).payload(10);
        lab.send_at(at + 200 * MS, &data);
        if number < 10 {
            lab.send_at(at + 210 * MS, &data);
            lab.send_at(
                at + 220 * MS,
                &Packet::tcp(b, a).seq(901).ack(101).window(0),
            );
        }
        // Half are reset, half come to their end.
        let end = if number % 2 == 0 {
            RST | ACK
        } else {
            FIN | ACK
        };
        let answer = Packet::tcp(b, a).flags(end).seq(901).ack(111);
        lab.send_at(at + 400 * MS, &answer.clone());
        lab.send_at(
            at + 400 * MS,
            &Packet::tcp(a, b).flags(end).seq(111).ack(902),
        );
    }
    let stats = read(&lab);
    let [service] = stats.services.as_slice() else {
        panic!("{:?}", stats.services);
    };
    assert_eq!((service.protocol, service.port), (Protocol::TCP, 443));
    let counts = &service.counts;
    let numbers = [
        counts.flows,
        counts.retransmits,
        counts.resets,
        counts.zero_windows,
    ];
    assert_eq!(numbers[..2], [100, 10]);
    assert_eq!(numbers[3], 10);
    assert!(numbers[2] >= 50, "{numbers:?}");
    assert_eq!(counts.rtt.count(), 100);
    for (part, wanted) in [(0.5, 50), (0.95, 95), (0.99, 99)] {
        let found = counts.rtt.quantile(part);
        assert!(near(found, wanted), "{part}: {found:?}");
    }
    assert_eq!(counts.duration.count(), 100);
    assert!(near(counts.duration.quantile(0.5), 400), "{counts:?}");
    let [interface] = stats.interfaces.as_slice() else {
        panic!("{:?}", stats.interfaces);
    };
    assert_eq!(&interface.counts, counts);
    assert_eq!(stats.others.flows, 0);
}

/// A port is the called end's, whichever end sends again; what has no handshake counts
/// nothing.
#[test]
#[ignore = "root"]
fn who_is_called_has_the_port() {
    let mut lab = lab();
    let (a, b) = ends(0, 80);
    shake(&mut lab, TIME, (a, b), 2);
    let data = Packet::tcp(b, a).seq(901).ack(101).payload(10);
    lab.send_at(TIME + SECOND, &data);
    lab.send_at(TIME + 2 * SECOND, &data);
    let (c, d) = ends(1, 22);
    let data = Packet::tcp(c, d).payload(10);
    lab.send_at(TIME, &data);
    lab.send_at(TIME + SECOND, &data);
    let (e, f) = ends(2, 23);
    lab.send_at(TIME, &Packet::tcp(e, f).flags(SYN).seq(100).ack(0));
    lab.send_at(TIME + SECOND, &Packet::tcp(e, f).flags(SYN).seq(100).ack(0));
    let stats = read(&lab);
    let ports: Vec<_> = stats
        .services
        .iter()
        .map(|it| (it.port, it.counts.flows, it.counts.retransmits))
        .collect();
    assert_eq!(ports, [(80, 1, 1)]);
}

#[test]
#[ignore = "root"]
fn what_there_is_no_room_for_is_counted_together() {
    let mut lab = lab();
    for number in 0..700 {
        shake(&mut lab, TIME, ends(number, 1000 + number), 2);
    }
    let stats = read(&lab);
    let known: u64 = stats.services.iter().map(|it| it.counts.flows).sum();
    // One entry is the interface's, one that of all others.
    assert_eq!(stats.services.len(), 510);
    assert_eq!((known, stats.others.flows), (510, 190));
    assert_eq!(stats.interfaces[0].counts.flows, 700);
}
