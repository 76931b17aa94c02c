//! How many connections a source may begin.

use conntrack_core::LimitCounts;
use conntrack_core::SketchConfig;
use conntrack_core::Suspect;
use conntrack_core::Threshold;

use crate::Error;
use crate::Result;
use crate::Tracker;

impl Tracker {
    /// The limits on new connections in force; `None` if there are none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn threshold(&self) -> Result<Option<Threshold>> {
        self.instance().threshold()
    }

    /// Limits how many connections a source may begin, from the next packet on and
    /// whether or not a process of ours runs; `None`: no limit. What is never banned is
    /// never limited, nor what this host begins. It is not kept over a restart: the
    /// configuration says what a tracker begins with.
    ///
    /// Bans that packets make by it are in [`Tracker::bans`], of origin `threshold`, and
    /// end or are ended as others. They are kept over a restart by whoever next changes
    /// bans, detaches the tracker or calls [`Tracker::save_bans`].
    ///
    /// ```no_run
    /// use conntrack::{Threshold, ThresholdAction, Tracker};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tracker = Tracker::open("default")?;
    /// let mut threshold = Threshold::new(50);
    /// threshold.action = ThresholdAction::Ban;
    /// threshold.half_open = 20;
    /// tracker.set_threshold(Some(&threshold))?;
    /// for suspect in tracker.suspects()? {
    ///     println!("{} {} {}", suspect.source, suspect.measure.name(), suspect.count);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for limits that cannot be; `NotFound` if the tracker's network
    /// namespace is gone; or what the kernel says.
    pub fn set_threshold(&self, threshold: Option<&Threshold>) -> Result<()> {
        self.instance().set_threshold(threshold)
    }

    /// Changes the limits in force while nobody else does: `change` is given them, and says
    /// which there are to be. Returns those.
    ///
    /// ```no_run
    /// # use conntrack::{Error, Tracker};
    /// # fn main() -> Result<(), Error> {
    /// let tracker = Tracker::open("default")?;
    /// tracker.update_threshold(|limits| {
    ///     let mut limits = limits.unwrap_or_default();
    ///     limits.new = 50;
    ///     Ok::<_, Error>(Some(limits))
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What `change` says; and as [`Tracker::set_threshold`]. Nothing is changed then.
    pub fn update_threshold<E: From<Error>>(
        &self,
        change: impl FnOnce(Option<Threshold>) -> Result<Option<Threshold>, E>,
    ) -> Result<Option<Threshold>, E> {
        self.instance().update_threshold(change)
    }

    /// The sketch that the limits' sources are counted in.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sketch(&self) -> Result<SketchConfig> {
        self.instance().sketch()
    }

    /// What came of limits since the tracker was set up; [`Tracker::stats`] has it as well,
    /// with what takes longer to find out.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn limited(&self) -> Result<LimitCounts> {
        self.instance().limited()
    }

    /// Sources that come near a limit, in no order: those that the sketch has pointed
    /// at, 16,384 at the most, with their exact counts since.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn suspects(&self) -> Result<Vec<Suspect>> {
        self.instance().suspects()
    }

    /// Keeps the bans that packets have made over a restart, as those that are made by
    /// command are at once; and takes out those of all whose time is up, which makes room:
    /// packets may have made half as many as there is room for ([`bans.max`]), over or not,
    /// and cannot take out what is over.
    ///
    /// [`bans.max`]: crate::Config::bans
    ///
    /// # Errors
    /// `NotFound` if the tracker was detached; what the kernel says, or the file system.
    pub fn save_bans(&self) -> Result<()> {
        self.instance().save_bans()
    }
}
