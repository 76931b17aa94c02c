//! Amounts of memory as people write them.

use std::fmt;
use std::str::FromStr;

use crate::parse::ParseError;
use crate::parse::decimal;

/// An amount of memory in bytes. As a text it is a number of bytes, or of units of
/// 1024 times each other: `64M`, `1G`, `131072`.
///
/// ```
/// use conntrack_core::ByteSize;
///
/// assert_eq!("64M".parse(), Ok(ByteSize(64 << 20)));
/// assert_eq!(ByteSize(1 << 30).to_string(), "1G");
/// ```
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct ByteSize(pub u64);

/// The units with their powers of 2, the largest first.
const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl fmt::Display for ByteSize {
    /// In the largest unit of which it is a whole number; reads back equal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |shift: u32| self.0 != 0 && self.0.is_multiple_of(1 << shift);
        match UNITS.iter().find(|(_, shift)| fits(*shift)) {
            Some((unit, shift)) => f.pad(&format!("{}{unit}", self.0 >> shift)),
            None => f.pad(&self.0.to_string()),
        }
    }
}

impl FromStr for ByteSize {
    type Err = ParseError;

    /// Takes digits and one of K, M, G, T in either case; `iB` or `B` may follow.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::new("size", text, "bytes, or a number with K, M, G or T");
        let end = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(end.unwrap_or(text.len()));
        let number: u64 = decimal(number).ok_or_else(wrong)?;
        let mut letters = unit.chars();
        let Some(letter) = letters.next() else {
            return Ok(Self(number));
        };
        let is_it = |(unit, _): &&(char, u32)| *unit == letter.to_ascii_uppercase();
        let (_, shift) = UNITS.iter().find(is_it).ok_or_else(wrong)?;
        if !["", "B", "iB"].contains(&letters.as_str()) {
            return Err(wrong());
        }
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::text::serialize(self, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("64K", 64 << 10),
            ("64M", 64 << 20),
            ("1g", 1 << 30),
            ("2GiB", 2 << 30),
            ("3TB", 3 << 40),
            ("1536M", 1536 << 20),
            ("16777215T", 0x00ff_ffff << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
            let again = ByteSize(bytes).to_string();
            assert_eq!(again.parse(), Ok(ByteSize(bytes)), "{text}: {again}");
        }
        assert_eq!(ByteSize(1536 << 20).to_string(), "1536M");
        for bad in [
            "",
            "M",
            "-1M",
            "+1M",
            "1.5G",
            "64 M",
            "64P",
            "64MM",
            "64Bi",
            "1é",
            "16777216T",
            "99999999999999999999",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?}");
        }
    }
}
