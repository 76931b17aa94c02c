//! Nobody slips past a ban: by fragments, tags, options, extension headers, ICMP
//! errors, what is INVALID or cannot be parsed; and the answers that flows keep.

mod common;

use common::banned::Host;
use common::banned::Via;
use common::banned::spec;
use common::packet::*;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;

/// Packets of all kinds from a source, each with what it is.
fn all_kinds(src: &str, dst: &str) -> Vec<(String, Packet)> {
    let (a, b) = (addr(src), addr(dst));
    let (from, to) = ((a, 5000).into(), (b, 80).into());
    let six = a.is_ipv6();
    let ping = |kind| Packet::icmp(a, b, [kind, 0], 9);
    let about = Packet::udp(to, from);
    let unrelated = Packet::udp((b, 1).into(), (b, 2).into());
    let (unreachable, request, answer) = if six { (1, 128, 129) } else { (3, 8, 0) };
    let mut kinds = vec![
        ("syn", Packet::tcp(from, to).flags(SYN)),
        ("in mid-stream", Packet::tcp(from, to)),
        ("reset", Packet::tcp(from, to).flags(RST)),
        ("no flags", Packet::tcp(from, to).flags(0)),
        ("header too long", Packet::tcp(from, to).put(12, &[0xf0])),
        ("udp", Packet::udp(from, to)),
        ("udp-lite", Packet::udplite(from, to)),
        ("sctp init", Packet::sctp(from, to, 1)),
        ("sctp data", Packet::sctp(from, to, 0)),
        ("ping", ping(request)),
        ("answer", ping(answer)),
        ("unknown icmp", ping(200)),
        (
            "error of ours",
            Packet::icmp_error(a, b, [unreachable, 1], &about),
        ),
        (
            "error of nobody's",
            Packet::icmp_error(a, b, [unreachable, 1], &unrelated),
        ),
        ("error of nothing", Packet::icmp(a, b, [unreachable, 1], 0)),
        ("gre", Packet::gre(a, b)),
        ("pptp", Packet::pptp(a, b, 7)),
        ("bad gre", Packet::pptp(a, b, 7).put(2, &[8, 0])),
        ("esp", Packet::other(a, b, 50, &[0; 8])),
        ("cut tcp", Packet::other(a, b, TCP, &[0; 19])),
        (
            "cut ping",
            Packet::other(a, b, if six { ICMPV6 } else { ICMP }, &[request, 0, 0, 0]),
        ),
        ("nothing", Packet::other(a, b, 59, &[])),
        (
            "icmp of the other family",
            Packet::other(a, b, if six { ICMP } else { ICMPV6 }, &[0; 8]),
        ),
    ];
    for tags in 1..=4 {
        let tagged = (0..tags).fold(Packet::tcp(from, to), |packet, id| match id {
            0 => packet.tag(0x88a8, 7),
            id => packet.vlan(id),
        });
        kinds.push((
            ["1 tag", "2 tags", "3 tags", "4 tags"][usize::from(tags) - 1],
            tagged,
        ));
    }
    if six {
        for header in [HOP_BY_HOP, ROUTING, AUTH, DESTINATION, FRAGMENT] {
            kinds.push(("extension", Packet::udp(from, to).extension(header)));
        }
        let many =
            |count| (0..count).fold(Packet::udp(from, to), |it, _| it.extension(DESTINATION));
        kinds.push(("16 extensions", many(16)));
        kinds.push(("too many extensions", many(17)));
    } else {
        for len in [4, 20, 40] {
            kinds.push(("options", Packet::tcp(from, to).ip_options(len)));
        }
    }
    let named = kinds.into_iter();
    named
        .map(|(name, packet)| (format!("{name} from {src}"), packet))
        .collect()
}

#[test]
#[ignore = "root"]
fn nobody_slips_past() {
    let mut host = Host::with_tc();
    for via in [Via::Xdp, Via::TcIngress] {
        for (ban, bad, good, us) in [
            ("203.0.113.7", "203.0.113.7", "203.0.113.8", "10.0.0.1"),
            ("203.0.113.0/29", "203.0.113.7", "203.0.113.8", "10.0.0.1"),
            ("2001:db8::/64", "2001:db8::7", "2001:db8:0:1::7", "fd00::1"),
            ("2001:db8::7/128", "2001:db8::7", "2001:db8::8", "fd00::1"),
        ] {
            host.ban_text(ban);
            for (what, packet) in all_kinds(good, us) {
                assert!(!host.drops_via(via, &packet), "{what}, {ban} is banned");
            }
            let before = host.lab.counters();
            let kinds = all_kinds(bad, us);
            for (what, packet) in &kinds {
                assert!(host.drops_via(via, packet), "{what}");
            }
            let after = host.lab.counters();
            let count = kinds.len() as u64;
            assert_eq!(after.drops["ban"] - before.drops["ban"], count);
            assert_eq!(host.all()[0].hits, count);
            assert_eq!(after.packets - before.packets, count);
            assert_eq!(after.ct_state, before.ct_state, "none is of a class");
            assert_eq!(
                after.passed_untracked, before.passed_untracked,
                "none passed"
            );
            assert_eq!(after.table.created, before.table.created);
            host.bans().clear().expect("clear");
        }
    }
}

/// Sends fragments in this order; which are dropped.
fn dropped(host: &mut Host, frames: &[Vec<u8>], order: &[usize]) -> Vec<bool> {
    let order = order.iter();
    order
        .map(|at| host.drops_frame(Via::Xdp, &frames[*at]))
        .collect()
}

#[test]
#[ignore = "root"]
fn every_fragment_of_a_banned_source_is_dropped() {
    for (src, dst) in [
        ("203.0.113.7:1", "10.0.0.1:80"),
        ("[2001:db8::7]:1", "[fd00::1]:80"),
    ] {
        let mut host = Host::new();
        let packet = Packet::udp(end(src), end(dst)).payload(2992);
        host.ban(spec(&end(src).ip().to_string()));
        for (id, order) in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 1, 1]]
            .iter()
            .enumerate()
        {
            let frames = packet.fragments(id as u32 + 1, 1000);
            assert_eq!(dropped(&mut host, &frames, order), [true; 3], "{order:?}");
        }
        let ban = &host.all()[0];
        let counters = host.lab.counters();
        assert_eq!((ban.hits, counters.drops["ban"]), (12, 12));
        assert_eq!(ban.bytes, counters.bytes, "as they are on the wire");
        assert_eq!(counters.passed_untracked["fragment"], 0);
        host.unban(&ban.target.net().to_string());
        let frames = packet.fragments(99, 1000);
        assert_eq!(dropped(&mut host, &frames, &[0, 1, 2]), [false; 3]);
        assert_eq!(host.flows()[0].bytes(), packet.ip_len());
    }
}

#[test]
#[ignore = "root"]
fn fragments_have_the_ports_of_the_first() {
    for (src, dst) in [("203.0.113.7", "10.0.0.1"), ("2001:db8::7", "fd00::1")] {
        let mut host = Host::new();
        let to = |port: u16| {
            let at =
                |addr: &str, port| (addr.parse::<std::net::IpAddr>().expect(addr), port).into();
            Packet::udp(at(src, 1), at(dst, port)).payload(2992)
        };
        host.ban(spec(src).scope("udp/80".parse().expect("a scope")));
        let bad = to(80).fragments(1, 1000);
        assert_eq!(dropped(&mut host, &bad, &[0, 1, 1, 2]), [true; 4]);
        // Before the first one nobody knows; without it the packet never gets whole.
        let bad = to(80).fragments(2, 1000);
        assert_eq!(dropped(&mut host, &bad, &[2, 0, 1]), [false, true, true]);
        let good = to(81).fragments(3, 1000);
        assert_eq!(dropped(&mut host, &good, &[0, 1, 0, 2]), [false; 4]);
        assert_eq!(host.dropped(), 6);
        assert_eq!(host.all()[0].hits, 6);
        assert_eq!(host.flows()[0].bytes(), to(81).ip_len());
    }
}

#[test]
#[ignore = "root"]
fn one_dry_run_counts_a_fragment_once() {
    let mut host = Host::new();
    for scope in ["any", "udp", "udp/80"] {
        let scope = scope.parse().expect("a scope");
        host.ban(spec("203.0.113.7").dry_run(true).scope(scope));
    }
    let packet = Packet::udp(end("203.0.113.7:1"), end("10.0.0.1:80")).payload(2992);
    let frames = packet.fragments(1, 1000);
    assert_eq!(dropped(&mut host, &frames, &[0, 1, 2]), [false; 3]);
    for ban in host.all() {
        assert_eq!(ban.hits, 3, "{}", ban.target);
    }
    let (flow, wire) = (&host.flows()[0], host.lab.counters().bytes);
    assert_eq!((flow.packets(), flow.bytes()), (1, packet.ip_len()));
    assert_eq!(host.all()[0].bytes, wire);
}

#[test]
#[ignore = "root"]
fn an_error_is_of_who_sent_it() {
    let mut host = Host::with_tc();
    let ours = Packet::udp(end("10.0.0.1:1"), end("203.0.113.7:2"));
    assert!(!host.drops_via(Via::TcEgress, &ours));
    host.ban_text("203.0.113.7");
    let of = |router: &str| Packet::icmp_error(addr(router), addr("10.0.0.1"), [11, 0], &ours);
    assert!(
        !host.drops(&of("192.0.2.1")),
        "a router tells of a banned one"
    );
    assert_eq!(host.lab.counters().ct_state.total().related, 1);
    assert!(host.drops(&of("203.0.113.7")));
}

/// The bytes of a ban as the kernel has them, of another address.
fn copy_of_ban(host: &Host, addr: [u8; 4]) -> (Vec<u8>, Vec<u8>) {
    let bans = &host.lab.datapath.maps.bans;
    let mut key = bans.keys().next().expect("a ban");
    let value = bans
        .lookup(&key, MapFlags::ANY)
        .expect("read")
        .expect("a ban");
    key[8..12].copy_from_slice(&addr);
    (key, value)
}

#[test]
#[ignore = "root"]
fn flows_keep_the_answer_of_a_generation() {
    let mut host = Host::new();
    let of = |port: u16| Packet::udp(end(&format!("203.0.113.7:{port}")), end("10.0.0.1:1"));
    host.ban_text("198.51.100.1");
    assert!(!host.drops(&of(1)));
    // A ban that nobody told flows of: who has an answer keeps it, others ask.
    let (key, value) = copy_of_ban(&host, [203, 0, 113, 7]);
    let bans = &host.lab.datapath.maps.bans;
    bans.update(&key, &value, MapFlags::ANY).expect("put");
    for _ in 0..3 {
        assert!(!host.drops(&of(1)), "its flow was asked about");
    }
    assert!(host.drops(&of(2)));
    // Until it is forgotten that its source was dropped.
    host.pass(2);
    // One that concerns a single address asks nobody else, but by chance.
    let unmoved = (2..50_u8).filter(|third| {
        host.ban_text(&format!("198.51.{third}.1"));
        !host.drops(&of(1))
    });
    assert!(unmoved.count() > 0);
    // One of a large network asks everybody.
    host.ban_text("198.51.100.0/23");
    assert!(host.drops(&of(1)));
    assert!(host.drops(&of(1)), "and is asked from now on");
    host.lab.datapath.maps.bans.delete(&key).expect("delete");
    assert!(!host.drops(&of(1)), "so that nobody has to tell it");
}

/// `BANS=1000` is a million addresses and ten thousand networks.
#[test]
#[ignore = "root"]
fn one_of_many_is_unbanned() {
    let usual = if common::in_kernel_matrix() { 1 } else { 10 };
    let thousands: u32 = std::env::var("BANS").map_or(usual, |it| it.parse().expect("thousands"));
    let exact = |n: u32| std::net::Ipv4Addr::from_bits(0x0b00_0000 + n);
    let bad = |n: u32| Packet::udp((exact(n), 1).into(), end("10.0.0.1:1"));
    let (all, nets) = (thousands * 1000, thousands * 10);
    let mut host = Host::with_room(all + nets);
    {
        let bans = host.bans();
        for n in 0..all {
            let target = conntrack_core::BanTarget::of(exact(n).into());
            bans.put(&target.into()).expect("ban");
        }
        for n in 0..nets {
            let net = format!("172.{}.{}.0/24", n >> 8, n & 255);
            bans.put(&spec(&net)).expect("ban");
        }
    }
    let one = all / 2;
    host.unban(&format!("{}/32", exact(one)));
    for n in 0..all {
        assert_eq!(host.drops(&bad(n)), n != one, "{}", exact(n));
    }
    let hits = host.all();
    assert_eq!(hits.len(), (all - 1 + nets) as usize);
    assert_eq!(
        hits.iter().map(|ban| ban.hits).sum::<u64>(),
        u64::from(all - 1)
    );
    let innocent = |n: u32| {
        let source = std::net::Ipv4Addr::from_bits(0x0c00_0000 + n);
        Packet::udp((source, 1).into(), end("10.0.0.1:1"))
    };
    assert_eq!((0..all).filter(|n| host.drops(&innocent(*n))).count(), 0);
    assert_eq!(
        host.bans().clear().expect("clear"),
        u64::from(all - 1 + nets)
    );
    assert!(!host.drops(&bad(0)));
}
