//! Following interfaces as they come, change and go: at every change it is
//! decided anew which of those that match are to be attached to, and the instance
//! brought there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use conntrack_core::Mode;

use super::AttachReport;
use super::Instance;
use super::State;
use crate::choose::NotAttached;
use crate::choose::Wanted;
use crate::devices::Device;
use crate::error::Context;
use crate::error::Result;
use crate::links::Links;
use crate::links::News;
use crate::probe::KernelSupport;
use crate::records::AttachRecord;
use crate::sys;
use crate::targets::Search;
use crate::teardown;

/// What became of an interface.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub enum Change {
    /// It is attached to.
    Attached(AttachReport),
    /// It was attached to and is not any more; its flows stay.
    Detached(NotAttached),
    /// It matches and is not attached to. Told again only if the reason changes.
    Skipped(NotAttached),
}

/// Keeps an instance attached to the interfaces that match, whatever becomes of
/// them.
#[derive(Debug)]
pub struct Follower {
    links: Links,
    search: Search,
    /// The names of attached interfaces that matched when last looked at.
    known: BTreeMap<u32, String>,
    /// Interfaces that somebody else detached, with their names then.
    released: BTreeMap<u32, String>,
    /// What those were like that refused; when they change, they are asked again.
    refused: BTreeMap<u32, Device>,
    told: BTreeMap<u32, NotAttached>,
    news: News,
    changes: VecDeque<Change>,
}

impl Follower {
    /// Begins to listen; nothing is attached to before the first
    /// [`Follower::try_next`].
    ///
    /// # Errors
    /// `Invalid` for no name at all, or one that is neither name nor pattern, or if
    /// the instance belongs to another namespace than it was opened from;
    /// `NotFound` if its namespace is gone.
    pub fn new(instance: &Instance, names: &[String], mode: Mode) -> Result<Self> {
        let wanted = Wanted::new(names)?.followed();
        instance.check_home()?;
        let netns = instance.netns()?;
        let news = News {
            any: true,
            ..News::default()
        };
        Ok(Self {
            links: Links::open(netns)?,
            search: Search::new(netns, KernelSupport::probe(), wanted, mode),
            known: BTreeMap::new(),
            released: BTreeMap::new(),
            refused: BTreeMap::new(),
            told: BTreeMap::new(),
            news,
            changes: VecDeque::new(),
        })
    }

    /// Does what is to be done by now, and says the next thing that was done. It
    /// waits for another process that works on the instance, and for nothing else.
    ///
    /// # Errors
    /// `NotFound` if the instance was detached, `InUse` if another process keeps it
    /// in the foreground, what the kernel says. The next call tries again.
    pub fn try_next(&mut self, instance: &Instance) -> Result<Option<Change>> {
        self.links.hear(&mut self.news)?;
        if self.changes.is_empty() && self.news.any {
            self.look(instance)?;
            self.news = News::default();
        }
        Ok(self.changes.pop_front())
    }

    /// Waits so long for something to happen to any interface; false if nothing
    /// did.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        sys::readable(self.as_fd(), timeout).context("wait for changes of interfaces")
    }

    fn look(&mut self, instance: &Instance) -> Result<()> {
        let mut state = instance.state();
        if state.detached {
            return Err(teardown::not_attached(&instance.name));
        }
        let _lock = instance.lock(&state, "following interfaces")?;
        if self.news.lost {
            self.news.gone.extend(hooks_lost(instance, &state)?);
        }
        let devices = instance.devices()?;
        self.clear_vanished(instance, &mut state, &devices)?;
        // At once: until then, what comes by a new one counts twice.
        instance.update_uppers()?;
        let attached = instance.ifaces.attached();
        self.take_stock(&devices, &attached);
        let found = self.search.find(&attached)?;
        let why = |device: &Device| {
            let mut skipped = found.skipped.iter();
            let skipped = skipped.find(|skipped| skipped.ifindex == device.ifindex);
            match skipped {
                Some(skipped) => skipped.why.clone(),
                None => format!("it is called {} now", device.name),
            }
        };
        let known: Vec<u32> = self.known.keys().copied().collect();
        for ifindex in known {
            let device = devices.iter().find(|device| device.ifindex == ifindex);
            if let Some(device) = device.filter(|_| !found.kept.contains(&ifindex)) {
                self.let_go(instance, &mut state, ifindex, why(device))?;
            }
        }
        let outcome = instance.attach_found(&mut state, found, &mut self.search)?;
        self.refused = devices
            .into_iter()
            .filter(|device| self.search.refused.contains_key(&device.ifindex))
            .map(|device| (device.ifindex, device))
            .collect();
        for report in outcome.interfaces {
            self.known.insert(report.ifindex, report.interface.clone());
            self.changes.push_back(Change::Attached(report));
        }
        self.tell_skipped(outcome.skipped);
        Ok(())
    }

    /// Clears away what is left of interfaces that went.
    fn clear_vanished(
        &mut self,
        instance: &Instance,
        state: &mut State,
        devices: &[Device],
    ) -> Result<()> {
        let here: BTreeSet<u32> = devices.iter().map(|device| device.ifindex).collect();
        let is_gone = |ifindex: &u32| !here.contains(ifindex) || self.news.gone.contains(ifindex);
        let mut records = instance.records()?;
        records.retain(|record| is_gone(&record.ifindex));
        self.released.retain(|ifindex, _| !is_gone(ifindex));
        self.refused.retain(|ifindex, _| !is_gone(ifindex));
        self.told.retain(|ifindex, _| !is_gone(ifindex));
        for record in records {
            instance.detach_one(state, &record)?;
            let AttachRecord { ifindex, name, .. } = record;
            self.changes.push_back(Change::Detached(NotAttached {
                interface: self.known.remove(&ifindex).unwrap_or(name),
                ifindex,
                why: "it is gone".to_owned(),
            }));
        }
        Ok(())
    }

    /// Looks which are attached now, and tells the search what is open to another
    /// decision and what is not.
    fn take_stock(&mut self, devices: &[Device], attached: &BTreeSet<u32>) {
        let released = &mut self.released;
        self.known.retain(|&ifindex, name| {
            let stays = attached.contains(&ifindex);
            if !stays {
                released.insert(ifindex, name.clone());
            }
            stays
        });
        released.retain(|ifindex, name| {
            let mut devices = devices.iter();
            let same = devices.any(|it| it.ifindex == *ifindex && it.name == *name);
            same && !attached.contains(ifindex)
        });
        for device in devices {
            if attached.contains(&device.ifindex) && self.search.wanted.matches(device) {
                self.known.insert(device.ifindex, device.name.clone());
            }
        }
        let changed = |ifindex: &u32| {
            let then = self.refused.get(ifindex);
            !then.is_some_and(|then| devices.contains(then))
        };
        self.search.refused.retain(|ifindex, _| !changed(ifindex));
        self.search.known = self.known.keys().copied().collect();
        self.search.except = self.released.keys().copied().collect();
    }

    /// Detaches from one that is not to be attached to any more.
    fn let_go(
        &mut self,
        instance: &Instance,
        state: &mut State,
        ifindex: u32,
        why: String,
    ) -> Result<()> {
        let mut records = instance.records()?;
        records.retain(|record| record.ifindex == ifindex);
        for record in &records {
            instance.detach_one(state, record)?;
        }
        let interface = self.known.remove(&ifindex);
        let gone = NotAttached {
            interface: interface.unwrap_or_else(|| ifindex.to_string()),
            ifindex,
            why,
        };
        // It was said with this.
        self.told.insert(ifindex, gone.clone());
        self.changes.push_back(Change::Detached(gone));
        Ok(())
    }

    fn tell_skipped(&mut self, skipped: Vec<NotAttached>) {
        let mut told = BTreeMap::new();
        for skipped in skipped {
            let before = self.told.get(&skipped.ifindex);
            if before != Some(&skipped) {
                self.changes.push_back(Change::Skipped(skipped.clone()));
            }
            told.insert(skipped.ifindex, skipped);
        }
        self.told = told;
    }
}

impl AsFd for Follower {
    /// Readable when something has happened to an interface; for poll and epoll.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.links.as_fd()
    }
}

/// The interfaces whose hooks are not as they were attached: they went and came
/// back, and that was not heard. For who has the instance's lock: its programs stay
/// the same meanwhile.
fn hooks_lost(instance: &Instance, state: &State) -> Result<Vec<u32>> {
    let netns = instance.netns()?;
    let ids = instance.program_ids(state);
    let programs = || ids.clone();
    let mut records = instance.records()?;
    let of = records.iter().map(|record| record.ifindex).collect();
    let live = teardown::live_hooks(netns, &KernelSupport::probe(), &of, programs)?;
    records.retain(|record| live.get(&record.ifindex) != Some(&record.hooks));
    Ok(records.iter().map(|record| record.ifindex).collect())
}
