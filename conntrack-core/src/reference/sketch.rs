//! How often something happened within a sliding window, and the Count-Min Sketch that
//! keeps it of many: the reference of `bpf/sketch.h`.

/// How often something happened within a sliding window of two halves: the one that
/// runs, and the one before. What is said never is more than what happened within the
/// window, and not less than what happened within half of it.
///
/// Numbers of halves have 24 bits, counts 20.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub struct Rate {
    half: u32,
    now: u32,
    before: u32,
}

impl Rate {
    /// The largest count of a half; more is not counted.
    pub const MAX: u32 = (1 << 20) - 1;

    const HALF: u32 = (1 << 24) - 1;

    /// As a word has it.
    pub fn from_word(word: u64) -> Self {
        let low = |word: u64| (word & u64::from(Self::MAX)) as u32;
        Self {
            half: (word >> 40) as u32,
            now: low(word >> 20),
            before: low(word),
        }
    }

    /// As a word.
    pub fn word(self) -> u64 {
        u64::from(self.half) << 40 | u64::from(self.now) << 20 | u64::from(self.before)
    }

    /// As it is in a half. The one before its own changes nothing: somebody has looked
    /// at the clock later. What is further off is of another time.
    #[must_use]
    pub fn at(self, half: u32) -> Self {
        let half = half & Self::HALF;
        match half.wrapping_sub(self.half) & Self::HALF {
            0 => self,
            1 => Self {
                half,
                now: 0,
                before: self.now,
            },
            Self::HALF => self,
            _ => Self {
                half,
                now: 0,
                before: 0,
            },
        }
    }

    /// Events in the window.
    pub fn sum(self) -> u32 {
        self.now + self.before
    }

    /// One more.
    #[must_use]
    pub fn more(self) -> Self {
        Self {
            now: (self.now + 1).min(Self::MAX),
            ..self
        }
    }

    /// One less of a half, if that is in the window.
    #[must_use]
    pub fn less(self, half: u32) -> Self {
        match self.half.wrapping_sub(half) & Self::HALF {
            0 => Self {
                now: self.now.saturating_sub(1),
                ..self
            },
            1 => Self {
                before: self.before.saturating_sub(1),
                ..self
            },
            _ => self,
        }
    }
}

/// The cell of a row in which a hash is counted; `width` is a power of two.
pub fn cell(hash: u64, row: u32, width: u32) -> u32 {
    let (low, step) = (hash as u32, (hash >> 32) as u32 | 1);
    let column = low.wrapping_add(row.wrapping_mul(step)) & width.wrapping_sub(1);
    row.wrapping_mul(width).wrapping_add(column)
}

/// By how much a sketch overstates, at the most, with probability 1 - e^-rows: e times
/// the events in the window over the width (Cormode and Muthukrishnan 2005).
pub fn overstated_by(events: u64, width: u32) -> f64 {
    std::f64::consts::E * events as f64 / f64::from(width.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides() {
        let mut rate = Rate::default().at(10);
        rate = rate.more().more();
        assert_eq!(rate.sum(), 2);
        rate = rate.at(11).more();
        assert_eq!(rate.sum(), 3);
        assert_eq!(rate.at(12).sum(), 1);
        assert_eq!(rate.at(13).sum(), 0);
        assert_eq!(rate.at(10), rate, "time does not go back");
        assert_eq!(rate.at(9).sum(), 0, "another time");
    }

    #[test]
    fn what_ends_is_taken_from_its_half() {
        let rate = Rate::default().at(10).more().more().at(11).more();
        assert_eq!(rate.less(10).sum(), 2);
        assert_eq!(rate.less(11).at(12).sum(), 0);
        assert_eq!(rate.less(9), rate, "out of the window");
        assert_eq!(rate.less(12), rate, "not begun yet");
        assert_eq!(Rate::default().at(10).less(10).sum(), 0, "never below");
    }

    #[test]
    fn numbers_go_round() {
        let last = Rate::default().at(Rate::HALF).more();
        assert_eq!(last.at(Rate::HALF + 1).sum(), 1);
        assert_eq!(last.at(0), last.at(Rate::HALF + 1));
        assert_eq!(Rate::from_word(last.word()), last);
    }
}
