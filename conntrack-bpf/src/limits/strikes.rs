//! How often sources were banned by packets, over a restart: of those whose bans go on.

use std::os::fd::AsFd;
use std::time::Duration;

use super::Limits;
use crate::error::Context;
use crate::error::Result;
use crate::hash::Hash;
use crate::wire::ct_ban_key;
use crate::wire::ct_strike;

/// Ends are written down to the second, and clocks are set.
const SLACK: Duration = Duration::from_secs(2);

impl Limits<'_> {
    /// Takes down that a source was banned by packets, for so long in all, until then
    /// (CLOCK_BOOTTIME): how often before is told by how long that is.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn struck(&self, key: &ct_ban_key, until: u64, long: Duration) -> Result<()> {
        let ttls = self.get().unwrap_or_default().ban_ttl;
        let count = strikes(&ttls, long);
        let strike = ct_strike {
            until,
            count,
            ..ct_strike::default()
        };
        let strikes: Hash<'_, ct_ban_key, ct_strike> = Hash::new(self.maps.strikes.as_fd());
        strikes.put(key, &strike).context("count a ban")
    }
}

/// The how manieth ban lasts so long.
fn strikes(ttls: &[Duration], long: Duration) -> u32 {
    let shorter = ttls.iter().take_while(|ttl| **ttl + SLACK < long).count();
    let number = shorter.min(ttls.len().saturating_sub(1)) + 1;
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_is_told_by_how_long() {
        let ttls = [600, 3600, 86_400].map(Duration::from_secs);
        for (long, count) in [
            (599, 1),
            (600, 1),
            (601, 1),
            (3599, 2),
            (3600, 2),
            (86_400, 3),
            (1_000_000, 3),
        ] {
            assert_eq!(strikes(&ttls, Duration::from_secs(long)), count, "{long}");
        }
        assert_eq!(strikes(&[], Duration::ZERO), 1);
    }
}
