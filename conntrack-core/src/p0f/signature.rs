//! A signature: what is typical of the stack that sent a segment.

use std::fmt;
use std::str::FromStr;

use super::Distance;
use super::Options;
use super::Quirks;
use super::Raw;
use super::RawError;
use super::Window;
use super::text;
use super::text::Fields;
use super::window::follows_peer;
use crate::parse::ParseError;
use crate::protocol::Family;

/// A SYN's or SYN+ACK's signature. The text is p0f's `raw_sig`,
/// `ver:ttl+distance:olen:mss:wsize,scale:olayout:quirks:pclass`, and reads back
/// equal but for [`Window::bytes`] where a multiple is printed. Whether it is a
/// SYN is not in it.
#[derive(Clone, Eq, PartialEq, Hash, Debug)]
#[non_exhaustive]
pub struct Signature {
    /// IPv4 or IPv6.
    pub family: Family,
    /// TTL or hop limit, as it arrived.
    pub ttl: u8,
    /// Bytes of IPv4's options or IPv6's extension headers, at most 255.
    pub ip_options: u8,
    /// The MSS option's value, or 0.
    pub mss: u16,
    /// The window.
    pub window: Window,
    /// The window scale option's value, or 0.
    pub scale: u8,
    /// The options in their order.
    pub options: Options,
    /// What is odd.
    pub quirks: Quirks,
    /// Whether there is data behind the header.
    pub payload: bool,
}

impl Signature {
    /// What a record says.
    ///
    /// # Errors
    ///
    /// The record is none that the packet path makes.
    pub fn from_raw(raw: &Raw) -> Result<Self, RawError> {
        let header = usize::from(raw.tcp_header);
        if !(20..=60).contains(&header) || !header.is_multiple_of(4) {
            return Err(RawError::Header);
        }
        let answers = raw.has(Raw::SYN_ACK) && follows_peer(raw.window, raw.peer_mss);
        if raw.peer_mss != 0 && !answers {
            return Err(RawError::Peer);
        }
        Ok(Self::new(raw, raw.layout()?, raw.quirks()?))
    }

    /// What a record says that is known to mean these.
    pub(super) fn new(raw: &Raw, options: Options, quirks: Quirks) -> Self {
        Self {
            family: raw.family(),
            ttl: raw.ttl,
            ip_options: raw.ip_options,
            mss: raw.mss,
            window: Window::of(raw),
            scale: raw.scale,
            options,
            quirks,
            payload: raw.has_payload(),
        }
    }

    /// How many routers the packet has passed, by its TTL alone.
    pub fn distance(&self) -> Distance {
        Distance::guess(self.ttl)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.family {
            Family::Ipv4 => 4,
            Family::Ipv6 => 6,
        };
        write!(f, "{version}:{}+{}:", self.ttl, self.distance())?;
        write!(f, "{}:{}:", self.ip_options, self.mss)?;
        write!(f, "{},{}:", self.window, self.scale)?;
        write!(f, "{}:{}:", self.options, self.quirks)?;
        f.write_str(if self.payload { "+" } else { "0" })
    }
}

impl FromStr for Signature {
    type Err = ParseError;

    /// The error names the field.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fields = Fields::split(text)?;
        let family = match fields.version {
            "4" => Family::Ipv4,
            "6" => Family::Ipv6,
            other => return Err(ParseError::new("IP version", other, "4 or 6")),
        };
        let payload = match fields.payload {
            "0" => false,
            "+" => true,
            other => return Err(ParseError::new("payload class", other, "0 or +")),
        };
        Ok(Self {
            family,
            ttl: ttl(fields.ttl)?,
            ip_options: text::ip_options(fields.ip_options)?,
            mss: text::mss(fields.mss)?,
            window: fields.window.parse()?,
            scale: text::scale(fields.scale)?,
            options: fields.options.parse()?,
            quirks: text::quirks(fields.quirks, Some(family))?,
            payload,
        })
    }
}

/// `50+14` or `90+?`: the distance must be the one that follows from the TTL.
fn ttl(text: &str) -> Result<u8, ParseError> {
    let number = || {
        let (ttl, distance) = text.split_once('+')?;
        let ttl = crate::parse::decimal(ttl)?;
        (Distance::guess(ttl).to_string() == distance).then_some(ttl)
    };
    let expected = "TTL+DISTANCE, such as 50+14, or TTL+? where it is more than 35";
    number().ok_or_else(|| ParseError::new("TTL", text, expected))
}
