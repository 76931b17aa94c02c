//! The order of a segment's TCP options.

use std::fmt;
use std::str::FromStr;

use arrayvec::ArrayVec;

use crate::parse::ParseError;
use crate::parse::decimal;

/// TCP option kinds (IANA "TCP Option Kind Numbers").
pub(super) mod kind {
    pub(in super::super) const END: u8 = 0;
    pub(in super::super) const NOP: u8 = 1;
    pub(in super::super) const MSS: u8 = 2;
    pub(in super::super) const SCALE: u8 = 3;
    pub(in super::super) const SACK_PERMITTED: u8 = 4;
    pub(in super::super) const SACK: u8 = 5;
    pub(in super::super) const TIMESTAMPS: u8 = 8;
}

/// The kinds that have names.
const NAMES: [(u8, &str); 6] = [
    (kind::NOP, "nop"),
    (kind::MSS, "mss"),
    (kind::SCALE, "ws"),
    (kind::SACK_PERMITTED, "sok"),
    (kind::SACK, "sack"),
    (kind::TIMESTAMPS, "ts"),
];

/// The kinds of the options as they follow each other, at most
/// [`Options::MAX`], and how many bytes come after the end mark, if there is
/// one. The text is p0f's `olayout`: `mss,nop,ws,eol+1`.
#[derive(Clone, Eq, PartialEq, Hash, Debug, Default)]
pub struct Options {
    kinds: ArrayVec<u8, { Self::MAX }>,
    padding: u8,
}

impl Options {
    /// p0f reads no further: what follows makes the options bad.
    pub const MAX: usize = 24;

    /// `None` if they are more than [`Options::MAX`], if an end mark is not the
    /// last, or if there is padding and no end mark.
    pub fn new(kinds: &[u8], padding: u8) -> Option<Self> {
        let (last, before) = kinds.split_last().unwrap_or((&kind::NOP, &[]));
        let padded = padding != 0 && *last != kind::END;
        if padded || before.contains(&kind::END) {
            return None;
        }
        let kinds = ArrayVec::try_from(kinds).ok()?;
        Some(Self { kinds, padding })
    }

    /// One more option; `false` if there is no room.
    pub(super) fn push(&mut self, kind: u8) -> bool {
        self.kinds.try_push(kind).is_ok()
    }

    /// How many bytes follow the end mark, which is the last option.
    pub(super) fn pad(&mut self, bytes: u8) {
        self.padding = bytes;
    }

    /// The kinds; an end mark is among them.
    pub fn kinds(&self) -> &[u8] {
        &self.kinds
    }

    /// Bytes after the end mark, whatever they are.
    pub fn padding(&self) -> u8 {
        self.padding
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for &kind in &self.kinds {
            f.write_str(comma)?;
            comma = ",";
            match NAMES.iter().find(|(number, _)| *number == kind) {
                Some((_, name)) => f.write_str(name)?,
                None if kind == kind::END => write!(f, "eol+{}", self.padding)?,
                None => write!(f, "?{kind}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Options {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut options = Self::default();
        if text.is_empty() {
            return Ok(options);
        }
        for word in text.split(',') {
            let wrong = |expected| Err(ParseError::new("option layout", word, expected));
            let Some(kind) = read(word, &mut options.padding) else {
                return wrong("eol+N, nop, mss, ws, sok, sack, ts or ?N");
            };
            if options.kinds.last() == Some(&kind::END) {
                return wrong("nothing after eol");
            }
            if options.kinds.try_push(kind).is_err() {
                return wrong("at most 24 options");
            }
        }
        Ok(options)
    }
}

/// One option's kind. A kind that has a name may also be given by its number,
/// except the end mark, which has padding.
fn read(word: &str, padding: &mut u8) -> Option<u8> {
    if let Some((kind, _)) = NAMES.iter().find(|(_, name)| *name == word) {
        return Some(*kind);
    }
    if let Some(bytes) = word.strip_prefix("eol+") {
        *padding = decimal(bytes)?;
        return Some(kind::END);
    }
    decimal(word.strip_prefix('?')?).filter(|kind| *kind != kind::END)
}
