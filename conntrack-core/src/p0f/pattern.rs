//! A signature of p0f's file: what segments of a stack have in common.

use std::str::FromStr;

use super::Multiple;
use super::Options;
use super::Quirks;
use super::Signature;
use super::Window;
use super::text;
use super::text::Fields;
use super::ttl::MAX_DISTANCE;
use super::window::multiple;
use crate::parse::ParseError;
use crate::parse::decimal;
use crate::protocol::Family;

/// Quirks that may go missing on the way: a router clears them.
const MAY_GO: Quirks = Quirks::of(&[Quirks::DF, Quirks::ID]);
/// Quirks that may come on the way.
const MAY_COME: Quirks = Quirks::of(&[Quirks::ZERO_ID, Quirks::ECN]);

/// A pattern of signatures, as p0f's file has them:
/// `ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass`, where some of the fields may be
/// `*`; those are `None` here.
///
/// ```
/// use conntrack_core::p0f::Pattern;
///
/// let pattern: Pattern = "*:64:0:*:mss*20,10:mss,sok,ts,nop,ws:df,id+:0".parse()?;
/// let seen = "4:57+7:0:1460:mss*20,10:mss,sok,ts,nop,ws:df,id+:0".parse()?;
/// assert!(pattern.matches(&seen));
/// # Ok::<(), conntrack_core::ParseError>(())
/// ```
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Pattern {
    /// IPv4 or IPv6.
    pub family: Option<Family>,
    /// The TTL that the sender begins with.
    pub ttl: u8,
    /// The sender chooses any TTL up to that one: `64-`.
    pub any_ttl: bool,
    /// Bytes of IPv4's options or IPv6's extension headers.
    pub ip_options: u8,
    /// The MSS.
    pub mss: Option<u16>,
    /// The window.
    pub window: Size,
    /// The window scale.
    pub scale: Option<u8>,
    /// The options in their order.
    pub options: Options,
    /// All quirks that there are, less those that the packet's family cannot have.
    pub quirks: Quirks,
    /// Whether there is data behind the header.
    pub payload: Option<bool>,
}

/// What a window must be.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Size {
    /// Anything: `*`.
    Any,
    /// So many bytes.
    Bytes(u16),
    /// A multiple of so many bytes: `%8192`.
    Modulo(u16),
    /// So many times the MSS or the MTU.
    Multiple(Multiple),
}

/// How well a segment's signature fits.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Fit {
    /// In all.
    Whole,
    /// But for the TTL, or for quirks that come and go on the way.
    Nearly,
}

impl Pattern {
    /// Whether a segment's signature fits in all. p0f also knows what nearly fits; that
    /// does not.
    pub fn matches(&self, seen: &Signature) -> bool {
        self.fit(seen) == Some(Fit::Whole)
    }

    /// The TTLs that a segment may have when it arrives: the least and the largest.
    pub fn ttls(&self) -> [u8; 2] {
        let least = if self.any_ttl {
            0
        } else {
            self.ttl.saturating_sub(MAX_DISTANCE)
        };
        [least, self.ttl]
    }

    /// The kinds of the options.
    pub(super) fn kinds(&self) -> &[u8] {
        self.options.kinds()
    }

    /// How a segment's signature fits, or `None` if it does not.
    pub(super) fn fit(&self, seen: &Signature) -> Option<Fit> {
        let other_family = self.family.is_some_and(|family| family != seen.family);
        let fits = !other_family
            && self.options == seen.options
            && self.ip_options == seen.ip_options
            && self.mss.is_none_or(|mss| mss == seen.mss)
            && self.scale.is_none_or(|scale| scale == seen.scale)
            && self.payload.is_none_or(|payload| payload == seen.payload)
            && self.window.fits(seen.window);
        if !fits || (self.any_ttl && seen.ttl > self.ttl) {
            return None;
        }
        let quirks = self.quirks.without(Quirks::foreign_to(seen.family));
        let (gone, come) = (quirks.without(seen.quirks), seen.quirks.without(quirks));
        let excused = MAY_GO.contains(gone) && MAY_COME.contains(come);
        if gone.is_empty() && come.is_empty() && self.distance(seen).is_some() {
            Some(Fit::Whole)
        } else {
            excused.then_some(Fit::Nearly)
        }
    }

    /// How many routers the segment has passed if its sender began with this TTL;
    /// `None` if it cannot have done so.
    pub(super) fn distance(&self, seen: &Signature) -> Option<u8> {
        let distance = self.ttl.checked_sub(seen.ttl)?;
        (self.any_ttl || distance <= MAX_DISTANCE).then_some(distance)
    }
}

impl Size {
    fn fits(&self, window: Window) -> bool {
        match self {
            Self::Any => true,
            Self::Bytes(bytes) => window.bytes == Some(*bytes),
            Self::Modulo(by) => window.bytes.is_some_and(|bytes| bytes.is_multiple_of(*by)),
            Self::Multiple(multiple) => window.multiple == Some(*multiple),
        }
    }
}

/// What the field says, or `None` if it is `*`.
fn any_or<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, ParseError>,
) -> Result<Option<T>, ParseError> {
    match text {
        "*" => Ok(None),
        _ => read(text).map(Some),
    }
}

impl FromStr for Pattern {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fields = Fields::split(text)?;
        let family = any_or(fields.version, |version| match version {
            "4" => Ok(Family::Ipv4),
            "6" => Ok(Family::Ipv6),
            _ => Err(ParseError::new("IP version", version, "4, 6 or *")),
        })?;
        let payload = any_or(fields.payload, |class| match class {
            "0" => Ok(false),
            "+" => Ok(true),
            _ => Err(ParseError::new("payload class", class, "0, + or *")),
        })?;
        let (ttl, any_ttl) = ttl(fields.ttl)?;
        Ok(Self {
            family,
            ttl,
            any_ttl,
            ip_options: text::ip_options(fields.ip_options)?,
            mss: any_or(fields.mss, text::mss)?,
            window: fields.window.parse()?,
            scale: any_or(fields.scale, text::scale)?,
            options: fields.options.parse()?,
            quirks: text::quirks(fields.quirks, family)?,
            payload,
        })
    }
}

/// `64`, `64-` or `50+14`: the TTL that the sender began with, and whether it is
/// only the largest.
fn ttl(text: &str) -> Result<(u8, bool), ParseError> {
    let number = || -> Option<u8> {
        let (ttl, distance) = match text.split_once('+') {
            Some((ttl, distance)) => (decimal::<u8>(ttl)?, decimal(distance)?),
            None => (decimal(text.strip_suffix('-').unwrap_or(text))?, 0),
        };
        ttl.checked_add(distance).filter(|_| ttl != 0)
    };
    let expected = "1 to 255, the same with a - behind, or TTL+DISTANCE";
    let ttl = number().ok_or_else(|| ParseError::new("TTL", text, expected))?;
    Ok((ttl, text.ends_with('-')))
}

impl FromStr for Size {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let size = || {
            if text == "*" {
                return Some(Self::Any);
            }
            if let Some(by) = text.strip_prefix('%') {
                return decimal(by).filter(|by| *by >= 2).map(Self::Modulo);
            }
            let multiple = multiple(text).map(Self::Multiple);
            multiple.or_else(|| decimal(text).map(Self::Bytes))
        };
        let expected = "mss*N or mtu*N to 1000, %N from 2, bytes to 65535, or *";
        size().ok_or_else(|| ParseError::new("window", text, expected))
    }
}
