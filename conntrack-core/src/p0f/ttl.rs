//! How far away a sender is, by the TTL of its packets.

use std::fmt;

/// p0f believes in no longer way.
pub(super) const MAX_DISTANCE: u8 = 35;

/// The TTL that a sender probably began with: the next of 32, 64, 128 and 255.
pub(super) fn initial(ttl: u8) -> u8 {
    match ttl {
        0..=32 => 32,
        33..=64 => 64,
        65..=128 => 128,
        129.. => 255,
    }
}

/// How many routers a packet has probably passed. The text is what p0f prints
/// after the TTL: `14`, or `?` for more than 35.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Distance(pub u8);

impl Distance {
    /// By a packet's TTL alone.
    pub fn guess(ttl: u8) -> Self {
        Self(initial(ttl) - ttl)
    }

    /// Whether it is longer than p0f believes in.
    pub fn is_excessive(self) -> bool {
        self.0 > MAX_DISTANCE
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_excessive() {
            f.pad("?")
        } else {
            fmt::Display::fmt(&self.0, f)
        }
    }
}
