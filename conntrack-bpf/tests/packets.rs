//! The packets that tests are made of are sound themselves.

mod common;

use std::net::SocketAddr;

use common::packet::*;

/// One's complement sum of bytes with their checksum in place.
const SOUND: [u8; 2] = [0, 0];

fn packets() -> Vec<Packet> {
    let (a, b) = (end("10.0.0.1:1000"), end("192.0.2.7:2000"));
    let (c, d) = (end("[2001:db8::1]:1000"), end("[fe80::2]:2000"));
    let of = |a: SocketAddr, b: SocketAddr, echo| {
        let syn = Packet::tcp(a, b).flags(SYN).tcp_options(&[2, 4, 5, 180]);
        [
            Packet::icmp_error(b.ip(), a.ip(), [echo, 1], &syn),
            syn,
            Packet::tcp(a, b).payload(11),
            Packet::udp(a, b).payload(3),
            Packet::udplite(a, b),
            Packet::icmp(a.ip(), b.ip(), [echo, 0], 77).payload(57),
        ]
    };
    [of(a, b, 8), of(c, d, 128)].concat()
}

#[test]
fn checksums_and_lengths_are_right() {
    for packet in packets() {
        let ip = packet.ip_packet();
        let (header, addresses, protocol) = match ip[0] >> 4 {
            4 => {
                assert_eq!(checksum(&[&ip[..20]]), SOUND);
                assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), ip.len());
                (20, &ip[12..20], ip[9])
            }
            _ => {
                assert_eq!(
                    usize::from(u16::from_be_bytes([ip[4], ip[5]])) + 40,
                    ip.len()
                );
                (40, &ip[8..40], ip[6])
            }
        };
        let layer4 = &ip[header..];
        let len = (layer4.len() as u16).to_be_bytes();
        let pseudo = [addresses, &len, &[0, protocol]].concat();
        let parts: &[&[u8]] = if protocol == ICMP {
            &[layer4]
        } else {
            &[&pseudo, layer4]
        };
        assert_eq!(checksum(parts), SOUND, "{packet:?}");
        assert_eq!(packet.ip_len() as usize, ip.len());
        assert_eq!(packet.frame()[14..], ip);
    }
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn fragments_make_the_whole() {
    for packet in packets() {
        let packet = packet.payload(2000);
        let whole = packet.ip_packet();
        let (header, of_each) = if whole[0] >> 4 == 4 {
            (20, 20)
        } else {
            (40, 48)
        };
        let mut rest = &whole[header..];
        for frame in packet.clone().vlan(7).fragments(5, 512) {
            assert_eq!(frame[12..16], [0x81, 0, 0, 7]);
            let ip = &frame[18..];
            let offset = if header == 20 {
                usize::from(u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff) * 8
            } else {
                usize::from(u16::from_be_bytes([ip[42], ip[43]]) & 0xfff8)
            };
            assert_eq!(offset, whole.len() - header - rest.len());
            let (piece, left) = rest.split_at(ip.len() - of_each);
            assert_eq!(piece, &ip[of_each..]);
            rest = left;
        }
        assert!(rest.is_empty());
    }
}

#[test]
fn extension_headers_form_a_chain() {
    let packet = Packet::udp(end("[fe80::1]:1"), end("[fe80::2]:2"));
    let packet = packet
        .extension(HOP_BY_HOP)
        .extension(AUTH)
        .extension(DESTINATION);
    let ip = packet.ip_packet();
    let next = [6, 40, 48, 64].map(|at| ip[at]);
    assert_eq!(next, [HOP_BY_HOP, AUTH, DESTINATION, UDP]);
    assert_eq!(ip.len(), 40 + 8 + 16 + 8 + 8);
}
