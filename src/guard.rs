//! What is never dropped, kept current by a program that runs.

use std::sync::Weak;
use std::time::Duration;
use std::time::Instant;

use conntrack_bpf::GuardNews;
use conntrack_bpf::instance::Instance;

use crate::Error;
use crate::ErrorKind;
use crate::Result;
use crate::Tracker;

/// SSH sessions come and go without a word.
const OFTEN: Duration = Duration::from_secs(10);

/// Busy routers change their routes all the time.
const SELDOM: Duration = Duration::from_secs(1);

/// Keeps what must never be dropped current while a program runs: this host's addresses
/// and default gateways, as the kernel tells of changes (rtnetlink), and the other ends of
/// SSH sessions, looked for every 10 seconds. Else that is found out anew by every command
/// about bans only.
///
/// ```no_run
/// use std::{thread::sleep, time::Duration};
///
/// # fn main() -> Result<(), conntrack::Error> {
/// let tracker = conntrack::Tracker::open("default")?;
/// let mut guard = tracker.watch_guard()?;
/// loop {
///     guard.renew()?;
///     sleep(Duration::from_secs(1));
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is kept current but by calling `renew`"]
pub struct GuardWatch {
    /// It does not keep a tracker attached that was dropped.
    instance: Weak<Instance>,
    news: GuardNews,
    changed: bool,
    last: Instant,
}

impl GuardWatch {
    /// Finds out anew what must never be dropped if something may have changed: a second
    /// after the last time at the earliest, 10 seconds after it at the latest. Whether it
    /// did. It waits for nothing but another process that changes bans.
    ///
    /// # Errors
    /// `NotFound` if the tracker was dropped, or its network namespace is gone; what the
    /// kernel says. The next call tries again.
    pub fn renew(&mut self) -> Result<bool> {
        self.changed |= self.news.heard()?;
        let age = self.last.elapsed();
        if age < if self.changed { SELDOM } else { OFTEN } {
            return Ok(false);
        }
        let gone = || Error::new(ErrorKind::NotFound, "the tracker was dropped");
        let instance = self.instance.upgrade().ok_or_else(gone)?;
        instance.find_guarded()?;
        (self.changed, self.last) = (false, Instant::now());
        Ok(true)
    }
}

impl Tracker {
    /// Keeps what must never be dropped current from now on; see [`GuardWatch`].
    ///
    /// # Errors
    /// What the kernel says; `NotFound` if the tracker's network namespace is gone.
    pub fn watch_guard(&self) -> Result<GuardWatch> {
        let news = self.instance().guard_news()?;
        self.instance().find_guarded()?;
        Ok(GuardWatch {
            instance: self.weak_instance(),
            news,
            changed: false,
            last: Instant::now(),
        })
    }
}
