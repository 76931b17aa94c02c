//! What tells one connection from another, as a packet shows it.

use std::fmt;
use std::net::IpAddr;

use crate::format::line::Line;
use crate::icmp;
use crate::protocol::Family;
use crate::protocol::Protocol;

/// The part of a tuple that depends on the protocol.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum L4 {
    /// TCP, UDP, UDP-Lite, SCTP: ports in host byte order.
    Ports {
        /// The sender's port.
        src: u16,
        /// The receiver's port.
        dst: u16,
    },
    /// ICMP and ICMPv6 queries.
    Icmp {
        /// The message type of this direction.
        kind: u8,
        /// The message code, the same in both directions.
        code: u8,
        /// The query's identifier, the same in both directions.
        id: u16,
    },
    /// GRE: the keys nf_conntrack takes from PPTP call ids, 0 otherwise.
    Gre {
        /// The sender's key.
        src_key: u16,
        /// The receiver's key.
        dst_key: u16,
    },
    /// Every other protocol: addresses are all there is.
    None,
}

impl L4 {
    /// As a packet of the other direction has it; `None` for an ICMP type that
    /// has no answer.
    fn inverted(self, protocol: Protocol) -> Option<Self> {
        Some(match self {
            Self::Ports { src, dst } => Self::Ports { src: dst, dst: src },
            Self::Gre { src_key, dst_key } => Self::Gre {
                src_key: dst_key,
                dst_key: src_key,
            },
            Self::Icmp { kind, code, id } => Self::Icmp {
                kind: icmp::inverse(protocol, kind)?,
                code,
                id,
            },
            Self::None => Self::None,
        })
    }
}

/// A flow as one of its packets names it: it has a direction.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Tuple {
    /// The sender's address.
    pub src: IpAddr,
    /// The receiver's address.
    pub dst: IpAddr,
    /// The IP protocol, past any IPv6 extension headers.
    pub protocol: Protocol,
    /// What the protocol adds.
    pub l4: L4,
}

impl Tuple {
    /// The tuple that a packet of the other direction carries, as nf_conntrack
    /// inverts it. `None` for an ICMP type that has no answer: nf_conntrack
    /// calls such a packet INVALID, and it makes no flow.
    pub fn inverted(&self) -> Option<Self> {
        Some(Self {
            src: self.dst,
            dst: self.src,
            protocol: self.protocol,
            l4: self.l4.inverted(self.protocol)?,
        })
    }

    /// The family of its addresses (the sender's, if they should differ).
    pub fn family(&self) -> Family {
        Family::of(self.src)
    }

    /// The sender's and the receiver's port, where the protocol has ports.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.l4 {
            L4::Ports { src, dst } => Some((src, dst)),
            L4::Icmp { .. } | L4::Gre { .. } | L4::None => None,
        }
    }
}

impl fmt::Display for Tuple {
    /// As conntrack-tools does: `src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=80`,
    /// `type= code= id=` for ICMP, `srckey= dstkey=` for GRE, the addresses only
    /// for other protocols.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Line::new();
        line.tuple(self)?;
        f.write_str(line.as_str())
    }
}
