//! How evenly the hash fills the table, with the numbers that clients, scanners
//! and load generators really use: counted up, not drawn by lot.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use conntrack_native::Build;
use conntrack_native::Outcome;
use conntrack_native::Packet;
use conntrack_native::SLOTS;
use conntrack_native::Table;
use conntrack_native::TableEvent;
use conntrack_native::Timeout;

const UDP: u8 = 17;
const FLOWS: u32 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Any seed must do; these three are what an instance might have drawn.
const SEEDS: [[u32; 12]; 3] = [
    [
        0x243f_6a88,
        0x85a3_08d3,
        0x1319_8a2e,
        0x0370_7344,
        0xa409_3822,
        0x299f_31d0,
        0x082e_fa98,
        0xec4e_6c89,
        0x4528_21e6,
        0x38d0_1377,
        0xbe54_66cf,
        0x34e9_0c6c,
    ],
    [
        0xc0ac_29b7,
        0xc97c_50dd,
        0x3f84_d5b5,
        0xb547_0917,
        0x9216_d5d9,
        0x8979_fb1b,
        0xd131_0ba6,
        0x98df_b5ac,
        0x2ffd_72db,
        0xd01a_dfb7,
        0xb8e1_afed,
        0x6a26_7e96,
    ],
    // The worst a generator could give.
    [0; 12],
];

/// One client after another, each from its ports in turn, to one server.
fn clients(n: u32) -> Packet {
    let client = Ipv4Addr::from(0x0a00_0000 + n / 50_000);
    let server = Ipv4Addr::new(192, 0, 2, 1);
    Packet::new(client.into(), server.into(), UDP).ports(10_000 + (n % 50_000) as u16, 443)
}

/// A scanner: one source port, every address, a few ports each.
fn scanner(n: u32) -> Packet {
    let target = Ipv4Addr::from(0x0a00_0000 + n / 4);
    let source = Ipv4Addr::new(198, 51, 100, 7);
    Packet::new(source.into(), target.into(), UDP).ports(40_000, (n % 4) as u16 * 1000 + 53)
}

/// Neighbours talking to neighbours: both addresses and both ports count up.
fn neighbours(n: u32) -> Packet {
    let a = Ipv4Addr::from(0x0a00_0000 + n % 1000);
    let b = Ipv4Addr::from(0x0a00_0000 + n % 1000 + 1);
    let port = (n / 1000) as u16;
    Packet::new(a.into(), b.into(), UDP).ports(port, port + 1)
}

/// One client of a /64 after another, each from its ports in turn.
fn clients6(n: u32) -> Packet {
    let prefix = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0));
    let client = IpAddr::V6((prefix + u128::from(n / 50_000)).into());
    let server = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
    Packet::new(client, server.into(), UDP).ports(10_000 + (n % 50_000) as u16, 443)
}

/// Puts `flows` flows into a table that they fill to `load` percent. Returns how
/// many of a million found no place of their own, and how many sit at home.
fn fill(flows: u32, load: u32, seed: &[u32; 12], make: fn(u32) -> Packet, v6: bool) -> (u64, u64) {
    let mut buckets = [2, 2];
    buckets[usize::from(v6)] = (u64::from(flows) * 100 / u64::from(load * SLOTS) + 1) as u32;
    let mut table = Table::new(Build::Product, buckets, seed);
    table.set_timeout(Timeout::Udp, 600 * SECOND);
    for n in 0..flows {
        let done = table.packet(0, &make(n).at(SECOND));
        assert_eq!(done.outcome, Outcome::Created, "flow {n}");
    }
    // Who finds no empty slot pushes another out: one place too few either way.
    let lost = table.events(TableEvent::Evicted);
    let (mut live, mut home) = (0, 0);
    for place in 0..table.places(v6) {
        let slot = table.slot(v6, place);
        live += u64::from(slot.is_live());
        home += u64::from(slot.is_live() && slot.at_home);
    }
    assert_eq!(live + lost, u64::from(flows), "flows in the table and lost");
    (lost * 1_000_000 / u64::from(flows), home * 1_000_000 / live)
}

/// A table is sized so that the flows it is meant for fill it to 80 %. Then less
/// than 100 of a million new flows may meet a full neighbourhood; a hash that
/// leaves structure in the buckets loses hundreds of times as many.
fn check(name: &str, make: fn(u32) -> Packet, v6: bool) {
    for (number, seed) in SEEDS.iter().enumerate() {
        let (lost, home) = fill(FLOWS, 80, seed, make, v6);
        println!(
            "{name}, seed {number}: at 80 % load {lost} of 1,000,000 unplaced, {}.{} % at home",
            home / 10_000,
            home / 1000 % 10
        );
        assert!(lost < 100, "{name}, seed {number}: {lost} unplaced");
    }
}

#[test]
fn a_million_flows_of_one_client_after_another() {
    check("clients", clients, false);
}

#[test]
fn a_million_flows_of_a_scanner() {
    check("scanner", scanner, false);
}

#[test]
fn a_million_flows_between_neighbours() {
    check("neighbours", neighbours, false);
}

#[test]
fn a_million_ipv6_flows() {
    check("IPv6 clients", clients6, true);
}
