//! The little of rtnetlink that we need: a request, its answers, attributes.
//! It knows no device and no filter; those are `devices`' and `clsact`'s.

use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use nix::fcntl::fcntl;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::NetlinkAddr;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockProtocol;
use nix::sys::socket::SockType;
use nix::sys::socket::bind;
use nix::sys::socket::recvmsg;
use nix::sys::socket::sendto;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt::RcvBufForce;

const HEADER: usize = 16; // struct nlmsghdr
const ALIGN: usize = 4;
const ATTR_HEADER: usize = 4; // struct nlattr

const NLM_F_REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const NLM_F_ACK: u16 = libc::NLM_F_ACK as u16;
const NLM_F_DUMP: u16 = libc::NLM_F_DUMP as u16;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLA_TYPE_MASK: u16 = 0x3fff; // without the bits for nesting and byte order

/// Room for what is not read yet of a socket that hears: a thousand links that
/// change at once.
const HEARING_BYTES: usize = 4 << 20;

/// How often a dump that changed under our hands is asked for anew.
const DUMP_TRIES: usize = 5;

/// A message being built: a header, a fixed part, attributes.
#[derive(Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of this type with this fixed part.
    pub(crate) fn new(kind: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(fixed);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    /// Appends an attribute.
    pub(crate) fn attr(mut self, kind: u16, value: &[u8]) -> Self {
        let len = u16::try_from(ATTR_HEADER + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Appends a text with its NUL.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let bytes: Vec<u8> = value.bytes().chain([0]).collect();
        self.attr(kind, &bytes)
    }

    /// Appends attributes within an attribute.
    pub(crate) fn nest(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ATTR_HEADER]);
        let mut message = inside(self);
        let len = u16::try_from(message.bytes.len() - start).unwrap_or(u16::MAX);
        message.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        message.bytes[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        message
    }

    fn pad(&mut self) {
        let len = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(len, 0);
    }

    fn finish(mut self, flags: u16) -> Vec<u8> {
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[0..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes
    }
}

/// Attributes of a message, or within an attribute. Stops where the bytes make
/// no sense any more.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Attrs<'a> {
    rest: &'a [u8],
}

impl<'a> Attrs<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The last attribute of that kind, as the kernel itself takes it.
    pub(crate) fn find(self, kind: u16) -> Option<&'a [u8]> {
        self.filter(|(found, _)| *found == kind).last()?.1.into()
    }

    pub(crate) fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.find(kind)?.first_chunk()?))
    }

    pub(crate) fn text(self, kind: u16) -> Option<String> {
        let bytes = self.find(kind)?;
        let end = bytes.iter().position(|&byte| byte == 0);
        let text = &bytes[..end.unwrap_or(bytes.len())];
        Some(String::from_utf8_lossy(text).into_owned())
    }

    pub(crate) fn nested(self, kind: u16) -> Option<Self> {
        self.find(kind).map(Self::new)
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16::from_ne_bytes(*self.rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*self.rest.get(2..)?.first_chunk()?);
        let value = self.rest.get(ATTR_HEADER..len)?;
        let next = len.next_multiple_of(ALIGN).min(self.rest.len());
        self.rest = &self.rest[next..];
        let kind = kind & NLA_TYPE_MASK;
        Some((kind, value))
    }
}

/// A socket in the network namespace of the thread that opens it.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Netlink {
    pub(crate) fn open() -> Result<Self, Errno> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self { socket })
    }

    /// A socket that hears what becomes of these groups, a mask of `RTMGRP_*`.
    pub(crate) fn subscribe(groups: i32) -> Result<Self, Errno> {
        let this = Self::open()?;
        bind(
            this.socket.as_raw_fd(),
            &NetlinkAddr::new(0, groups.cast_unsigned()),
        )?;
        let flags = OFlag::from_bits_retain(fcntl(&this.socket, FcntlArg::F_GETFL)?);
        fcntl(&this.socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        // More than the default if we may, less loss if we may not.
        let _ = setsockopt(&this.socket, RcvBufForce, &HEARING_BYTES);
        Ok(this)
    }

    /// Gives what was heard so far to `each`, with its type; false if something
    /// was lost.
    pub(crate) fn hear(&self, mut each: impl FnMut(u16, &[u8])) -> Result<bool, Errno> {
        let mut whole = true;
        loop {
            match self.receive() {
                Ok(bytes) => messages(&bytes).for_each(|(kind, _, body)| each(kind, body)),
                Err(Errno::EAGAIN) => return Ok(whole),
                Err(Errno::ENOBUFS) => whole = false,
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Asks for something to be done.
    pub(crate) fn request(&self, message: Message, flags: u16) -> Result<(), Errno> {
        self.send(&message.finish(NLM_F_REQUEST | NLM_F_ACK | flags))?;
        self.answers(|_| {}).map(drop)
    }

    /// Asks for a list; `each` gets the message behind its header. Repeats the
    /// question if the list changed meanwhile, so `each` gets a vector to fill.
    pub(crate) fn dump<T>(
        &self,
        build: impl Fn() -> Message,
        each: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Errno> {
        let mut list = Vec::new();
        for _ in 0..DUMP_TRIES {
            list.clear();
            self.send(&build().finish(NLM_F_REQUEST | NLM_F_DUMP))?;
            let whole = self.answers(|message| list.extend(each(message)))?;
            if whole {
                break;
            }
        }
        Ok(list)
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.socket.as_raw_fd(), bytes, &kernel, MsgFlags::empty())?;
        Ok(())
    }

    /// Reads answers to the last message until the end or an error; false if
    /// the kernel says that the list is not consistent.
    fn answers(&self, mut each: impl FnMut(&[u8])) -> Result<bool, Errno> {
        let mut whole = true;
        loop {
            let bytes = self.receive()?;
            for (kind, flags, body) in messages(&bytes) {
                whole &= flags & NLM_F_DUMP_INTR == 0;
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(whole),
                    libc::NLMSG_ERROR => {
                        let code = body
                            .first_chunk()
                            .map_or(0, |code| i32::from_ne_bytes(*code));
                        return match code {
                            0 => Ok(whole),
                            code => Err(Errno::from_raw(-code)),
                        };
                    }
                    libc::NLMSG_NOOP => {}
                    _ => each(body),
                }
            }
        }
    }

    fn receive(&self) -> Result<Vec<u8>, Errno> {
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
        let len = self.receive_into(&mut [0; 4], peek)?;
        let mut bytes = vec![0; len];
        let len = self.receive_into(&mut bytes, MsgFlags::empty())?;
        bytes.truncate(len);
        Ok(bytes)
    }

    fn receive_into(&self, buffer: &mut [u8], flags: MsgFlags) -> Result<usize, Errno> {
        loop {
            let mut io = [IoSliceMut::new(buffer)];
            match recvmsg::<NetlinkAddr>(self.socket.as_raw_fd(), &mut io, None, flags) {
                Ok(received) => return Ok(received.bytes),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Messages of one datagram: type, flags, and what follows the header.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let flags = u16::from_ne_bytes(*bytes.get(6..)?.first_chunk()?);
        let body = bytes.get(HEADER..len)?;
        bytes = &bytes[len.next_multiple_of(ALIGN).min(bytes.len())..];
        Some((kind, flags, body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        Message::new(18, &[1, 2, 3, 4])
            .text(3, "eth0")
            .nest(18, |m| m.text(1, "vlan").attr(2, &7_u32.to_ne_bytes()))
            .attr(4, &1500_u32.to_ne_bytes())
            .finish(5)
    }

    #[test]
    fn what_is_built_can_be_read() {
        let bytes = sample();
        let all: Vec<_> = messages(&bytes).collect();
        let [(kind, flags, body)] = all[..] else {
            panic!("{all:?}");
        };
        assert_eq!((kind, flags), (18, 5));
        let attrs = Attrs::new(&body[4..]);
        assert_eq!(attrs.text(3).as_deref(), Some("eth0"));
        assert_eq!(attrs.u32(4), Some(1500));
        let inside = attrs.nested(18).unwrap();
        assert_eq!(inside.text(1).as_deref(), Some("vlan"));
        assert_eq!(inside.u32(2), Some(7));
        assert_eq!(attrs.find(99), None);
    }

    #[test]
    fn nonsense_ends_the_list() {
        let bytes = sample();
        for len in 0..bytes.len() {
            for (_, _, body) in messages(&bytes[..len]) {
                let attrs = Attrs::new(body.get(4..).unwrap_or_default());
                assert!(attrs.count() <= 3);
            }
        }
        assert_eq!(Attrs::new(&[0; 64]).count(), 0, "length 0 never advances");
        assert_eq!(Attrs::new(&[255; 64]).count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0);
    }

    #[test]
    fn loopback_is_there() {
        let netlink = Netlink::open().unwrap();
        let ask = || Message::new(libc::RTM_GETLINK, &[0; 16]);
        let names = netlink.dump(ask, |body| Attrs::new(body.get(16..)?).text(3));
        assert!(names.unwrap().contains(&"lo".to_owned()));
        let nothing = Message::new(libc::RTM_DELLINK, &[0; 16]);
        let refused = netlink.request(nothing, 0).unwrap_err();
        assert!(
            [Errno::EINVAL, Errno::EPERM].contains(&refused),
            "{refused}"
        );
    }
}
