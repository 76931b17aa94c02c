//! What the tests of the table share.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod rounds;
pub(crate) mod tally;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use conntrack_native::Packet;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;
/// A protocol without rules of its own.
pub(crate) const OTHER: u8 = 200;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// Any seed of the hash will do.
pub(crate) const SEED: [u32; 12] = [
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
];

/// Random numbers that a seed repeats: SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }
}

/// A packet of connection `number`, there or back.
pub(crate) fn packet(number: u32, proto: u8, v6: bool, back: bool) -> Packet {
    let host = |net: u32| -> IpAddr {
        if v6 {
            let prefix = 0x2001_0db8_u128 << 96 | u128::from(net) << 64;
            Ipv6Addr::from_bits(prefix | u128::from(number)).into()
        } else {
            Ipv4Addr::from_bits(net << 24 | number).into()
        }
    };
    // Neither end is always the lower one.
    let (a, b) = match number % 2 {
        0 => (host(10), host(11)),
        _ => (host(11), host(10)),
    };
    let ports = match proto {
        TCP | UDP => (1000, 2000),
        _ => (0, 0),
    };
    let (src, dst, from, to) = match back {
        false => (a, b, ports.0, ports.1),
        true => (b, a, ports.1, ports.0),
    };
    Packet::new(src, dst, proto).ports(from, to)
}
