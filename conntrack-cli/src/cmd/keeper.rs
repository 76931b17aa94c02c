//! What a process that runs for long does for bans: keeps what is never dropped current,
//! and writes bans down that packets have made.

use conntrack::GuardWatch;
use conntrack::Tracker;

use crate::failure::Failure;
use crate::failure::say;

/// Does so now and then.
pub(super) struct Keeper<'a> {
    tracker: &'a Tracker,
    guard: GuardWatch,
    /// Bans that packets had made when they were last written down.
    banned: u64,
    /// The last error, which is said once.
    said: Option<String>,
}

impl<'a> Keeper<'a> {
    pub(super) fn begin(tracker: &'a Tracker) -> Result<Self, Failure> {
        Ok(Self {
            tracker,
            guard: tracker.watch_guard()?,
            banned: 0,
            said: None,
        })
    }

    /// Does what is to be done by now. What fails is said, and tried again.
    pub(super) fn keep(&mut self) {
        let done = self.guard.renew().and_then(|_| self.save());
        let error = done.err().filter(|_| !self.tracker.is_detached());
        let text = error.map(|error| format!("look after bans: {error:#}"));
        if let Some(text) = text.as_ref().filter(|_| self.said != text) {
            say(text);
        }
        self.said = text;
    }

    fn save(&mut self) -> conntrack::Result<()> {
        let banned = self.tracker.limited()?.banned;
        if banned != self.banned {
            self.tracker.save_bans()?;
            self.banned = banned;
        }
        Ok(())
    }
}
