//! SCTP between two ends of a wire, without the kernel's own: raw sockets, which also
//! keep it from answering that nobody is there.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;

use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockProtocol;
use nix::sys::socket::SockType;
use nix::sys::socket::socket;

use crate::packet::Packet;
use crate::support::PATIENCE;
use crate::support::netns::Netns;
use crate::support::pair::ip;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// The tag that either end asks for in its INIT: [`Packet::sctp`] puts it there.
const TAG: [u8; 4] = [0, 0, 0, 9];

/// An association from its first packet to its last: who sends, and which chunk.
const ASSOCIATION: [(bool, u8); 9] = [
    (true, INIT),
    (false, INIT_ACK),
    (true, COOKIE_ECHO),
    (false, COOKIE_ACK),
    (false, HEARTBEAT),
    (true, HEARTBEAT_ACK),
    (true, SHUTDOWN),
    (false, SHUTDOWN_ACK),
    (true, SHUTDOWN_COMPLETE),
];

/// Two ends that know each other: the client, and the server.
#[derive(Debug)]
pub(crate) struct Ends {
    sockets: [UdpSocket; 2],
    addrs: [IpAddr; 2],
}

impl Ends {
    pub(crate) fn new([client, server]: [&Netns; 2], addrs: [&str; 2]) -> Self {
        let addrs = addrs.map(ip);
        Self {
            sockets: [
                raw(client, addrs[0], addrs[1]),
                raw(server, addrs[1], addrs[0]),
            ],
            addrs,
        }
    }

    /// An association from this port of the client's, each packet received before the
    /// next is sent.
    pub(crate) fn associate(&self, port: u16) {
        let [client, server] = [(self.addrs[0], port), (self.addrs[1], 5000)].map(SocketAddr::from);
        for (out, chunk) in ASSOCIATION {
            let (src, dst) = if out {
                (client, server)
            } else {
                (server, client)
            };
            let (from, to) = (usize::from(!out), usize::from(out));
            self.sockets[from]
                .send(&bytes(src, dst, chunk))
                .expect("send");
            let len = self.sockets[to].recv(&mut [0; 200]);
            len.expect("an SCTP packet");
        }
    }
}

/// From the SCTP header on.
fn bytes(src: SocketAddr, dst: SocketAddr, chunk: u8) -> Vec<u8> {
    let packet = match chunk {
        INIT => Packet::sctp(src, dst, INIT),
        // Its fixed fields are those of INIT.
        INIT_ACK => {
            let fields = [2, 0, 0, 20, 0, 0, 0, 9, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1];
            Packet::sctp(src, dst, INIT_ACK).put(4, &TAG).bytes(&fields)
        }
        _ => Packet::sctp(src, dst, chunk).put(4, &TAG),
    };
    let ip = packet.ip_packet();
    ip[ip.len() - packet.layer4_len()..].to_vec()
}

/// Its own, which knows one other end. The ways of a datagram socket are all it needs.
fn raw(ns: &Netns, own: IpAddr, other: IpAddr) -> UdpSocket {
    let family = match own.is_ipv4() {
        true => AddressFamily::Inet,
        false => AddressFamily::Inet6,
    };
    let protocol = SockProtocol::Sctp;
    let socket = ns.run(|| socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol));
    let socket = UdpSocket::from(socket.expect("a raw socket"));
    socket.connect((other, 0)).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    socket
}
