//! Interfaces that come and go while a tracker runs.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::Weak;
use std::time::Duration;
use std::time::Instant;

use conntrack_bpf::instance::Follower;
use conntrack_bpf::instance::Instance;
use conntrack_core::Mode;

use crate::Change;
use crate::Error;
use crate::ErrorKind;
use crate::Result;
use crate::Tracker;

/// Keeps a tracker attached to the interfaces that match, whatever becomes of
/// them: those that are made, renamed or moved into its network namespace are
/// attached to, those that are renamed so that they match no more, or come to stand
/// above another that is attached, are detached from, and of those that vanish
/// everything but their flows is cleared away. The set of devices stacked on
/// attached ones is brought up to date at every change as well, at once.
///
/// The kernel tells of interfaces (rtnetlink) only who listens, so nothing happens
/// but in calls of [`Follow::try_next`] and [`Follow::next_timeout`]. What is
/// attached stays so when this is dropped; only the tracker detaches.
///
/// ```no_run
/// use std::time::Duration;
/// use conntrack::{Change, Mode, Tracker};
///
/// # fn main() -> Result<(), conntrack::Error> {
/// let tracker = Tracker::open("default")?;
/// let mut follow = tracker.follow(["veth*"], Mode::Auto)?;
/// loop {
///     match follow.next_timeout(Duration::from_secs(60))? {
///         Some(Change::Attached(to)) => println!("{} by {}", to.interface, to.hooks),
///         Some(Change::Detached(from)) => println!("{}: {}", from.interface, from.why),
///         _ => {}
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is followed but by asking for changes"]
pub struct Follow {
    /// It does not keep a tracker attached that was dropped.
    instance: Weak<Instance>,
    follower: Follower,
}

impl Follow {
    /// Does what is to be done by now, and returns the next thing that was done, or
    /// left, if there is one. The first time it looks at all interfaces there are.
    /// It waits for another process that works on the tracker at this moment, and
    /// for nothing else.
    ///
    /// # Errors
    /// `NotFound` if the tracker was dropped or detached, `InUse` if another process
    /// keeps it in the foreground; what the kernel says. The next call tries again.
    pub fn try_next(&mut self) -> Result<Option<Change>> {
        let gone = || Error::new(ErrorKind::NotFound, "the tracker was dropped");
        let instance = self.instance.upgrade().ok_or_else(gone)?;
        self.follower.try_next(&instance)
    }

    /// The same; waits as long as said for something to be done. `None`: there was
    /// nothing.
    ///
    /// # Errors
    /// As [`Follow::try_next`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Change>> {
        // None: so long that it never ends.
        let end = Instant::now().checked_add(timeout);
        loop {
            if let Some(change) = self.try_next()? {
                return Ok(Some(change));
            }
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            self.follower.wait(left)?;
        }
    }
}

impl AsFd for Follow {
    /// Readable when something has happened to an interface, for poll and epoll;
    /// call [`Follow::try_next`] until it says `None` before waiting again.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.follower.as_fd()
    }
}

impl Tracker {
    /// Follows the interfaces that these names and patterns stand for; see
    /// [`Follow`] and [`TrackerBuilder::interfaces`]. What is named is attached to
    /// when it comes, be it loopback. Interfaces that neither name nor pattern
    /// matches are left alone, and one that somebody else detaches stays so until it
    /// is renamed or made anew. A bridge, bond or team that a pattern matches is not
    /// attached to before it has ports.
    ///
    /// [`TrackerBuilder::interfaces`]: crate::TrackerBuilder::interfaces
    ///
    /// # Errors
    /// `Invalid` if nothing is named, for what is neither name nor pattern;
    /// `OtherNamespace` if the tracker belongs to another than it was opened from;
    /// `NotFound` if its namespace is gone; what the kernel says.
    pub fn follow(
        &self,
        names: impl IntoIterator<Item = impl Into<String>>,
        mode: Mode,
    ) -> Result<Follow> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        Ok(Follow {
            follower: Follower::new(self.instance(), &names, mode)?,
            instance: self.weak_instance(),
        })
    }
}
