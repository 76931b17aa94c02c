//! Clients whose packets carry IPv4 options or IPv6 extension headers, put
//! there by the kernel because the socket asks for them.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use nix::libc;
use nix::setsockopt_impl;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::SockaddrStorage;
use nix::sys::socket::connect;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SetStruct;

use super::netns::Netns;
use super::peer;

/// What a socket asks for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Extra {
    /// Three IPv4 "no operation" and the end of options.
    Ipv4Options,
    /// A hop-by-hop header.
    HopByHop,
    /// A destination options header.
    Destination,
    /// Both.
    Chain,
}

#[derive(Copy, Clone, Debug)]
struct Ipv4Options;
setsockopt_impl!(
    Ipv4Options,
    libc::IPPROTO_IP,
    libc::IP_OPTIONS,
    [u8; 4],
    SetStruct<'_, [u8; 4]>
);

#[derive(Copy, Clone, Debug)]
struct HopByHop;
setsockopt_impl!(
    HopByHop,
    libc::IPPROTO_IPV6,
    libc::IPV6_HOPOPTS,
    [u8; 8],
    SetStruct<'_, [u8; 8]>
);

#[derive(Copy, Clone, Debug)]
struct Destination;
setsockopt_impl!(
    Destination,
    libc::IPPROTO_IPV6,
    libc::IPV6_DSTOPTS,
    [u8; 16],
    SetStruct<'_, [u8; 16]>
);

const NOTHING: [u8; 4] = [1, 1, 1, 0];
/// Next header (the kernel's), 8 bytes, PadN of 6.
const SHORT: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
/// Next header (the kernel's), 16 bytes, an option for experiments of 14 that
/// whoever does not know it skips.
const LONG: [u8; 16] = [0, 1, 0x1e, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

impl Extra {
    pub(crate) const ALL: [Self; 4] = [
        Self::Ipv4Options,
        Self::HopByHop,
        Self::Destination,
        Self::Chain,
    ];

    /// Does it need IPv4?
    pub(crate) fn is_v4(self) -> bool {
        self == Self::Ipv4Options
    }

    fn ask(self, socket: &impl AsFd) -> nix::Result<()> {
        match self {
            Self::Ipv4Options => setsockopt(socket, Ipv4Options, &NOTHING),
            Self::HopByHop => setsockopt(socket, HopByHop, &SHORT),
            Self::Destination => setsockopt(socket, Destination, &LONG),
            Self::Chain => {
                setsockopt(socket, HopByHop, &SHORT)?;
                setsockopt(socket, Destination, &LONG)
            }
        }
    }

    fn socket(self, kind: SockType, to: SocketAddr) -> OwnedFd {
        let family = if to.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let fd = nix::sys::socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, None);
        let fd = fd.expect("open a socket");
        self.ask(&fd)
            .unwrap_or_else(|error| panic!("{self:?}: {error}"));
        fd
    }
}

/// [`peer::dns_query`] with it.
pub(crate) fn dns_query(ns: &Netns, server: SocketAddr, extra: Extra) {
    ns.run(|| {
        let fd = extra.socket(SockType::Datagram, server);
        peer::query_from(&fd.into(), server, 5, 40);
    });
}

/// [`peer::http_get`] with it.
pub(crate) fn http_get(ns: &Netns, server: SocketAddr, extra: Extra) -> usize {
    ns.run(|| {
        use std::os::fd::AsRawFd;
        let fd = extra.socket(SockType::Stream, server);
        connect(fd.as_raw_fd(), &SockaddrStorage::from(server)).expect("connect");
        peer::get_from(fd.into())
    })
}
