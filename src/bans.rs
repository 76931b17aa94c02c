//! Whose packets a tracker drops, and whose never.

use std::iter::FusedIterator;

use conntrack_bpf::Allowed;
use conntrack_bpf::AllowedBy;
use conntrack_bpf::BanList;
use conntrack_bpf::BanWalk;
use conntrack_bpf::ListReport;
use conntrack_bpf::ListSpec;
use conntrack_bpf::Listed;
use conntrack_bpf::Unbanned;
use conntrack_core::Ban;
use conntrack_core::BanScope;
use conntrack_core::BanSpec;
use ipnet::IpNet;

use crate::Error;
use crate::Result;
use crate::Tracker;

/// Bans, one after the other; see [`Tracker::bans`]. An error in reading is an item,
/// and the last one.
#[derive(Debug)]
#[must_use = "bans are read as they are asked for"]
pub struct Bans {
    walk: Option<BanWalk>,
    failure: Option<Error>,
}

impl Iterator for Bans {
    type Item = Result<Ban>;

    fn next(&mut self) -> Option<Result<Ban>> {
        match self.failure.take() {
            Some(error) => Some(Err(error)),
            None => self.walk.as_mut()?.next(),
        }
    }
}

impl FusedIterator for Bans {}

impl Tracker {
    /// Drops the packets that come from somebody, from now on and until its time is up,
    /// whether or not a process of ours runs then. Flows that are there stop with their
    /// next packet; a dropped packet creates no flow and changes none.
    ///
    /// An IPv6 address stands for its /64. What is banned already is changed, and its
    /// counts go on. A tracker that is pinned, or visible to others, keeps its bans over a
    /// restart (`Config::state_dir`). What this host needs, the other ends of SSH sessions, and what is
    /// [allowed](Tracker::allow) are never dropped, whatever bans them.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use conntrack::{BanSpec, Tracker};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tracker = Tracker::open("default")?;
    /// tracker.ban("203.0.113.7".parse()?)?;
    /// let scan: BanSpec = "198.51.100.0/24".parse()?;
    /// let ban = tracker.ban(scan.ttl(Duration::from_secs(600)).reason("scan"))?;
    /// println!("{} until {:?}", ban.target, ban.until);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Guarded` if it touches what is never dropped, unless it is forced; `InUse` if it
    /// is to be confirmed and the target is banned already; `Invalid` for a reason, a time
    /// or an origin that cannot be one; `NotFound` if the tracker's network namespace is
    /// gone; `Other` if there is no room for more; or what the kernel says. `Other`, too,
    /// if it is in force and could not be kept over a restart; the message says so. So
    /// with all that changes bans.
    pub fn ban(&self, spec: BanSpec) -> Result<Ban> {
        self.instance().ban(&spec)
    }

    /// Ends the bans of exactly this network: of one scope, or of any; not what
    /// [lists](Tracker::load_list) have of them. Flows go on with
    /// their next packet. It says what was ended, and which ban of a larger network
    /// concerns it still; [`Tracker::except`] lets it pass all the same.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unban(&self, net: impl Into<IpNet>, scope: Option<BanScope>) -> Result<Unbanned> {
        self.instance().unban(net.into(), scope)
    }

    /// Ends all bans, lists included; how many there were.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unban_all(&self) -> Result<u64> {
        self.instance().unban_all()
    }

    /// Loads a list of bans under a name: all of it, or nothing. It is added to the
    /// list of that name, or [takes its place](ListSpec::replace): until all of the new
    /// one is in force the old one is. A ban that somebody else has as well, another
    /// list or [`Tracker::ban`], is one ban with one count, until all have ended it.
    ///
    /// What touches what is never dropped is loaded, too, and drops the rest; the
    /// report has its number. `progress` is told now and then how many are in.
    ///
    /// ```no_run
    /// use conntrack::{Listed, ListSpec, Tracker};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tracker = Tracker::open("default")?;
    /// let bad = ["203.0.113.7", "198.51.100.0/24"];
    /// let bad = bad.map(|net| Ok(Listed::new(net.parse()?)));
    /// let bad: Vec<_> = bad.into_iter().collect::<Result<_, conntrack::ParseError>>()?;
    /// let mut spec = ListSpec::new("scanners");
    /// spec.replace = true;
    /// let report = tracker.load_list(&spec, &bad, |_| ())?;
    /// println!("{} bans, {} before", report.entries, report.before);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a name that cannot be one, for a dry run that would take the place of a
    /// list that drops, and for an addition that is not as the list is (dry run, direction);
    /// `Other` if there is no room for so many bans or another list; `NotFound` if the tracker's network namespace is gone; what
    /// the kernel says. Nothing is changed then. `Other`, too, if the list is in force
    /// and could not be kept over a restart; the message says so.
    pub fn load_list(
        &self,
        spec: &ListSpec,
        entries: &[Listed],
        progress: impl FnMut(u64),
    ) -> Result<ListReport> {
        self.instance().load_list(spec, entries, progress)
    }

    /// Ends the bans of a list, but those that somebody else has, too; how many it had,
    /// or `None` if there is none of this name.
    ///
    /// # Errors
    /// What the kernel says, or the file system.
    pub fn unload_list(&self, name: &str) -> Result<Option<u64>> {
        self.instance().unload_list(name)
    }

    /// The lists in force, by name.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lists(&self) -> Result<Vec<BanList>> {
        self.instance().lists()
    }

    /// Every ban in force, in no order, read one by one. It is no snapshot: bans may come
    /// and go meanwhile, but one that is there all the time comes exactly once.
    pub fn bans(&self) -> Bans {
        match self.instance().bans() {
            Ok(walk) => Bans {
                walk: Some(walk),
                failure: None,
            },
            Err(error) => Bans {
                walk: None,
                failure: Some(error),
            },
        }
    }

    /// Confirms all bans that wait for it (see [`BanSpec::confirm`]): they go on for the
    /// time that they were made for. How many there were.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn confirm(&self) -> Result<u64> {
        self.instance().confirm()
    }

    /// Never drops the packets of a network, whatever bans it; whether that is new.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn allow(&self, net: impl Into<IpNet>) -> Result<bool> {
        self.instance().allow(net.into(), AllowedBy::List)
    }

    /// The same as an exception from a ban: it is no reason to refuse bans of larger
    /// networks later.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn except(&self, net: impl Into<IpNet>) -> Result<bool> {
        self.instance().allow(net.into(), AllowedBy::Exception)
    }

    /// Takes back what [`Tracker::allow`], [`Tracker::except`] or the configuration said
    /// of exactly this network; whether there was anything.
    ///
    /// # Errors
    /// What the kernel says; `NotFound` if the tracker's network namespace is gone.
    pub fn disallow(&self, net: impl Into<IpNet>) -> Result<bool> {
        self.instance().disallow(net.into())
    }

    /// All that is never dropped, by network: what was allowed, and what the host and
    /// its operators need, found out anew.
    ///
    /// # Errors
    /// What the kernel says; `NotFound` if the tracker's network namespace is gone.
    pub fn allowed(&self) -> Result<Vec<Allowed>> {
        self.instance().allowed()
    }
}
