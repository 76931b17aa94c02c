//! Bytes and durations for people.

use std::fmt;
use std::time::Duration;

/// A number of bytes; made by [`human_bytes`].
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct HumanBytes(u64);

/// Bytes in units of 1024 with two decimals: `217 B`, `3.44 KB`, `1.00 GB`.
/// Width and alignment of the format specification apply to the whole.
pub fn human_bytes(bytes: u64) -> HumanBytes {
    HumanBytes(bytes)
}

/// Units above the byte, 1024 times each other.
const UNITS: [&str; 6] = ["KB", "MB", "GB", "TB", "PB", "EB"];

impl fmt::Display for HumanBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        if bytes < 1024 {
            return f.pad(&format!("{bytes} B"));
        }
        // Hundredths of the unit, rounded half up; 1023.995 is the next unit.
        let mut divisor = 1024_u128;
        for unit in UNITS {
            let hundredths = (u128::from(bytes) * 100 + divisor / 2) / divisor;
            if hundredths < 102_400 || unit == UNITS[UNITS.len() - 1] {
                let (whole, rest) = (hundredths / 100, hundredths % 100);
                return f.pad(&format!("{whole}.{rest:02} {unit}"));
            }
            divisor *= 1024;
        }
        Ok(())
    }
}

/// A duration; made by [`human_duration`].
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct HumanDuration(Duration);

/// A duration in its two largest units, rounded down: `5d 0h`, `1h 2m`,
/// `3m 20s`, `12s`; below a second `250ms`, `3us`, `40ns`.
pub fn human_duration(duration: Duration) -> HumanDuration {
    HumanDuration(duration)
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
        let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
        let text = match self.0.subsec_nanos() {
            _ if days > 0 => format!("{days}d {hours}h"),
            _ if hours > 0 => format!("{hours}h {minutes}m"),
            _ if minutes > 0 => format!("{minutes}m {rest}s"),
            nanos if seconds > 0 || nanos == 0 => format!("{rest}s"),
            nanos if nanos >= 1_000_000 => format!("{}ms", nanos / 1_000_000),
            nanos if nanos >= 1_000 => format!("{}us", nanos / 1_000),
            nanos => format!("{nanos}ns"),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KB"),
            (3523, "3.44 KB"),
            (1_048_570, "1023.99 KB"),
            (1_048_571, "1.00 MB"),
            (1 << 30, "1.00 GB"),
            (u64::MAX, "16.00 EB"),
        ] {
            assert_eq!(human_bytes(bytes).to_string(), text, "{bytes}");
        }
        assert_eq!(format!("{:>10}|", human_bytes(3523)), "   3.44 KB|");
    }

    #[test]
    fn durations() {
        for (nanos, text) in [
            (0, "0s"),
            (40, "40ns"),
            (3_999, "3us"),
            (250_000_000, "250ms"),
            (12_900_000_000, "12s"),
            (200_000_000_000, "3m 20s"),
            (3_725_000_000_000, "1h 2m"),
            (432_000_000_000_000, "5d 0h"),
        ] {
            assert_eq!(
                human_duration(Duration::from_nanos(nanos)).to_string(),
                text
            );
        }
        assert_eq!(
            format!("{:>8}|", human_duration(Duration::ZERO)),
            "      0s|"
        );
    }
}
