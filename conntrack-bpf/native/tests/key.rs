//! The canonical key: one for both directions, one for each flow, and the same
//! flows as conntrack-core's.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use conntrack_core::FlowKey;
use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::Tuple;
use conntrack_native::Packet;
use proptest::prelude::Just;
use proptest::prelude::ProptestConfig;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_assert;
use proptest::prop_assert_eq;
use proptest::prop_assert_ne;
use proptest::prop_oneof;
use proptest::proptest;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The packet of a tuple.
fn packet(tuple: &Tuple) -> Packet {
    let packet = Packet::new(tuple.src, tuple.dst, tuple.protocol.0);
    match tuple.l4 {
        L4::Ports { src, dst } => packet.ports(src, dst),
        L4::Icmp { kind, code, id } => packet.icmp(kind, code, id),
        L4::Gre { src_key, dst_key } => packet.ports(src_key, dst_key),
        L4::None => packet,
    }
}

/// The tuple of the other direction.
fn inverse(tuple: &Tuple) -> Tuple {
    tuple.inverted().expect("every tuple here has an inverse")
}

/// Addresses that collide in whole, in their first word, or in byte order.
fn addr(v6: bool) -> impl Strategy<Value = IpAddr> {
    let few = prop_oneof![Just(1_u32), Just(2), Just(0x0100_0000), Just(0xffff_ffff)];
    let word = prop_oneof![3 => few, 1 => any::<u32>()].boxed();
    (word.clone(), word.clone(), word.clone(), word).prop_map(move |(a, b, c, d)| {
        if v6 {
            let bits = u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32;
            IpAddr::V6(Ipv6Addr::from(bits | u128::from(d)))
        } else {
            IpAddr::V4(Ipv4Addr::from(a))
        }
    })
}

/// Ports that collide with each other, with ICMP types and in byte order.
fn port() -> impl Strategy<Value = u16> {
    const FEW: &[u16] = &[0, 1, 0x0100, 0x0800, 0x0008, 0x8000, 0x8100, 0xffff];
    prop_oneof![3 => proptest::sample::select(FEW), 1 => any::<u16>()]
}

fn l4(protocol: u8) -> proptest::prelude::BoxedStrategy<L4> {
    let kinds: &[u8] = match protocol {
        ICMP => &[0, 8, 13, 14, 15, 16, 17, 18],
        ICMPV6 => &[128, 129, 139, 140],
        _ => {
            return (port(), port())
                .prop_map(|(src, dst)| L4::Ports { src, dst })
                .boxed();
        }
    };
    (proptest::sample::select(kinds), 0..2_u8, port())
        .prop_map(|(kind, code, id)| L4::Icmp { kind, code, id })
        .boxed()
}

fn tuple() -> impl Strategy<Value = Tuple> {
    (any::<bool>(), any::<bool>()).prop_flat_map(|(v6, icmp)| {
        let protocol = match (icmp, v6) {
            (true, true) => ICMPV6,
            (true, false) => ICMP,
            (false, _) => TCP,
        };
        (addr(v6), addr(v6), l4(protocol)).prop_map(move |(src, dst, l4)| Tuple {
            src,
            dst,
            protocol: Protocol(protocol),
            l4,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn both_directions_have_one_key(tuple in tuple()) {
        let (there, from_hi) = packet(&tuple).key();
        let (back, back_from_hi) = packet(&inverse(&tuple)).key();
        prop_assert_eq!(there, back);
        // Of a tuple that is its own inverse there is but one direction.
        if tuple != inverse(&tuple) {
            prop_assert_ne!(from_hi, back_from_hi, "the ends are told apart");
        }
    }

    #[test]
    fn keys_are_equal_exactly_where_the_librarys_are(a in tuple(), b in tuple()) {
        let same = packet(&a).key().0 == packet(&b).key().0;
        prop_assert_eq!(same, FlowKey::from(&a) == FlowKey::from(&b));
        prop_assert_eq!(same, a == b || a == inverse(&b));
    }

    #[test]
    fn hashes_stay_in_the_table(tuple in tuple(), seed in any::<[u32; 12]>(), buckets in 2..5000_u32) {
        let there = packet(&tuple).hash(&seed, buckets);
        prop_assert_eq!(there, packet(&inverse(&tuple)).hash(&seed, buckets));
        prop_assert!(there.buckets.iter().all(|&b| b < buckets), "{:?}", there);
        prop_assert_ne!(there.buckets[0], there.buckets[1]);
        prop_assert!(there.home < 15 && (1..65_536).contains(&there.tag), "{:?}", there);
    }
}

/// Every tuple over a few values of each field.
fn few_tuples(addrs: &[IpAddr], protocol: u8, kinds: &[u8]) -> Vec<Tuple> {
    let numbers = [0, 8, 0x0800];
    let mut l4s = Vec::new();
    for (a, b) in numbers.iter().flat_map(|&a| numbers.map(|b| (a, b))) {
        match kinds {
            [] => l4s.push(L4::Ports { src: a, dst: b }),
            kinds => l4s.extend(kinds.iter().map(|&kind| L4::Icmp {
                kind,
                code: (b & 1) as u8 | u8::from(b == 8),
                id: a,
            })),
        }
    }
    let ends = addrs
        .iter()
        .flat_map(|&src| addrs.iter().map(move |&dst| (src, dst)));
    ends.flat_map(|(src, dst)| {
        l4s.iter().map(move |&l4| Tuple {
            src,
            dst,
            protocol: Protocol(protocol),
            l4,
        })
    })
    .collect()
}

#[test]
fn among_a_few_values_only_the_two_directions_share_a_key() {
    let v4s = [v4(1), v4(2), Ipv4Addr::new(1, 0, 0, 10).into()];
    let v6s = [v6(1), v6(2), v6(0x0100)];
    let mut met = 0;
    for (addrs, protocol, kinds) in [
        (&v4s, TCP, &[][..]),
        (&v6s, TCP, &[]),
        (&v4s, ICMP, &[0, 8, 13, 14]),
        (&v6s, ICMPV6, &[128, 129, 139, 140]),
    ] {
        let tuples = few_tuples(addrs, protocol, kinds);
        let keys: Vec<_> = tuples.iter().map(|tuple| packet(tuple).key().0).collect();
        for (a, one) in tuples.iter().zip(&keys) {
            for (b, other) in tuples.iter().zip(&keys) {
                let same = a == b || *a == inverse(b);
                assert_eq!(one == other, same, "{a:?} and {b:?}");
                met += u32::from(same && a != b);
            }
        }
    }
    assert!(met > 500, "only {met} pairs of directions met");
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()
}

/// The echo of each family: two hosts, protocol, types of request and reply.
fn pings() -> [([IpAddr; 2], u8, u8, u8); 2] {
    [
        ([v4(1), v4(2)], ICMP, 8, 0),
        ([v6(1), v6(2)], ICMPV6, 128, 129),
    ]
}

#[test]
fn sorting_fields_one_by_one_would_join_these() {
    let (a, b) = (v4(1), v4(2));
    let one = Packet::new(a, b, TCP).ports(1000, 2000);
    let other = Packet::new(a, b, TCP).ports(2000, 1000);
    assert_ne!(one.key().0, other.key().0);
}

#[test]
fn a_ping_and_its_answer_meet() {
    for ([a, b], proto, request, reply) in pings() {
        for (from, to) in [(a, b), (b, a)] {
            let (ask, ask_hi) = Packet::new(from, to, proto).icmp(request, 0, 7).key();
            let (answer, answer_hi) = Packet::new(to, from, proto).icmp(reply, 0, 7).key();
            assert_eq!(ask, answer, "{from} asks {to}");
            assert_ne!(ask_hi, answer_hi);
        }
    }
}

#[test]
fn two_hosts_pinging_each_other_with_one_id_stay_apart() {
    for ([a, b], proto, request, reply) in pings() {
        let there = Packet::new(a, b, proto).icmp(request, 0, 7).key().0;
        let back = Packet::new(b, a, proto).icmp(request, 0, 7).key().0;
        assert_ne!(there, back);
        // Nor does the answer to one get into the other.
        let answer = Packet::new(b, a, proto).icmp(reply, 0, 7).key().0;
        assert_eq!(answer, there);
    }
}

#[test]
fn ids_that_look_like_types_change_nothing() {
    for ([a, b], proto, request, reply) in pings() {
        let looks = [
            u16::from(request) << 8,
            u16::from(reply) << 8,
            request.into(),
            0,
        ];
        for id in looks {
            for code in [0, 1] {
                let ask = Packet::new(a, b, proto).icmp(request, code, id).key().0;
                let answer = Packet::new(b, a, proto).icmp(reply, code, id).key().0;
                assert_eq!(ask, answer, "id {id:#06x}, code {code}");
                for (other_id, other_code) in [(id ^ 0x0800, code), (id, code ^ 1)] {
                    let other = Packet::new(a, b, proto).icmp(request, other_code, other_id);
                    assert_ne!(ask, other.key().0, "id {id:#06x}, code {code}");
                }
            }
        }
    }
}

#[test]
fn a_host_that_pings_itself_is_one_flow_with_two_directions() {
    for ([a, _], proto, request, reply) in pings() {
        let (ask, ask_hi) = Packet::new(a, a, proto).icmp(request, 0, 7).key();
        let (answer, answer_hi) = Packet::new(a, a, proto).icmp(reply, 0, 7).key();
        assert_eq!(ask, answer);
        assert_ne!(ask_hi, answer_hi);
    }
}

#[test]
fn a_host_that_talks_to_itself_is_told_by_its_ports() {
    for addr in [v4(1), v6(1)] {
        let (there, hi) = Packet::new(addr, addr, TCP).ports(40_000, 80).key();
        let (back, back_hi) = Packet::new(addr, addr, TCP).ports(80, 40_000).key();
        assert_eq!(there, back);
        assert_ne!(hi, back_hi);
    }
}
