//! As much of a frame as the log tells.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// A TCP header's numbers.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Segment {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// As in the header, FIN 1 to CWR 128.
    pub(crate) flags: u8,
    /// Bytes behind the header.
    pub(crate) payload: u32,
}

/// An IP packet. Extension headers of IPv6 are not looked behind.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Seen {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    /// IP total length in bytes.
    pub(crate) length: usize,
    /// Source and destination of TCP and UDP, otherwise 0.
    pub(crate) ports: (u16, u16),
    pub(crate) tcp: Option<Segment>,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

impl Seen {
    /// The IP packet in an Ethernet frame. None for what a link says for
    /// itself and at times of its own (ARP, neighbour discovery, multicast
    /// groups), for tagged frames and for what is cut short.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let packet = frame.get(14..)?;
        match frame.get(12..14)? {
            [0x08, 0x00] => Self::ipv4(packet),
            [0x86, 0xdd] => Self::ipv6(packet),
            _ => None,
        }
    }

    fn ipv4(packet: &[u8]) -> Option<Self> {
        let addr = |at: usize| Some(IpAddr::from(Ipv4Addr::from(word(packet, at)?)));
        let header = usize::from(packet.first()? & 15) * 4;
        let length = usize::from(short(packet, 2)?);
        let seen = Self {
            src: addr(12)?,
            dst: addr(16)?,
            protocol: packet[9],
            length,
            ports: (0, 0),
            tcp: None,
        };
        let first = short(packet, 6)? & 0x1fff == 0;
        Some(seen.with(first.then(|| packet.get(header..length)).flatten()))
    }

    fn ipv6(packet: &[u8]) -> Option<Self> {
        let addr = |at: usize| {
            Some(IpAddr::from(Ipv6Addr::from(
                *packet.get(at..)?.first_chunk::<16>()?,
            )))
        };
        let length = 40 + usize::from(short(packet, 4)?);
        let seen = Self {
            src: addr(8)?,
            dst: addr(24)?,
            protocol: packet[6],
            length,
            ports: (0, 0),
            tcp: None,
        };
        let rest = packet.get(40..length);
        let kind = rest.and_then(|rest| rest.first());
        let report = packet[6] == 0 && seen.dst.is_multicast();
        if report || packet[6] == ICMPV6 && matches!(kind, Some(130..=137 | 143)) {
            return None;
        }
        Some(seen.with(rest))
    }

    /// With what the header behind IP's says.
    fn with(mut self, rest: Option<&[u8]>) -> Self {
        let Some(rest) = rest else { return self };
        if let (TCP | UDP, Some(src), Some(dst)) = (self.protocol, short(rest, 0), short(rest, 2)) {
            self.ports = (src, dst);
        }
        if self.protocol == TCP {
            self.tcp = segment(rest);
        }
        self
    }
}

fn segment(header: &[u8]) -> Option<Segment> {
    let number = |at| Some(u32::from_be_bytes(word(header, at)?));
    let begin = usize::from(header.get(12)? >> 4) * 4;
    Some(Segment {
        seq: number(4)?,
        ack: number(8)?,
        flags: *header.get(13)?,
        payload: header.get(begin..)?.len() as u32,
    })
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}
