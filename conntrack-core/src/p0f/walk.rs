//! From a TCP header's option bytes to their layout and what is odd about them.

use super::Options;
use super::Quirks;
use super::options::kind;

/// RFC 7323's largest shift.
const MAX_SCALE: u8 = 14;
/// One block of SACK, or four.
const SACK_LENGTHS: std::ops::RangeInclusive<u8> = 10..=34;
/// All that TCP has room for.
const LENGTHS: std::ops::RangeInclusive<u8> = 2..=40;

/// What the options say. Of an option that comes twice the last counts.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) options: Options,
    pub(super) mss: u16,
    pub(super) scale: u8,
    /// The sender's own value, or 0.
    pub(super) timestamp: u32,
    pub(super) quirks: Quirks,
}

/// Reads the options of a SYN (or, with `answers`, of a SYN+ACK). An option of
/// fixed size with another length is bad, and is taken for as long as it should
/// be. It stops, and what it read is bad, at an option that overruns the header,
/// at an impossible length, and after [`Options::MAX`] options.
pub(super) fn walk(bytes: &[u8], answers: bool) -> Walk {
    let mut walk = Walk::default();
    let mut rest = bytes;
    while let [kind, tail @ ..] = rest {
        if !walk.options.push(*kind) {
            break;
        }
        if *kind == kind::END {
            // At most 39 bytes.
            walk.options.pad(tail.len() as u8);
            walk.quirks |= Quirks::AFTER_END.when(tail.iter().any(|byte| *byte != 0));
            return walk;
        }
        let size = if *kind == kind::NOP {
            Some(1)
        } else {
            tail.first().and_then(|length| walk.size(*kind, *length))
        };
        let Some((option, tail)) = size.and_then(|size| rest.split_at_checked(size)) else {
            break;
        };
        walk.note(*kind, option, answers);
        rest = tail;
    }
    walk.quirks |= Quirks::BAD.when(!rest.is_empty());
    walk
}

impl Walk {
    /// How many bytes an option takes that says it has so many.
    fn size(&mut self, kind: u8, length: u8) -> Option<usize> {
        let fixed = match kind {
            kind::MSS => 4,
            kind::SCALE => 3,
            kind::SACK_PERMITTED => 2,
            kind::TIMESTAMPS => 10,
            kind::SACK => return SACK_LENGTHS.contains(&length).then_some(length.into()),
            _ => return LENGTHS.contains(&length).then_some(length.into()),
        };
        self.quirks |= Quirks::BAD.when(length != fixed);
        Some(fixed.into())
    }

    fn note(&mut self, kind: u8, option: &[u8], answers: bool) {
        match (kind, option) {
            (kind::MSS, [_, _, high, low]) => self.mss = u16::from_be_bytes([*high, *low]),
            (kind::SCALE, [_, _, shift]) => {
                self.scale = *shift;
                self.quirks |= Quirks::EXCESSIVE_SCALE.when(*shift > MAX_SCALE);
            }
            (kind::TIMESTAMPS, [_, _, a, b, c, d, echo @ ..]) => {
                self.timestamp = u32::from_be_bytes([*a, *b, *c, *d]);
                let echoes = !answers && echo.iter().any(|byte| *byte != 0);
                self.quirks |= Quirks::ZERO_TIMESTAMP.when(self.timestamp == 0);
                self.quirks |= Quirks::ECHO.when(echoes);
            }
            _ => {}
        }
    }
}
