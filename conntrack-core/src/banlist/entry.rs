//! What a list holds, and what is said about reading it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::Format;
use crate::ban::BanDirection;
use crate::ban::BanScope;
use crate::ban::BanSpec;
use crate::ban::BanTarget;
use crate::time::Timestamp;

/// Where something stands in a list.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Place {
    /// In this line, counted from 1.
    Line(u64),
    /// It is the one of this number, counted from 1, where lines say nothing: in JSON.
    Item(u64),
}

impl fmt::Display for Place {
    /// `line 7`, `item 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Item(number) => write!(f, "item {number}"),
        }
    }
}

/// When an entry ends.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub enum Expiry {
    /// The list does not say.
    #[default]
    Never,
    /// This long after the list was written.
    After(Duration),
    /// At this instant.
    At(Timestamp),
}

impl Expiry {
    /// What is left of it, zero if it is over; `None` if there is no end.
    pub fn ttl(self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After(ttl) => Some(ttl),
            Self::At(until) => Some(until.since(now)),
        }
    }
}

/// An entry of a list.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct ListEntry {
    /// Where it stands.
    pub place: Place,
    /// The addresses, bits beyond the prefix left out.
    pub net: IpNet,
    /// It is one address, written without a prefix, in a list that does not mean
    /// exactly this one by it; of IPv6, its /64 may be meant.
    pub bare: bool,
    /// Which packets.
    pub scope: BanScope,
    /// The opposite: these addresses are not banned (`nomatch` of ipset).
    pub except: bool,
    /// When it ends.
    pub expiry: Expiry,
    /// Why, on one line, at most [`REASON_MAX`](crate::ban::REASON_MAX) bytes.
    pub reason: String,
    /// Which way packets are dropped.
    pub direction: BanDirection,
    /// Count instead of dropping.
    pub dry_run: bool,
}

impl ListEntry {
    /// Whom it concerns: of a bare IPv6 address the /64, unless `exact`.
    pub fn target(&self, exact: bool) -> BanTarget {
        let target = match self.net.addr() {
            addr @ IpAddr::V6(_) if self.bare && !exact => BanTarget::of(addr),
            _ => BanTarget::new(self.net),
        };
        target.with_scope(self.scope)
    }

    /// The ban that it wishes for; `None` of an exception, and if it is over.
    pub fn spec(&self, exact: bool, now: Timestamp) -> Option<BanSpec> {
        let ttl = self.expiry.ttl(now);
        if self.except || ttl == Some(Duration::ZERO) {
            return None;
        }
        let spec = BanSpec::new(self.target(exact))
            .reason(self.reason.as_str())
            .direction(self.direction)
            .dry_run(self.dry_run);
        Some(BanSpec { ttl, ..spec })
    }
}

/// A line, or an item of a line, that is no entry. `Display` gives the place, the
/// text and the reason.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct BadItem {
    /// Where it stands.
    pub place: Place,
    /// How it begins, at most 64 characters.
    pub text: String,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for BadItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, text, why } = self;
        write!(f, "{place}: {text:?}: {why}")
    }
}

/// Something in a list.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Found {
    /// An entry.
    Entry(ListEntry),
    /// An item that is none.
    Bad(BadItem),
}

/// What a list was like.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Its shape.
    pub format: Format,
    /// Lines read, of all kinds; 0 of JSON.
    pub lines: u64,
    /// Things that should be entries: lines, rows, elements. Each is good, bad or
    /// unselected.
    pub items: u64,
    /// Entries given: one an item, several if it is a range.
    pub entries: u64,
    /// Items that are none; each was given.
    pub bad: u64,
    /// Items of other sets than the one asked for.
    pub unselected: u64,
    /// Items with bits beyond the prefix, which were left out.
    pub masked: u64,
    /// Lines that are empty, a comment, names of columns, or commands that add
    /// nothing. Not counted of nft and JSON.
    pub ignored: u64,
    /// How many items there are by the list's own header.
    pub declared: Option<u64>,
    /// It ends before its end or cannot be understood from there on: where and why.
    pub cut_off: Option<String>,
}

impl Summary {
    /// Whether nothing is missing: it has an end, and as many items as it says.
    pub fn is_complete(&self) -> bool {
        self.cut_off.is_none() && self.declared.is_none_or(|declared| declared == self.items)
    }
}
