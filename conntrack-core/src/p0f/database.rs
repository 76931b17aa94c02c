//! Known signatures, and which of them a segment's is.

use std::collections::HashMap;

use super::Distance;
use super::Kind;
use super::Label;
use super::Signature;
use super::pattern::Fit;
use super::pattern::Pattern;
use crate::protocol::Family;

/// The signatures of p0f's file, from [`Database::parse`].
#[derive(Clone, Debug, Default)]
pub struct Database {
    pub(super) labels: Vec<Label>,
    pub(super) requests: Records,
    pub(super) responses: Records,
    pub(super) links: HashMap<u32, String>,
    pub(super) signatures: usize,
}

/// In the file's order, by the kinds of their options.
pub(super) type Records = HashMap<Box<[u8]>, Vec<Record>>;

/// A signature of the file.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) pattern: Pattern,
    /// Its place among the labels.
    pub(super) label: usize,
    pub(super) line: usize,
}

/// How sure an answer is. The numbers are `os_match_q` of p0f's API.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
#[repr(u8)]
pub enum Quality {
    /// A specific signature, in all.
    Exact = 0,
    /// A specific signature, but for the TTL or for quirks that come and go on
    /// the way.
    Fuzzy = 1,
    /// A signature of last resort, in all.
    Generic = 2,
    /// A signature of last resort, but for these.
    FuzzyGeneric = 3,
}

impl Quality {
    /// Whether something differs.
    pub fn is_fuzzy(self) -> bool {
        matches!(self, Self::Fuzzy | Self::FuzzyGeneric)
    }

    /// Whether it is a last resort.
    pub fn is_generic(self) -> bool {
        matches!(self, Self::Generic | Self::FuzzyGeneric)
    }
}

/// A signature of the file that a segment's is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Match<'a> {
    /// Who.
    pub label: &'a Label,
    /// How sure.
    pub quality: Quality,
    /// Whether the sender chooses its TTLs, so that the distance is but a limit.
    pub any_ttl: bool,
    /// Where the signature is in the file.
    pub line: usize,
}

/// What the file knows of a segment.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Found<'a> {
    /// `None` if it is none of the file's.
    pub matched: Option<Match<'a>>,
    /// How many routers it has passed: by the file's TTL or, where that cannot
    /// be, by a guess.
    pub distance: u8,
    /// The MTU of the sender's link; `None` if there is no MSS, or if a program
    /// made it up.
    pub mtu: Option<u32>,
    /// What links have this MTU.
    pub link: Option<&'a str>,
}

impl Found<'_> {
    /// p0f's `params`: `none`, or which of `generic`, `fuzzy`, `random_ttl` and
    /// `excess_dist` hold.
    pub fn params(&self) -> String {
        let quality = self.matched.map(|matched| matched.quality);
        let words = [
            (quality.is_some_and(Quality::is_generic), "generic"),
            (quality.is_some_and(Quality::is_fuzzy), "fuzzy"),
            (
                self.matched.is_some_and(|matched| matched.any_ttl),
                "random_ttl",
            ),
            (Distance(self.distance).is_excessive(), "excess_dist"),
        ];
        let held: Vec<&str> = words
            .iter()
            .filter(|word| word.0)
            .map(|word| word.1)
            .collect();
        if held.is_empty() {
            "none".to_owned()
        } else {
            held.join(" ")
        }
    }
}

impl Database {
    /// How many signatures it has, those of links included.
    pub fn len(&self) -> usize {
        self.signatures
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.signatures == 0
    }

    /// Which of the signatures a segment's is: the first specific one, else the
    /// first generic one, else the first that nearly fits, unless that is a
    /// program's. A signature that was read from a text and has a multiple for its
    /// window does not fit signatures with a window in bytes.
    pub fn find(&self, kind: Kind, seen: &Signature) -> Found<'_> {
        let best = self.best(kind, seen);
        let matched = best.map(|(record, fit)| {
            let label = &self.labels[record.label];
            let quality = match (fit, label.generic) {
                (Fit::Whole, false) => Quality::Exact,
                (Fit::Nearly, false) => Quality::Fuzzy,
                (Fit::Whole, true) => Quality::Generic,
                (Fit::Nearly, true) => Quality::FuzzyGeneric,
            };
            Match {
                label,
                quality,
                any_ttl: record.pattern.any_ttl,
                line: record.line,
            }
        });
        let known = best.and_then(|(record, _)| record.pattern.distance(seen));
        let made_up = matched.is_some_and(|matched| matched.label.is_tool());
        let mtu = if made_up { None } else { mtu(seen) };
        Found {
            matched,
            distance: known.unwrap_or(seen.distance().0),
            mtu,
            link: mtu.and_then(|mtu| self.links.get(&mtu)).map(String::as_str),
        }
    }

    fn best(&self, kind: Kind, seen: &Signature) -> Option<(&Record, Fit)> {
        let records = match kind {
            Kind::Syn => &self.requests,
            Kind::SynAck => &self.responses,
        };
        let (mut generic, mut fuzzy) = (None, None);
        for record in records.get(seen.options.kinds())? {
            let Some(fit) = record.pattern.fit(seen) else {
                continue;
            };
            let found = Some((record, fit));
            match (fit, self.labels[record.label].generic) {
                (Fit::Whole, false) => return found,
                (Fit::Whole, true) => generic = generic.or(found),
                (Fit::Nearly, _) => fuzzy = fuzzy.or(found),
            }
        }
        let made_up = |record: &Record| self.labels[record.label].is_tool();
        generic.or(fuzzy.filter(|(record, _)| !made_up(record)))
    }
}

/// The MSS with plain headers.
fn mtu(seen: &Signature) -> Option<u32> {
    let headers = match seen.family {
        Family::Ipv4 => 40,
        Family::Ipv6 => 60,
    };
    (seen.mss != 0).then(|| u32::from(seen.mss) + headers)
}
