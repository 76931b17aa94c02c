//! Who means harm to others, or to the bans themselves, gains nothing by limits.

mod common;

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use common::SECOND;
use common::banned::Host;
use common::banned::Spoofed;
use common::banned::US;
use common::banned::Via;
use common::banned::begin;
use common::banned::handshake;
use common::banned::shake;
use common::banned::syn;
use common::banned::syn_to;
use common::packet::*;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::testrun;
use conntrack_core::BanOrigin;
use conntrack_core::Measure;
use conntrack_core::Suspect;
use nix::sched::CloneFlags;
use nix::sched::unshare;

const VICTIM: &str = "203.0.113.7";
const ON_HANDSHAKE: [(&str, &str); 2] = [("new", "5"), ("action", "ban")];

#[test]
#[ignore = "root"]
fn nobody_is_banned_by_a_forged_handshake() {
    // All three packets of it come in where the opener's do: 7 are begun, for the sketch
    // says so from the third on, and stay half open.
    let mut host = Host::with_tc();
    host.limit(&ON_HANDSHAKE);
    let mut passed = 0;
    for port in 1..=100 {
        let forged = handshake(VICTIM, port).map(|packet| !host.drops(&packet));
        passed += u16::from(forged[0]);
    }
    assert_eq!((passed, host.all()), (7, vec![]));
    // By the other hook it is the same interface.
    let mut host = Host::with_tc();
    host.limit(&ON_HANDSHAKE);
    for port in 1..=100 {
        let [first, answer, last] = handshake(VICTIM, port);
        host.drops(&first);
        host.drops_via(Via::TcIngress, &answer);
        host.drops(&last);
    }
    assert_eq!(host.all(), []);
}

#[test]
#[ignore = "root"]
fn whoever_does_not_know_the_number_has_shown_nothing() {
    for liberal in [false, true] {
        let mut host = Host::with(&Entry::ALL, |config| {
            (config.table.max_flows, config.table.max_flows_v6) = (1000, Some(1000));
            config.conntrack.tcp_be_liberal = liberal;
        });
        host.limit(&ON_HANDSHAKE);
        for port in 1..=100 {
            let [first, answer, last] = handshake(VICTIM, port);
            host.drops(&first);
            host.drops_via(Via::TcEgress, &answer);
            // Within the window, as nf_conntrack has it, but not what the answer has said.
            host.drops(&last.ack(499));
        }
        assert_eq!(host.all(), [], "{liberal}");
        // Nor is it whoever says first himself what he then claims to have heard.
        host.now += SECOND;
        for port in 1001..=1100 {
            let [first, answer, last] = handshake(VICTIM, port);
            host.drops(&first);
            host.drops_via(Via::TcEgress, &answer);
            let client = SocketAddr::new(addr(VICTIM), port);
            let more = Packet::tcp(end(US), client).seq(500).ack(100).payload(9);
            host.drops(&more);
            host.drops(&last.ack(509));
        }
        assert_eq!(host.all(), [], "{liberal}");
        // The real ones are counted, after all that.
        host.now += SECOND;
        for port in 2001..=2010 {
            shake(&mut host, VICTIM, port);
        }
        assert_eq!(host.banned(VICTIM).origin, BanOrigin::Threshold);
    }
}

#[test]
#[ignore = "root"]
fn a_router_sees_the_answer_come_in_elsewhere() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
    let made = Command::new("ip")
        .args(["link", "add", "inside", "index", "77", "type", "veth"])
        .status();
    assert!(made.expect("ip").success());
    let mut host = Host::with_tc();
    host.limit(&ON_HANDSHAKE);
    for port in 1..=20 {
        let [first, answer, last] = handshake(VICTIM, port);
        host.drops(&first);
        let ingress = host.lab.program(Entry::TcIngress);
        testrun::run_at(ingress, &answer.frame(), 77).expect("test run");
        host.drops(&last);
    }
    assert_eq!(host.banned(VICTIM).origin, BanOrigin::Threshold);
}

#[test]
#[ignore = "root"]
fn what_an_allowed_address_does_is_not_its_networks() {
    for on in ["syn", "handshake"] {
        let mut host = Host::with_tc();
        host.allow("203.0.113.7/32");
        host.limit(&[("new_per_prefix", "10"), ("action", "ban"), ("ban_on", on)]);
        for port in 1..=100 {
            assert!(shake(&mut host, "203.0.113.7", port), "{on}");
        }
        assert_eq!(host.all(), [], "{on}");
        for port in 1..=10 {
            assert!(shake(&mut host, "203.0.113.8", port), "{on}");
        }
        assert_eq!(host.all(), [], "{on}");
        for port in 11..=100 {
            shake(&mut host, "203.0.113.9", port);
        }
        let banned = host.banned("203.0.113.0/24");
        assert_eq!(banned.origin, BanOrigin::Threshold, "{on}");
        assert!(shake(&mut host, "203.0.113.7", 200), "{on}");
    }
}

#[test]
#[ignore = "root"]
fn what_one_limit_refuses_is_nothing_to_the_others() {
    let mut host = Host::new();
    host.limit(&[("new", "20"), ("new_per_port", "5"), ("half_open", "15")]);
    assert_eq!(begin(&mut host, VICTIM, 1, 100), 7);
    // The sketch has counted all hundred, so each is counted exactly from now on.
    let others = (1..=100).filter(|n| !host.drops(&syn_to(VICTIM, 200 + n, "10.0.0.1:81")));
    assert_eq!(others.count(), 7);
    let more = (1..=100_u16).filter(|n| {
        let dst = format!("10.0.0.1:{}", 1000 + n);
        !host.drops(&syn_to(VICTIM, 400 + n, &dst))
    });
    // 15 half open; the first of all were not counted exactly, for nobody suspected them.
    assert!((1..=15).contains(&more.count()));
    let suspects = host.limits().suspects().expect("suspects");
    let most = |it: &Suspect| match (it.measure, it.port) {
        (Measure::HalfOpen, _) => 15,
        (_, Some(_)) => 5,
        _ => 20,
    };
    assert!(
        suspects.iter().all(|it| it.count <= most(it)),
        "{suspects:?}"
    );
}

#[test]
#[ignore = "root"]
fn the_rest_of_a_dropped_datagram_is_dropped() {
    let mut host = Host::new();
    host.limit(&[("new", "5")]);
    let datagram = |n: u16| Packet::udp(SocketAddr::new(addr(VICTIM), n), end("10.0.0.1:53"));
    let mut passed = 0;
    for n in 1..=20 {
        let frames = datagram(n).payload(2800).fragments(n.into(), 1000);
        let dropped: Vec<_> = frames
            .iter()
            .map(|it| host.drops_frame(Via::Xdp, it))
            .collect();
        assert_eq!(dropped.len(), 3);
        assert!(
            dropped.iter().all(|it| *it == dropped[0]),
            "{n}: {dropped:?}"
        );
        passed += u16::from(!dropped[0]);
    }
    assert_eq!(passed, 7);
    assert_eq!(host.lab.counters().drops["threshold"], 3 * 13);
    // The same identification again, of a flow that there is: not dropped for the other.
    let frames = datagram(1).payload(2800).fragments(20, 1000);
    assert!(frames.iter().all(|it| !host.drops_frame(Via::Xdp, it)));
}

#[test]
#[ignore = "root"]
fn a_slow_attacker_under_a_flood_that_makes_everybody_a_suspect() {
    // 64 cells, and 1000 sources in a window: the sketch says of everybody that it is too much.
    let mut host = Host::with(&[Entry::Xdp], |config| {
        (config.table.max_flows, config.table.max_flows_v6) = (10_000, Some(100));
        (config.sketch.width, config.sketch.rows) = (64, 2);
    });
    host.limit(&[("new", "20"), ("action", "ban"), ("ban_on", "syn")]);
    let (mut frame, mut dropped) = (Spoofed::new(), [0, 0]);
    for n in 0..20_000_u32 {
        let source = 0x0b00_0000 + n;
        dropped[0] += u32::from(host.drops_frame(Via::Xdp, frame.of(source, 1)));
        // A fiftieth of them all.
        if n % 50 == 0 {
            let port = u16::try_from(n / 50 + 1).expect("a port");
            let victim = Ipv4Addr::new(203, 0, 113, 7).to_bits();
            dropped[1] += u32::from(host.drops_frame(Via::Xdp, frame.of(victim, port)));
        }
        host.now += SECOND / 2000;
    }
    assert_eq!(dropped[0], 0, "nobody pays for it");
    let banned: Vec<_> = host.all().iter().map(|it| it.target.to_string()).collect();
    assert_eq!(banned, [VICTIM], "40 in a second are too many for 20");
    assert!(dropped[1] > 300, "{dropped:?}");
}

/// As the documents say: beside a flood of so many sources as there is room for suspects
/// between two of his connections, an attacker is not known any more when he comes again.
/// Nobody else is taken for him.
#[test]
#[ignore = "root"]
fn an_attacker_slower_than_suspects_are_pushed_out_passes_and_nobody_pays() {
    let mut host = Host::with(&[Entry::Xdp], |config| {
        (config.table.max_flows, config.table.max_flows_v6) = (10_000, Some(100));
        (config.sketch.width, config.sketch.rows) = (1024, 1);
    });
    host.limit(&[
        ("new", "2"),
        ("window", "1h"),
        ("action", "ban"),
        ("ban_on", "syn"),
    ]);
    let mut frame = Spoofed::new();
    let mut next = 0x0b00_0000;
    let mut flood = |host: &mut Host, sources: u32| {
        for _ in 0..sources {
            next += 1;
            assert!(!host.drops_frame(Via::Xdp, frame.of(next, 1)));
        }
    };
    // Every cell has more than half of the limit.
    flood(&mut host, 20_000);
    for port in 1..=6 {
        assert!(!host.drops(&syn(VICTIM, port)), "{port}");
        flood(&mut host, 40_000);
    }
    assert_eq!(host.all(), []);
    // Half as many in between, and he is known.
    let passed = (11..=16).take_while(|port| {
        flood(&mut host, 4_000);
        !host.drops(&syn(VICTIM, *port))
    });
    assert_eq!(passed.count(), 2);
}

#[test]
#[ignore = "root"]
fn limits_stay_in_force_while_their_window_changes() {
    let mut host = Host::new();
    let windows = ["1s", "1h", "2s", "30m"];
    host.limit(&[("new", "10"), ("window", "1s")]);
    let length = u32::try_from(Spoofed::new().of(0, 1).len()).expect("a frame");
    host.lab.replayer.set(host.now, length);
    let before = host.lab.counters();
    let (host, changes) = (&host, 40_u32);
    let (sent, done) = (AtomicU32::new(0), AtomicBool::new(false));
    common::cpus::on_two_cpus(|thread| {
        if thread == 0 {
            for n in 0..changes {
                host.limit(&[("new", "10"), ("window", windows[n as usize % 4])]);
            }
            done.store(true, Ordering::SeqCst);
            return;
        }
        let mut frame = Spoofed::new();
        while !done.load(Ordering::SeqCst) {
            let n = sent.fetch_add(1, Ordering::SeqCst);
            let port = u16::try_from(n % 60_000 + 1).expect("a port");
            host.lab.run(frame.of(0xcb00_7107, port));
        }
    });
    let counters = host.lab.counters();
    let passed = counters.table.created - before.table.created;
    // Each change begins anew, with half of it more before it is a suspect; and once more
    // where a packet comes in the middle of it.
    let most = u64::from(changes + 1) * 2 * 16;
    assert!(passed <= most, "{passed} of {sent:?}");
    assert!(counters.drops["threshold"] > passed, "{sent:?}");
    assert_eq!(host.limits().suspects().expect("suspects").len(), 1);
}
