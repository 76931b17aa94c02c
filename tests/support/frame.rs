//! Frames made by hand, and put on a link as they are.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::setsockopt_impl;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::bind;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt::SetStruct;
use nix::unistd::write;

use super::link::Link;

/// A packet that came by itself has no checksum that anybody here looks at.
const NO_CHECKSUM: [u8; 2] = [0, 0];

/// Ethertype of an 802.1Q tag.
pub(crate) const CTAG: u16 = 0x8100;
/// Ethertype of an 802.1ad tag.
pub(crate) const STAG: u16 = 0x88a8;

/// A frame is handed over behind a `struct virtio_net_hdr` (PACKET_VNET_HDR, linux/if_packet.h).
#[derive(Copy, Clone, Debug)]
struct VnetHeader;
setsockopt_impl!(
    VnetHeader,
    libc::SOL_PACKET,
    libc::PACKET_VNET_HDR,
    i32,
    SetStruct<'_, i32>
);

/// Puts frames on a link, as if a program behind it had sent them.
#[derive(Debug)]
pub(crate) struct Injector {
    socket: OwnedFd,
}

impl Injector {
    /// Sends out of `link`; the other end receives.
    pub(crate) fn new(link: &Link) -> Self {
        let name = link.name.clone();
        let socket = link.ns.run(move || {
            let fd = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                None,
            )
            .expect("open a packet socket");
            let addrs = getifaddrs().expect("list interfaces");
            let mut of_link = addrs.filter(|found| found.interface_name == name);
            let addr = of_link.find_map(|found| found.address?.as_link_addr().copied());
            bind(fd.as_raw_fd(), &addr.expect("the link's address")).expect("bind to the link");
            fd
        });
        Self { socket }
    }

    /// The same for frames that come in two pieces.
    pub(crate) fn in_pieces(link: &Link) -> Self {
        let injector = Self::new(link);
        setsockopt(&injector.socket, VnetHeader, &1).expect("say how long the first piece is");
        injector
    }

    /// Sends one frame, of which so many bytes are in one piece if the whole takes more
    /// than a page.
    pub(crate) fn send_in_pieces(&self, frame: &[u8], first: usize) {
        // struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start and
        // csum_offset, in this machine's order.
        let length = u16::try_from(first).expect("a length").to_ne_bytes();
        let header = [0, 0, length[0], length[1], 0, 0, 0, 0, 0, 0];
        self.send(&[&header[..], frame].concat());
    }

    /// Sends one frame.
    pub(crate) fn send(&self, frame: &[u8]) {
        let sent = write(&self.socket, frame).expect("send a frame");
        assert_eq!(sent, frame.len());
    }
}

/// A frame: addresses, tags as (ethertype, VLAN) from the outside in, payload
/// of either family.
pub(crate) fn ethernet(dst: [u8; 6], src: [u8; 6], tags: &[(u16, u16)], packet: &[u8]) -> Vec<u8> {
    let mut frame = [dst, src].concat();
    for (ethertype, vlan) in tags {
        frame.extend(ethertype.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    let ethertype: u16 = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}

/// An IPv4 packet; the options' length is a multiple of 4.
pub(crate) fn ipv4(
    src: Ipv4Addr,
    dst: Ipv4Addr,
    protocol: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let header = 20 + options.len();
    let total = u16::try_from(header + payload.len()).expect("a packet");
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(options);
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

/// An IPv6 packet, its payload beginning with the header that `next` names.
pub(crate) fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("a packet");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(payload);
    packet
}

/// A UDP datagram.
pub(crate) fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("a datagram");
    let mut datagram = [src, dst, len].map(u16::to_be_bytes).concat();
    datagram.extend(NO_CHECKSUM);
    datagram.extend(payload);
    datagram
}

/// A TCP segment without options; flags as in its header, FIN 1 to CWR 128.
pub(crate) fn tcp(src: u16, dst: u16, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = [src, dst].map(u16::to_be_bytes).concat();
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([5 << 4, flags, 0xff, 0xff]);
    segment.extend(NO_CHECKSUM);
    segment.extend([0, 0]);
    segment.extend(payload);
    segment
}

/// The internet checksum of a header whose own field is zero.
fn checksum(header: &[u8]) -> [u8; 2] {
    let (words, _) = header.as_chunks::<2>();
    let mut sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
