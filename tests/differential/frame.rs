//! Frames, byte by byte. Builders are lenient: what a test wants broken, it
//! breaks.

use std::net::IpAddr;

use crate::lab::End;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;
pub(crate) const URG: u8 = 32;
pub(crate) const ECE: u8 = 64;
pub(crate) const CWR: u8 = 128;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const GRE: u8 = 47;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SCTP: u8 = 132;
pub(crate) const UDPLITE: u8 = 136;

/// An IP packet to be.
#[derive(Clone, Debug)]
pub(crate) struct Ip {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    /// The protocol of the payload; extension headers come before it.
    pub(crate) proto: u8,
    pub(crate) ttl: u8,
    pub(crate) id: u32,
    /// IPv4: flags and fragment offset as in the header.
    pub(crate) frag: u16,
    /// IPv4 options, a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    /// IPv6 extension headers: type, and the header with its first byte free.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
}

impl Ip {
    pub(crate) fn new(src: IpAddr, dst: IpAddr, proto: u8) -> Self {
        Self {
            src,
            dst,
            proto,
            ttl: 64,
            id: 1,
            frag: 0,
            options: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// The packet around `payload`.
    pub(crate) fn packet(&self, payload: &[u8]) -> Vec<u8> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let header = 20 + self.options.len();
                let mut packet = vec![0x40 | (header / 4) as u8, 0];
                packet.extend(((header + payload.len()) as u16).to_be_bytes());
                packet.extend((self.id as u16).to_be_bytes());
                packet.extend(self.frag.to_be_bytes());
                packet.extend([self.ttl, self.proto, 0, 0]);
                packet.extend(src.octets());
                packet.extend(dst.octets());
                packet.extend(&self.options);
                let sum = checksum(0, &packet);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
                packet.extend(payload);
                packet
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mut rest = Vec::new();
                for (i, (_, header)) in self.extensions.iter().enumerate() {
                    let next = self
                        .extensions
                        .get(i + 1)
                        .map_or(self.proto, |(kind, _)| *kind);
                    rest.push(next);
                    rest.extend(&header[1..]);
                }
                rest.extend(payload);
                let first = self
                    .extensions
                    .first()
                    .map_or(self.proto, |(kind, _)| *kind);
                let mut packet = vec![0x60, 0, 0, 0];
                packet.extend((rest.len() as u16).to_be_bytes());
                packet.extend([first, self.ttl]);
                packet.extend(src.octets());
                packet.extend(dst.octets());
                packet.extend(rest);
                packet
            }
            _ => panic!("one family a packet"),
        }
    }

    /// Sum of the pseudo header, for the checksums above.
    pub(crate) fn pseudo(&self, length: usize) -> u32 {
        let mut bytes = Vec::new();
        for address in [self.src, self.dst] {
            match address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        sum(0, &bytes) + length as u32 + u32::from(self.proto)
    }

    /// Puts the right checksum at `at` of a transport header with its payload.
    pub(crate) fn seal(&self, mut segment: Vec<u8>, at: usize) -> Vec<u8> {
        let pseudo = match self.proto {
            ICMP => 0,
            _ => self.pseudo(segment.len()),
        };
        segment[at..at + 2].fill(0);
        let mut value = checksum(pseudo, &segment);
        if value == 0 && matches!(self.proto, UDP | UDPLITE) {
            value = 0xffff;
        }
        segment[at..at + 2].copy_from_slice(&value.to_be_bytes());
        segment
    }
}

/// The Ethernet frame around an IP packet, as `end` sends it to the router.
pub(crate) fn ethernet(end: End, packet: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + packet.len());
    frame.extend(end.gateway());
    frame.extend(end.mac());
    frame.extend(if packet[0] >> 4 == 6 {
        [0x86, 0xdd]
    } else {
        [8, 0]
    });
    frame.extend(packet);
    frame
}

fn sum(start: u32, bytes: &[u8]) -> u32 {
    bytes.chunks(2).fold(start, |sum, pair| {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        sum + u32::from(word)
    })
}

/// The Internet checksum.
pub(crate) fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut total = sum(start, bytes);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

/// CRC-32C, as SCTP has it.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            }
        })
    })
}

/// A TCP segment, numbers as they go on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) ports: (u16, u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// A multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: usize,
}

impl Segment {
    pub(crate) fn bytes(&self, ip: &Ip) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.push(((20 + self.options.len()) * 4) as u8);
        bytes.push(self.flags);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.options);
        bytes.resize(bytes.len() + self.payload, 0x5a);
        ip.seal(bytes, 16)
    }
}

/// A UDP or UDP-Lite datagram, with checksum.
pub(crate) fn udp(ip: &Ip, ports: (u16, u16), payload: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend((8 + payload as u16).to_be_bytes());
    bytes.extend([0; 2]);
    bytes.resize(8 + payload, 0x5a);
    ip.seal(bytes, 6)
}

/// An ICMP or ICMPv6 message: `word` is what follows the checksum.
pub(crate) fn icmp(ip: &Ip, kind: u8, code: u8, word: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(word);
    bytes.extend(body);
    ip.seal(bytes, 2)
}

/// An SCTP packet of chunks: type, flags and value.
pub(crate) fn sctp(ports: (u16, u16), tag: u32, chunks: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend(tag.to_be_bytes());
    bytes.extend([0; 4]);
    for (kind, flags, value) in chunks {
        bytes.extend([*kind, *flags]);
        bytes.extend((4 + value.len() as u16).to_be_bytes());
        bytes.extend(*value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let crc = crc32c(&bytes).to_le_bytes();
    bytes[8..12].copy_from_slice(&crc);
    bytes
}
