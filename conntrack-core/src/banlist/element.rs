//! Elements of sets of ipset and nft: an address, and perhaps a protocol and ports.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::ban::BanScope;
use crate::cidr::Block;
use crate::cidr::HostBits;
use crate::parse::decimal;
use crate::protocol::Protocol;

/// The most ports of one element; each is an entry.
const PORTS: usize = 1024;

/// What a part of an element is by the type of its set.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Kind {
    Addr,
    Protocol,
    /// A port, if the type says of what protocol.
    Port(Option<Protocol>),
    /// Nothing that bans have.
    Other,
}

impl Kind {
    /// By the name of a type of nft.
    pub(crate) fn of_type(name: &str) -> Self {
        match name {
            "ipv4_addr" | "ipv6_addr" => Self::Addr,
            "inet_proto" => Self::Protocol,
            "inet_service" => Self::Port(None),
            _ => Self::Other,
        }
    }

    /// By what nft's `typeof` names: `ip saddr`, `tcp dport`, `meta l4proto`.
    pub(crate) fn of_field(header: &str, field: &str) -> Self {
        match (header, field) {
            ("ip" | "ip6", "saddr" | "daddr") => Self::Addr,
            (_, "l4proto" | "nexthdr") | ("ip", "protocol") => Self::Protocol,
            ("th", "dport") => Self::Port(None),
            (header, "dport") => match header.parse::<Protocol>() {
                Ok(protocol) if protocol.has_ports() => Self::Port(Some(protocol)),
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// Which packets of the addresses are meant.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(crate) struct Scopes {
    protocol: Option<Protocol>,
    ports: Option<RangeInclusive<u16>>,
}

impl Scopes {
    pub(crate) fn iter(&self) -> impl Iterator<Item = BanScope> + Clone + use<> {
        let (first, ports) = match (self.protocol, self.ports.clone()) {
            (None, _) => (Some(BanScope::Any), None),
            (Some(protocol), None) => (Some(BanScope::Protocol(protocol)), None),
            (Some(protocol), Some(ports)) => (None, Some((protocol, ports))),
        };
        let ports = ports
            .into_iter()
            .flat_map(|(protocol, ports)| ports.map(move |port| BanScope::Port(protocol, port)));
        first.into_iter().chain(ports)
    }

    fn check(self) -> Result<Self, Cow<'static, str>> {
        let Some(ports) = &self.ports else {
            return Ok(self);
        };
        match self.protocol {
            None => Err("it has a port without a protocol".into()),
            Some(protocol) if !protocol.has_ports() => {
                Err(format!("{protocol} has no ports").into())
            }
            Some(_) if *ports.start() == 0 => Err("port 0 stands for none".into()),
            Some(_) if ports.is_empty() => Err("the range of ports ends before it begins".into()),
            Some(_) if ports.len() > PORTS => Err("it has more than 1024 ports".into()),
            Some(_) => Ok(self),
        }
    }
}

/// `80`, `22-25`.
fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(decimal(first)?..=decimal(last)?)
}

/// A protocol by its name or number; also names of ipset and nft that conntrack-tools
/// does not know.
fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "igmp" => Some(Protocol(2)),
        "esp" => Some(Protocol(50)),
        "ah" => Some(Protocol(51)),
        "comp" => Some(Protocol(108)),
        // 0 stands for any.
        text => text
            .parse()
            .ok()
            .filter(|protocol: &Protocol| protocol.0 != 0),
    }
}

/// `tcp:80`, `udp:22-25`, `gre:0`, `80` of an element of ipset.
pub(crate) fn ipset_scopes(text: &str) -> Result<Scopes, Cow<'static, str>> {
    let (protocol, port) = text.split_once(':').unwrap_or(("tcp", text));
    let protocol = self::protocol(protocol).ok_or("its protocol is not known")?;
    let ports = match ports(port) {
        Some(ports) if ports == (0..=0) && !protocol.has_ports() => None,
        Some(ports) => Some(ports),
        None => return Err("what follows the protocol is no number of a port".into()),
    };
    let protocol = Some(protocol);
    Scopes { protocol, ports }.check()
}

/// The parts of an element of nft, by the type of its set if that is known.
pub(crate) fn of_nft(
    parts: &[Cow<'_, str>],
    kinds: Option<&[Kind]>,
    host_bits: HostBits,
) -> Result<(Block, Scopes), Cow<'static, str>> {
    let parse = |text: &str| {
        Block::parse(text, host_bits).map_err(|error| Cow::from(error.problem().to_string()))
    };
    if let [one] = parts
        && kinds.is_none_or(|kinds| kinds == [Kind::Addr])
    {
        return Ok((parse(one)?, Scopes::default()));
    }
    let known = kinds.filter(|kinds| kinds.len() == parts.len());
    let mut block = None;
    let mut scopes = Scopes::default();
    for (index, part) in parts.iter().enumerate() {
        let kind = known.map_or_else(|| guess(part), |kinds| kinds[index]);
        match kind {
            Kind::Addr if block.is_some() => return Err("it has two addresses".into()),
            Kind::Addr => block = Some(parse(part)?),
            Kind::Protocol => {
                scopes.protocol = Some(protocol(part).ok_or("its protocol is not known")?);
            }
            Kind::Port(protocol) => {
                let ports = ports(part).ok_or("its port is no number")?;
                scopes.ports = Some(ports);
                scopes.protocol = scopes.protocol.or(protocol);
            }
            Kind::Other => {
                return Err("it is more than an address, a protocol and a port".into());
            }
        }
    }
    match block {
        Some(block) => Ok((block, scopes.check()?)),
        None => Err("there is no address".into()),
    }
}

/// What a part is by its text. A number alone is a port.
fn guess(part: &str) -> Kind {
    if ports(part).is_some() {
        Kind::Port(None)
    } else if protocol(part).is_some() {
        Kind::Protocol
    } else {
        Kind::Addr
    }
}
