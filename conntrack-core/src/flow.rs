//! One connection, as last seen.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::fingerprint::FlowFingerprint;
use crate::format::arrow;
use crate::format::human_bytes;
use crate::health::Health;
use crate::key::FlowKey;
use crate::parse::ParseError;
use crate::protocol::Family;
use crate::protocol::Protocol;
use crate::sctp::SctpState;
use crate::tcp::TcpState;
use crate::time::Timestamp;
use crate::tuple::Tuple;

/// Which way a packet went.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
#[repr(u8)]
pub enum Direction {
    /// As the flow's first packet.
    Original,
    /// Back to who opened it.
    Reply,
}

impl Direction {
    /// The other one.
    pub fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// The last accepted TCP segment of one direction.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TcpLast {
    /// The flags byte, see [`crate::tcp::flags`].
    pub flags: u8,
    /// The sequence number as sent.
    pub seq: u32,
    /// The acknowledgment number as sent.
    pub ack: u32,
    /// The window as sent: unscaled.
    pub window: u16,
}

/// One direction of a flow.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Side {
    /// What packets of this direction carry.
    pub tuple: Tuple,
    /// Accepted packets; a super-packet counts as its segments.
    pub packets: u64,
    /// Sum of their IP total lengths.
    pub bytes: u64,
    /// The last segment, if this is TCP; zeros before there was one.
    pub tcp: Option<TcpLast>,
}

impl Side {
    /// A direction that no packet has taken yet.
    pub fn new(tuple: Tuple) -> Self {
        Self {
            tuple,
            packets: 0,
            bytes: 0,
            tcp: (tuple.protocol == Protocol::TCP).then(TcpLast::default),
        }
    }
}

/// The state of a flow's protocol.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum FlowState {
    /// Of TCP.
    Tcp(TcpState),
    /// Of SCTP.
    Sctp(SctpState),
    /// The protocol has no states.
    None,
}

impl FlowState {
    /// nf_conntrack's name, if the protocol has states.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Tcp(state) => Some(state.name()),
            Self::Sctp(state) => Some(state.name()),
            Self::None => None,
        }
    }

    /// The state of this name in that protocol.
    ///
    /// # Errors
    /// The protocol has no state of the name.
    pub fn parse(protocol: Protocol, name: &str) -> Result<Self, ParseError> {
        match protocol {
            Protocol::TCP => TcpState::from_str(name).map(Self::Tcp),
            Protocol::SCTP => SctpState::from_str(name).map(Self::Sctp),
            _ => Err(ParseError::new("state", name, "none for this protocol")),
        }
    }
}

impl fmt::Display for FlowState {
    /// The name; nothing where there are no states.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name().unwrap_or(""))
    }
}

/// One connection, as last seen. Both directions share the row.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Flow {
    /// Of the addresses.
    pub family: Family,
    /// The IP protocol.
    pub protocol: Protocol,
    /// The protocol's state.
    pub state: FlowState,
    /// A packet of the reply direction was accepted.
    pub seen_reply: bool,
    /// The flow proved to be real traffic both ways; it is not evicted.
    pub assured: bool,
    /// What is left of its life if no packet comes.
    pub timeout: Duration,
    /// The direction of the first packet.
    pub original: Side,
    /// The direction of the answers.
    pub reply: Side,
    /// When the first packet came.
    pub start: Timestamp,
    /// When the last accepted packet came.
    pub last_seen: Timestamp,
    /// From the first packet to the last, by the monotonic clock.
    pub duration: Duration,
    /// The interface where the original direction was seen; 0 if unknown.
    pub ifindex: u32,
    /// That interface's name, if it still has one.
    pub interface: Option<Arc<str>>,
    /// How it is doing, if it is TCP and this is known.
    pub health: Option<Health>,
    /// By which names fingerprints know its ends' SYN and SYN+ACK
    /// ([`Fingerprint::id`](crate::Fingerprint::id)), the original direction's first; 0 if
    /// that is not known. JSON does not carry it.
    pub fingerprint_ids: [u64; 2],
    /// The signatures of its ends, if it is TCP, somebody asked for them, and they are
    /// known.
    pub fingerprint: Option<FlowFingerprint>,
}

impl Flow {
    /// A flow between two sides; family and protocol are the original side's.
    /// Everything else is zero, false or unknown, to be filled in.
    pub fn new(original: Side, reply: Side) -> Self {
        let protocol = original.tuple.protocol;
        Self {
            family: original.tuple.family(),
            protocol,
            state: match protocol {
                Protocol::TCP => FlowState::Tcp(TcpState::None),
                Protocol::SCTP => FlowState::Sctp(SctpState::None),
                _ => FlowState::None,
            },
            seen_reply: false,
            assured: false,
            timeout: Duration::ZERO,
            original,
            reply,
            start: Timestamp(0),
            last_seen: Timestamp(0),
            duration: Duration::ZERO,
            ifindex: 0,
            interface: None,
            health: None,
            fingerprint_ids: [0; 2],
            fingerprint: None,
        }
    }

    /// Its name.
    pub fn key(&self) -> FlowKey {
        FlowKey::from(&self.original.tuple)
    }

    /// Packets of both directions.
    pub fn packets(&self) -> u64 {
        self.original.packets.saturating_add(self.reply.packets)
    }

    /// Bytes of both directions.
    pub fn bytes(&self) -> u64 {
        self.original.bytes.saturating_add(self.reply.bytes)
    }

    /// One direction.
    pub fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }

    /// nf_conntrack's status words: `UNREPLIED` or `SEEN_REPLY`, then
    /// `ASSURED`.
    pub fn status(&self) -> impl Iterator<Item = &'static str> {
        let replied = if self.seen_reply {
            "SEEN_REPLY"
        } else {
            "UNREPLIED"
        };
        [Some(replied), self.assured.then_some("ASSURED")]
            .into_iter()
            .flatten()
    }
}

impl fmt::Display for Flow {
    /// One line to read: `tcp 10.0.0.1:40000 -> 10.0.0.2:80 ESTABLISHED ASSURED,
    /// 4 packets 217 B, back 3 packets 169 B, expires in 431999s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            original, reply, ..
        } = self;
        write!(f, "{} {}", self.protocol, arrow(&original.tuple))?;
        if let Some(name) = self.state.name() {
            write!(f, " {name}")?;
        }
        if !self.seen_reply {
            f.write_str(" UNREPLIED")?;
        }
        if self.assured {
            f.write_str(" ASSURED")?;
        }
        write!(
            f,
            ", {} packets {}, back {} packets {}, expires in {}s",
            original.packets,
            human_bytes(original.bytes),
            reply.packets,
            human_bytes(reply.bytes),
            self.timeout.as_secs()
        )
    }
}
