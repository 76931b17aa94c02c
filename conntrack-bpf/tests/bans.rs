//! What is banned is dropped, and nothing else; how long, which packets, which way.

mod common;

use std::time::Duration;

use common::banned::Host;
use common::banned::Via;
use common::banned::spec;
use common::packet::*;
use conntrack_core::BanDirection;
use conntrack_core::stats::ClassCounts;

const US: &str = "10.0.0.1:80";

fn from(source: &str) -> Packet {
    Packet::tcp(end(&format!("{source}:5000")), end(US)).flags(SYN)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
#[ignore = "root"]
fn a_banned_source_is_dropped_and_nobody_else() {
    for via in [Via::Xdp, Via::TcIngress] {
        let mut host = Host::with_tc();
        let bad = from("203.0.113.7").payload(40);
        assert!(!host.drops_via(via, &bad), "nothing is banned");
        host.lab.meter.read();
        let before = host.lab.counters();
        host.ban(spec("203.0.113.7").reason("scan"));
        for _ in 0..3 {
            assert!(host.drops_via(via, &bad));
        }
        let other = Packet::udp(end("203.0.113.7:1"), end("10.0.0.9:2"));
        assert!(host.drops_via(via, &other), "a new flow");
        assert!(!host.drops_via(via, &from("203.0.113.6")));
        assert!(!host.drops_via(via, &from("203.0.113.8")));

        let counters = host.lab.counters();
        assert_eq!(counters.drops["ban"], 4);
        assert_eq!(counters.packets - before.packets, 6, "they are on the wire");
        let classes = counters.ct_state.total();
        let new = ClassCounts {
            new: before.ct_state.total().new + 2,
            ..ClassCounts::default()
        };
        assert_eq!(classes, new, "what is dropped is of no class");
        assert_eq!(counters.table.created, before.table.created + 2);
        let ban = host.banned("203.0.113.7");
        let bytes = 3 * bad.ip_len() + other.ip_len();
        assert_eq!((ban.hits, ban.bytes), (4, bytes));
        assert!(ban.last_hit.is_some());
        assert_eq!(ban.reason, "scan");
    }
}

/// Of a source that was just dropped less is read of what it sends: it counts the same.
#[test]
#[ignore = "root"]
fn a_flood_counts_as_its_first_packet_did() {
    const BAD: &str = "203.0.113.7:5000";
    let mut host = Host::new();
    host.ban(spec("203.0.113.7"));
    let tcp = || from("203.0.113.7").payload(30);
    let udp = || Packet::udp(end(BAD), end("10.0.0.1:53")).payload(20);
    let mut padded = tcp().frame();
    padded.extend_from_slice(&[0; 18]);
    // Shorter than it says: nobody reads who sent it.
    let mut cut = udp().frame();
    cut.truncate(60);
    let mut frames = vec![
        tcp().frame(),
        udp().frame(),
        padded,
        cut.clone(),
        tcp().flags(FIN | SYN).frame(),
        tcp().ip_options(8).frame(),
        udp().vlan(7).frame(),
        Packet::icmp(addr("203.0.113.7"), addr("10.0.0.1"), [8, 0], 1).frame(),
        Packet::gre(addr("203.0.113.7"), addr("10.0.0.1")).frame(),
    ];
    frames.extend(udp().payload(3000).fragments(9, 1400));
    let counted = |host: &Host| {
        let (ban, counters) = (host.banned("203.0.113.7"), host.lab.counters());
        let all = [counters.packets, counters.bytes, counters.drops["ban"]];
        [all[0], all[1], all[2], ban.hits, ban.bytes]
    };
    for frame in frames {
        // Long after the last one was dropped.
        host.pass(10);
        let mut before = counted(&host);
        let each = [0; 4].map(|_| {
            let dropped = host.drops_frame(Via::Xdp, &frame);
            assert_eq!(dropped, frame != cut, "{frame:02x?}");
            let now = counted(&host);
            let more = [0, 1, 2, 3, 4].map(|at| now[at] - before[at]);
            before = now;
            more
        });
        assert_eq!([each[0]; 4], each, "{frame:02x?}");
        // Others pass meanwhile, and are not taken for it.
        assert!(!host.drops(&from("203.0.113.6")) && !host.drops(&from("10.9.9.9")));
        assert_eq!(host.drops_frame(Via::Xdp, &frame), frame != cut);
    }
    // And none once it is over, however short ago the last one was dropped.
    assert!(host.drops(&tcp()) && host.drops(&tcp()));
    host.unban("203.0.113.7/32");
    assert!(!host.drops(&tcp()));
    host.ban(spec("203.0.113.7"));
    assert!(host.drops(&tcp()) && host.drops(&tcp()));
    host.allow("203.0.113.7/32");
    assert!(!host.drops(&tcp()));
}

#[test]
#[ignore = "root"]
fn every_prefix_length_ends_where_it_says() {
    let mut host = Host::new();
    for (addr, bits) in [
        ("203.0.113.165", 32_u8),
        ("2001:db8:a5:5a:c3:3c:f0:f1", 128),
    ] {
        let dst = if bits == 32 { "10.0.0.1" } else { "fd00::1" };
        for prefix in 0..=bits {
            let text = format!("{addr}/{prefix}");
            let ban = host.ban_text(&text);
            let inside = ban.target.net().broadcast();
            let ping = |src| Packet::icmp(src, common::packet::addr(dst), request(bits), 1);
            assert!(host.drops(&ping(common::packet::addr(addr))), "{text}");
            assert!(host.drops(&ping(inside)), "{text}: {inside}");
            if prefix > 0 {
                let outside = flipped(common::packet::addr(addr), prefix - 1);
                assert!(!host.drops(&ping(outside)), "{text}: {outside}");
            }
            assert_eq!(host.banned(&ban.target.to_string()).hits, 2, "{text}");
            assert_eq!(host.unban(&text).removed.len(), 1, "{text}");
            assert!(
                !host.drops(&ping(common::packet::addr(addr))),
                "{text} is over"
            );
        }
    }
    assert_eq!(host.all(), []);
}

fn request(bits: u8) -> [u8; 2] {
    if bits == 32 { [8, 0] } else { [128, 0] }
}

/// The address with one bit turned, counted from the left.
fn flipped(addr: std::net::IpAddr, bit: u8) -> std::net::IpAddr {
    match addr {
        std::net::IpAddr::V4(addr) => {
            std::net::Ipv4Addr::from_bits(addr.to_bits() ^ (1 << (31 - bit))).into()
        }
        std::net::IpAddr::V6(addr) => {
            std::net::Ipv6Addr::from_bits(addr.to_bits() ^ (1 << (127 - bit))).into()
        }
    }
}

#[test]
#[ignore = "root"]
fn scopes_are_protocols_and_our_ports() {
    let mut host = Host::new();
    host.ban(spec("203.0.113.7").scope("tcp/80".parse().expect("a scope")));
    host.ban(spec("203.0.113.0/28").scope("udp".parse().expect("a scope")));
    let to = |port: u16| format!("10.0.0.1:{port}");
    let tcp = |src: &str, port| Packet::tcp(end(src), end(&to(port))).flags(SYN);
    let udp = |src: &str| Packet::udp(end(src), end("10.0.0.1:53"));
    assert!(host.drops(&tcp("203.0.113.7:1", 80)));
    assert!(!host.drops(&tcp("203.0.113.7:1", 81)));
    assert!(
        !host.drops(&tcp("203.0.113.7:80", 82)),
        "its own port is another"
    );
    assert!(!host.drops(&tcp("203.0.113.8:1", 80)));
    for src in ["203.0.113.7:1", "203.0.113.8:1"] {
        assert!(host.drops(&udp(src)), "{src}");
    }
    assert!(!host.drops(&udp("203.0.113.16:1")));
    let ping = Packet::icmp(addr("203.0.113.7"), addr("10.0.0.1"), [8, 0], 1);
    assert!(!host.drops(&ping));
    host.ban(spec("203.0.113.7").scope("icmp".parse().expect("a scope")));
    assert!(host.drops(&ping));
    // All of one network, whatever their scopes; the other stays.
    assert_eq!(host.unban("203.0.113.7/32").removed.len(), 2);
    assert!(!host.drops(&tcp("203.0.113.7:1", 80)) && !host.drops(&ping));
    assert!(host.drops(&udp("203.0.113.7:1")));
}

#[test]
#[ignore = "root"]
fn a_ban_ends_on_time_and_shadows_nothing() {
    let mut host = Host::new();
    host.ban(spec("203.0.113.7").ttl(seconds(60)));
    host.ban(spec("203.0.113.0/24").ttl(seconds(120)));
    host.catch_up();
    let bad = from("203.0.113.7");
    assert!(host.drops(&bad));
    assert_eq!(host.banned("203.0.113.7").hits, 1, "the longest");
    host.pass(59);
    assert!(host.drops(&bad));
    host.pass(2);
    assert!(host.drops(&bad), "by the network, that lasts longer");
    let hits = |target: &str| host.banned(target).hits;
    assert_eq!((hits("203.0.113.7"), hits("203.0.113.0/24")), (2, 1));
    host.pass(58);
    assert!(host.drops(&bad), "a second before its end");
    host.pass(2);
    assert!(!host.drops(&bad), "all is over");
    let flow = &host.flows()[0];
    assert_eq!((flow.packets(), host.dropped()), (1, 4));
}

#[test]
#[ignore = "root"]
fn an_unconfirmed_ban_ends_by_itself() {
    let mut host = Host::new();
    let day = seconds(86_400);
    host.ban(spec("203.0.113.7").ttl(day).confirm(seconds(60)));
    host.ban(spec("203.0.113.8").confirm(seconds(60)));
    host.catch_up();
    let bad = ["203.0.113.7", "203.0.113.8"].map(from);
    assert!(bad.iter().all(|bad| host.drops(bad)));
    assert!(host.all().iter().all(|ban| ban.unconfirmed));
    let error = host.bans().put(&spec("203.0.113.7").confirm(seconds(9)));
    assert!(error.is_err(), "there is one already");
    host.pass(62);
    assert!(!bad.iter().any(|bad| host.drops(bad)), "time is up");
    host.pass(-62);
    assert_eq!(host.bans().confirm().expect("confirm"), 2);
    assert_eq!(host.bans().confirm().expect("confirm"), 0);
    host.pass(62);
    assert!(bad.iter().all(|bad| host.drops(bad)), "confirmed");
    host.pass(86_400);
    assert!(!host.drops(&bad[0]), "after its own time");
    assert!(host.drops(&bad[1]), "for ever");
    let ban = host.banned("203.0.113.8");
    assert_eq!((ban.unconfirmed, ban.until), (false, None));
}

#[test]
#[ignore = "root"]
fn a_flow_stops_untouched_and_goes_on() {
    let mut host = Host::with_tc();
    let (them, us) = (end("203.0.113.7:5000"), end(US));
    let theirs = Packet::tcp(them, us).payload(10);
    let handshake = [
        (Via::Xdp, Packet::tcp(them, us).flags(SYN).seq(0)),
        (Via::TcEgress, Packet::tcp(us, them).flags(SYN | ACK).seq(0)),
        (Via::Xdp, Packet::tcp(them, us)),
        (Via::Xdp, theirs.clone()),
        (Via::TcEgress, Packet::tcp(us, them).ack(11)),
    ];
    for (via, packet) in handshake {
        assert!(!host.drops_via(via, &packet));
    }
    let before = host.flows();
    assert_eq!(
        before[0].status().collect::<Vec<_>>(),
        ["SEEN_REPLY", "ASSURED"]
    );
    host.ban_text("203.0.113.0/24");
    host.pass(5);
    for _ in 0..10 {
        assert!(host.drops(&theirs));
    }
    assert!(
        host.drops(&Packet::tcp(them, us).flags(RST).seq(11)),
        "even the end"
    );
    let after = host.flows();
    assert_eq!(after[0].last_seen, before[0].last_seen);
    assert_eq!(
        (after[0].packets(), after[0].bytes()),
        (before[0].packets(), before[0].bytes())
    );
    assert_eq!(after[0].state, before[0].state);
    // What we send there is not banned, and counts.
    assert!(!host.drops_via(Via::TcEgress, &Packet::tcp(us, them).ack(11)));
    assert!(host.drops(&theirs), "nor does that let them in");
    host.unban("203.0.113.0/24");
    assert!(!host.drops(&theirs));
    let after = host.flows();
    assert_eq!(after[0].packets(), before[0].packets() + 2);
    assert!(after[0].last_seen > before[0].last_seen);
    assert_eq!(host.lab.counters().table.created, 1, "it is the same flow");
}

#[test]
#[ignore = "root"]
fn both_ways_if_it_is_asked_for() {
    let mut host = Host::with_tc();
    let there = Packet::udp(end("10.0.0.1:53"), end("203.0.113.7:5000"));
    let back = Packet::udp(end("203.0.113.7:5000"), end("10.0.0.1:53"));
    host.ban_text("203.0.113.7");
    // We begin: that nobody minds it is no answer for what comes back.
    assert!(!host.drops_via(Via::TcEgress, &there));
    assert!(host.drops(&back));
    assert!(!host.drops_via(Via::TcEgress, &there));
    assert_eq!(host.banned("203.0.113.7").hits, 1);

    let both = spec("203.0.113.7").scope("udp/53".parse().expect("a scope"));
    host.ban(both.direction(BanDirection::Both));
    assert!(host.drops_via(Via::TcEgress, &there));
    assert_eq!(host.banned("203.0.113.7 udp/53").hits, 1);
    let elsewhere = Packet::udp(end("10.0.0.1:54"), end("203.0.113.7:5000"));
    assert!(
        !host.drops_via(Via::TcEgress, &elsewhere),
        "from another port"
    );
    // A router sees it come in, and not go out.
    assert!(host.drops_via(Via::Xdp, &there));
    assert!(host.drops(&back));
}

#[test]
#[ignore = "root"]
fn a_dry_run_counts_and_drops_nothing() {
    let mut host = Host::new();
    host.ban(spec("203.0.113.7").dry_run(true));
    let bad = from("203.0.113.7");
    for _ in 0..5 {
        assert!(!host.drops(&bad));
    }
    assert_eq!((host.banned("203.0.113.7").hits, host.dropped()), (5, 0));
    host.ban_text("203.0.113.0/24");
    assert!(host.drops(&bad), "it hides nothing");
    let hits = |target: &str| host.banned(target).hits;
    assert_eq!((hits("203.0.113.7"), hits("203.0.113.0/24")), (6, 1));
    host.unban("203.0.113.0/24");
    let ban = host.ban_text("203.0.113.7");
    assert_eq!((ban.hits, ban.dry_run), (6, false), "counts go on");
    assert!(host.drops(&bad));
}

#[test]
#[ignore = "root"]
fn what_is_allowed_wins() {
    let mut host = Host::new();
    host.ban_text("203.0.113.0/24");
    host.ban_text("203.0.113.7");
    let bad = from("203.0.113.7");
    assert!(host.drops(&bad));
    assert!(host.allow("203.0.113.7/32"));
    assert!(!host.allow("203.0.113.7/32"), "it is no news");
    for _ in 0..3 {
        assert!(!host.drops(&bad));
    }
    assert!(host.drops(&from("203.0.113.8")));
    let allowed = host.allowed().all().expect("read");
    assert_eq!((allowed.len(), allowed[0].listed), (1, true));
    // The first packet's answer is not kept: its source was one to be dropped until then.
    assert_eq!(allowed[0].hits, 2, "the answer is kept in the flow");
    let net = "203.0.113.7/32".parse().expect("a network");
    assert!(host.allowed().remove(net).expect("remove"));
    assert!(!host.allowed().remove(net).expect("remove"));
    assert!(host.drops(&bad), "at its next packet");
    // A network of any size.
    host.allow("203.0.112.0/20");
    assert!(!host.drops(&bad) && !host.drops(&from("203.0.113.8")));
    // A dry run counts what a ban would drop.
    host.ban(spec("203.0.113.8").dry_run(true));
    assert!(!host.drops(&from("203.0.113.8")));
    assert_eq!(host.banned("203.0.113.8").hits, 0);
}

#[test]
#[ignore = "root"]
fn neighbours_of_the_link_stay_reachable() {
    let mut host = Host::new();
    host.ban_text("fe80::/10");
    let (them, us) = (addr("fe80::7"), addr("fe80::1"));
    for kind in [133, 134, 135, 136, 137, 128, 130] {
        let mut frame = Packet::icmp(them, us, [kind, 0], 0).payload(16).frame();
        assert!(host.drops_frame(Via::Xdp, &frame), "{kind} from afar");
        frame[14 + 7] = 255;
        let neighbour = (133..=136).contains(&kind);
        assert_eq!(host.drops_frame(Via::Xdp, &frame), !neighbour, "{kind}");
    }
}
