//! What a process that runs for long does for bans: keeps what is never dropped current,
//! writes bans down that packets have made, and takes out those that are over.

use std::time::Duration;
use std::time::Instant;

use conntrack::GuardWatch;
use conntrack::Tracker;

use crate::failure::Failure;
use crate::failure::say;

/// Writing all bans down takes long where there are many, and an attack makes more all the
/// time: so many seconds of them are lost at worst.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// Does so now and then.
pub(super) struct Keeper<'a> {
    tracker: &'a Tracker,
    guard: GuardWatch,
    /// Bans that packets had made, and those that found no room, when bans were last
    /// written down.
    made: (u64, u64),
    saved: Option<Instant>,
    /// The last errors, each of which is said once.
    said: [Option<String>; 2],
}

impl<'a> Keeper<'a> {
    pub(super) fn begin(tracker: &'a Tracker) -> Result<Self, Failure> {
        Ok(Self {
            tracker,
            guard: tracker.watch_guard()?,
            made: (0, 0),
            saved: None,
            said: [None, None],
        })
    }

    /// Does what is to be done by now. What fails is said, and tried again; neither waits
    /// for the other.
    pub(super) fn keep(&mut self) {
        let guarded = self.guard.renew().map(drop);
        let done = [guarded, self.save()];
        for (said, done) in self.said.iter_mut().zip(done) {
            let error = done.err().filter(|_| !self.tracker.is_detached());
            let text = error.map(|error| format!("look after bans: {error:#}"));
            if let Some(text) = text.as_ref().filter(|_| *said != text) {
                say(text);
            }
            *said = text;
        }
    }

    fn save(&mut self) -> conntrack::Result<()> {
        if self.saved.is_some_and(|saved| saved.elapsed() < SAVE_EVERY) {
            return Ok(());
        }
        let limited = self.tracker.limited()?;
        let made = (limited.banned, limited.no_room);
        if made != self.made {
            self.saved = Some(Instant::now());
            self.tracker.save_bans()?;
            self.made = made;
        }
        Ok(())
    }
}
