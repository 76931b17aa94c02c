//! Networks of addresses: reading them with good reasons, ranges as networks, the
//! fewest networks for a set of addresses, and maps by the longest match.
//!
//! ```
//! use conntrack_core::cidr::{Block, HostBits, cover};
//!
//! let block = Block::parse("10.0.0.5/24", HostBits::Mask)?;
//! assert_eq!(block.to_string(), "10.0.0.0/24");
//!
//! let wrong = Block::parse("10.0.0.5/24", HostBits::Refuse).unwrap_err();
//! assert_eq!(
//!     wrong.to_string(),
//!     "\"10.0.0.5/24\": bits beyond the prefix are set: is 10.0.0.0/24 meant?",
//! );
//!
//! let range = Block::parse("192.0.2.0-192.0.2.130", HostBits::Refuse)?;
//! let nets: Vec<String> = range.nets().map(|net| net.to_string()).collect();
//! assert_eq!(nets, ["192.0.2.0/25", "192.0.2.128/31", "192.0.2.130/32"]);
//!
//! let joined = cover(&["192.0.2.0/25".parse()?, "192.0.2.128/25".parse()?]);
//! assert_eq!(joined, ["192.0.2.0/24".parse()?]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod map;

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use ipnet::IpNet;
use ipnet::IpSubnets;
use ipnet::Ipv4Net;
use ipnet::Ipv4Subnets;
use ipnet::Ipv6Net;
use ipnet::Ipv6Subnets;

pub use error::CidrError;
pub use error::CidrProblem;
pub use map::NetMap;

use crate::parse::decimal;

/// What to do with `10.0.0.5/24`, an address where a network is expected.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum HostBits {
    /// Take `10.0.0.0/24`, as ipset and nft do.
    #[default]
    Mask,
    /// Refuse it, and name that network.
    Refuse,
}

/// One or more addresses that follow each other, as a text names them.
///
/// An IPv6 address that stands for an IPv4 one, `::ffff:192.0.2.1`, is the IPv4
/// address: packets come from that one.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Block {
    what: What,
    masked: bool,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum What {
    Addr(IpAddr),
    Net(IpNet),
    /// From the first to the last.
    Range(IpAddr, IpAddr),
}

impl Block {
    /// Reads an address, a network (`10.0.0.0/8`, `10.0.0.0/255.0.0.0`) or a range
    /// (`10.0.0.1-10.0.0.9`, spaces around the dash allowed).
    ///
    /// # Errors
    /// It is none of these; the error says why.
    pub fn parse(text: &str, host_bits: HostBits) -> Result<Self, CidrError> {
        let text = text.trim_ascii();
        parse(text, host_bits).map_err(|problem| CidrError::new(text, problem))
    }

    /// The networks it consists of: one, or of a range as few as possible, in order.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> + use<> {
        let (one, range) = match self.what {
            What::Addr(addr) => (Some(addr.into()), None),
            What::Net(net) => (Some(net), None),
            What::Range(first, last) => (None, Some(subnets(first, last))),
        };
        one.into_iter().chain(range.into_iter().flatten())
    }

    /// The address, if it was written as one, without a prefix.
    pub fn addr(&self) -> Option<IpAddr> {
        match self.what {
            What::Addr(addr) => Some(addr),
            What::Net(_) | What::Range(..) => None,
        }
    }

    /// Whether bits beyond the prefix were set, and are left out.
    pub fn is_masked(&self) -> bool {
        self.masked
    }
}

impl fmt::Display for Block {
    /// As people write it; reads back equal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Addr(addr) => addr.fmt(f),
            What::Net(net) => net.fmt(f),
            What::Range(first, last) => f.pad(&format!("{first}-{last}")),
        }
    }
}

fn parse(text: &str, host_bits: HostBits) -> Result<Block, CidrProblem> {
    if let Some((first, last)) = text.split_once('-') {
        let what = parse_range(first.trim_ascii_end(), last.trim_ascii_start())?;
        let masked = false;
        return Ok(Block { what, masked });
    }
    let Some((addr, prefix)) = text.split_once('/') else {
        let what = What::Addr(parse_addr(text)?);
        let masked = false;
        return Ok(Block { what, masked });
    };
    let written = net(addr, prefix)?;
    let truncated = written.trunc();
    let masked = truncated != written;
    match host_bits {
        HostBits::Refuse if masked => Err(CidrProblem::HostBits(truncated)),
        HostBits::Refuse | HostBits::Mask => Ok(Block {
            what: What::Net(truncated),
            masked,
        }),
    }
}

fn parse_range(first: &str, last: &str) -> Result<What, CidrProblem> {
    let end = |text: &str| match text.contains('/') {
        true if text
            .split('/')
            .next()
            .is_some_and(|it| parse_addr(it).is_ok()) =>
        {
            Err(CidrProblem::RangeOfNetworks)
        }
        _ => parse_addr(text),
    };
    // `some-host` is a name, not a range from `some`.
    let (first, last) = match (end(first), end(last)) {
        (Ok(first), Ok(last)) => (first, last),
        (Err(CidrProblem::Name | CidrProblem::NoAddress), Err(_)) => return Err(CidrProblem::Name),
        (Err(problem), _) | (_, Err(problem)) => return Err(problem),
    };
    if first.is_ipv4() != last.is_ipv4() {
        return Err(CidrProblem::TwoFamilies);
    }
    match first <= last {
        true => Ok(What::Range(first, last)),
        false => Err(CidrProblem::Backwards),
    }
}

/// The network of an address and what follows the slash, not truncated.
fn net(addr: &str, prefix: &str) -> Result<IpNet, CidrProblem> {
    // Not canonical yet: the prefix is one of IPv6.
    let addr = raw_addr(addr)?;
    let bits = if addr.is_ipv4() { 32 } else { 128 };
    let len = match (decimal::<u8>(prefix), addr, prefix.parse()) {
        (Some(len), _, _) if !prefix.is_empty() => len,
        (_, IpAddr::V4(_), Ok(mask)) => {
            let net = Ipv4Net::with_netmask(Ipv4Addr::UNSPECIFIED, mask);
            net.map_err(|_| CidrProblem::Netmask)?.prefix_len()
        }
        _ if !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(CidrProblem::PrefixTooLong(bits));
        }
        _ => return Err(CidrProblem::Prefix),
    };
    let too_long = CidrProblem::PrefixTooLong(bits);
    let net = IpNet::new(addr, len).map_err(|_| too_long)?;
    Ok(match (addr.to_canonical(), len) {
        (IpAddr::V4(v4), 96..) if addr.is_ipv6() => {
            Ipv4Net::new(v4, len - 96).map_or(net, IpNet::from)
        }
        _ => net,
    })
}

fn parse_addr(text: &str) -> Result<IpAddr, CidrProblem> {
    raw_addr(text).map(|addr| addr.to_canonical())
}

fn raw_addr(text: &str) -> Result<IpAddr, CidrProblem> {
    match text.parse::<Ipv4Addr>() {
        Ok(addr) => Ok(addr.into()),
        Err(_) => match text.parse::<Ipv6Addr>() {
            Ok(addr) => Ok(addr.into()),
            Err(_) => Err(problem_of(text)),
        },
    }
}

/// Why a text that is no address is none.
fn problem_of(text: &str) -> CidrProblem {
    let is_addr = |text: &str| text.parse::<IpAddr>().is_ok();
    let starts_with_addr = |at: char| text.rsplit_once(at).is_some_and(|(head, _)| is_addr(head));
    let parts = || text.split('.').map(str::as_bytes);
    if text.is_empty() {
        CidrProblem::Empty
    } else if starts_with_addr('%') {
        CidrProblem::Zone
    } else if text.starts_with('[') {
        match text.contains("]:") {
            true => CidrProblem::Port,
            false => CidrProblem::Brackets,
        }
    } else if starts_with_addr(':') {
        CidrProblem::Port
    } else if parts().count() == 4
        && parts().all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
        && parts().any(|part| part.len() > 1 && part[0] == b'0')
    {
        CidrProblem::LeadingZero
    } else if is_name(text) {
        CidrProblem::Name
    } else {
        CidrProblem::NoAddress
    }
}

/// Whether it could be a name of a host: labels, the last with a letter first.
fn is_name(text: &str) -> bool {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let last = text.rsplit('.').find(|label| !label.is_empty());
    text.len() <= 253
        && text.bytes().all(in_name)
        && last.is_some_and(|label| label.as_bytes()[0].is_ascii_alphabetic())
}

/// The fewest networks that make up a range. Both are of one family, in order.
fn subnets(first: IpAddr, last: IpAddr) -> IpSubnets {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).into(),
        (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).into(),
        // No range is of two families: an empty one.
        _ => Ipv4Subnets::new(Ipv4Addr::BROADCAST, Ipv4Addr::UNSPECIFIED, 0).into(),
    }
}

/// The fewest networks that hold the same addresses, IPv4 first, in order.
/// Neighbours are joined; what is within another is left out.
pub fn cover(nets: &[IpNet]) -> Vec<IpNet> {
    IpNet::aggregate(&nets.to_vec())
}

/// How many addresses networks hold that do not overlap, such as those of
/// [`cover`]; at most 2^128 - 1.
pub fn addresses(nets: &[IpNet]) -> u128 {
    let one = |net: &IpNet| {
        let host_bits = u32::from(net.max_prefix_len() - net.prefix_len());
        1u128.checked_shl(host_bits).unwrap_or(u128::MAX)
    };
    nets.iter().map(one).fold(0, u128::saturating_add)
}

/// The network of a prefix length around an address; `None` if the prefix is too
/// long for the family.
pub fn around(addr: IpAddr, len: u8) -> Option<IpNet> {
    match addr {
        IpAddr::V4(addr) => Ipv4Net::new(addr, len).ok().map(|net| net.trunc().into()),
        IpAddr::V6(addr) => Ipv6Net::new(addr, len).ok().map(|net| net.trunc().into()),
    }
}
