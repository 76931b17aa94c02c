//! Two kinds of instants: the kernel's monotonic clock and civil time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::parse::ParseError;

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of the packet path.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct MonoTime(pub u64);

impl MonoTime {
    /// How long before `self` the instant `earlier` was; zero if it was not.
    /// Stamps of the coarse clock may trail the precise one by a tick.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant `after` later, at most the end of time.
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(after)))
    }
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An instant of civil time: nanoseconds since 1970-01-01T00:00:00Z, negative
/// before it; from 1677 to 2262.
///
/// The text is RFC 3339 in UTC with nine digits:
/// `2026-11-20T17:52:37.123456789Z`. Serde uses the same text.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

impl Timestamp {
    /// The civil time of a monotonic instant, given what both clocks said at
    /// one moment. Saturates at the ends of the range.
    pub fn from_mono(instant: MonoTime, mono_now: MonoTime, civil_now: Self) -> Self {
        let ago = i128::from(mono_now.0) - i128::from(instant.0);
        let nanos = i128::from(civil_now.0) - ago;
        Self(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
    }

    /// How long before `self` the instant `earlier` was; zero if it was not.
    pub fn since(self, earlier: Self) -> Duration {
        let nanos = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic
/// Gregorian calendar. Years begin in March here, so that the leap day is last.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468; // days since 0000-03-01
    let era = shifted.div_euclid(146_097); // 400 years
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`civil_from_days`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Numbers below a hundred, two digits each.
const PAIRS: &[u8; 200] = b"\
    00010203040506070809101112131415161718192021222324252627282930313233343536373839\
    40414243444546474849505152535455565758596061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

/// What a time stamp looks like, all but its digits.
const SHAPE: [u8; 30] = *b"0000-00-00T00:00:00.000000000Z";

impl Timestamp {
    /// The text, as ASCII. The range has years of four digits only.
    fn digits(self) -> [u8; SHAPE.len()] {
        let seconds = self.0.div_euclid(NANOS);
        let nanos = self.0.rem_euclid(NANOS);
        let (year, month, day) = civil_from_days(seconds.div_euclid(DAY));
        let of_day = seconds.rem_euclid(DAY);
        let mut text = SHAPE;
        let mut put = |at: usize, number: i64| {
            let pair = (number % 100) as usize * 2;
            text[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        };
        put(0, year / 100);
        put(2, year);
        put(5, month);
        put(8, day);
        put(11, of_day / 3600);
        put(14, of_day / 60 % 60);
        put(17, of_day % 60);
        put(20, nanos / 10_000_000);
        put(22, nanos / 100_000);
        put(24, nanos / 1000);
        put(26, nanos / 10);
        text[28] = b'0' + (nanos % 10) as u8;
        text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;

    /// Takes RFC 3339 with up to nine digits of fraction, in UTC (`Z`) or with
    /// an offset (`+02:00`). A leap second counts as the second before it.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_rfc3339(text).ok_or_else(|| {
            ParseError::new(
                "time stamp",
                text,
                "RFC 3339, such as 2026-11-20T17:52:37.123456789Z",
            )
        })
    }
}

fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let year = digits(bytes, 0, 4)?;
    let month = within(digits(bytes, 5, 2)?, 1, 12)?;
    let day = within(digits(bytes, 8, 2)?, 1, 31)?;
    let hour = within(digits(bytes, 11, 2)?, 0, 23)?;
    let minute = within(digits(bytes, 14, 2)?, 0, 59)?;
    let second = within(digits(bytes, 17, 2)?, 0, 60)?.min(59);
    let marks = [bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]];
    if !matches!(marks, [b'-', b'-', b'T' | b't' | b' ', b':', b':']) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) {
        return None; // 30 February
    }
    let (nanos, zone) = fraction(&bytes[19..])?;
    let offset = zone_offset(zone)?;
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset;
    let total = i128::from(seconds) * i128::from(NANOS) + i128::from(nanos);
    i64::try_from(total).ok().map(Timestamp)
}

fn digits(bytes: &[u8], from: usize, len: usize) -> Option<i64> {
    let mut value = 0;
    for byte in bytes.get(from..from + len)? {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some(value)
}

fn within(value: i64, low: i64, high: i64) -> Option<i64> {
    (low..=high).contains(&value).then_some(value)
}

/// Nanoseconds of an optional `.123`, and what follows it.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let len = after.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=9).contains(&len) {
        return None;
    }
    let scale = (len..9).fold(1, |scale, _| scale * 10);
    Some((digits(after, 0, len)? * scale, &after[len..]))
}

/// Seconds east of UTC.
fn zone_offset(zone: &[u8]) -> Option<i64> {
    match zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            let hours = within(digits(rest, 0, 2)?, 0, 23)?;
            let minutes = within(digits(rest, 3, 2)?, 0, 59)?;
            let east = hours * 3600 + minutes * 60;
            Some(if *sign == b'+' { east } else { -east })
        }
        _ => None,
    }
}

#[cfg(feature = "serde")]
mod text {
    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serialize;
    use serde::Serializer;

    use super::Timestamp;
    use crate::text;

    impl Serialize for Timestamp {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(str::from_utf8(&self.digits()).unwrap_or_default())
        }
    }

    impl<'de> Deserialize<'de> for Timestamp {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text::deserialize(deserializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (1_795_197_157_123_456_789, "2026-11-20T17:52:37.123456789Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
        ];
        for (nanos, text) in cases {
            assert_eq!(Timestamp(nanos).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(nanos)));
        }
    }

    #[test]
    fn offsets_and_short_fractions() {
        assert_eq!("1970-01-01T02:00:00+02:00".parse(), Ok(Timestamp(0)));
        assert_eq!(
            "1969-12-31t19:00:00.5-05:00".parse(),
            Ok(Timestamp(NANOS / 2))
        );
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in [
            "",
            "2026",
            "2026-11-20",
            "2026-11-20T17:52:37",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T17:52:37.Z",
            "2026-11-20T17:52:37.1234567890Z",
            "2026-11-20T17:52:37Zx",
            "2026-11-20T17:52:37+0200",
            "2026/11/20T17:52:37Z",
            "9999-11-20T17:52:37Z",
            "２026-11-20T17:52:37Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn differences_never_go_negative() {
        assert_eq!(MonoTime(5).since(MonoTime(9)), Duration::ZERO);
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_nanos(4));
        assert_eq!(
            MonoTime(u64::MAX - 1).plus(Duration::from_secs(9)),
            MonoTime(u64::MAX)
        );
    }

    #[test]
    fn monotonic_to_civil() {
        let now = (MonoTime(1_000), Timestamp(5_000));
        let civil = |mono| Timestamp::from_mono(MonoTime(mono), now.0, now.1);
        assert_eq!(civil(400), Timestamp(4_400));
        assert_eq!(civil(1_600), Timestamp(5_600));
        assert_eq!(civil(u64::MAX), Timestamp(i64::MAX));
    }
}
