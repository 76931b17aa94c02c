//! What a flood is made of.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use conntrack_bpf::Meta;

use crate::common::packet::*;

/// Its packets. Each opens a flow, and nobody answers.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Kind {
    Syn,
    Udp,
    Ping,
}

/// How the tuples are chosen.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Choice {
    /// By turns random, and close together, as one chooses them who hopes that
    /// neighbours collide. Each of them another.
    Random,
    /// All for a few buckets, by one who knows the hash and has to guess the seed. Each
    /// of them another.
    Guessed,
    /// All for a few buckets, and no others, by one who knows the seed, which nobody
    /// does: the worst that can be done to a table. By turns more than these hold.
    Known,
}

/// Buckets that a choice is for, if it is for some, and how many tuples one has who
/// knows the seed.
const BUCKETS: u32 = 64;
const TUPLES: usize = 4000;

/// Where flows live in a table.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Places {
    seed: [u32; 12],
    buckets: u32,
}

impl Places {
    pub(crate) fn new(meta: &Meta, v6: bool) -> Self {
        Self {
            seed: meta.hash_seed,
            buckets: if v6 { meta.buckets6 } else { meta.buckets4 },
        }
    }

    /// Somebody else's.
    fn guessed(self) -> Self {
        let seed = self.seed.map(|word| word ^ 0x5bd1_e995);
        Self { seed, ..self }
    }

    /// Whether both of a flow's buckets are among those that are flooded.
    pub(crate) fn are_flooded(&self, src: SocketAddr, dst: SocketAddr, protocol: u8) -> bool {
        let buckets = self.of(src, dst, protocol);
        buckets.iter().all(|bucket| *bucket < BUCKETS)
    }

    /// A flow's two buckets.
    fn of(&self, src: SocketAddr, dst: SocketAddr, protocol: u8) -> [u32; 2] {
        let packet = conntrack_native::Packet::new(src.ip(), dst.ip(), protocol);
        let packet = match protocol {
            TCP | UDP => packet.ports(src.port(), dst.port()),
            _ => packet.icmp(echo(src.is_ipv6())[0], 0, src.port()),
        };
        packet.hash(&self.seed, self.buckets).buckets
    }
}

fn echo(v6: bool) -> [u8; 2] {
    if v6 { [128, 0] } else { [8, 0] }
}

/// Anybody, from any port; a ping's is its id.
fn source(v6: bool, number: u32) -> SocketAddr {
    let spread = match number % 2 {
        0 => number.wrapping_mul(0x9e37_79b1),
        _ => number,
    };
    let [a, b, c, d] = spread.to_be_bytes();
    let low = u16::from_be_bytes([c, d]);
    let addr: IpAddr = match v6 {
        false => Ipv4Addr::new(172 + (a & 3), b, c, d).into(),
        true => Ipv6Addr::new(0x2001, 0xbad, 0, a.into(), 0, 0, b.into(), low).into(),
    };
    SocketAddr::new(addr, 1024 + (number / 7) as u16 % 60_000)
}

impl Kind {
    fn protocol(self, v6: bool) -> u8 {
        match self {
            Self::Syn => TCP,
            Self::Udp => UDP,
            Self::Ping if v6 => ICMPV6,
            Self::Ping => ICMP,
        }
    }

    fn frame(self, src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
        let packet = match self {
            Self::Syn => Packet::tcp(src, dst).flags(SYN),
            Self::Udp => Packet::udp(src, dst),
            Self::Ping => Packet::icmp(src.ip(), dst.ip(), echo(src.is_ipv6()), src.port()),
        };
        packet.frame()
    }
}

/// The frames of a flood, to be sent by turns; `most` of them at the most.
pub(crate) fn frames(
    kind: Kind,
    choice: Choice,
    dst: SocketAddr,
    places: Places,
    most: u32,
) -> Vec<Vec<u8>> {
    let v6 = dst.is_ipv6();
    let sources = (0..).map(|number| source(v6, number));
    let frame = |src| kind.frame(src, dst);
    let protocol = kind.protocol(v6);
    match choice {
        Choice::Random => sources.take(most as usize).map(frame).collect(),
        Choice::Guessed => {
            let guessed = places.guessed();
            // Both buckets would take too long to look for, for him as for us.
            let chosen = sources.filter(|src| guessed.of(*src, dst, protocol)[0] < BUCKETS);
            chosen.take(most as usize).map(frame).collect()
        }
        Choice::Known => {
            let chosen = sources.filter(|src| places.are_flooded(*src, dst, protocol));
            chosen.take(TUPLES).map(frame).collect()
        }
    }
}
