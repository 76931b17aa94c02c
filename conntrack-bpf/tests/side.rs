//! What is kept beside the flows' slots: whose it is, who gets room, who makes room.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_core::FlowKey;
use conntrack_core::Health;
use conntrack_core::HealthConfig;
use libbpf_rs::MapCore;

const MS: i64 = SECOND / 1000;

fn client(number: u16) -> SocketAddr {
    SocketAddr::new(addr("10.0.0.1"), 1000 + number)
}

fn server() -> SocketAddr {
    end("10.0.0.2:443")
}

/// Room for so many.
fn lab(entries: u32) -> Lab {
    Lab::with(|config| {
        config.table.max_flows = 1000;
        config.table.max_flows_v6 = Some(1000);
        config.health.max_flows = Some(entries);
    })
}

fn syn(a: SocketAddr, b: SocketAddr) -> Packet {
    Packet::tcp(a, b).flags(SYN).seq(100).ack(0)
}

/// The way to the server and back takes 20 ms, to the client 3 ms.
fn shake(lab: &mut Lab, at: i64, a: SocketAddr, b: SocketAddr) {
    lab.send_at(at, &syn(a, b));
    let answer = Packet::tcp(b, a).flags(SYN | ACK).seq(900).ack(101);
    lab.send_at(at + 20 * MS, &answer);
    lab.send_at(at + 23 * MS, &Packet::tcp(a, b).seq(101).ack(901));
}

fn health(lab: &Lab, at: i64, a: SocketAddr, b: SocketAddr) -> Option<Health> {
    let name: FlowKey = format!("tcp {a} {b}").parse().expect("a name");
    let found = lab.tables.find(&name, &Clock::stopped(at));
    found
        .expect("a sound slot")
        .expect("the flow is there")
        .health
}

fn rtts(health: Option<Health>) -> [Option<u128>; 2] {
    let health = health.expect("an entry");
    [health.rtt_to_server, health.rtt_to_client].map(|rtt| rtt.as_ref().map(Duration::as_micros))
}

#[test]
#[ignore = "root"]
fn it_is_found_by_either_direction_in_both_families() {
    let mut lab = lab(1000);
    let ends = [
        (end("10.0.0.1:1"), end("10.0.0.2:2")),
        (end("10.0.0.4:1"), end("10.0.0.3:2")),
        (end("[fe80::1]:1"), end("[fe80::2]:2")),
        (end("[fe80::2]:3"), end("[fe80::1]:4")),
    ];
    for (a, b) in ends {
        shake(&mut lab, TIME, a, b);
        for (one, other) in [(a, b), (b, a)] {
            let found = health(&lab, TIME + SECOND, one, other);
            assert_eq!(rtts(found), [Some(20_000), Some(3_000)], "{a} {b}");
        }
    }
    let walked = lab.flows_at(TIME + SECOND);
    assert_eq!(walked.len(), 4);
    assert!(walked.iter().all(|flow| rtts(flow.health)[0].is_some()));
}

#[test]
#[ignore = "root"]
fn the_next_flow_of_a_tuple_has_its_own() {
    let mut lab = lab(1000);
    let (a, b) = (client(0), server());
    shake(&mut lab, TIME, a, b);
    lab.send_at(
        TIME + SECOND,
        &Packet::tcp(a, b).flags(RST | ACK).seq(101).ack(901),
    );
    let later = TIME + 100 * SECOND;
    lab.send_at(later, &syn(a, b));
    assert_eq!(health(&lab, later, a, b), None);
    let answer = Packet::tcp(b, a).flags(SYN | ACK).seq(900).ack(101);
    lab.send_at(later + 5 * MS, &answer);
    lab.send_at(later + 6 * MS, &Packet::tcp(a, b).seq(101).ack(901));
    let found = health(&lab, later + SECOND, a, b);
    assert_eq!(rtts(found), [Some(5_000), Some(1_000)]);
}

/// Four entries are one row. Flows whose handshake never comes through have entries too,
/// if a SYN comes twice.
#[test]
#[ignore = "root"]
fn floods_push_out_their_like_only() {
    let mut lab = lab(4);
    for number in 0..2 {
        shake(&mut lab, TIME, client(number), server());
    }
    for number in 100..300 {
        lab.send_at(TIME + SECOND, &syn(client(number), server()));
        lab.send_at(TIME + 2 * SECOND, &syn(client(number), server()));
    }
    let at = TIME + 3 * SECOND;
    assert!(health(&lab, at, client(299), server()).is_some());
    for number in 2..4 {
        shake(&mut lab, at, client(number), server());
    }
    for number in 300..400 {
        lab.send_at(at + SECOND, &syn(client(number), server()));
        lab.send_at(at + 2 * SECOND, &syn(client(number), server()));
        assert_eq!(
            health(&lab, at + 3 * SECOND, client(number), server()),
            None
        );
    }
    for number in 0..4 {
        let found = health(&lab, at + 3 * SECOND, client(number), server());
        assert_eq!(rtts(found), [Some(20_000), Some(3_000)], "{number}");
    }
}

/// Also connections that are over.
#[test]
#[ignore = "root"]
fn floods_leave_what_is_over() {
    let mut lab = lab(4);
    for number in 0..4 {
        let (a, b) = (client(number), server());
        shake(&mut lab, TIME, a, b);
        let over = Packet::tcp(a, b).flags(RST | ACK).seq(101).ack(901);
        lab.send_at(TIME + SECOND, &over);
    }
    for number in 100..200 {
        lab.send_at(TIME + 2 * SECOND, &syn(client(number), server()));
        lab.send_at(TIME + 3 * SECOND, &syn(client(number), server()));
    }
    for number in 0..4 {
        let found = health(&lab, TIME + 4 * SECOND, client(number), server());
        assert!(found.is_some_and(|it| it.duration.is_some()), "{number}");
    }
}

/// What comes back does not know what was counted before.
#[test]
#[ignore = "root"]
fn who_comes_back_has_no_counts() {
    let mut lab = lab(4);
    for number in 0..5 {
        let at = TIME + i64::from(number) * 5 * SECOND;
        shake(&mut lab, at, client(number), server());
    }
    let at = TIME + 30 * SECOND;
    assert_eq!(health(&lab, at, client(0), server()), None);
    for number in [0, 4] {
        let data = Packet::tcp(client(number), server()).flags(ACK | PSH);
        let data = data.seq(101).ack(901).payload(10);
        lab.send_at(at, &data);
        lab.send_at(at + SECOND, &data);
    }
    let sent = |number| {
        let found = health(&lab, at + SECOND, client(number), server());
        found.expect("an entry").original
    };
    assert_eq!(sent(0).retransmits, None);
    assert_eq!((sent(0).loss_ppm, sent(0).zero_windows), (None, None));
    assert_eq!(sent(4).retransmits, Some(1));
    assert_eq!(sent(4).zero_windows, Some(0));
}

#[test]
#[ignore = "root"]
fn who_was_not_looked_at_for_longest_makes_room() {
    let mut lab = lab(4);
    for number in 0..8 {
        let at = TIME + i64::from(number) * 5 * SECOND;
        shake(&mut lab, at, client(number), server());
        for other in 0..=number {
            let found = health(&lab, at + SECOND, client(other), server());
            assert_eq!(found.is_some(), other + 4 > number, "{other} of {number}");
        }
    }
}

#[test]
#[ignore = "root"]
fn it_can_be_switched_off() {
    let mut lab = Lab::with(|config| {
        config.table.max_flows = 1000;
        config.health = HealthConfig {
            enabled: false,
            ..HealthConfig::default()
        };
    });
    assert_eq!(lab.datapath.maps.side.max_entries(), 1);
    shake(&mut lab, TIME, client(0), server());
    assert_eq!(health(&lab, TIME + SECOND, client(0), server()), None);
}

#[test]
#[ignore = "root"]
fn a_handshake_in_which_anything_came_twice_is_not_measured() {
    let mut lab = lab(1000);
    let (a, b) = (client(0), server());
    let answer = |b, a| Packet::tcp(b, a).flags(SYN | ACK).seq(900).ack(101);
    let ack = |a, b| Packet::tcp(a, b).seq(101).ack(901);
    lab.send_at(TIME, &syn(a, b));
    lab.send_at(TIME + SECOND, &syn(a, b));
    lab.send_at(TIME + SECOND + MS, &answer(b, a));
    lab.send_at(TIME + SECOND + 2 * MS, &ack(a, b));
    assert_eq!(rtts(health(&lab, TIME + 2 * SECOND, a, b)), [None, None]);

    let (a, b) = (client(1), server());
    lab.send_at(TIME, &syn(a, b));
    lab.send_at(TIME + MS, &answer(b, a));
    lab.send_at(TIME + SECOND, &answer(b, a));
    lab.send_at(TIME + SECOND + MS, &ack(a, b));
    assert_eq!(rtts(health(&lab, TIME + 2 * SECOND, a, b)), [None, None]);
}
