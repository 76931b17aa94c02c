//! Networks: what is read, what is refused and why, ranges, covers, longest match.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use conntrack_core::cidr::Block;
use conntrack_core::cidr::CidrProblem;
use conntrack_core::cidr::HostBits;
use conntrack_core::cidr::NetMap;
use conntrack_core::cidr::addresses;
use conntrack_core::cidr::cover;
use ipnet::IpNet;
use proptest::prelude::*;

fn nets(text: &str) -> Vec<String> {
    let block = Block::parse(text, HostBits::Mask).unwrap();
    block.nets().map(|net| net.to_string()).collect()
}

fn problem(text: &str) -> CidrProblem {
    Block::parse(text, HostBits::Mask).unwrap_err().problem()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn what_is_read() {
    for (text, wanted) in [
        ("192.0.2.1", &["192.0.2.1/32"][..]),
        (" 192.0.2.1\t", &["192.0.2.1/32"]),
        ("2001:DB8::1", &["2001:db8::1/128"]),
        ("10.0.0.0/8", &["10.0.0.0/8"]),
        ("10.9.8.7/8", &["10.0.0.0/8"]),
        ("10.0.0.0/255.255.0.0", &["10.0.0.0/16"]),
        ("0.0.0.0/0", &["0.0.0.0/0"]),
        ("::/0", &["::/0"]),
        ("2001:db8::1/32", &["2001:db8::/32"]),
        // Packets of such a source are IPv4.
        ("::ffff:192.0.2.1", &["192.0.2.1/32"]),
        ("::ffff:192.0.2.1/120", &["192.0.2.0/24"]),
        ("::ffff:0:0/96", &["0.0.0.0/0"]),
        ("::ffff:192.0.2.1/95", &["::fffe:0:0/95"]),
        ("192.0.2.1-192.0.2.1", &["192.0.2.1/32"]),
        (
            "192.0.2.1 - 192.0.2.4",
            &["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/32"],
        ),
        ("0.0.0.0-255.255.255.255", &["0.0.0.0/0"]),
        ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["::/0"]),
        ("::1-::2", &["::1/128", "::2/128"]),
    ] {
        assert_eq!(nets(text), wanted, "{text}");
    }
    let masked = |text| Block::parse(text, HostBits::Mask).unwrap().is_masked();
    assert!(masked("10.9.8.7/8"));
    assert!(!masked("10.0.0.0/8"));
    assert!(!masked("10.9.8.7"));
    let addr = |text| Block::parse(text, HostBits::Mask).unwrap().addr();
    assert_eq!(addr("2001:db8::1"), Some("2001:db8::1".parse().unwrap()));
    assert_eq!(addr("2001:db8::1/128"), None);
}

#[test]
fn what_is_refused_and_why() {
    use CidrProblem as P;
    for (text, wanted) in [
        ("", P::Empty),
        ("  ", P::Empty),
        ("/8", P::Empty),
        ("10.0.0.1-", P::Empty),
        ("010.0.0.1", P::LeadingZero),
        ("1.2.3.04/24", P::LeadingZero),
        ("192.0.2.1:80", P::Port),
        ("[2001:db8::1]:80", P::Port),
        ("[2001:db8::1]", P::Brackets),
        ("fe80::1%eth0", P::Zone),
        ("evil.example", P::Name),
        ("evil-host.example", P::Name),
        ("1.2.3", P::NoAddress),
        ("1.2.3.256", P::NoAddress),
        ("1.2.3.4.5", P::NoAddress),
        ("1.2.3.4 5.6.7.8", P::NoAddress),
        ("1.2.3.*", P::NoAddress),
        ("2001:db8::g", P::NoAddress),
        ("1.2.3.4/", P::Prefix),
        ("1.2.3.4/+8", P::Prefix),
        ("1.2.3.4/-8", P::RangeOfNetworks),
        ("1.2.3.4/x", P::Prefix),
        ("1.2.3.4/8/9", P::Prefix),
        ("::/255.0.0.0", P::Prefix),
        ("1.2.3.4/33", P::PrefixTooLong(32)),
        ("1.2.3.4/99999999999999999999999", P::PrefixTooLong(32)),
        ("::/129", P::PrefixTooLong(128)),
        ("1.2.3.4/255.0.255.0", P::Netmask),
        ("1.2.3.4-1.2.3.3", P::Backwards),
        ("1.2.3.4-::1", P::TwoFamilies),
        ("1.2.3.0/24-1.2.4.0/24", P::RangeOfNetworks),
        ("1.2.3.4\0", P::NoAddress),
    ] {
        assert_eq!(problem(text), wanted, "{text:?}");
    }
    let refused = Block::parse("2001:db8::1/32", HostBits::Refuse).unwrap_err();
    assert_eq!(refused.problem(), P::HostBits(net("2001:db8::/32")));
    assert!(Block::parse("2001:db8::/32", HostBits::Refuse).is_ok());

    let long = "9".repeat(10 << 20);
    let said = Block::parse(&long, HostBits::Mask).unwrap_err().to_string();
    assert!(said.len() < 200, "{said}");
}

#[test]
fn covers() {
    let all = |texts: &[&str]| cover(&texts.iter().copied().map(net).collect::<Vec<_>>());
    assert_eq!(all(&[]), []);
    assert_eq!(all(&["10.0.0.0/25", "10.0.0.128/25"]), [net("10.0.0.0/24")]);
    assert_eq!(all(&["10.0.0.0/8", "10.1.0.0/16"]), [net("10.0.0.0/8")]);
    assert_eq!(all(&["0.0.0.0/1", "128.0.0.0/1"]), [net("0.0.0.0/0")]);
    // Neighbours that are no network together.
    let apart = ["10.0.0.128/25", "10.0.1.0/25"].map(net);
    assert_eq!(cover(&apart), apart);
    let families = all(&["2001:db8::/32", "10.0.0.0/8"]);
    assert_eq!(families, ["10.0.0.0/8", "2001:db8::/32"].map(net));
    assert_eq!(
        addresses(&[net("10.0.0.0/8"), net("::/126")]),
        (1 << 24) + 4
    );
    assert_eq!(addresses(&[net("::/0"), net("0.0.0.0/0")]), u128::MAX);
}

#[test]
fn map_forgets_lengths_that_are_gone() {
    let mut map = NetMap::new();
    assert_eq!(map.insert(net("10.0.0.9/24"), 1), None);
    assert_eq!(map.insert(net("10.0.0.0/24"), 2), Some(1));
    assert_eq!(map.len(), 1);
    assert_eq!(map.get(net("10.0.0.77/24")), Some(&2));
    assert!(map.contains("10.0.0.1".parse().unwrap()));
    assert_eq!(map.remove(net("10.0.0.1/24")), Some(2));
    assert_eq!(map.remove(net("10.0.0.1/24")), None);
    assert!(map.is_empty() && !map.contains("10.0.0.1".parse().unwrap()));
}

#[test]
fn expired_does_not_hide_what_is_around_it() {
    let alive = [("10.0.0.0/24", true), ("10.0.0.1/32", false)];
    let map: NetMap<bool> = alive
        .map(|(text, alive)| (net(text), alive))
        .into_iter()
        .collect();
    let addr = "10.0.0.1".parse().unwrap();
    assert_eq!(map.longest(addr), Some((net("10.0.0.1/32"), &false)));
    let found = map.longest_where(addr, |alive| *alive);
    assert_eq!(found, Some((net("10.0.0.0/24"), &true)));
}

/// Addresses close together, so that networks nest and touch.
fn any_addr() -> impl Strategy<Value = IpAddr> {
    let v4 = |low: u32| IpAddr::from(Ipv4Addr::from(0x0a00_0000 | low));
    let v6 = |low: u128| IpAddr::from(Ipv6Addr::from((0x2001_0db8 << 96) | low));
    let ends = [u32::MAX, 0].map(|it| IpAddr::from(Ipv4Addr::from(it)));
    prop_oneof![
        8 => (0u32..1024).prop_map(v4),
        4 => (0u128..1024).prop_map(v6),
        1 => prop::sample::select(ends.to_vec()),
    ]
}

fn any_net() -> impl Strategy<Value = IpNet> {
    (any_addr(), 0u8..=10).prop_map(|(addr, host_bits)| {
        let bits = if addr.is_ipv4() { 32 } else { 128 };
        IpNet::new(addr, bits - host_bits).unwrap()
    })
}

/// Every address of networks as a number; each is small.
fn members(nets: &[IpNet]) -> BTreeSet<IpAddr> {
    let all = nets.iter().flat_map(|net| {
        let first = match net.network() {
            IpAddr::V4(addr) => u128::from(addr.to_bits()),
            IpAddr::V6(addr) => addr.to_bits(),
        };
        let size = 1u128 << (net.max_prefix_len() - net.prefix_len());
        let v4 = net.addr().is_ipv4();
        (first..first + size).map(move |it| match (v4, u32::try_from(it)) {
            (true, Ok(it)) => IpAddr::from(Ipv4Addr::from(it)),
            _ => IpAddr::from(Ipv6Addr::from(it)),
        })
    });
    all.collect()
}

proptest! {
    #[test]
    fn cover_holds_the_same_addresses(nets in prop::collection::vec(any_net(), 0..24)) {
        let covered = cover(&nets);
        prop_assert_eq!(members(&covered), members(&nets));
        prop_assert_eq!(addresses(&covered), members(&nets).len() as u128);
        // None is in another, none is one with its neighbour: there are no fewer.
        for (one, two) in covered.iter().zip(covered.iter().skip(1)) {
            prop_assert!(one < two && !one.contains(&two.addr()));
            let joined = one.supernet().filter(|net| net.contains(two));
            prop_assert!(joined.is_none() || one.prefix_len() != two.prefix_len());
        }
    }

    #[test]
    fn range_is_its_networks(first in any_addr(), size in 0u32..3000) {
        let last = match first {
            IpAddr::V4(addr) => IpAddr::from(Ipv4Addr::from(addr.to_bits().saturating_add(size))),
            IpAddr::V6(addr) => IpAddr::from(Ipv6Addr::from(addr.to_bits() + u128::from(size))),
        };
        let text = format!("{first}-{last}");
        let block = Block::parse(&text, HostBits::Refuse).unwrap();
        prop_assert_eq!(block.to_string(), text);
        let nets: Vec<IpNet> = block.nets().collect();
        let all = members(&nets);
        prop_assert_eq!(all.first(), Some(&first));
        prop_assert_eq!(all.last(), Some(&last));
        prop_assert_eq!(addresses(&nets), all.len() as u128);
        prop_assert_eq!(cover(&nets), nets);
    }

    #[test]
    fn longest_match_is_the_longest(
        nets in prop::collection::vec((any_net(), any::<bool>()), 0..24),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        addr in any_addr(),
        around in any_net(),
    ) {
        let mut map: NetMap<bool> = nets.iter().copied().collect();
        for index in gone.iter().filter(|_| !nets.is_empty()) {
            map.remove(index.get(&nets).0);
        }
        let slow = |wanted: &dyn Fn(bool) -> bool| {
            let all = map.iter().filter(|(net, value)| net.contains(&addr) && wanted(**value));
            all.max_by_key(|(net, _)| net.prefix_len())
        };
        prop_assert_eq!(map.longest(addr), slow(&|_| true));
        prop_assert_eq!(map.longest_where(addr, |value| *value), slow(&|value| value));
        let within: Vec<_> = map.within(around).collect();
        let slow: Vec<_> = map.iter().filter(|(net, _)| around.contains(net)).collect();
        prop_assert_eq!(within, slow);
        let covering = map.covering(around).count();
        prop_assert_eq!(covering, map.iter().filter(|(net, _)| net.contains(&around)).count());
    }

    #[test]
    fn what_is_written_reads_back(net in any_net(), text in "\\PC{0,40}") {
        for written in [net.trunc().to_string(), net.addr().to_string()] {
            let block = Block::parse(&written, HostBits::Refuse).unwrap();
            prop_assert_eq!(block.to_string(), written);
        }
        // Anything is read or refused with a reason.
        if let Err(error) = Block::parse(&text, HostBits::Refuse) {
            prop_assert!(!error.problem().to_string().is_empty());
        }
    }
}
