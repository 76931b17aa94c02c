//! Frames, made by hand: Ethernet, VLAN tags, IPv4 with options, IPv6 with
//! extension headers, fragments, and what goes inside. Lengths and checksums
//! are right, so that a real stack takes them, too.
//!
//! ```ignore
//! let syn = Packet::tcp(end("10.0.0.1:4000"), end("10.0.0.2:80")).flags(SYN).seq(7);
//! let ping = Packet::icmp(addr("fe80::1"), addr("fe80::2"), [128, 0], 77).vlan(5);
//! let late = Packet::icmp_error(addr("10.0.0.9"), addr("10.0.0.1"), [11, 0], &syn);
//! for frame in Packet::udp(a, b).payload(3000).fragments(1, 1480) { … }
//! ```

#![allow(dead_code, reason = "each test program uses a part")]

use std::net::IpAddr;
use std::net::SocketAddr;

/// TCP flags.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;

/// IP protocols.
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SCTP: u8 = 132;
pub(crate) const UDPLITE: u8 = 136;

/// IPv6 extension headers.
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const AUTH: u8 = 51;
pub(crate) const DESTINATION: u8 = 60;

const ETHERNET: usize = 14;

/// An address and a port.
pub(crate) fn end(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

/// An address.
pub(crate) fn addr(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// A packet to be; the last three functions of it make frames.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    /// Of layer 4, its checksum zero.
    header: Vec<u8>,
    payload: Vec<u8>,
    /// TPID and TCI, outermost first.
    tags: Vec<[u16; 2]>,
    options: Vec<u8>,
    /// Number and bytes of IPv6 extension headers; the first byte of each, the
    /// next header, is filled in.
    extensions: Vec<(u8, Vec<u8>)>,
}

impl Packet {
    /// Any protocol; `header` is all of its header.
    pub(crate) fn other(src: IpAddr, dst: IpAddr, protocol: u8, header: &[u8]) -> Self {
        Self {
            src,
            dst,
            protocol,
            header: header.to_vec(),
            payload: Vec::new(),
            tags: Vec::new(),
            options: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// A TCP segment: ACK, sequence and acknowledgment number 1, window 502.
    pub(crate) fn tcp(src: SocketAddr, dst: SocketAddr) -> Self {
        let mut header = [0; 20];
        header[12] = 5 << 4;
        Self::ports(src, dst, TCP, &header)
            .flags(ACK)
            .seq(1)
            .ack(1)
            .window(502)
    }

    /// A UDP datagram.
    pub(crate) fn udp(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::ports(src, dst, UDP, &[0; 8])
    }

    /// A UDP-Lite datagram, checksum over all of it.
    pub(crate) fn udplite(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::ports(src, dst, UDPLITE, &[0; 8])
    }

    /// An SCTP packet with one chunk of this type: an INIT with its fixed
    /// fields, any other without parameters.
    pub(crate) fn sctp(src: SocketAddr, dst: SocketAddr, chunk: u8) -> Self {
        const INIT: [u8; 20] = [1, 0, 0, 20, 0, 0, 0, 9, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1];
        let packet = Self::ports(src, dst, SCTP, &[0; 12]);
        match chunk {
            1 => packet.bytes(&INIT),
            _ => packet.bytes(&[chunk, 0, 0, 4]),
        }
    }

    /// ICMP or ICMPv6, by the addresses: type and code, and an identifier.
    pub(crate) fn icmp(src: IpAddr, dst: IpAddr, [kind, code]: [u8; 2], id: u16) -> Self {
        let protocol = if src.is_ipv4() { ICMP } else { ICMPV6 };
        let [high, low] = id.to_be_bytes();
        Self::other(src, dst, protocol, &[kind, code, 0, 0, high, low, 0, 1])
    }

    /// ICMP or ICMPv6 about another packet, the beginning of which it carries.
    pub(crate) fn icmp_error(src: IpAddr, dst: IpAddr, kind_code: [u8; 2], about: &Self) -> Self {
        let inner = about.ip_packet();
        let cut = inner.len().min(if src.is_ipv4() { 576 } else { 1232 });
        Self::icmp(src, dst, kind_code, 0)
            .put(6, &[0, 0])
            .bytes(&inner[..cut])
    }

    /// GRE without options around IPv4.
    pub(crate) fn gre(src: IpAddr, dst: IpAddr) -> Self {
        Self::other(src, dst, GRE, &[0, 0, 0x08, 0x00])
    }

    /// GRE as PPTP uses it, with the call id of the receiver.
    pub(crate) fn pptp(src: IpAddr, dst: IpAddr, call: u16) -> Self {
        let [high, low] = call.to_be_bytes();
        let header = [0x30, 0x01, 0x88, 0x0b, 0, 0, high, low, 0, 0, 0, 1];
        Self::other(src, dst, GRE, &header)
    }

    fn ports(src: SocketAddr, dst: SocketAddr, protocol: u8, header: &[u8]) -> Self {
        Self::other(src.ip(), dst.ip(), protocol, header)
            .put(0, &src.port().to_be_bytes())
            .put(2, &dst.port().to_be_bytes())
    }

    /// Overwrites bytes of the layer 4 header; checksums take them into account.
    pub(crate) fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// TCP flags.
    pub(crate) fn flags(self, flags: u8) -> Self {
        self.put(13, &[flags])
    }

    /// TCP sequence number.
    pub(crate) fn seq(self, seq: u32) -> Self {
        self.put(4, &seq.to_be_bytes())
    }

    /// TCP acknowledgment number.
    pub(crate) fn ack(self, ack: u32) -> Self {
        self.put(8, &ack.to_be_bytes())
    }

    /// TCP window, unscaled.
    pub(crate) fn window(self, window: u16) -> Self {
        self.put(14, &window.to_be_bytes())
    }

    /// TCP options, a multiple of four bytes.
    pub(crate) fn tcp_options(mut self, options: &[u8]) -> Self {
        assert!(options.len().is_multiple_of(4) && options.len() <= 40);
        self.header.truncate(20);
        self.header.extend_from_slice(options);
        let words = (self.header.len() / 4) as u8;
        self.put(12, &[words << 4])
    }

    /// This many bytes of payload.
    pub(crate) fn payload(self, len: usize) -> Self {
        self.bytes(&vec![0x5a; len])
    }

    /// This payload.
    pub(crate) fn bytes(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// Adds an 802.1Q tag, inside of those it has.
    pub(crate) fn vlan(self, id: u16) -> Self {
        self.tag(0x8100, id)
    }

    /// Adds a VLAN tag with this TPID, inside of those it has.
    pub(crate) fn tag(mut self, tpid: u16, tci: u16) -> Self {
        self.tags.push([tpid, tci]);
        self
    }

    /// IPv4 options: this many bytes of no operation, a multiple of four.
    pub(crate) fn ip_options(mut self, len: usize) -> Self {
        assert!(self.src.is_ipv4() && len.is_multiple_of(4) && len <= 40);
        self.options = vec![1; len];
        self
    }

    /// Adds an IPv6 extension header of 8 bytes or, for AH, 16, behind those it
    /// has. Options in it are padding; a fragment header is that of a whole packet.
    pub(crate) fn extension(mut self, kind: u8) -> Self {
        assert!(self.src.is_ipv6());
        let bytes = match kind {
            AUTH => [&[0, 2][..], &[0; 14]].concat(),
            _ => vec![0; 8],
        };
        self.extensions.push((kind, bytes));
        self
    }

    /// Of this family?
    pub(crate) fn is_ipv4(&self) -> bool {
        self.src.is_ipv4()
    }

    /// Bytes behind the IP header and what belongs to it.
    pub(crate) fn layer4_len(&self) -> usize {
        self.header.len() + self.payload.len()
    }

    /// IP total length: what a flow counts.
    pub(crate) fn ip_len(&self) -> u64 {
        self.ip_packet().len() as u64
    }

    /// From the IP header on.
    pub(crate) fn ip_packet(&self) -> Vec<u8> {
        self.ip(&self.layer4(), None)
    }

    /// The whole frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        self.ethernet(&self.ip_packet())
    }

    /// The frames of its IP fragments, with `size` bytes (a multiple of eight)
    /// of layer 4 in each but the last.
    pub(crate) fn fragments(&self, id: u32, size: usize) -> Vec<Vec<u8>> {
        assert!(size.is_multiple_of(8));
        let layer4 = self.layer4();
        let last = layer4.len().div_ceil(size) - 1;
        let pieces = layer4.chunks(size).enumerate();
        pieces
            .map(|(index, piece)| {
                let offset = u16::try_from(index * size).expect("64 KiB");
                let fragment = Fragment {
                    id,
                    offset,
                    more: index != last,
                };
                self.ethernet(&self.ip(piece, Some(fragment)))
            })
            .collect()
    }

    fn ethernet(&self, ip: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(ETHERNET + self.tags.len() * 4 + ip.len());
        frame.extend_from_slice(&[0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1]);
        for half in self.tags.iter().flatten() {
            frame.extend_from_slice(&half.to_be_bytes());
        }
        let ethertype: u16 = if self.src.is_ipv4() { 0x0800 } else { 0x86dd };
        frame.extend_from_slice(&ethertype.to_be_bytes());
        frame.extend_from_slice(ip);
        frame
    }

    fn ip(&self, layer4: &[u8], fragment: Option<Fragment>) -> Vec<u8> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let addresses = [src.octets(), dst.octets()].concat();
                self.ipv4(&addresses, layer4, fragment)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let addresses = [src.octets(), dst.octets()].concat();
                self.ipv6(&addresses, layer4, fragment)
            }
            _ => panic!("two families"),
        }
    }

    fn ipv4(&self, addresses: &[u8], layer4: &[u8], fragment: Option<Fragment>) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut ip = vec![0; 12];
        ip[0] = 0x40 | (header / 4) as u8;
        ip[2..4].copy_from_slice(&length(header + layer4.len()));
        if let Some(Fragment { id, offset, more }) = fragment {
            ip[4..6].copy_from_slice(&(id as u16).to_be_bytes());
            let field = (u16::from(more) << 13) | (offset / 8);
            ip[6..8].copy_from_slice(&field.to_be_bytes());
        }
        ip[8] = 64;
        ip[9] = self.protocol;
        ip.extend_from_slice(addresses);
        ip.extend_from_slice(&self.options);
        let sum = checksum(&[&ip]);
        ip[10..12].copy_from_slice(&sum);
        ip.extend_from_slice(layer4);
        ip
    }

    fn ipv6(&self, addresses: &[u8], layer4: &[u8], fragment: Option<Fragment>) -> Vec<u8> {
        let mut headers = self.extensions.clone();
        if let Some(Fragment { id, offset, more }) = fragment {
            let field = offset | u16::from(more);
            let bytes = [&[0, 0][..], &field.to_be_bytes(), &id.to_be_bytes()].concat();
            headers.push((FRAGMENT, bytes));
        }
        let first = headers.first().map_or(self.protocol, |(kind, _)| *kind);
        let len: usize = headers.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut ip = vec![0x60, 0, 0, 0];
        ip.extend_from_slice(&length(len + layer4.len()));
        ip.extend_from_slice(&[first, 64]);
        ip.extend_from_slice(addresses);
        for (index, (_, bytes)) in headers.iter().enumerate() {
            let next = headers.get(index + 1);
            ip.push(next.map_or(self.protocol, |(kind, _)| *kind));
            ip.extend_from_slice(&bytes[1..]);
        }
        ip.extend_from_slice(layer4);
        ip
    }

    /// Layer 4 with lengths and checksum.
    fn layer4(&self) -> Vec<u8> {
        let mut bytes = [&self.header[..], &self.payload].concat();
        let len = length(bytes.len());
        if self.protocol == UDP {
            bytes[4..6].copy_from_slice(&len);
        }
        let sum = match self.protocol {
            TCP => 16,
            UDP | UDPLITE => 6,
            ICMP | ICMPV6 => 2,
            SCTP => {
                let sum = crc32c(&bytes);
                bytes[8..12].copy_from_slice(&sum.to_le_bytes());
                return bytes;
            }
            _ => return bytes,
        };
        let pseudo = [
            &self.address_bytes()[..],
            &[0, 0],
            &len,
            &[0, self.protocol],
        ]
        .concat();
        let value = match self.protocol {
            ICMP => checksum(&[&bytes]),
            _ => checksum(&[&pseudo, &bytes]),
        };
        let none = self.protocol == UDP && value == [0, 0];
        bytes[sum..sum + 2].copy_from_slice(if none { &[0xff; 2] } else { &value });
        bytes
    }

    fn address_bytes(&self) -> Vec<u8> {
        let octets = |addr| match addr {
            IpAddr::V4(addr) => addr.octets().to_vec(),
            IpAddr::V6(addr) => addr.octets().to_vec(),
        };
        [octets(self.src), octets(self.dst)].concat()
    }
}

#[derive(Copy, Clone)]
struct Fragment {
    id: u32,
    /// In bytes.
    offset: u16,
    more: bool,
}

fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("64 KiB").to_be_bytes()
}

/// The Internet checksum (RFC 1071) over parts that all but the last are of
/// even length.
pub(crate) fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0_u64;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// SCTP's checksum (RFC 9260, appendix A).
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}
