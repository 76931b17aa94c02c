//! What comes out of the tables is what the packets made: every field, of every
//! protocol, in both families; and nothing that is over.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::FlowState;
use conntrack_core::GoneReason;
use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::SctpState;
use conntrack_core::Side;
use conntrack_core::TcpLast;
use conntrack_core::TcpState;
use conntrack_core::Timestamp;
use conntrack_core::Tuple;

/// Ends of a flow, in both orders of address words and in both families.
fn ends() -> [(SocketAddr, SocketAddr); 4] {
    let (a, b) = (end("10.0.0.1:40000"), end("10.0.0.2:443"));
    let (c, d) = (end("[2001:db8::1]:40000"), end("[2001:db8::2]:443"));
    [(a, b), (b, a), (c, d), (d, c)]
}

fn ports(src: SocketAddr, dst: SocketAddr, protocol: Protocol) -> Tuple {
    Tuple {
        src: src.ip(),
        dst: dst.ip(),
        protocol,
        l4: L4::Ports {
            src: src.port(),
            dst: dst.port(),
        },
    }
}

fn side(tuple: Tuple, packets: u64, bytes: u64) -> Side {
    let mut side = Side::new(tuple);
    side.packets = packets;
    side.bytes = bytes;
    side
}

/// When the packets of the nth case come: each long after the flows of the one
/// before are over.
fn case(number: usize) -> i64 {
    const TEN_DAYS: i64 = 10 * 86_400 * SECOND;
    TIME + TEN_DAYS * i64::try_from(number).expect("a small number")
}

/// A flow of one moment, its interface left open.
fn one_moment(epoch: i64, original: Side, reply: Side, timeout: u64) -> Flow {
    let mut flow = Flow::new(original, reply);
    flow.start = Timestamp(epoch);
    flow.last_seen = Timestamp(epoch);
    flow.timeout = Duration::from_secs(timeout);
    flow.seen_reply = reply.packets > 0;
    flow
}

/// The only flow there is, less the interface, which test runs lend, and what is known beside it.
fn only(lab: &Lab, epoch: i64) -> Flow {
    let mut flows = lab.flows_at(epoch);
    assert_eq!(flows.len(), 1, "{flows:?}");
    let mut flow = flows.remove(0);
    assert_eq!(flow.interface, None);
    flow.ifindex = 0;
    flow.health = None;
    flow.fingerprint_ids = [0; 2];
    flow
}

#[test]
#[ignore = "root"]
fn tcp_flows_have_every_field() {
    let mut lab = Lab::new(1000);
    for (number, (client, server)) in ends().into_iter().enumerate() {
        let now = case(number);
        let syn = Packet::tcp(client, server).flags(SYN).seq(100).ack(0);
        let syn_ack = Packet::tcp(server, client).flags(SYN | ACK).seq(900);
        let ack = Packet::tcp(client, server).seq(101).ack(901).window(77);
        let data = ack.clone().flags(ACK | PSH).payload(123);
        lab.send_at(now, &syn);
        lab.send_at(now + 1, &syn_ack.clone().ack(101).window(65_000));
        lab.send_at(now + 2, &ack);
        lab.send_at(now + 3 * SECOND, &data);
        let thanks = Packet::tcp(server, client).seq(901).ack(224).window(64_000);
        lab.send_at(now + 3 * SECOND + 1, &thanks);

        let (sent, back) = (
            ports(client, server, Protocol::TCP),
            ports(server, client, Protocol::TCP),
        );
        let bytes = syn.ip_len() + ack.ip_len() + data.ip_len();
        let bytes_back = syn_ack.ip_len() + thanks.ip_len();
        let mut want = Flow::new(side(sent, 3, bytes), side(back, 2, bytes_back));
        want.original.tcp = Some(TcpLast {
            flags: ACK | PSH,
            seq: 101,
            ack: 901,
            window: 77,
        });
        want.reply.tcp = Some(TcpLast {
            flags: ACK,
            seq: 901,
            ack: 224,
            window: 64_000,
        });
        want.state = FlowState::Tcp(TcpState::Established);
        want.seen_reply = true;
        want.assured = true;
        want.start = Timestamp(now);
        want.last_seen = Timestamp(now + 3 * SECOND + 1);
        want.duration = Duration::new(3, 1);
        want.timeout = Duration::from_secs(432_000 - 1);
        assert_eq!(only(&lab, now + 4 * SECOND + 1), want);
        // A clock that is behind the last packet makes no flow younger.
        want.timeout = Duration::from_secs(432_000);
        assert_eq!(only(&lab, now), want);
    }
}

#[test]
#[ignore = "root"]
fn datagrams_have_every_field() {
    let mut lab = Lab::new(1000);
    for (number, (a, b)) in ends().into_iter().enumerate() {
        for (half, protocol, packet, back) in [
            (0, Protocol::UDP, Packet::udp(a, b), Packet::udp(b, a)),
            (
                1,
                Protocol::UDPLITE,
                Packet::udplite(a, b),
                Packet::udplite(b, a),
            ),
        ] {
            let now = case(2 * number + half);
            lab.send_at(now, &packet.clone().payload(100));
            let sent = side(ports(a, b, protocol), 1, packet.ip_len() + 100);
            let none = side(ports(b, a, protocol), 0, 0);
            assert_eq!(only(&lab, now), one_moment(now, sent, none, 30));
            lab.send_at(now, &back);
            let answered = side(ports(b, a, protocol), 1, back.ip_len());
            assert_eq!(only(&lab, now), one_moment(now, sent, answered, 30));
        }
    }
}

#[test]
#[ignore = "root"]
fn pings_have_every_field() {
    // Between two hosts, in both orders, and from a host to itself.
    let cases = [
        ("10.0.0.1", "10.0.0.2", [8, 0]),
        ("10.0.0.2", "10.0.0.1", [8, 0]),
        ("10.0.0.1", "10.0.0.1", [13, 14]),
        ("fe80::1", "fe80::2", [128, 129]),
        ("fe80::2", "fe80::1", [139, 140]),
        ("fe80::2", "fe80::2", [128, 129]),
    ];
    let mut lab = Lab::new(1000);
    for (number, (src, dst, kinds)) in cases.into_iter().enumerate() {
        let now = case(number);
        let (src, dst) = (addr(src), addr(dst));
        let [request, answer] = kinds;
        let ping = Packet::icmp(src, dst, [request, 0], 0x1234).payload(56);
        lab.send_at(now, &ping);
        lab.send_at(
            now,
            &Packet::icmp(dst, src, [answer, 0], 0x1234).payload(56),
        );
        let protocol = if src.is_ipv4() {
            Protocol::ICMP
        } else {
            Protocol::ICMPV6
        };
        let tuple = |src, dst, kind| Tuple {
            src,
            dst,
            protocol,
            l4: L4::Icmp {
                kind,
                code: 0,
                id: 0x1234,
            },
        };
        let sent = side(tuple(src, dst, request), 1, ping.ip_len());
        let back = side(tuple(dst, src, answer), 1, ping.ip_len());
        assert_eq!(only(&lab, now), one_moment(now, sent, back, 30));
    }
}

#[test]
#[ignore = "root"]
fn other_protocols_have_every_field() {
    let pairs = [("10.0.0.1", "10.0.0.2"), ("fe80::2", "fe80::1")];
    let mut lab = Lab::new(1000);
    let mut cases = (0..).map(case);
    for (src, dst) in pairs.map(|(src, dst)| (addr(src), addr(dst))) {
        let gre = |src_key, dst_key| L4::Gre { src_key, dst_key };
        for (packet, protocol, l4, timeout) in [
            (Packet::gre(src, dst), GRE, gre(0, 0), 30),
            (Packet::pptp(src, dst, 0x4567), GRE, gre(0, 0x4567), 30),
            (Packet::other(src, dst, 89, &[0; 24]), 89, L4::None, 600),
        ] {
            let now = cases.next().expect("no end");
            lab.send_at(now, &packet);
            let tuple = Tuple {
                src,
                dst,
                protocol: Protocol(protocol),
                l4,
            };
            let back = tuple.inverted().expect("an inverse");
            let want = one_moment(
                now,
                side(tuple, 1, packet.ip_len()),
                side(back, 0, 0),
                timeout,
            );
            assert_eq!(only(&lab, now), want);
        }
    }
}

#[test]
#[ignore = "root"]
fn sctp_flows_have_ports_and_a_state() {
    let mut lab = Lab::new(1000);
    for (number, (a, b)) in ends().into_iter().enumerate() {
        let now = case(number);
        let init = Packet::sctp(a, b, 1);
        lab.send_at(now, &init);
        let flow = only(&lab, now);
        assert_eq!(
            flow.original,
            side(ports(a, b, Protocol::SCTP), 1, init.ip_len())
        );
        assert_eq!(flow.state, FlowState::Sctp(SctpState::Closed));
    }
}

#[test]
#[ignore = "root"]
fn a_flow_is_gone_at_its_deadline() {
    let mut lab = Lab::new(1000);
    for (number, (a, b)) in ends().into_iter().enumerate() {
        let now = case(number);
        lab.send_at(now, &Packet::udp(a, b));
        let deadline = now + 30 * SECOND;
        assert_eq!(only(&lab, deadline - 1).timeout, Duration::from_nanos(1));
        let name = only(&lab, now).key();
        let find = |epoch| {
            lab.tables
                .find(&name, &Clock::stopped(epoch))
                .expect("sound")
        };
        assert!(find(deadline - 1).is_some());

        assert_eq!(lab.flows_at(deadline), []);
        assert_eq!(find(deadline), None);
        // Slots of the cases before may wait for somebody who needs them.
        let pending = [deadline - 1, deadline].map(|epoch| {
            let counts = lab.tables.count(&Clock::stopped(epoch));
            assert_eq!(counts.active, u64::from(epoch < deadline));
            counts.expired_pending
        });
        assert_eq!(pending[1], pending[0] + 1);
    }
}

#[test]
#[ignore = "root"]
fn an_ended_flow_is_gone() {
    let (a, b) = ends()[0];
    let mut lab = Lab::new(1000);
    lab.send(&Packet::tcp(a, b).flags(SYN));
    lab.send(&Packet::tcp(b, a).flags(RST | ACK));
    assert_eq!(lab.flows(), []);
    let counts = lab.tables.count(&Clock::stopped(TIME));
    assert_eq!((counts.active, counts.expired_pending), (0, 0));
    assert_eq!(lab.counters().table.gone(GoneReason::Rst), 1);
}

#[test]
#[ignore = "root"]
fn filters_select_what_matches_says() {
    let mut lab = Lab::new(4000);
    for number in 0..64_u16 {
        let host = number % 8;
        for (a, b) in [
            (format!("10.0.{host}.1:{}", 1000 + number), "10.9.0.2:80"),
            (format!("10.9.0.2:{}", 2000 + number), "10.0.0.7:53"),
            (
                format!("[2001:db8:{host}::1]:{}", 1000 + number),
                "[2001:db8:9::2]:80",
            ),
        ] {
            let (a, b) = (end(&a), end(b));
            lab.send(&Packet::udp(a, b));
            lab.send(&Packet::tcp(a, b).flags(SYN));
            if number % 2 == 0 {
                lab.send(&Packet::udp(b, a));
                lab.send(&Packet::tcp(b, a).flags(SYN | ACK));
            }
            if number % 4 == 0 {
                lab.send(&Packet::tcp(a, b).flags(ACK));
            }
            lab.send(&Packet::icmp(
                a.ip(),
                b.ip(),
                [if a.is_ipv4() { 8 } else { 128 }, 0],
                number,
            ));
        }
    }
    let all = lab.flows();
    let ifindex = all[0].ifindex;
    let mut selected = 0;
    let filters = filters(ifindex);
    for filter in &filters {
        let walk = lab.tables.walk(filter.clone(), Clock::stopped(TIME));
        let got: Vec<Flow> = walk.map(|flow| flow.expect("a flow")).collect();
        let want: Vec<Flow> = all
            .iter()
            .filter(|flow| filter.matches(flow))
            .cloned()
            .collect();
        assert_eq!(got, want, "{filter:?}");
        selected += usize::from(!got.is_empty() && got.len() < all.len());
    }
    assert!(selected > filters.len() / 2, "the filters are idle");
}

/// Each condition by itself, and pairs of neighbours.
fn filters(ifindex: u32) -> Vec<FlowFilter> {
    let texts = [
        "protocol tcp",
        "protocol udp",
        "protocol icmpv6",
        "family ipv4",
        "family ipv6",
        "state ESTABLISHED",
        "state SYN_SENT",
        "state SYN_RECV",
        "addr 10.0.3.0/24",
        "addr 10.9.0.2/32",
        "src 10.0.0.0/21",
        "dst 10.0.0.0/21",
        "src 2001:db8:3::/48",
        "dst 2001:db8:9::2/128",
        "port 80",
        "port 2000-2010",
        "sport 1000-1031",
        "dport 53",
        "ifindex own",
        "ifindex other",
        "assured yes",
        "assured no",
        "reply yes",
        "reply no",
    ];
    let build = |texts: &[&str]| {
        let mut filter = FlowFilter::default();
        for text in texts {
            let (what, value) = text.split_once(' ').expect(text);
            match what {
                "protocol" => filter.protocol = value.parse().ok(),
                "family" => filter.family = value.parse().ok(),
                "state" => filter.state = value.parse().ok(),
                "addr" => filter.addr = value.parse().ok(),
                "src" => filter.src = value.parse().ok(),
                "dst" => filter.dst = value.parse().ok(),
                "port" => filter.port = value.parse().ok(),
                "sport" => filter.sport = value.parse().ok(),
                "dport" => filter.dport = value.parse().ok(),
                "ifindex" => filter.ifindex = Some(ifindex + u32::from(value == "other")),
                "assured" => filter.assured = Some(value == "yes"),
                "reply" => filter.seen_reply = Some(value == "yes"),
                _ => panic!("{what}"),
            }
        }
        assert!(texts.is_empty() || !filter.is_empty(), "{texts:?}");
        filter
    };
    let single = texts.iter().map(|text| build(&[text]));
    let pairs = texts.windows(2).map(build);
    let far = texts.iter().zip(&texts[9..]).map(|(a, b)| build(&[a, b]));
    single.chain(pairs).chain(far).chain([build(&[])]).collect()
}
