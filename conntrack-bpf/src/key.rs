//! The canonical key and its hash, as `bpf/key.h` makes them. A test fills a
//! table by packets and finds every flow by its name, which takes all of this.

use std::net::IpAddr;

use conntrack_core::Family;
use conntrack_core::FlowKey;
use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::Tuple;
use conntrack_core::icmp;

/// Words of `cfg_hash_seed`.
pub(crate) type Seed = [u32; 12];

/// `struct ct_key`: words and ports as they are loaded from a packet.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct RawKey {
    pub(crate) family: Family,
    /// IPv4 in the first word.
    pub(crate) lo: [u32; 4],
    pub(crate) hi: [u32; 4],
    /// ICMP: the query's id.
    pub(crate) lo_port_be: u16,
    /// ICMP: type and code of the message as the lower end sends it.
    pub(crate) hi_port_be: u16,
    pub(crate) protocol: Protocol,
}

/// Where a key may live.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Places {
    pub(crate) buckets: [u32; 2],
    pub(crate) tag: u16,
}

/// The address as words loaded from a packet.
pub(crate) fn addr_words(addr: IpAddr) -> [u32; 4] {
    match addr {
        IpAddr::V4(addr) => [u32::from_ne_bytes(addr.octets()), 0, 0, 0],
        IpAddr::V6(addr) => {
            let octets = addr.octets();
            let (words, _) = octets.as_chunks::<4>();
            [0, 1, 2, 3].map(|index| u32::from_ne_bytes(words[index]))
        }
    }
}

/// Whether the tuple is one of ICMP: `ct_is_icmp()`. ICMP of the other family
/// makes no flow.
pub(crate) fn is_icmp(family: Family, protocol: Protocol) -> bool {
    match family {
        Family::Ipv4 => protocol == Protocol::ICMP,
        Family::Ipv6 => protocol == Protocol::ICMPV6,
    }
}

impl RawKey {
    /// The key of the flow with this name; `None` for a name that no flow can
    /// have, such as an ICMP type that nobody answers.
    pub(crate) fn new(name: &FlowKey) -> Option<Self> {
        let &Tuple {
            src,
            dst,
            protocol,
            l4,
        } = name.tuple();
        let family = Family::of(src);
        if Family::of(dst) != family {
            return None;
        }
        let (src, dst) = (addr_words(src), addr_words(dst));
        match l4 {
            L4::Icmp { kind, code, id } if is_icmp(family, protocol) => {
                Self::icmp((family, protocol), src, dst, [kind, code], id)
            }
            L4::Ports { src: a, dst: b } => {
                let ports = (a.to_be(), b.to_be());
                Some(Self::sorted(
                    (family, protocol),
                    (src, ports.0),
                    (dst, ports.1),
                ))
            }
            L4::Gre { src_key, dst_key } => {
                let keys = (src_key.to_be(), dst_key.to_be());
                Some(Self::sorted(
                    (family, protocol),
                    (src, keys.0),
                    (dst, keys.1),
                ))
            }
            L4::Icmp { .. } | L4::None => {
                Some(Self::sorted((family, protocol), (src, 0), (dst, 0)))
            }
        }
    }

    /// `ct_make_key()`: end points sorted as pairs of address and port.
    fn sorted(
        (family, protocol): (Family, Protocol),
        src: ([u32; 4], u16),
        dst: ([u32; 4], u16),
    ) -> Self {
        let (lo, hi) = if src > dst { (dst, src) } else { (src, dst) };
        Self {
            family,
            lo: lo.0,
            hi: hi.0,
            lo_port_be: lo.1,
            hi_port_be: hi.1,
            protocol,
        }
    }

    /// `ct_icmp_key()`: sorted by address alone; between equal addresses the
    /// request is taken.
    fn icmp(
        (family, protocol): (Family, Protocol),
        src: [u32; 4],
        dst: [u32; 4],
        [kind, code]: [u8; 2],
        id: u16,
    ) -> Option<Self> {
        let inverse = icmp::inverse(protocol, kind)?;
        let src_is_hi = src > dst || (src == dst && !icmp::is_request(protocol, kind));
        let kind = if src_is_hi { inverse } else { kind };
        Some(Self {
            lo_port_be: id.to_be(),
            hi_port_be: u16::from_be_bytes([kind, code]).to_be(),
            ..Self::sorted((family, protocol), (src, 0), (dst, 0))
        })
    }

    /// `ct_hash_key()`: all bits.
    pub(crate) fn hash(&self, seed: &Seed) -> u64 {
        let ports = (u32::from(self.hi_port_be) << 16) | u32::from(self.lo_port_be);
        let protocol = u32::from(self.protocol.0);
        let mut sum = nh(self.lo[0], self.hi[0], seed[0], seed[1]);
        sum = sum.wrapping_add(nh(ports, protocol, seed[2], seed[3]));
        if self.family == Family::Ipv6 {
            for word in 1..4 {
                let at = 2 + 2 * word;
                sum = sum.wrapping_add(nh(self.lo[word], self.hi[word], seed[at], seed[at + 1]));
            }
        }
        mix(sum)
    }

    /// The same: where it may live in a table of this size.
    pub(crate) fn places(&self, seed: &Seed, buckets: u32) -> Places {
        let hash = self.hash(seed);
        let scale = |half: u64| ((half * u64::from(buckets)) >> 32) as u32;
        let first = scale(hash >> 32);
        let mut second = scale(hash & 0xffff_ffff);
        if first == second {
            second = if second + 1 < buckets { second + 1 } else { 0 };
        }
        let tag = (hash >> 32) as u16;
        Places {
            buckets: [first, second],
            tag: tag.max(1),
        }
    }
}

/// `ct_nh()`.
pub(crate) fn nh(a: u32, b: u32, seed_a: u32, seed_b: u32) -> u64 {
    u64::from(a.wrapping_add(seed_a)) * u64::from(b.wrapping_add(seed_b))
}

/// `ct_mix()`: the finaliser of MurmurHash3.
pub(crate) fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<RawKey> {
        RawKey::new(&text.parse().expect(text))
    }

    #[test]
    fn order_is_by_words_as_loaded() {
        // 10.0.0.2 is the higher address of the two, but on a little-endian
        // machine 9.0.0.3 is the higher word.
        let key = key("tcp 10.0.0.2:1 9.0.0.3:2").expect("a flow's name");
        let words = ["10.0.0.2", "9.0.0.3"].map(|addr| addr_words(addr.parse().expect(addr)));
        let mut sorted = words;
        sorted.sort_unstable();
        assert_eq!([key.lo, key.hi], sorted);
        let lo_port: u16 = if key.lo == words[0] { 1 } else { 2 };
        assert_eq!(key.lo_port_be, lo_port.to_be());
    }

    #[test]
    fn pings_each_way_differ_and_meet_their_answers() {
        let ping = key("icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=77");
        let answer = key("icmp 10.0.0.2 10.0.0.1 type=0 code=0 id=77");
        let other = key("icmp 10.0.0.2 10.0.0.1 type=8 code=0 id=77");
        assert!(ping.is_some() && ping == answer);
        assert_ne!(ping, other);
        assert_eq!(key("icmp 10.0.0.1 10.0.0.2 type=3 code=0 id=77"), None);
        assert_eq!(
            key("icmp 10.0.0.1 10.0.0.1 type=0 code=0 id=5"),
            key("icmp 10.0.0.1 10.0.0.1 type=8 code=0 id=5")
        );
    }

    #[test]
    fn both_buckets_differ() {
        let key = key("udp 10.0.0.1:5 10.0.0.2:6").expect("a flow's name");
        for buckets in 2..2_000 {
            let [a, b] = key.places(&[7; 12], buckets).buckets;
            assert!(a != b && a < buckets && b < buckets, "{buckets}: {a} {b}");
        }
    }
}
