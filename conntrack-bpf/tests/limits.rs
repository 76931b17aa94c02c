//! Who begins too many connections loses the excess, or is banned; and nobody else is.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::SECOND;
use common::banned::Host;
use common::banned::Spoofed;
use common::banned::US;
use common::banned::Via;
use common::banned::begin;
use common::banned::shake;
use common::banned::syn;
use common::banned::syn_to;
use common::packet::*;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::events::Listener;
use conntrack_bpf::events::Wish;
use conntrack_core::Ban;
use conntrack_core::BanOrigin;
use conntrack_core::EventType;
use conntrack_core::FlowFilter;
use conntrack_core::Measure;
use conntrack_core::What;
use ipnet::IpNet;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use nix::time::ClockId;
use nix::time::clock_gettime;

/// The window of these tests, unless they set another: the default.
const WINDOW: i64 = SECOND;

#[test]
#[ignore = "root"]
fn the_excess_is_dropped_and_of_nobody_else() {
    let mut host = Host::new();
    host.limit(&[("new", "20")]);
    assert_eq!(begin(&mut host, "203.0.113.6", 1, 20), 20, "what may be");
    // The sketch says so from the eleventh on; the exact count begins there.
    assert_eq!(begin(&mut host, "203.0.113.7", 1, 200), 30);
    assert_eq!(begin(&mut host, "203.0.113.8", 1, 20), 20, "nobody else");

    let counters = host.lab.counters();
    assert_eq!(counters.drops["threshold"], 170);
    assert_eq!(counters.limits.over, 170);
    assert_eq!((counters.limits.banned, host.all().len()), (0, 0));
    assert_eq!(counters.table.created, 70, "a dropped SYN is no flow");
    assert_eq!(counters.ct_state.total().new, 70, "and of no class");

    let suspects = host.limits().suspects().expect("suspects");
    let of = |source: &str| {
        let mut all = suspects.iter();
        all.find(|it| it.source.to_string() == format!("{source}/32"))
    };
    let flood = of("203.0.113.7").expect("a suspect");
    assert_eq!((flood.measure, flood.over), (Measure::New, 170));

    // What is there goes on, and a window later so does the source.
    let known = Packet::tcp(end("203.0.113.7:1"), end(US))
        .flags(SYN)
        .seq(99);
    assert!(!host.drops(&known), "a SYN that comes again begins nothing");
    host.now += WINDOW;
    assert!(begin(&mut host, "203.0.113.7", 1000, 20) >= 20);
}

#[test]
#[ignore = "root"]
fn a_source_below_the_limit_never_loses_a_packet() {
    let mut host = Host::new();
    host.limit(&[("new", "10"), ("half_open", "10")]);
    // Ten a second, evenly and in bursts, beside one that floods.
    for round in 0..100_u16 {
        for n in 0..10 {
            assert!(!host.drops(&syn("203.0.113.6", 10_000 + round * 10 + n)));
            begin(&mut host, "203.0.113.7", 10_000 + round * 100 + n * 10, 10);
            host.now += WINDOW / 10;
        }
    }
    host.now += WINDOW;
    for round in 0..20 {
        assert_eq!(begin(&mut host, "203.0.113.9", 10_000 + round * 10, 10), 10);
        host.now += WINDOW;
    }
}

#[test]
#[ignore = "root"]
fn a_flood_gets_the_limit_in_each_window() {
    let mut host = Host::new();
    host.limit(&[("new", "10")]);
    let passed: Vec<_> = (0..10)
        .map(|round| {
            let passed = (0..10_u16).map(|n| {
                host.now += WINDOW / 10;
                begin(&mut host, "203.0.113.7", 1000 + round * 1000 + n * 100, 100)
            });
            passed.sum::<u16>()
        })
        .collect();
    assert!(passed[0] <= 25, "{passed:?}");
    // Not more than the limit in a window, and not less than in half of one.
    assert!(
        passed[1..].iter().all(|it| (10..=20).contains(it)),
        "{passed:?}"
    );
}

#[test]
#[ignore = "root"]
fn every_protocol_and_both_families_are_limited() {
    for (name, packet) in [
        ("udp", udp as fn(u16) -> Packet),
        ("udp6", |n| {
            Packet::udp(end(&format!("[2001:db8::7]:{n}")), end("[fd00::1]:53"))
        }),
        ("tcp6", |n| syn_to("2001:db8::7", n, "[fd00::1]:80")),
        ("sctp", |n| {
            Packet::sctp(end(&format!("203.0.113.7:{n}")), end("10.0.0.1:9"), 1)
        }),
        ("icmp", |n| {
            Packet::icmp(addr("203.0.113.7"), addr("10.0.0.1"), [8, 0], n)
        }),
        ("gre", |n| {
            let dst = format!("10.0.{}.{}", n / 256, n % 256);
            Packet::gre(addr("203.0.113.7"), addr(&dst))
        }),
    ] {
        let mut host = Host::new();
        host.limit(&[("new", "10")]);
        let passed = (1..=100).filter(|n| !host.drops(&packet(*n))).count();
        assert_eq!(passed, 15, "{name}");
        let counters = host.lab.counters();
        assert_eq!(counters.drops["threshold"], 85, "{name}");
    }
}

fn udp(n: u16) -> Packet {
    Packet::udp(end(&format!("203.0.113.7:{n}")), end("10.0.0.1:53"))
}

#[test]
#[ignore = "root"]
fn what_goes_out_is_not_limited_nor_what_goes_on() {
    let mut host = Host::with_tc();
    host.limit(&[("new", "5")]);
    let out = |n| Packet::tcp(end(&format!("10.0.0.1:{n}")), end("203.0.113.7:443")).flags(SYN);
    for n in 1000..1100 {
        assert!(!host.drops_via(Via::TcEgress, &out(n)));
    }
    // Picked up in mid-stream: they have begun before anybody limited them.
    for n in 1000..1100 {
        let segment = Packet::tcp(end(&format!("203.0.113.9:{n}")), end(US)).payload(5);
        assert!(!host.drops_via(Via::Xdp, &segment));
    }
    let passed = (0..100).filter(|n| !host.drops_via(Via::TcIngress, &syn("203.0.113.9", *n)));
    assert_eq!(passed.count(), 7);
}

#[test]
#[ignore = "root"]
fn counting_drops_nothing() {
    let mut host = Host::new();
    host.limit(&[("new", "10"), ("action", "count")]);
    assert_eq!(begin(&mut host, "203.0.113.7", 1, 100), 100);
    let counters = host.lab.counters();
    assert_eq!((counters.limits.over, counters.drops["threshold"]), (85, 0));
    host.limits().set(None).expect("no limit");
    begin(&mut host, "203.0.113.7", 1000, 100);
    assert_eq!(host.lab.counters().limits.over, 85);
    assert_eq!(host.limits().get(), None);
}

#[test]
#[ignore = "root"]
fn what_is_half_open_is_what_no_handshake_came_through_of() {
    let mut host = Host::with_tc();
    host.limit(&[("half_open", "10")]);
    for port in 1..=200 {
        assert!(shake(&mut host, "203.0.113.6", port), "{port}");
    }
    assert_eq!(begin(&mut host, "203.0.113.7", 1, 100), 15);
    // Eight are answered and come through: as many may follow, while others may not.
    for port in 1..=8 {
        let (client, us) = (SocketAddr::new(addr("203.0.113.7"), port), end(US));
        let answer = Packet::tcp(us, client).flags(SYN | ACK).seq(499).ack(100);
        assert!(!host.drops_via(Via::TcEgress, &answer));
        assert!(!host.drops(&Packet::tcp(client, us).seq(100).ack(500)));
    }
    assert_eq!(begin(&mut host, "203.0.113.7", 1000, 100), 8);
    // UDP has no handshake.
    assert!((1..=100).all(|n| !host.drops(&udp(n))));
}

/// Seconds that a ban goes on at the packets' time, which readers do not go by.
fn left(host: &Host, ban: &Ban) -> i64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("a clock");
    let ahead = host.now - (now.tv_sec() * SECOND + now.tv_nsec());
    let left = ban.ttl.expect("it ends").as_nanos();
    let left = i64::try_from(left).expect("small") - ahead;
    (left + SECOND / 2) / SECOND
}

#[test]
#[ignore = "root"]
fn whoever_has_shown_that_it_is_there_is_banned() {
    let mut host = Host::with_tc();
    host.limit(&[("new", "10"), ("action", "ban"), ("ban_ttl", "10m,1h,24h")]);
    // Forged: nobody is banned, what is too much is dropped.
    assert_eq!(begin(&mut host, "203.0.113.6", 1, 200), 15);
    assert_eq!(host.all(), []);

    for (round, ttl) in (0..).zip([600, 3600, 86_400, 86_400]) {
        let passed =
            (1..=100).take_while(|n| shake(&mut host, "203.0.113.7", 1000 * (round + 1) + n));
        let passed = passed.count();
        assert!((10..=16).contains(&passed), "{passed}");
        assert!(host.drops(&udp(1)), "it is banned altogether");
        let ban = host.banned("203.0.113.7");
        assert_eq!(ban.origin, BanOrigin::Threshold);
        assert_eq!(ban.reason, "more connections in 1s than new 10");
        assert_eq!(left(&host, &ban), ttl, "round {round}");
        // An established flow of it stops as well.
        let known = Packet::tcp(
            end(&format!("203.0.113.7:{}", 1000 * (round + 1) + 1)),
            end(US),
        );
        assert!(host.drops(&known.seq(100).ack(500)));
        assert!(!host.drops(&syn("203.0.113.8", 1)));
        host.now += ttl * SECOND - 1;
        assert!(host.drops(&syn("203.0.113.7", 1)));
        host.now += 1;
        assert!(!host.drops(&syn("203.0.113.7", 1)), "its time is up");
    }
    assert_eq!(host.lab.counters().limits.banned, 4);

    // Long after, it is the first time again.
    host.now += 86_400 * SECOND;
    for n in 0..100 {
        shake(&mut host, "203.0.113.7", 20_000 + n);
    }
    assert_eq!(left(&host, &host.banned("203.0.113.7")), 600);
}

#[test]
#[ignore = "root"]
fn bans_by_packets_are_ended_as_others() {
    let mut host = Host::new();
    host.limit(&[("new", "5"), ("action", "ban"), ("ban_on", "syn")]);
    for round in 0..3 {
        assert_eq!(begin(&mut host, "203.0.113.7", 1000 * (round + 1), 100), 7);
        assert_eq!(host.unban("203.0.113.7/32").removed.len(), 1);
        host.now += WINDOW;
        assert!(!host.drops(&syn("203.0.113.7", round)));
        host.now += WINDOW;
    }
    begin(&mut host, "203.0.113.7", 9000, 100);
    host.limits().set(None).expect("no limit");
    assert!(host.drops(&syn("203.0.113.7", 7)), "the ban lasts");
    assert_eq!(host.unban("203.0.113.7/32").removed.len(), 1);
    assert!(!host.drops(&syn("203.0.113.7", 7)));
    assert_eq!(
        begin(&mut host, "203.0.113.7", 10_000, 100),
        100,
        "no limit"
    );
    // A ban by hand afterwards works as ever, and ends as ever.
    host.ban_text("203.0.113.8");
    assert!(host.drops(&syn("203.0.113.8", 1)));
    host.unban("203.0.113.8/32");
    assert!(!host.drops(&syn("203.0.113.8", 1)));
}

#[test]
#[ignore = "root"]
fn networks_and_ports_are_counted_by_themselves() {
    let mut host = Host::new();
    host.limit(&[
        ("new_per_prefix", "10"),
        ("action", "ban"),
        ("ban_on", "syn"),
    ]);
    let passed = (1..=100).filter(|n| !host.drops(&syn(&format!("203.0.113.{n}"), 1)));
    assert_eq!(passed.count(), 15);
    assert_eq!(host.banned("203.0.113.0/24").origin, BanOrigin::Threshold);
    assert!(host.drops(&syn("203.0.113.200", 9)));
    assert!(!host.drops(&syn("203.0.112.200", 9)));
    let from = |n: u16| format!("2001:db8:0:7::{n:x}");
    let passed = (1..=100).filter(|n| !host.drops(&syn_to(&from(*n), 1, "[fd00::1]:80")));
    assert_eq!(passed.count(), 15);
    assert_eq!(
        host.banned("2001:db8:0:7::/64").origin,
        BanOrigin::Threshold
    );

    let mut host = Host::new();
    host.limit(&[("new_per_port", "10"), ("action", "ban"), ("ban_on", "syn")]);
    assert_eq!(begin(&mut host, "203.0.113.7", 1, 100), 15);
    assert_eq!(
        host.banned("203.0.113.7 tcp/80").origin,
        BanOrigin::Threshold
    );
    assert!(!host.drops(&syn_to("203.0.113.7", 5000, "10.0.0.1:443")));
    assert!((1..=10).all(|n| !host.drops(&udp(n))), "another protocol");
    let ping = |n| Packet::icmp(addr("203.0.113.7"), addr("10.0.0.1"), [8, 0], n);
    assert!(
        (1..=100).all(|n| !host.drops(&ping(n))),
        "ICMP has no ports"
    );
}

#[test]
#[ignore = "root"]
fn what_is_allowed_is_not_limited() {
    let mut host = Host::with_tc();
    host.allow("203.0.113.0/28");
    host.limit(&[("new", "5"), ("action", "ban"), ("ban_on", "syn")]);
    assert_eq!(begin(&mut host, "203.0.113.7", 1, 100), 100);
    assert_eq!(begin(&mut host, "203.0.113.99", 1, 100), 7);
    for n in 0..50 {
        assert!(shake(&mut host, "203.0.113.8", 1000 + n));
    }
    let banned: Vec<_> = host
        .all()
        .into_iter()
        .map(|it| it.target.to_string())
        .collect();
    assert_eq!(banned, ["203.0.113.99"]);
    let counters = host.lab.counters();
    assert_eq!(
        (counters.limits.over, counters.limits.banned),
        (1, 1),
        "its ban drops the rest"
    );
}

#[test]
#[ignore = "root"]
fn a_ban_without_room_is_counted_and_the_excess_dropped_all_the_same() {
    let mut host = Host::with_room(1);
    host.ban_text("198.51.100.1");
    host.limit(&[("new", "5"), ("action", "ban"), ("ban_on", "syn")]);
    assert_eq!(begin(&mut host, "203.0.113.7", 1, 100), 7);
    let limits = host.lab.counters().limits;
    assert_eq!((limits.banned, limits.no_room), (0, 93));
    // What it counted for the ban that failed is taken back.
    host.unban("198.51.100.1/32");
    host.limits().set(None).expect("no limit");
    assert_eq!(host.bans().clear().expect("clear"), 0);
    assert!(!host.drops(&syn("198.51.100.1", 1)));
}

/// Collisions: a sketch so small that every source shares its cells with thousands.
#[test]
#[ignore = "root"]
fn nobody_pays_for_who_shares_its_cells() {
    let sources: u32 = if common::in_kernel_matrix() {
        2000
    } else {
        50_000
    };
    let mut host = Host::with(&[Entry::Xdp], |config| {
        (config.table.max_flows, config.table.max_flows_v6) = (100_000, Some(1000));
        (config.sketch.width, config.sketch.rows) = (1024, 1);
    });
    host.limit(&[("new", "4"), ("action", "ban"), ("ban_on", "syn")]);
    for source in 0..sources {
        let source = std::net::Ipv4Addr::from_bits(0x0b00_0000 + source).to_string();
        for port in 1..=2 {
            assert!(!host.drops(&syn(&source, port)), "{source}");
        }
    }
    assert_eq!(host.all(), []);
    let passed = begin(&mut host, "203.0.113.7", 1, 100);
    assert!(
        (4..=6).contains(&passed),
        "{passed}: the sketch says so at once"
    );
    assert_eq!(host.all().len(), 1);
}

#[test]
#[ignore = "root"]
fn another_window_begins_anew() {
    let mut host = Host::new();
    host.limit(&[("new", "10"), ("window", "1s")]);
    begin(&mut host, "203.0.113.7", 1, 100);
    host.limit(&[("new", "10"), ("window", "1h")]);
    assert_eq!(begin(&mut host, "203.0.113.7", 1000, 100), 15);
    host.now += 1800 * SECOND;
    assert!(begin(&mut host, "203.0.113.7", 2000, 100) <= 10);
    host.now += 3600 * SECOND;
    assert_eq!(begin(&mut host, "203.0.113.7", 3000, 100), 15);
    // Another limit in the same window goes on with the counts there are.
    host.limit(&[("new", "20"), ("window", "1h")]);
    assert_eq!(begin(&mut host, "203.0.113.7", 4000, 100), 10);
    let set = host.limits().get().expect("limits");
    assert_eq!((set.new, set.window), (20, Duration::from_secs(3600)));
}

/// A flood whose every packet has another source, within one window, and beside it
/// sources that begin a connection now and then; and one that does it too often.
#[test]
#[ignore = "root"]
fn a_flood_of_forged_sources_bans_none_of_the_innocent() {
    let tenth = if common::in_kernel_matrix() { 1 } else { 50 };
    let (innocent, forged) = (tenth * 2_000, tenth * 20_000);
    for on in ["handshake", "syn"] {
        let mut host = Host::with(&[Entry::Xdp], |config| {
            (config.table.max_flows, config.table.max_flows_v6) = (10_000, Some(100));
        });
        host.limit(&[("new", "20"), ("action", "ban"), ("ban_on", on)]);
        let mut frame = Spoofed::new();
        let mut dropped = [0; 3];
        for n in 0..innocent {
            let passes = |host: &mut Host, source, port| {
                u32::from(host.drops_frame(Via::Xdp, frame.of(source, port)))
            };
            let mut passes = passes;
            for m in 0..forged / innocent {
                dropped[0] += passes(&mut host, 0x5000_0000 + n * 10 + m, 7);
            }
            dropped[1] += passes(&mut host, 0x0b00_0000 + n, 1);
            dropped[1] += passes(&mut host, 0x0b00_0000 + n, 2);
            // A hundredth of them all: far too much for one.
            if n % 10 == 0 {
                dropped[2] += passes(
                    &mut host,
                    0xcb00_7107,
                    u16::try_from(n / 10).expect("a port"),
                );
            }
            host.now += WINDOW / i64::from(innocent);
        }
        assert_eq!(dropped[..2], [0, 0], "{on}");
        // Twice the limit in a window of three halves, and half of it more at first.
        assert!(dropped[2] >= innocent / 10 - 50, "{on}: {dropped:?}");
        let banned: Vec<_> = host.all().iter().map(|it| it.target.to_string()).collect();
        let want: &[&str] = if on == "syn" { &["203.0.113.7"] } else { &[] };
        assert_eq!(banned, want, "{on}");
    }
}

#[test]
#[ignore = "root"]
fn two_cpus_share_one_limit() {
    let mut host = Host::new();
    host.limit(&[("new", "100")]);
    let frame = syn("203.0.113.7", 1).frame();
    host.lab
        .replayer
        .set(host.now, u32::try_from(frame.len()).expect("a frame"));
    common::cpus::on_two_cpus(|thread| {
        let mut frame = Spoofed::new();
        for n in 0..5000 {
            let port = u16::try_from(thread * 5000 + n).expect("a port") + 1;
            host.lab.run(frame.of(0xcb00_7107, port));
        }
    });
    let counters = host.lab.counters();
    // One too many for each time that both took the last at once.
    let passed = counters.table.created;
    assert!((100..=160).contains(&passed), "{passed}");
    assert_eq!(counters.drops["threshold"], 10_000 - passed);
}

#[test]
#[ignore = "root"]
fn bans_by_packets_are_told_and_counted_by_whose_they_are() {
    let mut host = Host::new();
    let wish = |filter| Wish {
        types: vec![EventType::Ban],
        filter,
        ..Wish::default()
    };
    let mut all = Listener::new(&host.lab.datapath, &wish(FlowFilter::default())).expect("listen");
    let filter = FlowFilter {
        src: Some("2001:db8::/32".parse().expect("a network")),
        ..FlowFilter::default()
    };
    let mut some = Listener::new(&host.lab.datapath, &wish(filter)).expect("listen");
    host.limit(&[("new", "5"), ("action", "ban"), ("ban_on", "syn")]);
    begin(&mut host, "203.0.113.7", 1, 20);
    for port in 1..20 {
        host.drops(&syn_to("2001:db8::7", port, "[fd00::1]:80"));
    }
    let next = |listener: &mut Listener| match listener.next_event().expect("an event")?.what {
        What::Ban(ban) => Some(*ban),
        other => panic!("{other:?}"),
    };
    for target in ["203.0.113.7", "2001:db8::7"] {
        let told = next(&mut all).expect("a ban");
        let there = host.banned(target);
        assert_eq!(told.target, there.target);
        assert_eq!((told.origin, told.reason), (there.origin, there.reason));
        assert_eq!((told.hits, told.bytes), (0, 0));
        assert!(told.ttl.is_some_and(|ttl| ttl <= Duration::from_secs(600)));
    }
    assert_eq!(next(&mut all), None);
    let six = next(&mut some).expect("a ban");
    assert_eq!(six.target.to_string(), "2001:db8::7");
    assert_eq!(next(&mut some), None);

    host.ban_text("198.51.100.1");
    assert!(host.drops(&syn("198.51.100.1", 1)));
    let banned = host.lab.counters().banned;
    // Seven of each pass, the eighth is dropped by the limit, the others by the ban.
    assert_eq!((banned["threshold"], banned["api"]), (12 + 11, 1));
    assert_eq!((banned["manual"], banned["list"]), (0, 0));
}

/// Packets ban while user space bans and unbans: what both count of bans comes out even.
#[test]
#[ignore = "root"]
fn bans_by_packets_and_by_commands_do_not_lose_count() {
    let rounds: u16 = if common::in_kernel_matrix() { 10 } else { 200 };
    let mut host = Host::with(&[Entry::Xdp], |config| {
        (config.table.max_flows, config.table.max_flows_v6) = (1000, Some(1000));
    });
    host.limit(&[("new", "2"), ("action", "ban"), ("ban_on", "syn")]);
    let length = u32::try_from(Spoofed::new().of(0, 1).len()).expect("a frame");
    host.lab.replayer.set(host.now, length);
    let host = &host;
    common::cpus::on_two_cpus(|thread| {
        let mut frame = Spoofed::new();
        for round in 0..rounds {
            for n in 0..20_u8 {
                let source = std::net::Ipv4Addr::new(203, 0, 113, n);
                if thread == 0 {
                    for port in 0..8 {
                        host.lab.run(frame.of(source.to_bits(), round * 8 + port));
                    }
                } else {
                    let net = IpNet::from(std::net::IpAddr::from(source));
                    host.bans().remove(net, None).expect("unban");
                    host.ban_text(&format!("198.51.100.{n}"));
                    host.unban(&format!("198.51.100.{n}/32"));
                }
            }
        }
    });
    assert!(
        host.lab.counters().limits.banned > 20,
        "they were banned again"
    );
    host.limits().set(None).expect("no limit");
    host.bans().clear().expect("clear");
    let key = 0_u32.to_ne_bytes();
    let policy = host.lab.datapath.maps.policy.lookup(&key, MapFlags::ANY);
    let policy = policy.expect("read").expect("it is there");
    // `active`, `scopes`, `bans`; `kept` and the counts of bans.
    assert!(
        policy[..64].iter().all(|byte| *byte == 0),
        "{:?}",
        &policy[..64]
    );
    assert!(policy[1152..3272].iter().all(|byte| *byte == 0));
}
