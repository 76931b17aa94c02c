//! One end of a relay: a packet socket on a device.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::getsockopt_impl;
use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockProtocol;
use nix::sys::socket::SockType;
use nix::sys::socket::bind;
use nix::sys::socket::getsockopt;
use nix::sys::socket::recv;
use nix::sys::socket::send;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt;
use nix::sys::socket::sockopt::GetStruct;

use super::super::link::Link;

/// Bytes that wait in the kernel for us; a burst of some seconds.
const BUFFER: usize = 64 << 20;

#[derive(Copy, Clone, Debug)]
struct Statistics;
// Packets and drops since it was asked last.
getsockopt_impl!(
    Statistics,
    libc::SOL_PACKET,
    libc::PACKET_STATISTICS,
    [u32; 2],
    GetStruct<[u32; 2]>
);

/// A socket that takes every frame that comes in by a device, and sends out of
/// it. It is not shown what it sends itself.
#[derive(Debug)]
pub(super) struct Port {
    fd: OwnedFd,
}

impl Port {
    /// On this device of its namespace.
    pub(super) fn open(link: &Link) -> Self {
        let name = link.name.clone();
        let fd = link.ns.run(move || {
            let fd = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::EthAll,
            )
            .expect("open a packet socket");
            setsockopt(&fd, sockopt::RcvBufForce, &BUFFER).expect("enlarge the receive buffer");
            setsockopt(&fd, sockopt::SndBuf, &BUFFER).expect("enlarge the send buffer");
            let mut addrs = getifaddrs().expect("list interfaces");
            let addr = addrs.find_map(|found| {
                let addr = found.address?;
                (found.interface_name == name).then(|| addr.as_link_addr().copied())?
            });
            bind(fd.as_raw_fd(), &addr.expect("the link's address")).expect("bind to the link");
            fd
        });
        let port = Self { fd };
        // What came by other devices before it was bound to this one.
        let mut buffer = [0; 1];
        while port.receive(&mut buffer).is_some() {}
        port
    }

    /// The next frame that has come.
    pub(super) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        match recv(self.fd.as_raw_fd(), buffer, MsgFlags::empty()) {
            Ok(length) => Some(&buffer[..length]),
            // A link that went down, too, has nothing.
            Err(Errno::EAGAIN | Errno::ENETDOWN) => None,
            Err(error) => panic!("receive from a packet socket: {error}"),
        }
    }

    /// False if the link does not take the frame.
    pub(super) fn send(&self, frame: &[u8]) -> bool {
        send(self.fd.as_raw_fd(), frame, MsgFlags::empty()) == Ok(frame.len())
    }

    /// Frames that were dropped for lack of room since it was asked last.
    pub(super) fn dropped(&self) -> u64 {
        getsockopt(&self.fd, Statistics).expect("statistics of a packet socket")[1].into()
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
