//! Echo requests through a raw socket.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use nix::sys::socket::AddressFamily;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockProtocol;
use nix::sys::socket::SockType;
use nix::sys::socket::SockaddrStorage;
use nix::sys::socket::connect;
use nix::sys::socket::recv;
use nix::sys::socket::send;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt;
use nix::sys::time::TimeVal;
use nix::sys::time::TimeValLike;

use super::net::Namespace;

const PATIENCE: Duration = Duration::from_secs(3);
const PAYLOAD: &[u8; 32] = b"an echo request of the demo here";

/// A client that pings the server.
#[derive(Debug)]
pub(super) struct Pinger {
    socket: OwnedFd,
    v6: bool,
    id: u16,
    /// Requests sent, all of them answered.
    pub(super) sent: u16,
}

impl Pinger {
    /// Bytes of ICMP in a request, and in its answer.
    pub(super) const BYTES: u64 = 8 + PAYLOAD.len() as u64;

    /// A socket in a namespace that pings an address under an identifier.
    pub(super) fn open(namespace: &Namespace, server: IpAddr, id: u16) -> io::Result<Self> {
        let v6 = server.is_ipv6();
        let (family, protocol) = if v6 {
            (AddressFamily::Inet6, SockProtocol::IcmpV6)
        } else {
            (AddressFamily::Inet, SockProtocol::Icmp)
        };
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = namespace
            .run(|| socket(family, SockType::Raw, flags, protocol).map_err(io::Error::from))?;
        setsockopt(
            &socket,
            sockopt::ReceiveTimeout,
            &TimeVal::milliseconds(200),
        )?;
        let server = SockaddrStorage::from(SocketAddr::new(server, 0));
        connect(socket.as_raw_fd(), &server)?;
        Ok(Self {
            socket,
            v6,
            id,
            sent: 0,
        })
    }

    /// Sends a request and waits for its answer.
    pub(super) fn ping(&mut self) -> io::Result<()> {
        let sequence = self.sent;
        let kind = if self.v6 { 128 } else { 8 };
        let request = message(kind, self.id, sequence);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty())?;
        self.sent += 1;
        let end = Instant::now() + PATIENCE;
        let mut packet = [0; 512];
        while Instant::now() < end {
            match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                Ok(length) if self.is_answer(&packet[..length], sequence) => return Ok(()),
                // Somebody else's, or none within the time given above.
                Ok(_) | Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no answer to a ping",
        ))
    }

    /// An IPv4 raw socket gives the IP header too.
    fn is_answer(&self, packet: &[u8], sequence: u16) -> bool {
        let header = match packet.first() {
            Some(first) if !self.v6 => usize::from(first & 0xf) * 4,
            _ => 0,
        };
        let kind = if self.v6 { 129 } else { 0 };
        let ([id0, id1], [seq0, seq1]) = (self.id.to_be_bytes(), sequence.to_be_bytes());
        match packet.get(header..) {
            Some([is, _, _, _, rest @ ..]) => {
                *is == kind && rest.starts_with(&[id0, id1, seq0, seq1])
            }
            _ => false,
        }
    }
}

/// An echo request with its checksum; for ICMPv6 the kernel puts in another,
/// as it covers the addresses.
fn message(kind: u8, id: u16, sequence: u16) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(id.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(PAYLOAD);
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}
