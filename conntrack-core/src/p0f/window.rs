//! The window, and what it may be a multiple of.

use std::fmt;
use std::str::FromStr;

use super::Raw;
use crate::parse::ParseError;
use crate::parse::decimal;
use crate::protocol::Family;

/// How the window follows from the MSS or MTU.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Multiple {
    /// So many times an MSS: the segment's own, its peer's or Ethernet's, with or
    /// without room for timestamps.
    Mss(u16),
    /// So many times an MTU: the segment's own, or Ethernet's.
    Mtu(u16),
}

impl Multiple {
    /// p0f takes no larger factor.
    pub(super) const MAX: u16 = 1000;
}

/// A window as p0f describes it: `mss*10`, `mtu*2` or bytes.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Window {
    /// What is in the header. `None` if only the multiple is known, as from a text.
    pub bytes: Option<u16>,
    /// What it is a multiple of.
    pub multiple: Option<Multiple>,
}

/// Bytes of an IPv4 and a TCP header.
const HEADERS_V4: u32 = 40;
/// Bytes of an IPv6 and a TCP header.
const HEADERS_V6: u32 = 60;
/// Bytes of a timestamp option with padding.
const TIMESTAMPS: u32 = 12;
const ETHERNET: u32 = 1500;

/// A smaller MSS says nothing.
const LEAST_MSS: u16 = 100;

/// Whether a SYN+ACK's window follows from the MSS of the SYN that it answers.
/// Where it does not, the record does without that MSS.
pub(super) fn follows_peer(window: u16, peer_mss: u16) -> bool {
    peer_multiple(window, peer_mss).is_some()
}

fn peer_multiple(window: u16, peer_mss: u16) -> Option<u16> {
    let peer = u32::from(peer_mss);
    let divisors = [peer, peer.saturating_sub(TIMESTAMPS)];
    divisors.iter().find_map(|by| times(window, *by))
}

/// How many times `by` the window is, if it is a factor that p0f takes.
fn times(window: u16, by: u32) -> Option<u16> {
    let window = u32::from(window);
    if window == 0 || by == 0 || !window.is_multiple_of(by) {
        return None;
    }
    let factor = u16::try_from(window / by).ok()?;
    (factor <= Multiple::MAX).then_some(factor)
}

impl Window {
    /// What p0f would say of a segment's window. Nobody scales it for this.
    pub(super) fn of(raw: &Raw) -> Self {
        let multiple = if raw.mss < LEAST_MSS {
            None
        } else {
            of_mss(raw)
                .map(Multiple::Mss)
                .or_else(|| of_mtu(raw).map(Multiple::Mtu))
                .or_else(|| peer_multiple(raw.window, raw.peer_mss).map(Multiple::Mss))
        };
        Self {
            bytes: Some(raw.window),
            multiple,
        }
    }
}

/// The segment's own MSS, then what it is on Ethernet; of each also what remains
/// beside timestamps.
fn of_mss(raw: &Raw) -> Option<u16> {
    let mss = u32::from(raw.mss);
    let beside = if raw.has_timestamp() {
        mss - TIMESTAMPS
    } else {
        0
    };
    let ethernet = |headers: u32| [ETHERNET - headers, ETHERNET - headers - TIMESTAMPS];
    let [v4, v4_beside] = ethernet(HEADERS_V4);
    let [v6, v6_beside] = match raw.family() {
        Family::Ipv4 => [0, 0],
        Family::Ipv6 => ethernet(HEADERS_V6),
    };
    let divisors = [mss, beside, v4, v4_beside, v6, v6_beside];
    divisors.iter().find_map(|by| times(raw.window, *by))
}

/// The MSS and headers: IPv4's plain ones, those that are there, IPv6's plain
/// ones; then Ethernet's.
fn of_mtu(raw: &Raw) -> Option<u16> {
    let mss = u32::from(raw.mss);
    let v6 = match raw.family() {
        Family::Ipv4 => 0,
        Family::Ipv6 => mss + HEADERS_V6,
    };
    let divisors = [mss + HEADERS_V4, mss + raw.header_bytes(), v6, ETHERNET];
    divisors.iter().find_map(|by| times(raw.window, *by))
}

/// `N` after `mss*` or `mtu*`.
pub(super) fn multiple(text: &str) -> Option<Multiple> {
    let (kind, factor): (fn(u16) -> Multiple, _) = match text.split_once('*')? {
        ("mss", factor) => (Multiple::Mss, factor),
        ("mtu", factor) => (Multiple::Mtu, factor),
        _ => return None,
    };
    let factor = decimal(factor)?;
    (1..=Multiple::MAX).contains(&factor).then(|| kind(factor))
}

impl fmt::Display for Multiple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mss(factor) => write!(f, "mss*{factor}"),
            Self::Mtu(factor) => write!(f, "mtu*{factor}"),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.multiple, self.bytes) {
            (Some(multiple), _) => fmt::Display::fmt(&multiple, f),
            (None, bytes) => fmt::Display::fmt(&bytes.unwrap_or_default(), f),
        }
    }
}

impl FromStr for Window {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let multiple = multiple(text);
        let bytes = match multiple {
            Some(_) => None,
            None => Some(decimal(text).ok_or_else(|| {
                ParseError::new("window", text, "mss*N or mtu*N to 1000, or bytes to 65535")
            })?),
        };
        Ok(Self { bytes, multiple })
    }
}
