//! Very many bans: each drops whom it is of, and nobody else.

mod common;

use std::env;
use std::net::Ipv4Addr;
use std::time::Duration;

use common::banned::Host;
use common::banned::Spoofed;
use common::banned::Via;
use conntrack_bpf::ListSpec;
use conntrack_bpf::Listed;
use conntrack_core::BanSpec;
use conntrack_core::BanTarget;
use ipnet::IpNet;

/// Banned addresses: every other one of these.
const FIRST: u32 = 0x0b00_0000; // 11.0.0.0
/// Banned networks: the lower halves of these, of 1024 addresses each.
const NETWORKS: u32 = 0x6400_0000; // 100.0.0.0

fn listed(bits: u32, prefix: u8) -> Listed {
    let net = IpNet::new(Ipv4Addr::from_bits(bits).into(), prefix).expect("a network");
    Listed::new(BanTarget::new(net))
}

/// How many probes of addresses that nobody bans: CONNTRACK_PROBES, or a million.
fn probes() -> u32 {
    match env::var("CONNTRACK_PROBES") {
        Ok(text) => text.parse().expect("CONNTRACK_PROBES: a number"),
        Err(_) if common::in_kernel_matrix() => 20_000,
        Err(_) => 1_000_000,
    }
}

#[test]
#[ignore = "root"]
fn a_million_bans_are_exact() {
    let (addresses, networks) = match common::in_kernel_matrix() {
        true => (20_000, 200),
        false => (1_000_000, 10_000),
    };
    let mut host = Host::with_room(addresses + networks + 10);
    let entries: Vec<_> = (0..addresses)
        .map(|n| listed(FIRST + 2 * n, 32))
        .chain((0..networks).map(|n| listed(NETWORKS + (n << 10), 23)))
        .collect();
    let bans = host.bans();
    let report = bans.load(&ListSpec::new("many"), &entries, |_| false, |_| ());
    assert_eq!(
        report.expect("load").entries,
        u64::from(addresses + networks)
    );

    let mut frame = Spoofed::new();
    let mut drops = |host: &mut Host, source| host.drops_frame(Via::Xdp, frame.of(source, 7));
    for n in 0..addresses {
        assert!(drops(&mut host, FIRST + 2 * n), "{n}");
    }
    for n in 0..networks {
        assert!(drops(&mut host, NETWORKS + (n << 10) + n % 512), "{n}");
        assert!(
            !drops(&mut host, NETWORKS + (n << 10) + 512 + n % 512),
            "{n}"
        );
    }
    let probes = probes();
    let mut dropped = 0;
    for n in 0..probes {
        // Between the banned ones, and elsewhere.
        let source = match n % 2 {
            0 => FIRST + 1 + 2 * (n / 2 % addresses),
            _ => 0x2000_0000_u32.wrapping_add(n.wrapping_mul(0x9e37_79b1) >> 4),
        };
        dropped += u32::from(drops(&mut host, source));
    }
    assert_eq!(dropped, 0, "of {probes} that nobody bans");
    println!("{probes} probes of addresses that nobody bans: {dropped} dropped");

    // One of them is somebody's own as well, and ends.
    let own = Ipv4Addr::from_bits(FIRST + 4).into();
    let spec = BanSpec::new(BanTarget::of(own)).ttl(Duration::from_secs(5));
    host.ban(spec);
    assert_eq!(
        host.bans().unload("many").expect("unload"),
        Some(u64::from(addresses + networks))
    );
    assert!(drops(&mut host, FIRST + 4) && !drops(&mut host, FIRST + 6));
}

/// Of single bans, beside many others.
#[test]
#[ignore = "root"]
fn one_ban_ends_and_all_others_go_on() {
    let count = if common::in_kernel_matrix() {
        2000
    } else {
        100_000
    };
    let mut host = Host::with_room(count + 10);
    let bans = host.bans();
    for n in 0..count {
        let target = BanTarget::of(Ipv4Addr::from_bits(FIRST + n).into());
        bans.put(&BanSpec::new(target)).expect("ban");
    }
    drop(bans);
    let one = count / 3;
    let addr = Ipv4Addr::from_bits(FIRST + one);
    assert_eq!(host.unban(&format!("{addr}/32")).removed.len(), 1);
    let mut frame = Spoofed::new();
    for n in 0..count {
        let dropped = host.drops_frame(Via::Xdp, frame.of(FIRST + n, 7));
        assert_eq!(dropped, n != one, "{n}");
    }
    // What has expired shadows nothing.
    host.ban_text("11.0.0.0/8");
    let spec: BanSpec = format!("{addr}/32").parse().expect("a ban");
    host.ban(spec.ttl(Duration::from_secs(5)));
    host.catch_up();
    host.pass(60);
    assert!(host.drops_frame(Via::Xdp, frame.of(FIRST + one, 9)));
    assert_eq!(host.banned("11.0.0.0/8").hits, 1);
}
