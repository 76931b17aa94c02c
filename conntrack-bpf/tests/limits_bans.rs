//! Bans that packets make, beside those that commands and lists make and take out.

mod common;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::SECOND;
use common::banned::Host;
use common::banned::Spoofed;
use common::banned::begin;
use common::banned::shake;
use common::banned::spec;
use common::packet::*;
use conntrack_bpf::ListSpec;
use conntrack_bpf::Listed;
use conntrack_bpf::datapath::Entry;
use conntrack_core::BanDirection;
use conntrack_core::BanOrigin;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;

const VICTIM: &str = "203.0.113.7";
const ON_SYN: [(&str, &str); 3] = [("new", "5"), ("action", "ban"), ("ban_on", "syn")];

/// `ct_policy` as it is.
fn policy(host: &Host) -> Vec<u8> {
    let key = 0_u32.to_ne_bytes();
    let policy = host.lab.datapath.maps.policy.lookup(&key, MapFlags::ANY);
    policy.expect("read").expect("it is there")
}

/// How many bans of packets' making are counted.
fn made(host: &Host) -> u64 {
    u64::from_ne_bytes(policy(host)[5360..].try_into().expect("a word"))
}

/// Nothing is in use any more, and nothing counted.
fn assert_unused(host: &Host) {
    let policy = policy(host);
    // `active`, `scopes`, `bans`; `kept` and the counts of bans; those by scope, and `made`.
    for part in [0..64, 1152..3272, 5336..5368] {
        assert!(
            policy[part.clone()].iter().all(|byte| *byte == 0),
            "{part:?}"
        );
    }
}

#[test]
#[ignore = "root"]
fn a_dry_run_keeps_nobody_from_being_banned() {
    let mut host = Host::new();
    host.ban(spec(VICTIM).dry_run(true).reason("watched"));
    host.limit(&ON_SYN);
    assert_eq!(begin(&mut host, VICTIM, 1, 100), 7);
    let ban = host.banned(VICTIM);
    assert_eq!((ban.origin, ban.dry_run), (BanOrigin::Threshold, false));
    assert_eq!(ban.reason, "more connections in 1s than new 5");
    assert!(host.drops(&Packet::udp(end("203.0.113.7:1"), end("10.0.0.1:53"))));
    let counters = host.lab.counters();
    assert_eq!(
        (counters.limits.banned, counters.drops["threshold"]),
        (1, 1)
    );
    // A ban that drops stays whose it is.
    host.ban(spec("203.0.113.8").reason("mine"));
    begin(&mut host, "203.0.113.8", 1, 100);
    assert_eq!(host.banned("203.0.113.8").reason, "mine");
    assert_eq!(host.unban("203.0.113.7/32").removed.len(), 1);
    host.limits().set(None).expect("no limit");
    assert_eq!(host.bans().clear().expect("clear"), 1);
}

#[test]
#[ignore = "root"]
fn bans_by_packets_leave_room_for_others_and_what_finds_none_is_dropped() {
    let mut host = Host::with(&Entry::ALL, |config| {
        (config.table.max_flows, config.table.max_flows_v6) = (1000, Some(1000));
        config.bans.max = 8;
    });
    host.limit(&[("new", "5"), ("action", "ban"), ("ban_ttl", "1s,1s")]);
    let source = |n: u16| format!("203.0.113.{n}");
    for n in 1..=8 {
        let passed = (1..=50).filter(|port| shake(&mut host, &source(n), *port));
        // Whoever is not banned begins no more in this window all the same.
        let passed = passed.count();
        assert!((5..=8).contains(&passed), "{n}: {passed}");
    }
    let limits = host.lab.counters().limits;
    assert_eq!((limits.banned, limits.no_room > 0), (4, true));
    for n in 1..=4 {
        host.ban_text(&format!("198.51.100.{n}"));
    }
    assert_eq!(host.all().len(), 8);

    // Those of packets are over: commands find room at once, packets once somebody has
    // taken them out.
    thread::sleep(Duration::from_millis(1100));
    host.catch_up();
    for port in 1..=50 {
        shake(&mut host, &source(9), port);
    }
    assert_eq!(host.lab.counters().limits.banned, 4);
    assert_eq!(host.bans().purge_made().expect("purge"), 4);
    for n in 11..=14 {
        for port in 1..=50 {
            shake(&mut host, &source(n), port);
        }
    }
    assert_eq!(host.lab.counters().limits.banned, 8);
    thread::sleep(Duration::from_millis(1100));
    host.ban_text("198.51.100.5");
    let all: Vec<_> = host.all().into_iter().map(|it| it.origin).collect();
    assert_eq!(all, vec![BanOrigin::Api; 5]);
}

#[test]
#[ignore = "root"]
fn a_ban_that_is_over_is_taken_over() {
    let mut host = Host::with_room(2);
    host.limit(&[
        ("new", "5"),
        ("action", "ban"),
        ("ban_on", "syn"),
        ("ban_ttl", "1m,2m"),
    ]);
    for round in 0..3 {
        assert_eq!(begin(&mut host, VICTIM, 1000 * (round + 1), 100), 7);
        host.now += 60 * SECOND * if round == 0 { 1 } else { 2 };
    }
    let limits = host.lab.counters().limits;
    assert_eq!(
        (limits.banned, limits.no_room),
        (3, 0),
        "one place is enough"
    );
    assert_eq!(host.all().len(), 1);
}

/// Two CPUs find the same moment that a source is too much.
#[test]
#[ignore = "root"]
fn two_cpus_ban_a_source_once() {
    let sources: u32 = if common::in_kernel_matrix() {
        200
    } else {
        4000
    };
    let mut host = Host::with(&[Entry::Xdp], |config| {
        (config.table.max_flows, config.table.max_flows_v6) = (1000, Some(100));
        config.bans.max = 10_000;
    });
    host.limit(&[
        ("new", "1"),
        ("action", "ban"),
        ("ban_on", "syn"),
        ("ban_ttl", "1m,1h"),
    ]);
    let length = u32::try_from(Spoofed::new().of(0, 1).len()).expect("a frame");
    host.lab.replayer.set(host.now, length);
    let lab = &host.lab;
    common::cpus::on_two_cpus(|thread| {
        let mut frame = Spoofed::new();
        for source in 0..sources {
            for port in 0..8 {
                let port = u16::try_from(thread * 8 + port + 1).expect("a port");
                lab.run(frame.of(0x0b00_0000 + source, port));
            }
        }
    });
    let all = host.all();
    assert_eq!(host.lab.counters().limits.banned, all.len() as u64);
    assert_eq!(all.len(), sources as usize);
    let longest = all.iter().filter_map(|ban| ban.ttl).max();
    assert!(
        longest.is_some_and(|ttl| ttl <= Duration::from_secs(60)),
        "one strike each"
    );
}

/// Those that packets make are over at once by the clock of commands, which stands ahead:
/// what both count of bans comes out even, and so does what packets may have.
#[test]
#[ignore = "root"]
fn taking_out_what_is_over_beside_packets_that_ban_loses_no_count() {
    let mut host = Host::with(&[Entry::Xdp], |config| {
        (config.table.max_flows, config.table.max_flows_v6) = (1000, Some(100));
        config.bans.max = 30;
    });
    host.limit(&[
        ("new", "1"),
        ("action", "ban"),
        ("ban_on", "syn"),
        ("ban_ttl", "1s,1s"),
    ]);
    host.now -= 5 * SECOND;
    let length = u32::try_from(Spoofed::new().of(0, 1).len()).expect("a frame");
    host.lab.replayer.set(host.now, length);
    let host = &host;
    let purged = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    common::cpus::on_two_cpus(|thread| {
        if thread == 0 {
            while !done.load(Ordering::SeqCst) {
                let taken = host.bans().purge().expect("purge");
                purged.fetch_add(taken, Ordering::SeqCst);
            }
            return;
        }
        let mut frame = Spoofed::new();
        for n in 0..60_000_u32 {
            let port = u16::try_from(n % 50_000 + 1).expect("a port");
            host.lab.run(frame.of(0xcb00_7100 + n % 20, port));
        }
        done.store(true, Ordering::SeqCst);
    });
    purged.fetch_add(host.bans().purge().expect("purge"), Ordering::SeqCst);
    let banned = host.lab.counters().limits.banned;
    assert!(banned > 100, "{banned}");
    assert_eq!(
        purged.into_inner(),
        banned,
        "each was made once and taken out once"
    );
    host.limits().set(None).expect("no limit");
    assert_unused(host);
}

#[test]
#[ignore = "root"]
fn the_reason_of_bans_to_come_is_kept() {
    let host = &mut Host::new();
    host.limit(&ON_SYN);
    // More reasons than there is room for: those of nobody are taken out.
    for n in 0..16_400 {
        host.ban(spec("198.51.100.1").reason(format!("for the {n}th time")));
    }
    begin(host, VICTIM, 1, 100);
    let ban = host.banned(VICTIM);
    assert_eq!(ban.reason, "more connections in 1s than new 5");
}

#[test]
#[ignore = "root"]
fn a_list_keeps_its_entries() {
    let mut host = Host::new();
    let mut list = ListSpec::new("tried");
    list.dry_run = true;
    let mut short = Listed::new("203.0.113.8".parse().expect("a target"));
    short.ttl = Some(Duration::from_secs(5));
    let entries = [Listed::new(VICTIM.parse().expect("a target")), short];
    let loaded = host.bans().load(&list, &entries, |_| false, |_| ());
    assert_eq!(loaded.expect("load").entries, 2);
    host.limit(&ON_SYN);
    assert_eq!(begin(&mut host, VICTIM, 1, 100), 7, "dropped all the same");
    let ban = host.banned(VICTIM);
    assert_eq!(ban.origin, BanOrigin::List("tried".to_owned()));
    assert_eq!((ban.dry_run, ban.ttl), (true, None));
    // So does one that is somebody's own as well.
    host.ban(spec(VICTIM).dry_run(true).reason("mine"));
    assert_eq!(begin(&mut host, VICTIM, 101, 100), 0);
    let ban = host.banned(VICTIM);
    assert_eq!(
        (ban.lists, ban.reason.as_str()),
        (vec!["tried".to_owned()], "mine")
    );
    assert_eq!((host.lab.counters().limits.banned, made(&host)), (0, 0));

    // Once the list has it no more, or its time is up, packets may have it.
    host.now += 10 * SECOND;
    begin(&mut host, "203.0.113.8", 1, 100);
    assert_eq!(host.banned("203.0.113.8").origin, BanOrigin::Threshold);
    assert_eq!(host.bans().unload("tried").expect("unload"), Some(2));
    begin(&mut host, VICTIM, 201, 100);
    assert_eq!(host.banned(VICTIM).origin, BanOrigin::Threshold);
    assert_eq!(made(&host), 2);
}

#[test]
#[ignore = "root"]
fn what_is_counted_of_bans_by_packets_is_never_below_none() {
    let mut host = Host::new();
    host.limit(&ON_SYN);
    begin(&mut host, VICTIM, 1, 100);
    host.ban_text("198.51.100.1");
    // One that no packet has counted, as where its end is written and it is taken out.
    let bans = &host.lab.datapath.maps.bans;
    let of = |end: [u8; 4]| {
        let mut keys = bans.keys();
        let found = keys.find(|key| key.windows(4).any(|part| part == end));
        found.expect("a ban")
    };
    let value = bans.lookup(&of([203, 0, 113, 7]), MapFlags::ANY);
    let value = value.expect("read").expect("it is there");
    let key = of([198, 51, 100, 1]);
    bans.update(&key, &value, MapFlags::ANY).expect("write");
    for net in ["198.51.100.1/32", "203.0.113.7/32"] {
        assert_eq!(host.unban(net).removed.len(), 1);
    }
    assert_eq!(made(&host), 0);
    begin(&mut host, "203.0.113.8", 1, 100);
    assert_eq!(host.lab.counters().limits.banned, 2);
    assert_eq!(made(&host), 1);
}

/// By the clock of packets, which stands ahead, bans of commands are over at once.
#[test]
#[ignore = "root"]
fn bans_of_commands_that_are_taken_over_and_taken_out_lose_no_count() {
    let mut host = Host::with(&[Entry::Xdp], |config| {
        (config.table.max_flows, config.table.max_flows_v6) = (1000, Some(100));
        config.bans.max = 1000;
    });
    host.limit(&[("new", "1"), ("action", "ban"), ("ban_on", "syn")]);
    host.now += 10 * SECOND;
    let length = u32::try_from(Spoofed::new().of(0, 1).len()).expect("a frame");
    host.lab.replayer.set(host.now, length);
    let host = &host;
    let done = AtomicBool::new(false);
    common::cpus::on_two_cpus(|thread| {
        if thread == 0 {
            for round in 0..500 {
                for n in 0..20 {
                    let ban = spec(&format!("203.0.113.{n}"));
                    host.ban(ban.ttl(Duration::from_nanos(1)));
                }
                host.bans().purge().expect("purge");
                for n in (0..20).filter(|n| (n + round) % 4 == 0) {
                    host.unban(&format!("203.0.113.{n}/32"));
                }
                let made = made(host).cast_signed();
                assert!((-1..=500).contains(&made), "{made}");
            }
            done.store(true, Ordering::SeqCst);
            return;
        }
        let (mut frame, mut n) = (Spoofed::new(), 0_u32);
        while !done.load(Ordering::SeqCst) {
            n += 1;
            let port = u16::try_from(n % 50_000 + 1).expect("a port");
            host.lab.run(frame.of(0xcb00_7100 + n % 20, port));
        }
    });
    let counters = host.lab.counters().limits;
    assert!(counters.banned > 1000, "{counters:?}");
    host.bans().purge().expect("purge");
    let all = host.all().into_iter().map(|ban| ban.origin);
    let by_packets = all.filter(|origin| *origin == BanOrigin::Threshold);
    assert_eq!(by_packets.count() as u64, made(host));
    host.limits().set(None).expect("no limit");
    host.bans().clear().expect("clear");
    assert_unused(host);
}

/// The memory of a ban that is taken out is the next one's.
#[test]
#[ignore = "root"]
fn what_a_packet_takes_over_is_no_others() {
    let mut host = Host::with(&[Entry::Xdp], |config| {
        (config.table.max_flows, config.table.max_flows_v6) = (1000, Some(100));
        config.bans.max = 20_000;
    });
    host.limit(&[("new", "1"), ("action", "ban"), ("ban_on", "syn")]);
    let length = u32::try_from(Spoofed::new().of(0, 1).len()).expect("a frame");
    host.lab.replayer.set(host.now, length);
    let host = &host;
    let done = AtomicBool::new(false);
    common::cpus::on_two_cpus(|thread| {
        if thread == 0 {
            for n in 0..10_000 {
                host.ban(spec(VICTIM).dry_run(true));
                host.unban("203.0.113.7/32");
                let other = spec(&format!("198.51.{}.{}", n / 250, n % 250));
                host.ban(other.direction(BanDirection::Both));
            }
            done.store(true, Ordering::SeqCst);
            return;
        }
        let (mut frame, mut n) = (Spoofed::new(), 0_u32);
        while !done.load(Ordering::SeqCst) {
            n += 1;
            let port = u16::try_from(n % 50_000 + 1).expect("a port");
            host.lab.run(frame.of(0xcb00_7107, port));
        }
    });
    assert!(host.lab.counters().limits.banned > 100);
    host.unban("203.0.113.7/32");
    let all = host.all();
    assert_eq!(all.len(), 10_000);
    for ban in all {
        let is = (ban.ttl, ban.direction, ban.dry_run, ban.origin);
        let was = (None, BanDirection::Both, false, BanOrigin::Api);
        assert_eq!(is, was, "{}", ban.target);
    }
}
