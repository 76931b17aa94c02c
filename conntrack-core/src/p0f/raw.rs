//! What is recorded of a segment: the packet path's record, and what makes one
//! good.

use std::fmt;
use std::mem::offset_of;

use super::Options;
use super::Quirks;
use crate::protocol::Family;

/// Which segment of the handshake.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Kind {
    /// SYN: of a client.
    Syn,
    /// SYN and ACK: of a server.
    SynAck,
}

impl fmt::Display for Kind {
    /// As p0f names them: `syn`, `syn+ack`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Syn => "syn",
            Self::SynAck => "syn+ack",
        })
    }
}

/// All of a SYN or SYN+ACK that its signature follows from, and nothing else, so
/// that it may be the key of a map: 40 bytes, no padding, numbers in the
/// machine's order.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
#[repr(C)]
pub struct Raw {
    /// [`Quirks::bits`], and the flags [`Raw::IPV6`] to [`Raw::TIMESTAMP`].
    pub bits: u32,
    /// The last MSS option's value, or 0.
    pub mss: u16,
    /// The header's window, not scaled.
    pub window: u16,
    /// A SYN+ACK's only: the MSS of the SYN that it answers, if the window is at
    /// most 1000 times that or that less 12; otherwise 0, so that clients cannot
    /// make many records of one server.
    pub peer_mss: u16,
    /// TTL or hop limit, as it arrived.
    pub ttl: u8,
    /// Bytes of IPv4's options or IPv6's extension headers, at most 255.
    pub ip_options: u8,
    /// Bytes of TCP's header, 20 to 60.
    pub tcp_header: u8,
    /// The last window scale option's value, or 0.
    pub scale: u8,
    /// How many of `layout` are there.
    pub options: u8,
    /// Bytes after the end mark, if there is one.
    pub padding: u8,
    /// The kinds of the options as they follow each other, then zeros.
    pub layout: [u8; Options::MAX],
}

const _: () = {
    assert!(size_of::<Raw>() == 40 && align_of::<Raw>() == 4);
    // 4 + 3 * 2 + 6 bytes before it: no padding.
    assert!(offset_of!(Raw, layout) == 16);
};

impl Raw {
    /// The packet is IPv6.
    pub const IPV6: u32 = 1 << 24;
    /// The segment has ACK.
    pub const SYN_ACK: u32 = 1 << 25;
    /// There is data behind the header.
    pub const PAYLOAD: u32 = 1 << 26;
    /// The last timestamp option's own value is not 0.
    pub const TIMESTAMP: u32 = 1 << 27;

    const FLAGS: u32 = Self::IPV6 | Self::SYN_ACK | Self::PAYLOAD | Self::TIMESTAMP;

    pub(super) fn has(&self, flag: u32) -> bool {
        self.bits & flag != 0
    }

    /// SYN or SYN+ACK.
    pub fn kind(&self) -> Kind {
        if self.has(Self::SYN_ACK) {
            Kind::SynAck
        } else {
            Kind::Syn
        }
    }

    /// The packet's address family.
    pub fn family(&self) -> Family {
        if self.has(Self::IPV6) {
            Family::Ipv6
        } else {
            Family::Ipv4
        }
    }

    /// Whether there is data behind the header.
    pub fn has_payload(&self) -> bool {
        self.has(Self::PAYLOAD)
    }

    /// Whether the sender's own timestamp is there and not 0.
    pub fn has_timestamp(&self) -> bool {
        self.has(Self::TIMESTAMP)
    }

    /// The bytes of both headers, as far as the record knows.
    pub(super) fn header_bytes(&self) -> u32 {
        let ip = match self.family() {
            Family::Ipv4 => 20,
            Family::Ipv6 => 40,
        };
        ip + u32::from(self.ip_options) + u32::from(self.tcp_header)
    }

    /// The quirks.
    ///
    /// # Errors
    ///
    /// There are bits that are neither quirks nor flags.
    pub(super) fn quirks(&self) -> Result<Quirks, RawError> {
        let quirks = Quirks::from_bits(self.bits & !Self::FLAGS).ok_or(RawError::Bits)?;
        let foreign = Quirks::foreign_to(self.family());
        if quirks.without(foreign) != quirks {
            return Err(RawError::Bits);
        }
        Ok(quirks)
    }

    /// The options' layout.
    ///
    /// # Errors
    ///
    /// There are too many, or what is behind them is not 0, or an end mark is not
    /// the last.
    pub(super) fn layout(&self) -> Result<Options, RawError> {
        let (kinds, rest) = self
            .layout
            .split_at_checked(self.options.into())
            .ok_or(RawError::Layout)?;
        if rest.iter().any(|kind| *kind != 0) {
            return Err(RawError::Layout);
        }
        Options::new(kinds, self.padding).ok_or(RawError::Layout)
    }
}

/// Why a record is none that the packet path makes.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub enum RawError {
    /// Bits that mean nothing, or quirks that the family cannot have.
    Bits,
    /// The options' layout contradicts itself.
    Layout,
    /// No TCP header is that long.
    Header,
    /// A SYN has no peer, and a window that does not follow from the peer's MSS
    /// does without it.
    Peer,
}

impl fmt::Display for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bits => "the record has quirks or flags that do not exist",
            Self::Layout => "the record's options contradict themselves",
            Self::Header => "the record's TCP header has an impossible length",
            Self::Peer => "the record's MSS of the peer has nothing to do with the window",
        })
    }
}

impl std::error::Error for RawError {}
