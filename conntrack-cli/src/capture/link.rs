//! Link types, and packets of any of them as Ethernet frames.

use std::fmt;

/// A number of tcpdump.org's list of link types.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub(crate) struct LinkType(pub(crate) u32);

/// Bytes of an Ethernet header.
const ETHERNET_HEADER: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Of no protocol: a packet that is not IP.
const NOTHING: u16 = 0xffff;

impl LinkType {
    const NULL: Self = Self(0);
    const ETHERNET: Self = Self(1);
    const LOOP: Self = Self(108);
    const LINUX_SLL: Self = Self(113);
    const IPV4: Self = Self(228);
    const IPV6: Self = Self(229);
    const LINUX_SLL2: Self = Self(276);
    /// Raw IP, as files and as several systems' own numbers have it.
    const RAW: [Self; 3] = [Self(101), Self(12), Self(14)];

    /// What [`LinkType::ethernet`] can turn into Ethernet, for messages.
    pub(crate) const READABLE: &'static str =
        "Ethernet, raw IP, Linux cooked (v1, v2) and loopback";

    /// The packet as an Ethernet frame, put together in `frame`, and that
    /// frame's length on the wire; `None` for a link type that isn't read. A
    /// packet too short for its link header is a frame of nothing.
    pub(crate) fn ethernet<'a>(
        self,
        data: &'a [u8],
        wire_len: u32,
        frame: &'a mut Vec<u8>,
    ) -> Option<(&'a [u8], u32)> {
        let (header, kind) = match self {
            Self::ETHERNET => return Some((data, wire_len)),
            Self::IPV4 => (0, IPV4),
            Self::IPV6 => (0, IPV6),
            Self::NULL | Self::LOOP => (4, loopback_kind(data)),
            Self::LINUX_SLL => (16, ether_type(data, 14)),
            Self::LINUX_SLL2 => (20, ether_type(data, 0)),
            raw if Self::RAW.contains(&raw) => (0, version_kind(data)),
            _ => return None,
        };
        frame.clear();
        frame.extend_from_slice(&[0; ETHERNET_HEADER - 2]);
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend_from_slice(data.get(header..).unwrap_or_default());
        let payload = wire_len.saturating_sub(header as u32);
        Some((frame, payload.saturating_add(ETHERNET_HEADER as u32)))
    }
}

/// Raw IP says itself which version it is.
fn version_kind(data: &[u8]) -> u16 {
    match data.first().map(|byte| byte >> 4) {
        Some(4) => IPV4,
        Some(6) => IPV6,
        _ => NOTHING,
    }
}

/// The address family before a loopback packet is in the byte order of the
/// machine it was captured on, and IPv6 has a number of its own on each system.
fn loopback_kind(data: &[u8]) -> u16 {
    let family = match data {
        [family, 0, 0, 0, ..] | [0, 0, 0, family, ..] => *family,
        _ => 0,
    };
    match family {
        2 => IPV4,
        10 | 24 | 28 | 30 => IPV6,
        _ => NOTHING,
    }
}

fn ether_type(data: &[u8], at: usize) -> u16 {
    match data.get(at..at + 2) {
        Some(bytes) => u16::from_be_bytes([bytes[0], bytes[1]]),
        None => NOTHING,
    }
}

impl fmt::Display for LinkType {
    /// The number, with the name of those that are often met and not read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            9 => "PPP",
            105 => "IEEE 802.11",
            113 => "Linux cooked",
            127 => "IEEE 802.11 with radiotap",
            187 | 201 => "Bluetooth",
            189 | 220 => "USB",
            239 => "NFLOG",
            253 => "netlink",
            _ => return write!(f, "{}", self.0),
        };
        write!(f, "{} ({name})", self.0)
    }
}
