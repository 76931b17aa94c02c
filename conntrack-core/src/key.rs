//! Names of flows that do not depend on who opened them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::icmp;
use crate::parse::ParseError;
use crate::parse::decimal;
use crate::protocol::Protocol;
use crate::tuple::L4;
use crate::tuple::Tuple;

/// One end of a flow.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Endpoint {
    /// Its address.
    pub addr: IpAddr,
    /// Its port in host byte order; 0 where the protocol has none.
    pub port: u16,
}

impl Endpoint {
    /// An address and a port.
    pub fn new(addr: IpAddr, port: u16) -> Self {
        Self { addr, port }
    }
}

impl fmt::Display for Endpoint {
    /// `10.0.0.1:80` or `[2001:db8::1]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            IpAddr::V4(addr) => write!(f, "{addr}:{}", self.port),
            IpAddr::V6(addr) => write!(f, "[{addr}]:{}", self.port),
        }
    }
}

impl FromStr for Endpoint {
    type Err = ParseError;

    /// Takes what `Display` prints.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || {
            ParseError::new(
                "endpoint",
                text,
                "an address and a port: 10.0.0.1:80 or [2001:db8::1]:80",
            )
        };
        let (addr, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let addr = match addr.strip_prefix('[').and_then(|a| a.strip_suffix(']')) {
            Some(inner) => IpAddr::V6(inner.parse().map_err(|_| wrong())?),
            None => IpAddr::V4(addr.parse().map_err(|_| wrong())?),
        };
        let port = decimal(port).ok_or_else(wrong)?;
        Ok(Self { addr, port })
    }
}

/// A flow's name without a direction: both directions' packets give the same
/// key, `FlowKey::new(a, b, p) == FlowKey::new(b, a, p)`.
///
/// It is the tuple seen from the lower endpoint to the higher one; endpoints
/// are compared as pairs, address first. ICMP has no ports, so its tuple is
/// seen from the lower address to the higher: simultaneous pings with one
/// identifier in both directions stay two flows, as in nf_conntrack. Between
/// equal addresses the request is taken.
///
/// The text, `tcp 10.0.0.1:40000 10.0.0.2:80`, parses back to the same key; so
/// does the same text with the endpoints swapped.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct FlowKey {
    tuple: Tuple,
}

impl FlowKey {
    /// The flow between two endpoints. Ports are dropped for a protocol that
    /// has none, and are the keys for GRE. For ICMP and ICMPv6 it is the echo
    /// (ping) that `a` sent to `b` with identifier `a.port`; name other
    /// queries by `FlowKey::from(&Tuple)`.
    pub fn new(a: Endpoint, b: Endpoint, protocol: Protocol) -> Self {
        let l4 = match protocol {
            Protocol::ICMP | Protocol::ICMPV6 => L4::Icmp {
                kind: if protocol == Protocol::ICMP { 8 } else { 128 },
                code: 0,
                id: a.port,
            },
            Protocol::GRE => L4::Gre {
                src_key: a.port,
                dst_key: b.port,
            },
            _ if protocol.has_ports() => L4::Ports {
                src: a.port,
                dst: b.port,
            },
            _ => L4::None,
        };
        Self::from(&Tuple {
            src: a.addr,
            dst: b.addr,
            protocol,
            l4,
        })
    }

    /// The IP protocol.
    pub fn protocol(&self) -> Protocol {
        self.tuple.protocol
    }

    /// The lower endpoint; the port is a GRE key for GRE, 0 without ports.
    pub fn lo(&self) -> Endpoint {
        Endpoint::new(self.tuple.src, l4_ports(self.tuple.l4).0)
    }

    /// The higher endpoint, like [`FlowKey::lo`].
    pub fn hi(&self) -> Endpoint {
        Endpoint::new(self.tuple.dst, l4_ports(self.tuple.l4).1)
    }

    /// The tuple of a packet from [`FlowKey::lo`] to [`FlowKey::hi`]. It says
    /// nothing of which of the two opened the flow.
    pub fn tuple(&self) -> &Tuple {
        &self.tuple
    }
}

/// What orders two ends with equal addresses.
fn l4_ports(l4: L4) -> (u16, u16) {
    match l4 {
        L4::Ports { src, dst } => (src, dst),
        L4::Gre { src_key, dst_key } => (src_key, dst_key),
        L4::Icmp { .. } | L4::None => (0, 0),
    }
}

impl From<&Tuple> for FlowKey {
    /// An ICMP tuple whose type has no answer makes no flow; its key keeps the
    /// direction seen.
    fn from(tuple: &Tuple) -> Self {
        let (src, dst) = l4_ports(tuple.l4);
        let swap = match tuple.l4 {
            L4::Icmp { kind, .. } if tuple.src == tuple.dst => {
                !icmp::is_request(tuple.protocol, kind)
            }
            _ => (tuple.src, src) > (tuple.dst, dst),
        };
        let inverted = if swap { tuple.inverted() } else { None };
        Self {
            tuple: inverted.unwrap_or(*tuple),
        }
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tuple {
            src,
            dst,
            protocol,
            l4,
        } = self.tuple;
        match l4 {
            L4::Ports { .. } => write!(f, "{protocol} {} {}", self.lo(), self.hi()),
            L4::Icmp { kind, code, id } => {
                write!(f, "{protocol} {src} {dst} type={kind} code={code} id={id}")
            }
            L4::Gre { src_key, dst_key } => {
                write!(
                    f,
                    "{protocol} {src} {dst} srckey={src_key} dstkey={dst_key}"
                )
            }
            L4::None => write!(f, "{protocol} {src} {dst}"),
        }
    }
}

/// How a key's text looks, for error messages.
const SHAPE: &str = "a protocol and two ends of one family: \
    `tcp 10.0.0.1:40000 10.0.0.2:80`, `udp [fe80::1]:53 [fe80::2]:9000`, \
    `icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=77`, `gre 10.0.0.1 10.0.0.2`";

impl FromStr for FlowKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_tuple(text)
            .map(|tuple| Self::from(&tuple))
            .ok_or_else(|| ParseError::new("flow key", text, SHAPE))
    }
}

/// `None` wherever the text does not have the shape.
fn parse_tuple(text: &str) -> Option<Tuple> {
    let mut words = text.split_ascii_whitespace();
    let protocol: Protocol = words.next()?.parse().ok()?;
    let (first, second) = (words.next()?, words.next()?);
    let (src, dst, l4) = if protocol.has_ports() {
        let (a, b): (Endpoint, Endpoint) = (first.parse().ok()?, second.parse().ok()?);
        let l4 = L4::Ports {
            src: a.port,
            dst: b.port,
        };
        (a.addr, b.addr, l4)
    } else {
        let l4 = match protocol {
            Protocol::ICMP | Protocol::ICMPV6 => L4::Icmp {
                kind: attribute(words.next()?, "type=")?,
                code: attribute(words.next()?, "code=")?,
                id: attribute(words.next()?, "id=")?,
            },
            Protocol::GRE => gre_keys(&mut words)?,
            _ => L4::None,
        };
        (bare_address(first)?, bare_address(second)?, l4)
    };
    let whole = words.next().is_none() && src.is_ipv4() == dst.is_ipv4();
    whole.then_some(Tuple {
        src,
        dst,
        protocol,
        l4,
    })
}

/// GRE keys may be left out: they are 0 for all but PPTP.
fn gre_keys<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<L4> {
    let (src_key, dst_key) = match words.next() {
        None => (0, 0),
        Some(word) => (
            attribute(word, "srckey=")?,
            attribute(words.next()?, "dstkey=")?,
        ),
    };
    Some(L4::Gre { src_key, dst_key })
}

fn attribute<T: FromStr>(word: &str, name: &str) -> Option<T> {
    decimal(word.strip_prefix(name)?)
}

/// An address without a port; IPv6 with or without brackets.
fn bare_address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}
