//! Flows that several tests look at.
#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::net::IpAddr;
use std::time::Duration;

use conntrack_core::Flow;
use conntrack_core::FlowState;
use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::SctpState;
use conntrack_core::Side;
use conntrack_core::TcpLast;
use conntrack_core::TcpState;
use conntrack_core::Tuple;

/// A flow whose reply tuple is the original one inverted.
pub(crate) fn flow(src: &str, dst: &str, protocol: Protocol, l4: L4) -> Flow {
    let src: IpAddr = src.parse().unwrap();
    let dst: IpAddr = dst.parse().unwrap();
    let original = Tuple {
        src,
        dst,
        protocol,
        l4,
    };
    let reply = original.inverted().unwrap();
    let mut flow = Flow::new(Side::new(original), Side::new(reply));
    flow.start = "2026-11-20T17:52:37.123456789Z".parse().unwrap();
    flow.last_seen = "2026-11-20T17:52:37.124691356Z".parse().unwrap();
    flow.duration = Duration::from_nanos(1_234_567);
    flow.interface = Some("eth0".into());
    flow
}

/// Packets and bytes of both directions; a reply was seen if it has packets.
pub(crate) fn count(flow: &mut Flow, original: (u64, u64), reply: (u64, u64)) {
    (flow.original.packets, flow.original.bytes) = original;
    (flow.reply.packets, flow.reply.bytes) = reply;
    flow.seen_reply = reply.0 > 0;
}

/// The flow of the JSON contract: an assured TCP connection.
pub(crate) fn tcp() -> Flow {
    let l4 = L4::Ports {
        src: 40_000,
        dst: 80,
    };
    let mut flow = flow("10.0.0.1", "10.0.0.2", Protocol::TCP, l4);
    count(&mut flow, (4, 217), (3, 169));
    flow.state = FlowState::Tcp(TcpState::Established);
    flow.assured = true;
    flow.timeout = Duration::from_millis(431_999_700);
    flow.original.tcp = Some(TcpLast {
        flags: 24,
        seq: 1,
        ack: 1,
        window: 502,
    });
    flow.reply.tcp = Some(TcpLast {
        flags: 16,
        seq: 4_294_967_295,
        ack: 2,
        window: 65_535,
    });
    flow
}

/// An unanswered UDP query.
pub(crate) fn udp() -> Flow {
    let l4 = L4::Ports {
        src: 59_586,
        dst: 5_353,
    };
    let mut flow = flow("127.0.0.1", "127.0.0.1", Protocol::UDP, l4);
    count(&mut flow, (1, 29), (0, 0));
    flow.timeout = Duration::from_millis(29_999);
    flow
}

/// An answered ping.
pub(crate) fn ping() -> Flow {
    let l4 = L4::Icmp {
        kind: 8,
        code: 0,
        id: 77,
    };
    let mut flow = flow("127.0.0.1", "127.0.0.1", Protocol::ICMP, l4);
    count(&mut flow, (1, 28), (1, 28));
    flow.timeout = Duration::from_millis(29_500);
    flow
}

/// A ping by IPv6.
pub(crate) fn ping6() -> Flow {
    let l4 = L4::Icmp {
        kind: 128,
        code: 0,
        id: 9,
    };
    let mut flow = flow("2001:db8::1", "2001:db8::2", Protocol::ICMPV6, l4);
    count(&mut flow, (1, 104), (1, 104));
    flow.timeout = Duration::from_secs(30);
    flow
}

/// An SCTP association by IPv6.
pub(crate) fn sctp() -> Flow {
    let l4 = L4::Ports {
        src: 5_000,
        dst: 2_905,
    };
    let mut flow = flow("fe80::1", "fe80::2", Protocol::SCTP, l4);
    count(&mut flow, (3, 300), (2, 200));
    flow.state = FlowState::Sctp(SctpState::CookieEchoed);
    flow.assured = true;
    flow.timeout = Duration::from_secs(3);
    flow
}

/// GRE with PPTP's call ids.
pub(crate) fn gre() -> Flow {
    let l4 = L4::Gre {
        src_key: 0x1f,
        dst_key: 0,
    };
    let mut flow = flow("10.0.0.1", "10.0.0.2", Protocol::GRE, l4);
    count(&mut flow, (2, 120), (2, 120));
    flow.assured = true;
    flow.timeout = Duration::from_secs(180);
    flow
}

/// A protocol without a name, on an interface that is gone.
pub(crate) fn unknown() -> Flow {
    let mut flow = flow("10.0.0.1", "10.0.0.2", Protocol(253), L4::None);
    count(&mut flow, (1, 20), (0, 0));
    flow.timeout = Duration::from_secs(600);
    flow.interface = None;
    flow
}

/// One of each.
pub(crate) fn all() -> [Flow; 7] {
    [tcp(), udp(), ping(), ping6(), sctp(), gre(), unknown()]
}
