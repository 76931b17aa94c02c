//! Who is banned and who never, on a running instance. One process at a time changes
//! it, under a lock of its own: the instance's may be held for good.

use std::sync::MutexGuard;
use std::time::Duration;

use conntrack_core::Ban;
use conntrack_core::BanScope;
use conntrack_core::BanSpec;
use conntrack_core::BanTarget;
use conntrack_core::FingerprintBan;
use conntrack_core::LimitCounts;
use conntrack_core::SketchConfig;
use conntrack_core::Suspect;
use conntrack_core::Threshold;
use ipnet::IpNet;

use super::Instance;
use super::State;
use crate::allow::Allow;
use crate::allow::Allowed;
use crate::allow::AllowedBy;
use crate::allow::Touching;
use crate::bans::BanList;
use crate::bans::Bans;
use crate::bans::ListReport;
use crate::bans::ListSpec;
use crate::bans::Listed;
use crate::bans::Unbanned;
use crate::bans::Walk;
use crate::counters::Meter;
use crate::datapath::Maps;
use crate::error::Error;
use crate::error::Result;
use crate::guard;
use crate::guard::GuardNews;
use crate::guard::Guarded;
use crate::keeping::Folder;
use crate::limits::Limits;
use crate::lock::Lock;
use crate::prints::PrintBans;
use crate::records::Meta;
use crate::remove;
use crate::teardown;

/// What keeps others, in this process and elsewhere, from changing it meanwhile.
struct Turn<'a> {
    _state: MutexGuard<'a, State>,
    _lock: Option<Lock>,
}

impl Instance {
    /// Not if it has been detached: what is kept over a restart may be another's by now.
    fn turn(&self, purpose: &str) -> Result<Turn<'_>> {
        let state = self.state();
        let mut lock = None;
        if let Some(dir) = &state.dir {
            lock = Some(dir.lock_policy(purpose)?);
            // Where that cannot be told somebody is replacing what is pinned.
            if !self.is_pinned_in(dir).unwrap_or(true) {
                let gone = teardown::not_attached(&self.name);
                return Err(gone.context("it was detached meanwhile"));
            }
        }
        Ok(Turn {
            _lock: lock,
            _state: state,
        })
    }

    /// Finds out anew what must never be banned, and tells the packet path.
    fn renew_guard(&self, maps: &Maps) -> Result<Vec<Guarded>> {
        let guarded = guard::find(self.netns()?)?;
        Allow::of(maps)?.guard(&guarded)?;
        Ok(guarded)
    }

    /// Bans, or changes the ban of the same target, whose counts go on.
    ///
    /// # Errors
    /// `Guarded` if it touches what must not be banned and is not forced; `InUse` if it
    /// is to be confirmed and the target is banned already; `Invalid` for a reason, time
    /// or origin that cannot be one; `NotFound` if the namespace is gone; or what the
    /// kernel says.
    pub fn ban(&self, spec: &BanSpec) -> Result<Ban> {
        let _turn = self.turn("banning")?;
        let datapath = self.datapath();
        let guarded = self.renew_guard(&datapath.maps)?;
        if !spec.force {
            Allow::of(&datapath.maps)?.check(&spec.target.net(), &guarded)?;
        }
        let ban = Bans::of(&datapath.maps)?.put(spec)?;
        remove::tell(&datapath, &ban, true);
        if !ban.unconfirmed {
            self.keep_single(&datapath.maps)?;
        }
        Ok(ban)
    }

    /// Keeps single bans over a restart, if it is one that does.
    fn keep_single(&self, maps: &Maps) -> Result<()> {
        self.folder(maps)?
            .map_or(Ok(()), |folder| folder.save_single(maps))
    }

    /// The same of all that it keeps.
    pub(super) fn keep_bans(&self) -> Result<()> {
        let maps = &self.datapath().maps;
        let Some(folder) = self.folder(maps)? else {
            return Ok(());
        };
        folder.save_single(maps)?;
        folder.save_prints(maps)?;
        let lists = Bans::of(maps)?.lists()?;
        lists
            .iter()
            .try_for_each(|list| folder.save_list(maps, &list.name))
    }

    /// Where it keeps its bans. Not if nobody else can open it: it ends with its
    /// process, and so do they.
    pub(super) fn folder(&self, maps: &Maps) -> Result<Option<Folder>> {
        let meta = Meta::read(&maps.meta)?;
        Ok(Folder::of(&meta.state, &self.name).filter(|_| meta.ready))
    }

    /// Loads a list of bans, under a name: all of it, or nothing. `progress` is told
    /// now and then how many entries are in.
    ///
    /// # Errors
    /// `Invalid` for a name that cannot be one; `Other` if there is no room for so many
    /// bans; `NotFound` if the namespace is gone; or what the kernel says. Nothing is
    /// changed then. `Other`, too, if it is in force and could not be saved.
    pub fn load_list(
        &self,
        spec: &ListSpec,
        entries: &[Listed],
        progress: impl FnMut(u64),
    ) -> Result<ListReport> {
        let _turn = self.turn("loading a list")?;
        let datapath = self.datapath();
        self.renew_guard(&datapath.maps)?;
        let allowed = Touching::new(Allow::of(&datapath.maps)?.all()?);
        let touches = |target: &BanTarget| allowed.touches(&target.net());
        let report = Bans::of(&datapath.maps)?.load(spec, entries, touches, progress)?;
        if let Some(folder) = self.folder(&datapath.maps)? {
            folder.save_list(&datapath.maps, &spec.name)?;
        }
        Ok(report)
    }

    /// Ends the bans of a list, unless they are somebody else's, too; how many it had,
    /// or `None` if there is none of this name.
    ///
    /// # Errors
    /// What the kernel says, or the file system.
    pub fn unload_list(&self, name: &str) -> Result<Option<u64>> {
        let _turn = self.turn("unloading a list")?;
        let datapath = self.datapath();
        let entries = Bans::of(&datapath.maps)?.unload(name)?;
        if entries.is_some()
            && let Some(folder) = self.folder(&datapath.maps)?
        {
            folder.save_list(&datapath.maps, name)?;
        }
        Ok(entries)
    }

    /// The lists in force, by name.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lists(&self) -> Result<Vec<BanList>> {
        Bans::of(&self.datapath().maps)?.lists()
    }

    /// Ends the bans of exactly this network, of one scope or of any.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unban(&self, net: IpNet, scope: Option<BanScope>) -> Result<Unbanned> {
        let _turn = self.turn("unbanning")?;
        let datapath = self.datapath();
        let unbanned = Bans::of(&datapath.maps)?.remove(net, scope)?;
        for ban in &unbanned.removed {
            remove::tell(&datapath, ban, false);
        }
        if !unbanned.removed.is_empty() {
            self.keep_single(&datapath.maps)?;
        }
        Ok(unbanned)
    }

    /// Ends all bans; how many there were.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unban_all(&self) -> Result<u64> {
        let _turn = self.turn("unbanning")?;
        let datapath = self.datapath();
        let tell = |ban: &Ban| remove::tell(&datapath, ban, false);
        let mut count = Bans::of(&datapath.maps)?.clear_telling(tell)?;
        count += PrintBans::of(&datapath.maps)?.clear()?;
        if let Some(folder) = self.folder(&datapath.maps)? {
            folder.forget_lists()?;
            folder.save_prints(&datapath.maps)?;
            folder.save_single(&datapath.maps)?;
        }
        Ok(count)
    }

    /// The bans in force, as they are read.
    ///
    /// # Errors
    /// The clocks cannot be read.
    pub fn bans(&self) -> Result<Walk> {
        Walk::new(&self.datapath().maps)
    }

    /// Confirms the bans that wait for it; how many.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn confirm(&self) -> Result<u64> {
        let _turn = self.turn("confirming")?;
        let datapath = self.datapath();
        let count = Bans::of(&datapath.maps)?.confirm()?;
        if count != 0 {
            self.keep_single(&datapath.maps)?;
        }
        Ok(count)
    }

    /// Never bans a network from now on; whether that is new.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn allow(&self, net: IpNet, by: AllowedBy) -> Result<bool> {
        let _turn = self.turn("allowing")?;
        let datapath = self.datapath();
        let new = Allow::of(&datapath.maps)?.put(net, by)?;
        if new {
            self.keep_single(&datapath.maps)?;
        }
        Ok(new)
    }

    /// Takes that back; whether it was so. What is guarded stays so.
    ///
    /// # Errors
    /// What the kernel says; `NotFound` if the namespace is gone.
    pub fn disallow(&self, net: IpNet) -> Result<bool> {
        let _turn = self.turn("disallowing")?;
        let datapath = self.datapath();
        self.renew_guard(&datapath.maps)?;
        let removed = Allow::of(&datapath.maps)?.remove(net)?;
        if removed {
            self.keep_single(&datapath.maps)?;
        }
        Ok(removed)
    }

    /// All that is never banned, found out anew.
    ///
    /// # Errors
    /// What the kernel says; `NotFound` if the namespace is gone.
    pub fn allowed(&self) -> Result<Vec<Allowed>> {
        let _turn = self.turn("looking at what is allowed")?;
        let datapath = self.datapath();
        self.renew_guard(&datapath.maps)?;
        Allow::of(&datapath.maps)?.all()
    }

    /// Finds out anew what must never be banned, as every command about bans does.
    ///
    /// # Errors
    /// What the kernel says; `NotFound` if the namespace is gone.
    pub fn find_guarded(&self) -> Result<()> {
        let _turn = self.turn("renewing what is guarded")?;
        self.renew_guard(&self.datapath().maps).map(drop)
    }

    /// Listens to what may change that.
    ///
    /// # Errors
    /// What the kernel says; `NotFound` if the namespace is gone.
    pub fn guard_news(&self) -> Result<GuardNews> {
        GuardNews::open(self.netns()?)
    }

    /// The limits on new connections in force; `None` if there are none.
    ///
    /// # Errors
    /// The kernel refuses to map them.
    pub fn threshold(&self) -> Result<Option<Threshold>> {
        Ok(Limits::of(&self.datapath().maps)?.get())
    }

    /// Puts others in their place, or none.
    ///
    /// # Errors
    /// `Invalid` for limits that cannot be; `NotFound` if the namespace is gone; or what
    /// the kernel says.
    pub fn set_threshold(&self, threshold: Option<&Threshold>) -> Result<()> {
        let _turn = self.turn("setting a threshold")?;
        self.limit(threshold)
    }

    /// Puts limits in force that `change` makes of those in force, which nobody else
    /// changes meanwhile; the new ones.
    ///
    /// # Errors
    /// What `change` says, with nothing changed; and as [`Self::set_threshold`].
    pub fn update_threshold<E: From<Error>>(
        &self,
        change: impl FnOnce(Option<Threshold>) -> Result<Option<Threshold>, E>,
    ) -> Result<Option<Threshold>, E> {
        let _turn = self.turn("setting a threshold")?;
        let threshold = change(self.threshold()?)?;
        self.limit(threshold.as_ref())?;
        Ok(threshold)
    }

    /// The same for who holds the lock, or is alone.
    pub(super) fn limit(&self, threshold: Option<&Threshold>) -> Result<()> {
        let datapath = self.datapath();
        if threshold.is_some() {
            // Before anything is dropped.
            self.renew_guard(&datapath.maps)?;
        }
        Bans::of(&datapath.maps)?.purge_made()?;
        Limits::of(&datapath.maps)?.set(threshold)
    }

    /// Where new connections are counted.
    ///
    /// # Errors
    /// The kernel refuses to map it.
    pub fn sketch(&self) -> Result<SketchConfig> {
        Ok(Limits::of(&self.datapath().maps)?.sketch())
    }

    /// What came of limits since it was set up.
    ///
    /// # Errors
    /// The kernel refuses to map the counters.
    pub fn limited(&self) -> Result<LimitCounts> {
        Ok(Meter::map(&self.datapath())?.read().limits)
    }

    /// Sources that come near a limit.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn suspects(&self) -> Result<Vec<Suspect>> {
        Limits::of(&self.datapath().maps)?.suspects()
    }

    /// Bans a fingerprint.
    ///
    /// # Errors
    /// As [`PrintBans::put`]; the guard cannot be found out.
    pub fn ban_print(
        &self,
        pattern: &str,
        ttl: Option<Duration>,
        dry_run: bool,
    ) -> Result<FingerprintBan> {
        let _turn = self.turn("banning a fingerprint")?;
        let datapath = self.datapath();
        // Before anything is dropped.
        self.renew_guard(&datapath.maps)?;
        let ban = PrintBans::of(&datapath.maps)?.put(pattern, ttl, dry_run)?;
        self.keep_prints(&datapath.maps)?;
        Ok(ban)
    }

    /// Keeps bans of fingerprints over a restart, if it is one that does.
    fn keep_prints(&self, maps: &Maps) -> Result<()> {
        self.folder(maps)?
            .map_or(Ok(()), |folder| folder.save_prints(maps))
    }

    /// Ends the ban of a fingerprint; whether there was one.
    ///
    /// # Errors
    /// As [`PrintBans::remove`].
    pub fn unban_print(&self, pattern: &str) -> Result<bool> {
        let _turn = self.turn("unbanning a fingerprint")?;
        let datapath = self.datapath();
        let there = PrintBans::of(&datapath.maps)?.remove(pattern)?;
        if there {
            self.keep_prints(&datapath.maps)?;
        }
        Ok(there)
    }

    /// The bans of fingerprints in force.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn print_bans(&self) -> Result<Vec<FingerprintBan>> {
        PrintBans::of(&self.datapath().maps)?.list()
    }

    /// Keeps the bans that packets have made over a restart, if it is one that does, and
    /// takes out those that are over: that makes room for others.
    ///
    /// # Errors
    /// `NotFound` if it was detached; what the kernel says, or the file system.
    pub fn save_bans(&self) -> Result<()> {
        let _turn = self.turn("keeping bans")?;
        let maps = &self.datapath().maps;
        Bans::of(maps)?.purge_made()?;
        self.keep_single(maps)
    }

    /// Puts in what was kept over a restart, before the first packet.
    pub(super) fn restore(&self) -> Result<()> {
        let datapath = self.datapath();
        let folder = Folder::of(&datapath.meta.state, &self.name);
        folder.map_or(Ok(()), |folder| folder.restore(&datapath.maps))
    }

    /// Allows what the configuration says, and the other end of the session that this is,
    /// before the first packet.
    pub(super) fn allow_configured(&self, nets: &[IpNet]) -> Result<()> {
        let datapath = self.datapath();
        let allow = Allow::of(&datapath.maps)?;
        if let Some(peer) = guard::session() {
            allow.session(peer)?;
        }
        let mut nets = nets.iter();
        nets.try_for_each(|net| allow.put(*net, AllowedBy::List).map(drop))
    }
}
