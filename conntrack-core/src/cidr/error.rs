//! What is wrong with an address, a network or a range.

use std::fmt;

use ipnet::IpNet;

use crate::parse::shorten;

/// Why a text is no address, network or range.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub enum CidrProblem {
    /// There is nothing.
    Empty,
    /// It is no address of either family.
    NoAddress,
    /// A part of it begins with a zero: `010` is 8 to some programs and 10 to others.
    LeadingZero,
    /// It has a port.
    Port,
    /// It has a zone, such as `%eth0`; packets carry none.
    Zone,
    /// It is in square brackets.
    Brackets,
    /// It may be a name of a host; names are not looked up.
    Name,
    /// What follows the slash is neither a number nor a netmask.
    Prefix,
    /// The prefix is longer than an address of the family, which has so many bits.
    PrefixTooLong(u8),
    /// A netmask whose ones are not together, at its beginning.
    Netmask,
    /// Bits beyond the prefix are set; the network is the one that is meant.
    HostBits(IpNet),
    /// The end of the range comes before its beginning.
    Backwards,
    /// One end of the range is IPv4, the other IPv6.
    TwoFamilies,
    /// An end of the range is a network.
    RangeOfNetworks,
}

impl fmt::Display for CidrProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "there is no address",
            Self::NoAddress => "it is neither an address nor a network nor a range",
            Self::LeadingZero => "a number begins with 0, which some programs read as octal",
            Self::Port => "an address has no port here",
            Self::Zone => "an address has no zone here",
            Self::Brackets => "an address has no brackets here",
            Self::Name => "it looks like a name, and names are not looked up",
            Self::Prefix => "what follows the slash is neither a number of bits nor a netmask",
            Self::PrefixTooLong(bits) => return write!(f, "the prefix is longer than {bits} bits"),
            Self::Netmask => "the ones of the netmask are not together at its beginning",
            Self::HostBits(net) => {
                return write!(f, "bits beyond the prefix are set: is {net} meant?");
            }
            Self::Backwards => "the range ends before it begins",
            Self::TwoFamilies => "one end of the range is IPv4, the other IPv6",
            Self::RangeOfNetworks => "a range goes from an address to an address",
        })
    }
}

/// A text that is no address, network or range. `Display` quotes the text, cut to
/// a sane length, and says what is wrong with it.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct CidrError {
    text: String,
    problem: CidrProblem,
}

impl CidrError {
    pub(crate) fn new(text: &str, problem: CidrProblem) -> Self {
        Self {
            text: shorten(text),
            problem,
        }
    }

    /// What is wrong.
    pub fn problem(&self) -> CidrProblem {
        self.problem
    }
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.text, self.problem)
    }
}

impl std::error::Error for CidrError {}
