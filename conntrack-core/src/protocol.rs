//! IP protocol numbers and address families.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::parse::ParseError;
use crate::parse::decimal;

/// An IP protocol number (IANA "Assigned Internet Protocol Numbers").
///
/// `Display` prints the name if conntrack-tools has one and the number
/// otherwise, so that the text always parses back to the same value.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// Transmission Control Protocol.
    pub const TCP: Self = Self(6);
    /// User Datagram Protocol.
    pub const UDP: Self = Self(17);
    /// Datagram Congestion Control Protocol; tracked by its addresses only.
    pub const DCCP: Self = Self(33);
    /// Generic Routing Encapsulation.
    pub const GRE: Self = Self(47);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// Stream Control Transmission Protocol.
    pub const SCTP: Self = Self(132);
    /// UDP-Lite.
    pub const UDPLITE: Self = Self(136);

    /// Every protocol that conntrack-tools knows by name.
    const NAMES: [(Self, &'static str); 8] = [
        (Self::TCP, "tcp"),
        (Self::UDP, "udp"),
        (Self::ICMP, "icmp"),
        (Self::ICMPV6, "icmpv6"),
        (Self::SCTP, "sctp"),
        (Self::GRE, "gre"),
        (Self::UDPLITE, "udplite"),
        (Self::DCCP, "dccp"),
    ];

    /// The name conntrack-tools prints, or `None` where it prints `unknown`.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES
            .iter()
            .find(|(protocol, _)| *protocol == self)
            .map(|(_, name)| *name)
    }

    /// Whether its flows are told apart by 16-bit ports: TCP, UDP, UDP-Lite
    /// and SCTP, as in nf_conntrack since DCCP support was removed.
    pub fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::UDPLITE | Self::SCTP)
    }

    /// Whether it is ICMP or ICMPv6.
    pub fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl FromStr for Protocol {
    type Err = ParseError;

    /// Takes a name, in any case, or a number from 0 to 255.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if let Some((protocol, _)) = Self::NAMES
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(text))
        {
            return Ok(*protocol);
        }
        // As /etc/protocols and iptables have it.
        if ["ipv6-icmp", "icmp6"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(text))
        {
            return Ok(Self::ICMPV6);
        }
        if let Some(number) = decimal(text) {
            return Ok(Self(number));
        }
        Err(ParseError::new(
            "protocol",
            text,
            "a name such as tcp, udp, icmp, icmpv6, sctp, gre, or a number from 0 to 255",
        ))
    }
}

/// Which version of IP.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Family {
    /// IP version 4.
    Ipv4,
    /// IP version 6.
    Ipv6,
}

impl Family {
    /// The family of an address. A mapped address (`::ffff:a.b.c.d`) is IPv6:
    /// that is how it would stand in a packet.
    pub fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// `ipv4` or `ipv6`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// Linux' address family number: `AF_INET` is 2, `AF_INET6` 10.
    pub fn number(self) -> u8 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Family {
    type Err = ParseError;

    /// Takes `ipv4`, `ipv6`, `4`, `6`, in any case.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.to_ascii_lowercase().as_str() {
            "ipv4" | "4" => Ok(Self::Ipv4),
            "ipv6" | "6" => Ok(Self::Ipv6),
            _ => Err(ParseError::new("address family", text, "ipv4 or ipv6")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_round_trips() {
        for number in 0..=255 {
            let protocol = Protocol(number);
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
            assert_eq!(number.to_string().parse(), Ok(protocol));
        }
    }

    #[test]
    fn bad_protocols_are_refused() {
        for text in ["", "256", "-1", "+6", " tcp", "tcpx", "0x6"] {
            assert!(text.parse::<Protocol>().is_err(), "{text:?}");
        }
        assert_eq!("TCP".parse(), Ok(Protocol::TCP));
        for name in ["icmpv6", "ipv6-icmp", "ICMP6", "58"] {
            assert_eq!(name.parse(), Ok(Protocol::ICMPV6), "{name}");
        }
    }

    #[test]
    fn families() {
        assert_eq!("IPv6".parse(), Ok(Family::Ipv6));
        assert!("ipv5".parse::<Family>().is_err());
        assert_eq!(format!("{:<8}|", Family::Ipv4), "ipv4    |");
    }
}
