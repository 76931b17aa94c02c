//! What came of limits, and who comes near them.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::protocol::Protocol;
use crate::time::Timestamp;

/// What a suspect is counted for.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Measure {
    /// Connections begun.
    New,
    /// TCP connections begun whose handshake has not come through.
    HalfOpen,
    /// TCP connections whose handshake has come through.
    Established,
}

impl Measure {
    /// `new`, `half_open` or `established`.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::HalfOpen => "half_open",
            Self::Established => "established",
        }
    }
}

/// A source that the sketch has pointed at, counted exactly since.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Suspect {
    /// The address or the network.
    pub source: IpNet,
    /// The protocol and the port of this side, if it is about one.
    #[cfg_attr(feature = "serde", serde(serialize_with = "port_text"))]
    pub port: Option<(Protocol, u16)>,
    /// What is counted.
    #[cfg_attr(feature = "serde", serde(serialize_with = "measure_text"))]
    pub measure: Measure,
    /// How many of them in the window.
    pub count: u32,
    /// How many were too much, since it is a suspect.
    pub over: u64,
    /// When the last one came.
    pub last: Timestamp,
}

impl Suspect {
    /// Whether an address is meant.
    pub fn concerns(&self, addr: IpAddr) -> bool {
        self.source.contains(&addr)
    }
}

#[cfg(feature = "serde")]
fn port_text<S: serde::Serializer>(
    port: &Option<(Protocol, u16)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match port {
        Some((protocol, port)) => serializer.collect_str(&format_args!("{protocol}/{port}")),
        None => serializer.serialize_none(),
    }
}

#[cfg(feature = "serde")]
fn measure_text<S: serde::Serializer>(measure: &Measure, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(measure.name())
}

/// What came of limits.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LimitCounts {
    /// Packets that would have begun a connection too much, whatever was done about them;
    /// a SYN that comes again counts again.
    pub over: u64,
    /// Times that a source was banned.
    pub banned: u64,
    /// The same, but there was no room for the ban.
    pub no_room: u64,
}

impl From<[u64; 3]> for LimitCounts {
    /// In the order of the packet path's `enum ct_limited`.
    fn from([over, banned, no_room]: [u64; 3]) -> Self {
        Self {
            over,
            banned,
            no_room,
        }
    }
}
