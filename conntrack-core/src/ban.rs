//! Bans: whose packets are dropped, which of them, for how long and why.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::parse::ParseError;
use crate::parse::decimal;
use crate::protocol::Protocol;
use crate::time::Timestamp;

/// The longest reason in bytes.
pub const REASON_MAX: usize = 127;

/// Which packets of a banned source are dropped. The port is the one on this
/// side: what the source's packets go to, and what ours come from.
///
/// The text is `any`, `tcp`, `tcp/22`.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub enum BanScope {
    /// All of them.
    #[default]
    Any,
    /// Those of a protocol.
    Protocol(Protocol),
    /// Those of a protocol that go to a port.
    Port(Protocol, u16),
}

impl BanScope {
    /// The protocol, if only one is meant.
    pub fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Any => None,
            Self::Protocol(protocol) | Self::Port(protocol, _) => Some(protocol),
        }
    }

    /// The port, if only one is meant.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Port(_, port) => Some(port),
            Self::Any | Self::Protocol(_) => None,
        }
    }
}

impl fmt::Display for BanScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.pad("any"),
            Self::Protocol(protocol) => protocol.fmt(f),
            Self::Port(protocol, port) => f.pad(&format!("{protocol}/{port}")),
        }
    }
}

impl FromStr for BanScope {
    type Err = ParseError;

    /// Takes `any`, a protocol, or one that has ports with a port from 1 on.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || {
            let expected = "any, a protocol such as tcp, or with a port: tcp/22, udp/53";
            ParseError::new("scope", text, expected)
        };
        if text == "any" {
            return Ok(Self::Any);
        }
        let protocol = |text: &str| {
            let protocol = text.parse::<Protocol>().map_err(|_| wrong())?;
            // 0 stands for any in the kernel; as a protocol it is an IPv6 header.
            Some(protocol).filter(|it| it.0 != 0).ok_or_else(wrong)
        };
        let Some((name, port)) = text.split_once('/') else {
            return protocol(text).map(Self::Protocol);
        };
        let protocol = protocol(name)?;
        match decimal(port) {
            Some(port) if port != 0 && protocol.has_ports() => Ok(Self::Port(protocol, port)),
            _ => Err(wrong()),
        }
    }
}

/// Whom a ban concerns, and which of their packets. No two bans have the same.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct BanTarget {
    net: IpNet,
    /// Which packets.
    pub scope: BanScope,
}

impl BanTarget {
    /// The sources in a network, bits beyond its prefix left out; every packet.
    pub fn new(net: IpNet) -> Self {
        Self {
            net: net.trunc(),
            scope: BanScope::Any,
        }
    }

    /// One address; of IPv6, its whole /64, which is what one host is given.
    pub fn of(addr: IpAddr) -> Self {
        Self::new(usual_net(addr))
    }

    /// The network, truncated: `2001:db8::/64`.
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// The same with another scope.
    #[must_use]
    pub fn with_scope(self, scope: BanScope) -> Self {
        Self { scope, ..self }
    }
}

/// What is meant by an address: itself, or of IPv6 its /64.
fn usual_net(addr: IpAddr) -> IpNet {
    match addr {
        IpAddr::V4(_) => addr.into(),
        // 64 is a prefix length.
        IpAddr::V6(_) => IpNet::new(addr, 64).unwrap_or_else(|_| addr.into()),
    }
}

/// An address or a network as people write it, and whether it was an address.
///
/// # Errors
/// It is neither.
pub fn parse_net(text: &str) -> Result<(IpNet, bool), ParseError> {
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Ok((addr.into(), true));
    }
    text.parse::<IpNet>()
        .map(|net| (net.trunc(), false))
        .map_err(|_| {
            let expected = "an address or a network: 203.0.113.7, 203.0.113.0/24, 2001:db8::/48";
            ParseError::new("address", text, expected)
        })
}

impl fmt::Display for BanTarget {
    /// `203.0.113.7`, `203.0.113.0/24`, `203.0.113.7 tcp/22`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let net = Plain(self.net);
        match self.scope {
            BanScope::Any => f.pad(&net.to_string()),
            scope => f.pad(&format!("{net} {scope}")),
        }
    }
}

/// A network without its prefix if it is a single address.
pub(crate) struct Plain(pub(crate) IpNet);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.prefix_len() == self.0.max_prefix_len() {
            true => f.pad(&self.0.addr().to_string()),
            false => f.pad(&self.0.to_string()),
        }
    }
}

impl FromStr for BanTarget {
    type Err = ParseError;

    /// Takes an address or a network. An IPv6 address without a prefix stands for
    /// its /64; with `/128` it stands for itself.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (net, address) = parse_net(text)?;
        Ok(match address {
            true => Self::of(net.addr()),
            false => Self::new(net),
        })
    }
}

/// Which way packets are dropped.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum BanDirection {
    /// What comes from the source.
    #[default]
    In,
    /// That, and what goes to it.
    Both,
}

impl BanDirection {
    /// `in` or `both`.
    pub fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Both => "both",
        }
    }
}

impl fmt::Display for BanDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BanDirection {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "in" => Ok(Self::In),
            "both" => Ok(Self::Both),
            _ => Err(ParseError::new("direction", text, "in or both")),
        }
    }
}

/// Who banned. The text is `manual`, `api`, `threshold`, `list:NAME`.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub enum BanOrigin {
    /// Somebody by the command line.
    Manual,
    /// A program by the library.
    #[default]
    Api,
    /// The packet path: too many new connections.
    Threshold,
    /// A list of this name.
    List(String),
}

impl fmt::Display for BanOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manual => f.pad("manual"),
            Self::Api => f.pad("api"),
            Self::Threshold => f.pad("threshold"),
            Self::List(name) => f.pad(&format!("list:{name}")),
        }
    }
}

impl FromStr for BanOrigin {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match (text, text.strip_prefix("list:")) {
            ("manual", _) => Ok(Self::Manual),
            ("api", _) => Ok(Self::Api),
            ("threshold", _) => Ok(Self::Threshold),
            (_, Some(name)) if !name.is_empty() => Ok(Self::List(name.to_owned())),
            _ => {
                let expected = "manual, api, threshold or list:NAME";
                Err(ParseError::new("origin", text, expected))
            }
        }
    }
}

/// A ban that is wished for: of whom, and how.
///
/// ```
/// use std::time::Duration;
/// use conntrack_core::BanSpec;
///
/// let spec: BanSpec = "203.0.113.0/24".parse().unwrap();
/// let spec = spec.ttl(Duration::from_secs(600)).reason("scan");
/// assert_eq!(spec.target.to_string(), "203.0.113.0/24");
/// ```
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct BanSpec {
    /// Whom it concerns.
    pub target: BanTarget,
    /// How long it lasts; `None` for ever.
    pub ttl: Option<Duration>,
    /// Why, at most [`REASON_MAX`] bytes; may be empty.
    pub reason: String,
    /// Who banned.
    pub origin: BanOrigin,
    /// Which way packets are dropped.
    pub direction: BanDirection,
    /// Count instead of dropping.
    pub dry_run: bool,
    /// It ends after this time unless it is confirmed by then; `None` if it needs no
    /// confirmation. Not together with an earlier ban of the same target.
    pub confirm: Option<Duration>,
    /// Also if it touches what must not be banned; that passes all the same.
    pub force: bool,
}

impl BanSpec {
    /// Every packet of the target, for ever, without a reason, by the library.
    pub fn new(target: BanTarget) -> Self {
        Self {
            target,
            ttl: None,
            reason: String::new(),
            origin: BanOrigin::default(),
            direction: BanDirection::default(),
            dry_run: false,
            confirm: None,
            force: false,
        }
    }

    /// Sets how long it lasts.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        let ttl = Some(ttl);
        Self { ttl, ..self }
    }

    /// Sets why.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { reason, ..self }
    }

    /// Sets which packets.
    #[must_use]
    pub fn scope(self, scope: BanScope) -> Self {
        let target = self.target.with_scope(scope);
        Self { target, ..self }
    }

    /// Sets which way packets are dropped.
    #[must_use]
    pub fn direction(self, direction: BanDirection) -> Self {
        Self { direction, ..self }
    }

    /// Counts instead of dropping.
    #[must_use]
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// Ends by itself after this time, unless it is confirmed by then.
    #[must_use]
    pub fn confirm(self, within: Duration) -> Self {
        let confirm = Some(within);
        Self { confirm, ..self }
    }

    /// Bans also if it touches what must not be banned; that passes all the same.
    #[must_use]
    pub fn force(self, force: bool) -> Self {
        Self { force, ..self }
    }
}

impl From<BanTarget> for BanSpec {
    fn from(target: BanTarget) -> Self {
        Self::new(target)
    }
}

impl FromStr for BanSpec {
    type Err = ParseError;

    /// As [`BanTarget`] reads it, for ever.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self::new)
    }
}

/// A ban in force.
///
/// With feature `serde` it has the shape of `schemas/ban.schema.json`.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(
        into = "crate::ban_json::BanJson",
        try_from = "crate::ban_json::BanJson"
    )
)]
#[non_exhaustive]
pub struct Ban {
    /// Whom it concerns.
    pub target: BanTarget,
    /// Why; may be empty.
    pub reason: String,
    /// Who banned; of one that only lists have, the first of them.
    pub origin: BanOrigin,
    /// Names of the lists that have it, too, or alone.
    pub lists: Vec<String>,
    /// Which way packets are dropped.
    pub direction: BanDirection,
    /// Packets are counted, not dropped.
    pub dry_run: bool,
    /// When it was made.
    pub since: Timestamp,
    /// When it ends; `None` never. Of one that waits to be confirmed, when it ends if
    /// it is not.
    pub until: Option<Timestamp>,
    /// What is left of it; `None` for ever.
    pub ttl: Option<Duration>,
    /// It waits to be confirmed.
    pub unconfirmed: bool,
    /// Packets dropped, or counted by a dry run.
    pub hits: u64,
    /// Bytes of them: IP total lengths.
    pub bytes: u64,
    /// When the last one came; `None` if none did.
    pub last_hit: Option<Timestamp>,
}

impl Ban {
    /// A ban from now on, without hits and for ever.
    pub fn new(target: BanTarget, since: Timestamp) -> Self {
        Self {
            target,
            reason: String::new(),
            origin: BanOrigin::default(),
            lists: Vec::new(),
            direction: BanDirection::default(),
            dry_run: false,
            since,
            until: None,
            ttl: None,
            unconfirmed: false,
            hits: 0,
            bytes: 0,
            last_hit: None,
        }
    }
}

#[cfg(test)]
mod tests;
