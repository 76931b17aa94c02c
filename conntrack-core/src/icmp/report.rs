//! What a tracker has seen of ICMP.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use super::names;
use crate::parse::ParseError;
use crate::parse::decimal;
use crate::protocol::Family;
use crate::protocol::Protocol;
use crate::select::PortRange;
use crate::time::Timestamp;
use crate::tuple::Tuple;

/// A kind of message.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct IcmpKind {
    /// IPv4: ICMP. IPv6: ICMPv6.
    pub family: Family,
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
}

impl IcmpKind {
    /// ICMP or ICMPv6.
    pub fn protocol(self) -> Protocol {
        match self.family {
            Family::Ipv4 => Protocol::ICMP,
            Family::Ipv6 => Protocol::ICMPV6,
        }
    }

    /// The name of the type, if it has one.
    pub fn type_name(self) -> Option<&'static str> {
        names::type_name(self.protocol(), self.kind)
    }

    /// The name of the code, if it has one.
    pub fn code_name(self) -> Option<&'static str> {
        names::code_name(self.protocol(), self.kind, self.code)
    }
}

impl fmt::Display for IcmpKind {
    /// `icmp port-unreachable`, `icmpv6 echo-request`: the code's name where it has one,
    /// else the type's; numbers (`icmp 200/1`) where neither has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol();
        match self.code_name().or_else(|| self.type_name()) {
            Some(name) => write!(f, "{protocol} {name}"),
            None => write!(f, "{protocol} {}/{}", self.kind, self.code),
        }
    }
}

/// How often a kind of message came.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct IcmpCount {
    /// Which.
    pub kind: IcmpKind,
    /// Packets. Of one that came in fragments the first.
    pub packets: u64,
    /// Their IP total lengths.
    pub bytes: u64,
}

/// How often each kind of message came since the tracker was set up: every packet of ICMP
/// or ICMPv6 whose header could be read and whose checksum is not known to be bad, whatever
/// its class and whether or not it was dropped.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct IcmpCounts {
    /// Those that came, sorted.
    pub kinds: Vec<IcmpCount>,
    /// Packets of kinds that there was no room for: all that RFCs have given a meaning are
    /// counted apart, and some 256 others, of each possible CPU its share and at least one.
    pub unlisted_packets: u64,
    /// Their IP total lengths.
    pub unlisted_bytes: u64,
    /// Errors whose packet inside could not be read: they are INVALID, and in no list.
    pub errors_unreadable: u64,
    /// Errors that were not recorded, because too many new ones came at once.
    pub errors_unrecorded: u64,
}

/// An error, and the packet that it is about.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct IcmpError {
    /// Which.
    pub kind: IcmpKind,
    /// Who sent it: a router on the way, or the other end.
    pub from: IpAddr,
    /// To whom.
    pub to: IpAddr,
    /// The packet inside it, as whoever complains has seen it.
    pub about: Tuple,
    /// How often it came.
    pub packets: u64,
    /// IP total lengths of the errors.
    pub bytes: u64,
    /// Those of `packets` that were RELATED: they were about a flow that was known. The others
    /// were INVALID.
    pub related: u64,
    /// When it came first.
    pub first: Timestamp,
    /// When it came last.
    pub last: Timestamp,
    /// The MTU of the next hop, of errors that tell of it: IPv4's fragmentation needed, IPv6's
    /// packet too big.
    pub mtu: Option<u32>,
    /// Index of the interface that the last one was seen on.
    pub ifindex: u32,
    /// Its name.
    pub interface: Option<Arc<str>>,
}

impl IcmpError {
    /// Those of `packets` that were INVALID.
    pub fn invalid(&self) -> u64 {
        self.packets.saturating_sub(self.related)
    }
}

/// What a tracker has seen of ICMP.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Icmp {
    /// How often each kind of message came.
    pub counts: IcmpCounts,
    /// Errors one by one, the latest first: 4,096 at the most, the least recently seen give
    /// way. Each CPU records 64 new ones in a tenth of a second.
    pub errors: Vec<IcmpError>,
}

/// A type as a user names it: a number of both families' types, or a name.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct IcmpType(Vec<(Protocol, u8)>);

impl FromStr for IcmpType {
    type Err = ParseError;

    /// Takes a number, or a name as [`type_name`](super::type_name) has it.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let both = |kind| vec![(Protocol::ICMP, kind), (Protocol::ICMPV6, kind)];
        let types = decimal(text).map_or_else(|| names::types_of(text), both);
        match types.is_empty() {
            true => Err(ParseError::new(
                "ICMP type",
                text,
                "a number from 0 to 255, or a name such as echo-request, \
                 destination-unreachable, time-exceeded, packet-too-big",
            )),
            false => Ok(Self(types)),
        }
    }
}

/// Conditions on kinds of messages and on errors; all that are set must hold. The default
/// meets all.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct IcmpFilter {
    /// IPv4 or IPv6.
    pub family: Option<Family>,
    /// The type.
    pub kind: Option<IcmpType>,
    /// The code.
    pub code: Option<u8>,
    /// Of errors: who sent it.
    pub from: Option<IpNet>,
    /// Of errors: one of its four addresses.
    pub addr: Option<IpNet>,
    /// Of errors: who sent the packet inside.
    pub src: Option<IpNet>,
    /// Of errors: to whom that was sent.
    pub dst: Option<IpNet>,
    /// Of errors: the protocol of the packet inside.
    pub protocol: Option<Protocol>,
    /// Of errors: either port of the packet inside.
    pub port: Option<PortRange>,
    /// Of errors: name of the interface that it was last seen on.
    pub interface: Option<String>,
    /// Of errors: whether one of them was RELATED.
    pub related: Option<bool>,
}

impl IcmpFilter {
    /// Whether the conditions on kinds hold.
    pub fn matches_kind(&self, kind: IcmpKind) -> bool {
        let of_type = |wanted: &IcmpType| wanted.0.contains(&(kind.protocol(), kind.kind));
        self.family.is_none_or(|family| family == kind.family)
            && self.kind.as_ref().is_none_or(of_type)
            && self.code.is_none_or(|code| code == kind.code)
    }

    /// Whether all conditions hold.
    pub fn matches(&self, error: &IcmpError) -> bool {
        let about = &error.about;
        let within = |net: Option<IpNet>, addrs: &[IpAddr]| {
            net.is_none_or(|net| addrs.iter().any(|addr| net.contains(addr)))
        };
        let has_port = |range: PortRange| {
            let ports = about.ports();
            ports.is_some_and(|(src, dst)| range.contains(src) || range.contains(dst))
        };
        let is_on = |name: &String| error.interface.as_deref() == Some(name.as_str());
        self.matches_kind(error.kind)
            && within(self.from, &[error.from])
            && within(self.addr, &[error.from, error.to, about.src, about.dst])
            && within(self.src, &[about.src])
            && within(self.dst, &[about.dst])
            && self
                .protocol
                .is_none_or(|protocol| protocol == about.protocol)
            && self.port.is_none_or(has_port)
            && self.interface.as_ref().is_none_or(is_on)
            && self
                .related
                .is_none_or(|related| related == (error.related > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::L4;

    fn kind(family: Family, kind: u8, code: u8) -> IcmpKind {
        IcmpKind { family, kind, code }
    }

    fn error() -> IcmpError {
        let addr = |text: &str| text.parse().unwrap();
        IcmpError {
            kind: kind(Family::Ipv4, 3, 3),
            from: addr("10.0.0.9"),
            to: addr("10.0.0.1"),
            about: Tuple {
                src: addr("10.0.0.1"),
                dst: addr("192.0.2.1"),
                protocol: Protocol::UDP,
                l4: L4::Ports { src: 5000, dst: 53 },
            },
            packets: 3,
            bytes: 300,
            related: 2,
            first: Timestamp(0),
            last: Timestamp(0),
            mtu: None,
            ifindex: 2,
            interface: Some("eth0".into()),
        }
    }

    #[test]
    fn kinds_are_called_by_what_is_known() {
        for (kind, text) in [
            (kind(Family::Ipv4, 3, 3), "icmp port-unreachable"),
            (kind(Family::Ipv6, 128, 0), "icmpv6 echo-request"),
            (kind(Family::Ipv6, 2, 0), "icmpv6 packet-too-big"),
            (kind(Family::Ipv4, 200, 7), "icmp 200/7"),
        ] {
            assert_eq!(kind.to_string(), text);
        }
        assert_eq!(error().invalid(), 1);
    }

    #[test]
    fn every_condition_counts() {
        let all = IcmpFilter::default();
        assert!(all.matches(&error()));
        type Edit = fn(&mut IcmpFilter);
        fn net(text: &str) -> Option<IpNet> {
            Some(text.parse().unwrap())
        }
        let cases: [(bool, Edit); 14] = [
            (true, |f| f.kind = "destination-unreachable".parse().ok()),
            (true, |f| f.kind = "3".parse().ok()),
            (false, |f| f.kind = "time-exceeded".parse().ok()),
            (false, |f| f.code = Some(1)),
            (false, |f| f.family = Some(Family::Ipv6)),
            (true, |f| f.from = net("10.0.0.9/32")),
            (false, |f| f.from = net("10.0.0.1/32")),
            (true, |f| f.addr = net("192.0.2.0/24")),
            (false, |f| f.src = net("192.0.2.0/24")),
            (false, |f| f.dst = net("10.0.0.0/8")),
            (false, |f| f.protocol = Some(Protocol::TCP)),
            (true, |f| f.port = Some(53.into())),
            (false, |f| f.interface = Some("eth1".to_owned())),
            (false, |f| f.related = Some(false)),
        ];
        for (index, (want, change)) in cases.into_iter().enumerate() {
            let mut filter = IcmpFilter::default();
            change(&mut filter);
            assert_eq!(filter.matches(&error()), want, "{index}");
        }
        assert!("256".parse::<IcmpType>().is_err() && "ping".parse::<IcmpType>().is_err());
    }
}
