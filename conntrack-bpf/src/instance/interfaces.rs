//! The interfaces of an instance: adding, removing, and knowing what is stacked
//! on them.

use conntrack_core::Hooks;
use conntrack_core::Mode;
use libbpf_rs::ProgramHandle;

use super::AttachReport;
use super::Attached;
use super::Instance;
use super::State;
use super::warn_of;
use crate::attach;
use crate::attach::Attachment;
use crate::choose::NotAttached;
use crate::choose::Wanted;
use crate::datapath::Entry;
use crate::devices::Device;
use crate::devices::Framing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::probe::KernelSupport;
use crate::records::AttachRecord;
use crate::stacking;
use crate::sys;
use crate::targets::Found;
use crate::targets::Refused;
use crate::targets::Search;
use crate::targets::Target;
use crate::teardown;

impl Instance {
    /// Attaches to more interfaces: to all that are named, or to none; of those
    /// that a pattern matches, to as many as can be.
    ///
    /// # Errors
    /// As [`Instance::attach`]; `Invalid` if the instance belongs to another
    /// namespace than it was opened from.
    pub fn add(&self, names: &[String], mode: Mode) -> Result<Attached> {
        let wanted = Wanted::new(names)?;
        let mut state = self.state();
        self.check_home()?;
        let netns = self.netns()?;
        let _lock = self.lock(&state, "attaching")?;
        let kernel = KernelSupport::probe();
        let devices = attach::devices(netns)?;
        let mut stale = self.vanished(&devices)?;
        stale.extend(self.incomplete(&state, &kernel, &devices, &wanted)?);
        for record in stale {
            self.detach_one(&mut state, &record)?;
        }
        let mut search = Search::new(netns, kernel, wanted, mode);
        let found = search.find(&self.ifaces.attached())?;
        self.attach_found(&mut state, found, &mut search)
    }

    /// Detaches from an interface, by the name that it has now, or the one it had
    /// if it is gone; its flows stay.
    ///
    /// # Errors
    /// `NotFound` if the instance is not attached to it.
    pub fn remove(&self, name: &str) -> Result<()> {
        let mut state = self.state();
        let _lock = self.lock(&state, "detaching")?;
        let devices = self.devices()?;
        let named = devices.iter().find(|device| device.name == name);
        let mut meant = self.vanished(&devices)?;
        meant.retain(|record| record.name == name);
        let mut records = self.records()?;
        records.retain(|record| named.is_some_and(|device| device.ifindex == record.ifindex));
        meant.extend(records);
        if meant.is_empty() {
            let message = format!("instance {} is not attached to {name}", self.name);
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        for record in &meant {
            self.detach_one(&mut state, record)?;
        }
        self.update_uppers()
    }

    /// The devices of its namespace; none if that is gone.
    pub(super) fn devices(&self) -> Result<Vec<Device>> {
        let devices = self.netns.as_ref().map(|netns| attach::devices(netns));
        Ok(devices.transpose()?.unwrap_or_default())
    }

    /// The records of interfaces that are not among these devices any more.
    fn vanished(&self, devices: &[Device]) -> Result<Vec<AttachRecord>> {
        let mut records = self.records()?;
        records.retain(|record| {
            let mut devices = devices.iter();
            !devices.any(|device| device.ifindex == record.ifindex)
        });
        Ok(records)
    }

    /// The records of wanted interfaces on which a program of ours is missing: the
    /// process that attached to them died on the way, or somebody took it off.
    fn incomplete(
        &self,
        state: &State,
        kernel: &KernelSupport,
        devices: &[Device],
        wanted: &Wanted,
    ) -> Result<Vec<AttachRecord>> {
        let mut records = self.records()?;
        records.retain(|record| {
            let mut devices = devices.iter();
            devices.any(|device| device.ifindex == record.ifindex && wanted.matches(device))
        });
        let known = kernel.capabilities;
        if records.is_empty() || !(known.net_admin || known.sys_admin) {
            return Ok(Vec::new()); // or they may not be asked for
        }
        let of = records.iter().map(|record| record.ifindex).collect();
        let programs = || self.program_ids(state);
        let live = teardown::live_hooks(self.netns()?, kernel, &of, programs)?;
        records.retain(|record| {
            let live = live.get(&record.ifindex).copied().unwrap_or_default();
            live.ingress.is_none() || (record.hooks.egress.is_some() && live.egress.is_none())
        });
        Ok(records)
    }

    /// Looks anew which devices are stacked on the attached ones. Somebody may
    /// add a VLAN, or make an interface a bridge's port, at any time; packets
    /// are counted twice until this is called. What held interfaces that are gone
    /// is freed; their records stay, to be told, until they are removed or the
    /// next one is added. Leaves it to the process that works on the instance at
    /// this moment, if one does.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn refresh_uppers(&self) -> Result<()> {
        let mut state = self.state();
        let locked = match &state.dir {
            Some(dir) if state.lock.is_none() => {
                let lock = dir.lock_if_free("looking at interfaces");
                // Somebody may have pinned another one under the name.
                match lock.filter(|_| self.is_pinned_in(dir).unwrap_or(false)) {
                    Some(lock) => Some(lock),
                    None => return Ok(()),
                }
            }
            _ => None,
        };
        let freed = self.free_vanished(&mut state);
        drop(locked);
        freed
    }

    fn free_vanished(&self, state: &mut State) -> Result<()> {
        if self.netns.is_some() {
            for record in self.vanished(&self.devices()?)? {
                self.let_go(state, record.ifindex)?;
                self.ifaces.detach(record.ifindex);
            }
        }
        self.update_uppers()
    }

    pub(super) fn update_uppers(&self) -> Result<()> {
        if self.netns.is_none() {
            return Ok(());
        }
        let covered = stacking::covered(&self.devices()?, &self.ifaces.attached());
        self.ifaces.set_uppers(&covered)
    }

    /// Attaches to what was found. Where an interface refuses that a pattern
    /// matched, those stacked on it come in its place.
    pub(super) fn attach_found(
        &self,
        state: &mut State,
        found: Found,
        search: &mut Search,
    ) -> Result<Attached> {
        let wanted = search.wanted.clone();
        let had_some = self.ifaces.attached();
        let mut found = found;
        let mut outcome = Attached::default();
        loop {
            let kernel = &search.kernel;
            let failed = self.attach_all(state, &found.targets, kernel, &mut outcome)?;
            if failed.is_empty() {
                break;
            }
            search.refused.extend(failed);
            // What is named has been done by now.
            search.wanted = wanted.clone().lenient();
            let attached = self.ifaces.attached();
            found = search.find(&attached)?;
        }
        outcome.skipped = found.skipped;
        if wanted.lenient || !outcome.interfaces.is_empty() {
            return Ok(outcome);
        }
        let mut known = self.devices()?.into_iter();
        match known.any(|device| had_some.contains(&device.ifindex) && wanted.matches(&device)) {
            true => Ok(outcome),
            false => Err(nothing_left(&outcome.skipped)),
        }
    }

    /// Table and records first, hooks last: a packet seen before the table
    /// knows its interface would be counted again on its way out. Returns those
    /// that were optional and failed.
    fn attach_all(
        &self,
        state: &mut State,
        targets: &[Target],
        kernel: &KernelSupport,
        outcome: &mut Attached,
    ) -> Result<Refused> {
        let result = self.attach_each(state, targets, kernel, outcome);
        if result.is_err() {
            targets
                .iter()
                .for_each(|target| self.give_up(state, target));
            warn_of(self.update_uppers());
        }
        result
    }

    fn attach_each(
        &self,
        state: &mut State,
        targets: &[Target],
        kernel: &KernelSupport,
        outcome: &mut Attached,
    ) -> Result<Refused> {
        let mut failed = Refused::new();
        let mut fail = |target: &Target, error: Error| match target.optional {
            true => {
                failed.insert(target.ifindex(), format!("{error:#}"));
                Ok(())
            }
            false => Err(error),
        };
        let mut entered = Vec::new();
        // First what takes its time: from the table on, nothing is counted on its way
        // out that came in by one of them.
        let loaded: Vec<_> = targets
            .iter()
            .map(|target| (target, self.load_for(state, target)))
            .collect();
        for (target, loaded) in loaded {
            match loaded.and_then(|()| self.enter(target)) {
                Ok(()) => entered.push(target),
                Err(error) => {
                    self.give_up(state, target);
                    fail(target, error)?;
                }
            }
        }
        self.update_uppers()?;
        let (devices, tracked) = (self.devices()?, self.ifaces.attached());
        for target in entered {
            let mut report = match self.attach_one(state, target, kernel) {
                Ok(report) => report,
                Err(error) => {
                    self.give_up(state, target);
                    fail(target, error)?;
                    continue;
                }
            };
            let why = report.why.into_iter();
            let caveats = stacking::caveats(&devices, &tracked, &target.device.device);
            let why: Vec<String> = why.chain(caveats).collect();
            report.why = Some(why.join("; ")).filter(|why| !why.is_empty());
            outcome.interfaces.push(report);
        }
        if !failed.is_empty() {
            self.update_uppers()?;
        }
        Ok(failed)
    }

    /// The programs that its plan needs.
    fn load_for(&self, state: &State, target: &Target) -> Result<()> {
        let mut entries = attach::entries(&target.plan);
        entries.try_for_each(|entry| self.program(state, entry).map(drop))
    }

    /// A program for an interface that is in the table already. Where it has to be
    /// loaded, the interface is not in there meanwhile.
    fn program_at(&self, state: &State, target: &Target, entry: Entry) -> Result<ProgramHandle> {
        if self.current(state).programs.entry(entry).is_ok() {
            return self.program(state, entry);
        }
        self.ifaces.detach(target.ifindex());
        let program = self.program(state, entry);
        self.list(target)?;
        program
    }

    fn list(&self, target: &Target) -> Result<()> {
        let raw_ip = target.device.device.framing == Framing::RawIp;
        let maps = &self.datapath().maps;
        self.ifaces.attach(maps, target.ifindex(), raw_ip)
    }

    /// The record and the table.
    fn enter(&self, target: &Target) -> Result<()> {
        planned(target).write(&self.datapath().maps.attach)?;
        self.list(target)
    }

    /// Takes away what there is of a target that failed.
    fn give_up(&self, state: &mut State, target: &Target) {
        let ours = |record: &AttachRecord| record.ifindex == target.ifindex();
        for record in self.records().into_iter().flatten().filter(ours) {
            warn_of(self.detach_one(state, &record));
        }
    }

    fn attach_one(
        &self,
        state: &mut State,
        target: &Target,
        kernel: &KernelSupport,
    ) -> Result<AttachReport> {
        let netns = self.netns()?;
        let ifindex = target.ifindex();
        let attachment = {
            let state = &*state;
            let programs = |entry| self.program_at(state, target, entry);
            let marked = state.dir.is_none();
            netns.run(|| Attachment::make(&programs, netns, target, kernel, marked))??
        };
        let datapath = self.datapath();
        let record = AttachRecord {
            hooks: attachment.hooks(),
            made_clsact: attachment.made_clsact(),
            why: attachment.why(),
            ..planned(target)
        };
        record.write(&datapath.maps.attach)?;
        tracing::info!("attached to {}: {}", record.name, record.hooks);
        match &state.dir {
            Some(dir) if state.pinned => {
                for (entry, link) in attachment.links() {
                    dir.pin_link(ifindex, entry, link)?;
                }
                attachment.release();
            }
            _ => {
                state.attachments.insert(ifindex, attachment);
            }
        }
        Ok(AttachReport {
            interface: record.name,
            ifindex,
            hooks: record.hooks,
            why: Some(record.why).filter(|why| !why.is_empty()),
        })
    }

    /// Whatever there is of it.
    pub(super) fn detach_one(&self, state: &mut State, record: &AttachRecord) -> Result<()> {
        let ifindex = record.ifindex;
        let held = self.let_go(state, ifindex)?;
        if let Some(netns) = &self.netns
            && !held
            && teardown::has_filters(record)
        {
            let programs = self.program_ids(state);
            let made = record.made_clsact;
            netns.run(|| attach::remove_filters(ifindex, &programs, made))??;
        }
        self.ifaces.detach(ifindex);
        tracing::info!("detached from {}: {}", record.name, record.hooks);
        AttachRecord::remove(&self.datapath().maps.attach, ifindex)
    }

    /// Takes its links away; true if this process held what was attached.
    fn let_go(&self, state: &mut State, ifindex: u32) -> Result<bool> {
        let held = state.attachments.remove(&ifindex).is_some();
        if let Some(dir) = &state.dir {
            dir.unpin_links(ifindex)?;
        }
        Ok(held)
    }
}

/// Every match of the patterns was left out.
fn nothing_left(skipped: &[NotAttached]) -> Error {
    let reasons = skipped.iter();
    let reasons = reasons.map(|it| format!("{}: {}", it.interface, it.why));
    let reasons: Vec<String> = reasons.collect();
    let message = format!("there is nothing to attach to: {}", reasons.join("; "));
    Error::new(ErrorKind::NotFound, message)
}

/// The record before anything is attached: what may be left if this process
/// dies on the way.
fn planned(target: &Target) -> AttachRecord {
    AttachRecord {
        ifindex: target.ifindex(),
        name: target.device.device.name.clone(),
        hooks: Hooks {
            ingress: target.plan.likely_ingress(),
            egress: target.plan.egress,
        },
        made_clsact: attach::uses_clsact(&target.plan) && !target.has_clsact,
        since: sys::boottime_ns(),
        why: String::new(),
    }
}
