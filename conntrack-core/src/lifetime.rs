//! Spans of time as people write them: `90s`, `10m`, `24h`, `7d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::parse::ParseError;
use crate::parse::decimal;

/// How long something lasts, in whole seconds, at least one. As a text it is a
/// number with `s`, `m`, `h`, `d` or `w`; without a unit it is seconds.
///
/// ```
/// use std::time::Duration;
/// use conntrack_core::Lifetime;
///
/// assert_eq!("10m".parse(), Ok(Lifetime(Duration::from_secs(600))));
/// assert_eq!(Lifetime(Duration::from_secs(7200)).to_string(), "2h");
/// ```
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Lifetime(pub Duration);

/// The units with their seconds, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("w", 604_800),
    ("d", 86_400),
    ("h", 3600),
    ("m", 60),
    ("s", 1),
];

/// The longest: a hundred years. Nanoseconds of it fit into 64 bits.
const MAX_SECONDS: u64 = 100 * 366 * 86_400;

impl fmt::Display for Lifetime {
    /// In the largest unit of which it is a whole number; fractions of a second are
    /// left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let fits = |size: u64| seconds != 0 && seconds.is_multiple_of(size);
        let unit = UNITS.iter().find(|(_, size)| fits(*size));
        let (unit, size) = unit.unwrap_or(&("s", 1));
        f.pad(&format!("{}{unit}", seconds / size))
    }
}

impl FromStr for Lifetime {
    type Err = ParseError;

    /// Takes digits and at most one unit; from a second to a hundred years.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::new("time", text, "a time such as 90s, 10m, 24h, 7d or 2w");
        let end = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(end.unwrap_or(text.len()));
        let number: u64 = decimal(number).ok_or_else(wrong)?;
        let size = match unit {
            "" => 1,
            unit => {
                let found = UNITS.iter().find(|(name, _)| *name == unit);
                found.ok_or_else(wrong)?.1
            }
        };
        let seconds = number.checked_mul(size).ok_or_else(wrong)?;
        match seconds {
            1..=MAX_SECONDS => Ok(Self(Duration::from_secs(seconds))),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for text in ["1s", "90s", "10m", "25h", "6d", "2w", "61s"] {
            let time: Lifetime = text.parse().unwrap();
            assert_eq!(time.to_string(), text);
        }
        let seconds = |text: &str| text.parse::<Lifetime>().unwrap().0.as_secs();
        assert_eq!(seconds("90"), 90);
        assert_eq!(seconds("24h"), 86_400);
        assert_eq!(seconds("3162240000"), MAX_SECONDS);
        assert_eq!(Lifetime(Duration::from_millis(1999)).to_string(), "1s");
        assert_eq!(Lifetime(Duration::ZERO).to_string(), "0s");
    }

    #[test]
    fn what_is_no_time() {
        for bad in [
            "",
            "s",
            "0",
            "0m",
            "-1s",
            "+1s",
            "1.5h",
            "10 m",
            "10M",
            "1h30m",
            "3162240001",
            "18446744073709551615w",
        ] {
            assert!(bad.parse::<Lifetime>().is_err(), "{bad:?}");
        }
    }
}
