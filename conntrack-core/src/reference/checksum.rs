//! Layer 4's checksums, as nf_conntrack_checksum=1 has them judged:
//! `nf_checksum()` of net/netfilter/utils.c, and what each protocol's file does
//! before it asks. A checksum that is left to a network card is good: the sum of
//! the pseudo-header, or 0 in SCTP.

use std::net::IpAddr;

use super::ip::Ip;
use super::ip::be16;
use super::ip::be32;
use crate::protocol::Protocol;

/// Whether a packet, no fragment, may be tracked. One that is too short to have
/// a checksum is for its protocol to refuse.
pub(super) fn good(ip: &Ip<'_>) -> bool {
    let length = ip.payload.len();
    match ip.protocol {
        Protocol::TCP => internet(ip, 16),
        Protocol::UDP => be16(ip.payload, 6) == Some(0) || internet(ip, 6),
        Protocol::ICMPV6 => internet(ip, 2),
        Protocol::ICMP => length < 4 || fold(words(ip.payload)) == 0xffff,
        Protocol::UDPLITE => lite(ip),
        Protocol::SCTP => length < 12 || crc_is_good(ip.payload),
        _ => true,
    }
}

/// Whether the header of a sound packet, if it is IPv4's, has the sum that it says:
/// `ip_rcv_core()` drops what has not.
pub(super) fn header_good(packet: &[u8]) -> bool {
    let first = packet.first().copied().unwrap_or_default();
    let header = packet.get(..usize::from(first & 15) * 4);
    first >> 4 != 4 || fold(words(header.unwrap_or_default())) == 0xffff
}

/// The Internet checksum, with a pseudo-header, at this offset.
fn internet(ip: &Ip<'_>, at: usize) -> bool {
    let pseudo = pseudo(ip, ip.protocol, ip.payload.len());
    match be16(ip.payload, at) {
        Some(check) => check == fold(pseudo) || fold(pseudo + words(ip.payload)) == 0xffff,
        None => true,
    }
}

/// UDP-Lite, which the kernel takes for UDP, and whose length it cuts to a byte
/// in IPv4.
fn lite(ip: &Ip<'_>) -> bool {
    let length = ip.payload.len();
    let covered = match be16(ip.payload, 4) {
        Some(0) => ip.payload,
        Some(covered) if covered >= 8 => ip.payload.get(..usize::from(covered)).unwrap_or_default(),
        _ => &[],
    };
    let length = if ip.src.is_ipv4() {
        length & 0xff
    } else {
        length
    };
    // Coverage that does not fit is refused, whatever the checksum.
    covered.len() < 8 || fold(pseudo(ip, Protocol::UDP, length) + words(covered)) == 0xffff
}

fn pseudo(ip: &Ip<'_>, protocol: Protocol, length: usize) -> u64 {
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => words(&address.octets()),
        IpAddr::V6(address) => words(&address.octets()),
    };
    address(ip.src) + address(ip.dst) + u64::from(protocol.0) + length as u64
}

/// The sum of the 16-bit words; an odd byte at the end is a word's first.
fn words(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| match *pair {
        [high, low] => u16::from_be_bytes([high, low]),
        [high] => u16::from_be_bytes([high, 0]),
        _ => 0,
    };
    bytes.chunks(2).map(|pair| u64::from(word(pair))).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// CRC-32C of the packet, with zeros where it stands.
fn crc_is_good(bytes: &[u8]) -> bool {
    let stored = be32(bytes, 8).map_or(0, u32::swap_bytes);
    let in_its_place = |at: usize| (8..12).contains(&at);
    let crc = bytes.iter().enumerate().fold(!0, |crc: u32, (at, byte)| {
        let byte = if in_its_place(at) { 0 } else { *byte };
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            let carry = if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            crc >> 1 ^ carry
        })
    });
    stored == 0 || stored == !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        // RFC 1071, section 3.
        assert_eq!(
            fold(words(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7])),
            0xddf2
        );
        assert_eq!(fold(words(&[1, 2, 3])), 0x0402);
    }

    #[test]
    fn crc() {
        let packet = |check: [u8; 4]| [b"12345678".as_slice(), &check, b"9"].concat();
        assert!(crc_is_good(&packet(0x740d_7b1d_u32.to_le_bytes())));
        assert!(crc_is_good(&packet([0; 4])));
        assert!(!crc_is_good(&packet([1; 4])));
    }
}
