//! What is written parses back, and what has no direction does not depend on it.

use std::net::IpAddr;

use conntrack_core::Endpoint;
use conntrack_core::Flow;
use conntrack_core::FlowKey;
use conntrack_core::L4;
use conntrack_core::MacAddr;
use conntrack_core::PortRange;
use conntrack_core::Protocol;
use conntrack_core::Side;
use conntrack_core::Timestamp;
use conntrack_core::Tuple;
use conntrack_core::icmp;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prelude::prop_oneof;
use proptest::prelude::proptest;
use proptest::sample::select;

/// Two addresses of one family; often neighbours, sometimes equal.
fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u16; 8]>().prop_map(IpAddr::from);
    let mapped = any::<[u8; 4]>().prop_map(|[a, b, c, d]| {
        let halves = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        IpAddr::from([0, 0, 0, 0, 0, 0xffff, halves[0], halves[1]])
    });
    let neighbour = |addr: IpAddr, step: u8| match addr {
        IpAddr::V4(addr) => IpAddr::from((u32::from(addr) ^ u32::from(step)).to_be_bytes()),
        IpAddr::V6(addr) => IpAddr::from((u128::from(addr) ^ u128::from(step)).to_be_bytes()),
    };
    prop_oneof![
        (v4.clone(), v4.clone()),
        (v6.clone(), v6.clone()),
        (prop_oneof![v4, v6, mapped], 0..4_u8).prop_map(move |(a, step)| (a, neighbour(a, step))),
    ]
}

/// Ports, few of them, so that equal ones happen.
fn port() -> impl Strategy<Value = u16> {
    prop_oneof![0..4_u16, any::<u16>()]
}

fn l4(protocol: Protocol) -> impl Strategy<Value = L4> {
    let kinds: Vec<u8> = (0..=255)
        .filter(|&kind| icmp::inverse(protocol, kind).is_some())
        .collect();
    (port(), port(), select([kinds, vec![0]].concat()), 0..3_u8).prop_map(
        move |(src, dst, kind, code)| match protocol {
            Protocol::ICMP | Protocol::ICMPV6 => L4::Icmp {
                kind: if protocol == Protocol::ICMPV6 && kind == 0 {
                    128
                } else {
                    kind
                },
                code,
                id: src,
            },
            Protocol::GRE => L4::Gre {
                src_key: src,
                dst_key: dst,
            },
            _ if protocol.has_ports() => L4::Ports { src, dst },
            _ => L4::None,
        },
    )
}

/// A tuple that a flow may have.
fn tuple() -> impl Strategy<Value = Tuple> {
    let named = select(vec![
        Protocol::TCP,
        Protocol::UDP,
        Protocol::UDPLITE,
        Protocol::SCTP,
        Protocol::ICMP,
        Protocol::ICMPV6,
        Protocol::GRE,
        Protocol::DCCP,
    ]);
    let protocol = prop_oneof![3 => named, 1 => any::<u8>().prop_map(Protocol)];
    (addresses(), protocol).prop_flat_map(|((src, dst), protocol)| {
        (Just((src, dst, protocol)), l4(protocol)).prop_map(|((src, dst, protocol), l4)| Tuple {
            src,
            dst,
            protocol,
            l4,
        })
    })
}

proptest! {
    #[test]
    fn inverting_twice_changes_nothing(tuple in tuple()) {
        let inverted = tuple.inverted().unwrap();
        assert_eq!((inverted.src, inverted.dst), (tuple.dst, tuple.src));
        assert_eq!(inverted.inverted(), Some(tuple));
    }

    #[test]
    fn both_directions_have_one_key(tuple in tuple()) {
        let key = FlowKey::from(&tuple);
        let reply = tuple.inverted().unwrap();
        assert_eq!(key, FlowKey::from(&reply));
        assert!(*key.tuple() == tuple || *key.tuple() == reply, "{key}");
        assert!(key.lo() <= key.hi(), "{key}");
        assert_eq!(FlowKey::from(key.tuple()), key);
    }

    #[test]
    fn keys_are_text(tuple in tuple()) {
        let key = FlowKey::from(&tuple);
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn different_flows_have_different_keys(a in tuple(), b in tuple()) {
        let same = a == b || a.inverted() == Some(b);
        assert_eq!(FlowKey::from(&a) == FlowKey::from(&b), same);
    }

    /// The bug to avoid: ports sorted apart from the addresses.
    #[test]
    fn ports_stay_with_their_addresses(
        (src, dst) in addresses(), sport in port(), dport in port()
    ) {
        let (a, b) = (Endpoint::new(src, sport), Endpoint::new(dst, dport));
        let (crossed_a, crossed_b) = (Endpoint::new(src, dport), Endpoint::new(dst, sport));
        let key = FlowKey::new(a, b, Protocol::TCP);
        assert_eq!(key, FlowKey::new(b, a, Protocol::TCP));
        let crossed = FlowKey::new(crossed_a, crossed_b, Protocol::TCP);
        assert_eq!(key == crossed, sport == dport || src == dst);
        let swapped = format!("tcp {b} {a}");
        assert_eq!(swapped.parse(), Ok(key));
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = text.parse::<FlowKey>();
        let _ = text.parse::<Endpoint>();
        let _ = text.parse::<Timestamp>();
        let _ = text.parse::<PortRange>();
        let _ = text.parse::<MacAddr>();
        let _ = text.parse::<Protocol>();
    }

    #[test]
    fn endpoints_are_text((addr, _) in addresses(), port in port()) {
        let endpoint = Endpoint::new(addr, port);
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }

    #[test]
    fn mac_addresses_are_text(bytes in any::<[u8; 6]>()) {
        let mac = MacAddr(bytes);
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn port_ranges_are_text(a in port(), b in port()) {
        let range = PortRange::new(a, b);
        assert_eq!(range.to_string().parse(), Ok(range));
        assert!(range.contains(a) && range.contains(b));
    }

    /// Against another implementation of the calendar.
    #[test]
    fn time_stamps_are_rfc_3339(nanos in any::<i64>()) {
        let stamp = Timestamp(nanos);
        let other = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
        assert_eq!(stamp.to_string(), format!("{other:.9}"));
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
    }

    #[test]
    fn a_flow_has_its_tuples_key(tuple in tuple()) {
        let reply = tuple.inverted().unwrap();
        let flow = Flow::new(Side::new(tuple), Side::new(reply));
        assert_eq!(flow.key(), FlowKey::from(&tuple));
    }
}

/// Every day that a time stamp can be on.
#[test]
fn the_calendar_is_right() {
    const DAY: i64 = 86_400_000_000_000;
    for day in i64::MIN / DAY..=i64::MAX / DAY {
        let stamp = Timestamp(day * DAY);
        let other = jiff::Timestamp::from_nanosecond(i128::from(stamp.0)).unwrap();
        assert_eq!(stamp.to_string(), format!("{other:.9}"));
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
    }
}

#[test]
fn keys_look_like_this() {
    for text in [
        "tcp 10.0.0.1:40000 10.0.0.2:80",
        "udp [2001:db8::1]:53 [2001:db8::2]:9000",
        "icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=77",
        "icmpv6 fe80::1 fe80::2 type=128 code=0 id=0",
        "gre 10.0.0.1 10.0.0.2 srckey=31 dstkey=0",
        "253 10.0.0.1 10.0.0.2",
    ] {
        assert_eq!(text.parse::<FlowKey>().unwrap().to_string(), text);
    }
}

#[test]
fn keys_may_be_written_otherwise() {
    for (written, canonical) in [
        (
            "6 10.0.0.2:80 10.0.0.1:40000",
            "tcp 10.0.0.1:40000 10.0.0.2:80",
        ),
        (
            "  TCP\t10.0.0.1:1  10.0.0.1:0 ",
            "tcp 10.0.0.1:0 10.0.0.1:1",
        ),
        (
            "gre 10.0.0.2 10.0.0.1",
            "gre 10.0.0.1 10.0.0.2 srckey=0 dstkey=0",
        ),
        (
            "icmp 10.0.0.2 10.0.0.1 type=8 code=0 id=1",
            "icmp 10.0.0.1 10.0.0.2 type=0 code=0 id=1",
        ),
        (
            "icmp 10.0.0.1 10.0.0.1 type=0 code=0 id=1",
            "icmp 10.0.0.1 10.0.0.1 type=8 code=0 id=1",
        ),
        (
            "icmpv6 [fe80::1] fe80::2 type=129 code=0 id=0",
            "icmpv6 fe80::1 fe80::2 type=129 code=0 id=0",
        ),
    ] {
        assert_eq!(written.parse::<FlowKey>().unwrap().to_string(), canonical);
    }
}

#[test]
fn bad_keys_are_refused() {
    for text in [
        "",
        "tcp",
        "tcp 10.0.0.1:1",
        "tcp 10.0.0.1 10.0.0.2",
        "tcp 10.0.0.1:1 10.0.0.2:2 x",
        "tcp 10.0.0.1:1 [::1]:2",
        "tcp 10.0.0.1:+1 10.0.0.2:2",
        "tcp 10.0.0.1:65536 10.0.0.2:2",
        "tcp ::1:1 ::2:2",
        "tcp [10.0.0.1]:1 [10.0.0.2]:2",
        "foo 10.0.0.1:1 10.0.0.2:2",
        "icmp 10.0.0.1 10.0.0.2",
        "icmp 10.0.0.1 10.0.0.2 type=8 code=0",
        "icmp 10.0.0.1 10.0.0.2 type=256 code=0 id=1",
        "icmp 10.0.0.1 10.0.0.2 code=0 type=8 id=1",
        "gre 10.0.0.1 10.0.0.2 srckey=1",
        "253 10.0.0.1:1 10.0.0.2:2",
    ] {
        let error = text.parse::<FlowKey>().unwrap_err();
        assert!(
            error.to_string().contains("not a valid flow key"),
            "{error}"
        );
    }
}

/// Two hosts that ping each other with one identifier have two flows.
#[test]
fn simultaneous_pings_are_two_flows() {
    let one = Endpoint::new([10, 0, 0, 1].into(), 5);
    let two = Endpoint::new([10, 0, 0, 2].into(), 5);
    let there = FlowKey::new(one, two, Protocol::ICMP);
    let back = FlowKey::new(two, one, Protocol::ICMP);
    assert_ne!(there, back);
    assert_eq!(
        there.to_string(),
        "icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=5"
    );
    assert_eq!(
        back.to_string(),
        "icmp 10.0.0.1 10.0.0.2 type=0 code=0 id=5"
    );
}

#[test]
fn types_without_an_answer_cannot_be_inverted() {
    let tuple = |kind| Tuple {
        src: [10, 0, 0, 2].into(),
        dst: [10, 0, 0, 1].into(),
        protocol: Protocol::ICMP,
        l4: L4::Icmp {
            kind,
            code: 0,
            id: 0,
        },
    };
    assert_eq!(tuple(11).inverted(), None);
    assert_eq!(*FlowKey::from(&tuple(11)).tuple(), tuple(11));
    assert!(tuple(13).inverted().is_some());
}
