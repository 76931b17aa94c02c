//! What time it is for a reader of the tables.

use std::time::Duration;

use conntrack_core::MonoTime;
use conntrack_core::Timestamp;
use nix::time::ClockId;
use nix::time::clock_gettime;

use crate::error::Context;
use crate::error::Result;

/// Where "now" comes from, and how a flow's instants become civil time. One
/// reader keeps one, so the instants of a listing agree with each other.
#[derive(Copy, Clone, Debug)]
pub struct Clock {
    kind: Kind,
}

#[derive(Copy, Clone, Debug)]
enum Kind {
    /// The packet path stamps with `CLOCK_MONOTONIC`; both clocks' readings of
    /// one moment.
    Live { mono: MonoTime, civil: Timestamp },
    /// The packet path was told the time, nanoseconds since the Unix epoch; it
    /// stands still here.
    Stopped { now: u64 },
}

impl Clock {
    /// Ticks that may come between the readings, one a try, before it is given up.
    const TRIES: usize = 100;

    /// The clock of a running tracker. Both coarse clocks stand still between two
    /// ticks, so readings of one tick are of one moment: whoever reads, and when,
    /// the civil time of an instant is the same to the nanosecond until somebody
    /// sets the clock.
    ///
    /// # Errors
    /// The kernel does not know one of the clocks.
    pub fn live() -> Result<Self> {
        let read = |id| clock_gettime(id).map(nanos).context("read a clock");
        let mut mono = read(ClockId::CLOCK_MONOTONIC_COARSE)?;
        let mut civil = 0;
        for _ in 0..Self::TRIES {
            let before = mono;
            civil = read(ClockId::CLOCK_REALTIME_COARSE)?;
            mono = read(ClockId::CLOCK_MONOTONIC_COARSE)?;
            if mono == before {
                break;
            }
        }
        Ok(Self {
            kind: Kind::Live {
                mono: MonoTime(mono),
                civil: Timestamp(civil.cast_signed()),
            },
        })
    }

    /// A clock that says `epoch` nanoseconds since the Unix epoch, for a data
    /// path that replays a capture.
    pub fn stopped(epoch: i64) -> Self {
        let now = epoch.cast_unsigned();
        Self {
            kind: Kind::Stopped { now },
        }
    }

    /// Now, in the packet path's time. Of a running tracker it is the coarse
    /// clock, which the packet path asks whether a flow is over, too.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self.kind {
            Kind::Live { mono, .. } => {
                clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(mono.0, nanos)
            }
            Kind::Stopped { now } => now,
        }
    }

    /// The civil time of an instant of the packet path.
    pub(crate) fn civil(&self, instant: u64) -> Timestamp {
        match self.kind {
            Kind::Live { mono, civil } => Timestamp::from_mono(MonoTime(instant), mono, civil),
            Kind::Stopped { .. } => Timestamp(instant.cast_signed()),
        }
    }
}

/// What the clocks said at one moment, for times that are kept by the clock that goes
/// on while the host sleeps.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Civil {
    /// `CLOCK_BOOTTIME` ns.
    pub(crate) boot: u64,
    /// `CLOCK_MONOTONIC` ns.
    pub(crate) mono: u64,
    /// The civil time.
    pub(crate) civil: Timestamp,
}

impl Civil {
    /// Now.
    ///
    /// # Errors
    /// The kernel does not know one of the clocks.
    pub(crate) fn now() -> Result<Self> {
        let read = |id| clock_gettime(id).map(nanos).context("read a clock");
        Ok(Self {
            boot: read(ClockId::CLOCK_BOOTTIME)?,
            mono: read(ClockId::CLOCK_MONOTONIC)?,
            civil: Timestamp(read(ClockId::CLOCK_REALTIME)?.cast_signed()),
        })
    }

    /// The civil time of an instant of `CLOCK_BOOTTIME`, to the millisecond: the
    /// clocks are read one after the other.
    pub(crate) fn of_boot(&self, instant: u64) -> Timestamp {
        self.of(instant, self.boot)
    }

    /// The same of `CLOCK_MONOTONIC`.
    pub(crate) fn of_mono(&self, instant: u64) -> Timestamp {
        self.of(instant, self.mono)
    }

    fn of(&self, instant: u64, now: u64) -> Timestamp {
        const MILLI: i64 = 1_000_000;
        let exact = Timestamp::from_mono(MonoTime(instant), MonoTime(now), self.civil).0;
        Timestamp(exact.saturating_add(MILLI / 2).div_euclid(MILLI) * MILLI)
    }
}

/// `ct_age()` of `bpf/table.h`: never negative, for stamps of the precise clock
/// may be ahead of the coarse one.
pub(crate) fn age(now: u64, then: u64) -> u64 {
    u64::try_from(now.wrapping_sub(then).cast_signed()).unwrap_or(0)
}

/// As the kernel has times; what it has no number for is the longest that it has.
pub(crate) fn nanos(time: impl Into<Duration>) -> u64 {
    u64::try_from(time.into().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn ages_are_not_negative() {
        assert_eq!(age(9, 4), 5);
        assert_eq!(age(4, 9), 0);
        assert_eq!(age(u64::MAX, 0), 0, "a time before the epoch");
        assert_eq!(age(5, u64::MAX - 4), 10);
    }

    #[test]
    fn stopped_clocks_are_civil() {
        let clock = Clock::stopped(-7);
        assert_eq!(clock.civil(clock.now()), Timestamp(-7));
    }

    #[test]
    fn readers_agree_on_the_time_of_an_instant() {
        let first = Clock::live().expect("clocks");
        let instant = first.now();
        let different = (0..1000).filter(|_| {
            thread::sleep(Duration::from_micros(100)); // many ticks in all
            Clock::live().expect("clocks").civil(instant) != first.civil(instant)
        });
        assert_eq!(
            different.count(),
            0,
            "unless somebody set the clock just now"
        );
    }

    #[test]
    fn live_clocks_agree_with_the_system() {
        const SLACK: i64 = 1_000_000_000; // ticks, and clocks that are being set
        let system = || {
            let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("a clock");
            nanos(now).cast_signed()
        };
        let before = system();
        let clock = Clock::live().expect("clocks");
        let civil = clock.civil(clock.now()).0;
        assert!((before - SLACK..=system() + SLACK).contains(&civil));
    }
}
