//! As much netlink as reading nf_conntrack needs: open, ask, walk attributes.

use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::AddressFamily;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::NetlinkAddr;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockProtocol;
use nix::sys::socket::SockType;
use nix::sys::socket::bind;
use nix::sys::socket::recv;
use nix::sys::socket::send;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt;
use nix::sys::time::TimeVal;

pub(crate) const REQUEST: u16 = 1;
pub(crate) const ACK: u16 = 4;
pub(crate) const DUMP: u16 = 0x300;

const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A socket to netfilter in one namespace.
#[derive(Debug)]
pub(crate) struct Netlink {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

/// One message: its type, and what follows the netfilter header.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) body: &'a [u8],
}

impl Netlink {
    /// Opens it in the namespace of this thread; a receive that takes longer than
    /// two seconds fails.
    pub(crate) fn open() -> Self {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )
        .expect("open a netfilter socket");
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).expect("bind the netfilter socket");
        setsockopt(&fd, sockopt::RcvBufForce, &(8 << 20)).expect("enlarge the receive buffer");
        let patience = TimeVal::new(2, 0);
        setsockopt(&fd, sockopt::ReceiveTimeout, &patience).expect("limit the waiting");
        Self {
            fd,
            buffer: vec![0; 1 << 20],
        }
    }

    /// Sends one request with its attributes.
    pub(crate) fn request(
        &self,
        kind: u16,
        flags: u16,
        family: u8,
        res_id: u16,
        attributes: &[u8],
    ) {
        let length = 20 + attributes.len();
        let mut message = Vec::with_capacity(length);
        message.extend((length as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend([family, 0]);
        message.extend(res_id.to_be_bytes());
        message.extend(attributes);
        send(self.fd.as_raw_fd(), &message, MsgFlags::empty()).expect("ask netfilter");
    }

    /// Hands over the messages of one datagram. False once a dump or an
    /// acknowledged request is over.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(Message<'_>)) -> bool {
        let length = recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty())
            .unwrap_or_else(|error| panic!("netfilter does not answer: {error}"));
        let mut rest = &self.buffer[..length];
        while rest.len() >= 16 {
            let size = u32::from_ne_bytes(array(rest)) as usize;
            let kind = u16::from_ne_bytes(array(&rest[4..]));
            match kind {
                DONE => return false,
                ERROR => {
                    let code = i32::from_ne_bytes(array(&rest[16..]));
                    assert_eq!(code, 0, "netfilter refuses: errno {}", -code);
                    return false;
                }
                _ => each(Message {
                    kind,
                    body: rest.get(20..size).unwrap_or_default(),
                }),
            }
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        true
    }

    /// As [`Self::receive`], waiting no longer than `patience`. False if
    /// nothing came.
    pub(crate) fn receive_within(
        &mut self,
        patience: Duration,
        each: impl FnMut(Message<'_>),
    ) -> bool {
        use nix::poll::PollFd;
        use nix::poll::PollFlags;
        use nix::poll::PollTimeout;
        use nix::poll::poll;
        use std::os::fd::AsFd;

        let timeout = PollTimeout::try_from(patience).expect("a short time");
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout).expect("poll netfilter") == 0 {
            return false;
        }
        self.receive(each);
        true
    }
}

/// The first bytes of a slice.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes
        .first_chunk()
        .expect("enough bytes in a netlink message")
}

/// The attributes in a message or in an attribute: type and value.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let size = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?) & 0x3fff;
        let value = rest.get(4..size)?;
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of one attribute.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// An attribute, padded.
pub(crate) fn put(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
