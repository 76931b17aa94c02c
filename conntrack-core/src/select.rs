//! Which flows a command is about.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::flow::Flow;
use crate::flow::FlowState;
use crate::parse::ParseError;
use crate::parse::decimal;
use crate::protocol::Family;
use crate::protocol::Protocol;
use crate::sctp::SctpState;
use crate::tcp::TcpState;

/// Ports from the first to the last, both included: `80`, `1024-65535`.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports between two, in whichever order they are given.
    pub fn new(a: u16, b: u16) -> Self {
        Self {
            first: a.min(b),
            last: a.max(b),
        }
    }

    /// The lowest of them.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest of them.
    pub fn last(self) -> u16 {
        self.last
    }

    /// Whether the port is one of them.
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self::new(port, port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for PortRange {
    type Err = ParseError;

    /// Takes a port, or two with `-` or `:` between them, the smaller first.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::new("port range", text, "a port or a range: 80, 1024-65535");
        let port = |part: &str| decimal::<u16>(part).ok_or_else(wrong);
        let (first, last) = match text.split_once(['-', ':']) {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        if first > last {
            return Err(wrong());
        }
        Ok(Self { first, last })
    }
}

/// The name of a state: TCP and SCTP share some, such as `ESTABLISHED`.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct StateName(&'static str);

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl FromStr for StateName {
    type Err = ParseError;

    /// Takes a state of TCP or SCTP in any case.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let tcp = TcpState::from_str(text).map(TcpState::name);
        tcp.or_else(|_| SctpState::from_str(text).map(SctpState::name))
            .map(Self)
            .map_err(|_| {
                ParseError::new(
                    "state",
                    text,
                    "one of TCP (SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, \
                     LAST_ACK, TIME_WAIT, CLOSE, SYN_SENT2) or SCTP (CLOSED, COOKIE_WAIT, \
                     COOKIE_ECHOED, ESTABLISHED, SHUTDOWN_SENT, SHUTDOWN_RECD, \
                     SHUTDOWN_ACK_SENT, HEARTBEAT_SENT)",
                )
            })
    }
}

/// Conditions on a flow; it must meet all that are set. The default meets
/// every flow.
///
/// The parts work on raw values, so that a reader of the table can ask them
/// before it decodes a row.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct FlowFilter {
    /// The IP protocol.
    pub protocol: Option<Protocol>,
    /// The address family.
    pub family: Option<Family>,
    /// The name of the state, of TCP or SCTP.
    pub state: Option<StateName>,
    /// A network that one end is in.
    pub addr: Option<IpNet>,
    /// A network that the original direction comes from.
    pub src: Option<IpNet>,
    /// A network that the original direction goes to.
    pub dst: Option<IpNet>,
    /// A port that one end has.
    pub port: Option<PortRange>,
    /// The source port of the original direction.
    pub sport: Option<PortRange>,
    /// The destination port of the original direction.
    pub dport: Option<PortRange>,
    /// Index of the interface where the original direction was seen.
    pub ifindex: Option<u32>,
    /// Assured, or not.
    pub assured: Option<bool>,
    /// Answered, or not.
    pub seen_reply: Option<bool>,
}

/// An unset condition is met.
fn met<T>(condition: Option<T>, test: impl FnOnce(T) -> bool) -> bool {
    condition.is_none_or(test)
}

impl FlowFilter {
    /// Whether every flow meets it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a whole table may hold matching flows.
    pub fn matches_family(&self, family: Family) -> bool {
        met(self.family, |wanted| wanted == family)
            && [self.addr, self.src, self.dst]
                .into_iter()
                .flatten()
                .all(|net| Family::of(net.addr()) == family)
    }

    /// Whether the protocol is right.
    pub fn matches_protocol(&self, protocol: Protocol) -> bool {
        met(self.protocol, |wanted| wanted == protocol)
    }

    /// Whether state and flags are right.
    pub fn matches_status(&self, state: FlowState, seen_reply: bool, assured: bool) -> bool {
        met(self.seen_reply, |wanted| wanted == seen_reply)
            && met(self.assured, |wanted| wanted == assured)
            && met(self.state, |wanted| state.name() == Some(wanted.0))
    }

    /// Whether the addresses of the original direction are right.
    pub fn matches_addresses(&self, src: IpAddr, dst: IpAddr) -> bool {
        met(self.addr, |net| net.contains(&src) || net.contains(&dst))
            && met(self.src, |net| net.contains(&src))
            && met(self.dst, |net| net.contains(&dst))
    }

    /// Whether the ports of the original direction are right; `None` for a
    /// protocol without ports, which meets no condition on them.
    pub fn matches_ports(&self, ports: Option<(u16, u16)>) -> bool {
        let Some((sport, dport)) = ports else {
            return self.port.is_none() && self.sport.is_none() && self.dport.is_none();
        };
        met(self.port, |range| {
            range.contains(sport) || range.contains(dport)
        }) && met(self.sport, |range| range.contains(sport))
            && met(self.dport, |range| range.contains(dport))
    }

    /// Whether the interface is right.
    pub fn matches_ifindex(&self, ifindex: u32) -> bool {
        met(self.ifindex, |wanted| wanted == ifindex)
    }

    /// Whether the flow meets all conditions.
    pub fn matches(&self, flow: &Flow) -> bool {
        let tuple = &flow.original.tuple;
        self.matches_protocol(flow.protocol)
            && met(self.family, |wanted| wanted == flow.family)
            && self.matches_status(flow.state, flow.seen_reply, flow.assured)
            && self.matches_ifindex(flow.ifindex)
            && self.matches_ports(tuple.ports())
            && self.matches_addresses(tuple.src, tuple.dst)
    }
}
