//! A packet as the machines see it.

use super::fragment::Fragment;
use crate::tuple::Tuple;

/// What the parser made of a packet.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) enum Parsed {
    /// No IP packet, or one that IP itself refuses: it never comes to
    /// nf_conntrack.
    Nothing,
    /// No tuple can be read from it, or its protocol's header makes no sense.
    Invalid,
    /// nf_conntrack leaves it alone, or it cannot be told what it belongs to.
    Untracked,
    /// An ICMP error about the packet with this tuple.
    Error {
        /// Of the packet inside.
        inner: Tuple,
        /// It goes to whoever sent that packet.
        returned: bool,
    },
    /// A fragment that is not its packet's first.
    Later(Fragment),
    /// A packet of a flow.
    Packet(Packet),
}

/// A packet that belongs to a flow or may begin one.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) struct Packet {
    /// As it was sent.
    pub(super) tuple: Tuple,
    /// IP total length, less IPv6's fragment headers.
    pub(super) bytes: u64,
    /// What its protocol's machine looks at.
    pub(super) body: Body,
}

/// The part that depends on the protocol.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) enum Body {
    /// Nothing but the tuple counts.
    Plain,
    /// A TCP segment.
    Tcp(Segment),
    /// The chunks of an SCTP packet.
    Sctp(Bundle),
}

/// A TCP segment, numbers in host order.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Segment {
    /// Its number.
    pub seq: u32,
    /// What it acknowledges.
    pub ack: u32,
    /// The flags byte: FIN 1 to CWR 128.
    pub flags: u8,
    /// As sent: unscaled.
    pub window: u16,
    /// Payload bytes.
    pub payload: u32,
    /// What its header has more.
    pub options: Options,
}

/// What TCP's options say, if there are any.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Options {
    /// The header is longer than 20 bytes.
    pub some: bool,
    /// Window scale, at most 14.
    pub scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Right edges of the first SACK option with any.
    pub edges: Vec<u32>,
}

/// An SCTP packet.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(super) struct Bundle {
    /// The verification tag.
    pub(super) tag: u32,
    pub(super) chunks: Vec<Chunk>,
}

/// One chunk.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) struct Chunk {
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// INIT's and INIT ACK's initiate tag, if they are whole.
    pub(super) init_tag: Option<u32>,
}
