//! Taking instances apart, whatever condition they are in: by their owner, by
//! name, or because who set them up died on the way.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use conntrack_core::Hook;
use conntrack_core::Hooks;
use libbpf_rs::MapHandle;

use crate::attach;
use crate::clsact;
use crate::counters::Meter;
use crate::datapath::Datapath;
use crate::devices;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::instance;
use crate::keeping::Folder;
use crate::lock::Lock;
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::netns::NetnsId;
use crate::pins::Condition;
use crate::pins::PinDir;
use crate::probe::Capabilities;
use crate::probe::KernelSupport;
use crate::records::AttachRecord;
use crate::records::Meta;
use crate::shape;
use crate::support::DeviceSupport;
use crate::sys;

/// Reserves the name of an instance: takes its lock, and clears away what a
/// process left that died.
///
/// # Errors
/// `InUse` if the instance is alive, `AbiMismatch` if it is none of ours.
pub(crate) fn claim(dir: &PinDir, purpose: &str) -> Result<Lock> {
    let lock = dir.lock(purpose)?;
    match dir.inspect()? {
        Condition::Absent => return Ok(lock),
        Condition::HalfMade => {}
        // What was kept by a process that let go of its lock without a word.
        Condition::Ready(datapath) if datapath.meta.foreground => {}
        Condition::Ready(datapath)
            if is_dead(Some(dir), &datapath, home(&datapath.meta).as_ref(), || {
                dir.program_ids()
            }) => {}
        Condition::Ready(datapath) => return Err(alive(dir, &datapath)),
    }
    let instance = dir.instance();
    tracing::info!("instance {instance} was left by a process that died; it starts anew");
    take_down(dir)?.tell(instance);
    Ok(lock)
}

fn alive(dir: &PinDir, datapath: &Datapath) -> Error {
    let records = AttachRecord::read_all(&datapath.maps.attach).unwrap_or_default();
    let names: Vec<_> = records.into_iter().map(|record| record.name).collect();
    let (instance, names) = (dir.instance(), names.join(", "));
    let names = if names.is_empty() { "nothing" } else { &names };
    let message = format!("instance {instance} is running already, attached to {names}");
    Error::new(ErrorKind::InUse, message)
}

/// Whether none of its programs sits on an interface any more: its process died,
/// or the interfaces went. One from which every interface was removed by name is
/// not dead. Where its namespace is gone, or out of sight, pinned links know
/// whether they still have an interface; of filters nobody does. What this process
/// must not ask counts as alive.
pub(crate) fn is_dead(
    dir: Option<&PinDir>,
    datapath: &Datapath,
    netns: Option<&Netns>,
    programs: impl Fn() -> Vec<u32> + Sync,
) -> bool {
    let records = AttachRecord::read_all(&datapath.maps.attach).unwrap_or_default();
    if records.is_empty() {
        return false;
    }
    let Some(netns) = netns else {
        return !dir.is_some_and(PinDir::has_live_links);
    };
    let of = records.iter().map(|record| record.ifindex).collect();
    let live = live_hooks(netns, &KernelSupport::default(), &of, programs);
    may_ask() && live.is_ok_and(|live| live.is_empty())
}

/// Whether this process is told what sits on interfaces.
pub(crate) fn may_ask() -> bool {
    let known = Capabilities::of_this_process();
    known.net_admin || known.sys_admin
}

/// What to say of one that is dead.
pub(crate) fn nothing_attached(instance: &str) -> Error {
    let message = format!(
        "instance {instance} is attached to nothing any more: the process that held it, or its \
         interfaces, are gone; `attach` starts anew"
    );
    Error::new(ErrorKind::NotFound, message)
}

/// The namespace of an instance, if it still exists.
pub(crate) fn home(meta: &Meta) -> Option<Netns> {
    let id = NetnsId {
        inode: meta.netns_ino,
        device: meta.netns_dev,
    };
    let named = meta.netns.parse().ok();
    let named = named.and_then(|named| Netns::open(&named).ok());
    named
        .filter(|netns| netns.id() == id)
        .or_else(|| Netns::find(id))
}

/// The interfaces, among those of these indexes, on which an instance's programs
/// really sit, and where. Which programs those are is asked before and after: they
/// may be replaced at this moment.
pub(crate) fn live_hooks(
    netns: &Netns,
    kernel: &KernelSupport,
    of: &BTreeSet<u32>,
    programs: impl Fn() -> Vec<u32> + Sync,
) -> Result<BTreeMap<u32, Hooks>> {
    netns.run(|| {
        let mut ours = programs();
        let devices = devices::list().context("list the network devices")?;
        let devices = devices.into_iter();
        let devices = devices.filter(|device| of.contains(&device.ifindex));
        let found = devices.map(|device| (device.ifindex, DeviceSupport::probe(device, kernel)));
        let found: Vec<_> = found.collect();
        ours.extend(programs());
        let live = found.into_iter().map(|(ifindex, found)| {
            let mut hooks = Hooks::default();
            for present in found.present {
                if present.id.is_some_and(|id| ours.contains(&id)) {
                    let side = match present.egress {
                        false => &mut hooks.ingress,
                        true => &mut hooks.egress,
                    };
                    *side = Some(present.hook);
                }
            }
            (ifindex, hooks)
        });
        let live = live.filter(|(_, hooks)| *hooks != Hooks::default());
        Ok(live.collect())
    })?
}

/// What an instance may have left that was taken down: filters in a namespace that
/// is not in sight. If it is gone, so are they.
#[derive(Debug, Default)]
#[must_use = "somebody should be told"]
pub(crate) struct Unseen {
    /// Inode of the namespace.
    netns: u64,
    /// Names of interfaces with filters.
    interfaces: Vec<String>,
    programs: Vec<u32>,
}

impl Unseen {
    /// How long the kernel may take to free a program that nobody uses.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Warns of filters that are still there: they keep their programs. Nobody in
    /// this process may hold one of those.
    pub(crate) fn tell(&self, instance: &str) {
        let end = Instant::now() + Self::PATIENCE;
        while self.programs.iter().any(|&id| sys::is_loaded(id)) {
            if Instant::now() > end {
                let (netns, names) = (self.netns, self.interfaces.join(", "));
                tracing::warn!(
                    "the network namespace of instance {instance} (inode {netns}) is not in sight: \
                     its clsact filters on {names} are left, or another process has it open; \
                     in there, `tc filter del dev NAME ingress` and `egress` remove them"
                );
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Detaches and unpins an instance. Who calls it holds its lock.
///
/// # Errors
/// `AbiMismatch`, with nothing touched, if there are files of other names; what
/// the kernel refuses: what is not removed then can be removed by calling it
/// again.
pub(crate) fn take_down(dir: &PinDir) -> Result<Unseen> {
    dir.check_names()?;
    keep_bans(dir);
    dir.remove_links()?;
    tracing::debug!("the links of instance {} are gone", dir.instance());
    let unseen = remove_filters(dir)?;
    dir.remove()?;
    tracing::info!("the pins are gone: {}", dir.path().display());
    Ok(unseen)
}

/// Keeps what packets have banned since somebody last did. That it cannot be kept is no
/// reason to leave anything attached.
fn keep_bans(dir: &PinDir) {
    let Ok(Condition::Ready(datapath)) = dir.inspect() else {
        return;
    };
    let Some(folder) = Folder::of(&datapath.meta.state, dir.instance()) else {
        return;
    };
    // Others are kept when they are made; nothing is written over for none.
    let banned = Meter::map(&datapath).map_or(0, |meter| meter.read().limits.banned);
    if banned == 0 {
        return;
    }
    let kept = dir
        .lock_policy("keeping bans")
        .and_then(|_lock| folder.save_single(&datapath.maps));
    if let Err(error) = kept {
        tracing::warn!(
            "the bans of instance {} are not kept: {error:#}",
            dir.instance()
        );
    }
}

/// Filters outlive links and pins. Records, pins and the namespace may be there
/// or not.
fn remove_filters(dir: &PinDir) -> Result<Unseen> {
    let open = |name: &str| MapHandle::from_pinned_path(dir.path().join(name)).ok();
    let records = open("map_attach").filter(shape::is_attach);
    let records = records.map(|map| AttachRecord::read_all(&map));
    let meta = open("map_meta").and_then(|map| shape::check_meta(&dir.path(), &map).ok());
    let programs = dir.program_ids();
    let (Some(mut records), Some(meta)) = (records.transpose()?, meta) else {
        remove_filters_everywhere(&programs)?;
        return Ok(Unseen::default());
    };
    records.retain(has_filters);
    if records.is_empty() {
        return Ok(Unseen::default());
    }
    let Some(netns) = home(&meta) else {
        return Ok(Unseen {
            netns: meta.netns_ino,
            interfaces: records.into_iter().map(|record| record.name).collect(),
            programs,
        });
    };
    netns.run(|| {
        let mut each = records.iter();
        each.try_for_each(|record| {
            attach::remove_filters(record.ifindex, &programs, record.made_clsact)
        })
    })??;
    Ok(Unseen::default())
}

/// Takes filters with these programs off every interface there is: what would say
/// which ones have them is not there, or not known. A clsact qdisc stays, for it
/// may be somebody else's.
pub(crate) fn remove_filters_everywhere(programs: &[u32]) -> Result<()> {
    if programs.is_empty() {
        return Ok(());
    }
    for netns in Netns::all() {
        netns.run(|| {
            let netlink = Netlink::open().context("open a netlink socket")?;
            for device in devices::list().context("list the network devices")? {
                clsact::remove_programs(&netlink, device.ifindex, programs)
                    .with_context(|| format!("remove our filters from {}", device.name))?;
            }
            Ok::<_, Error>(())
        })??;
    }
    Ok(())
}

/// Whether the interface has, or may have, filters of ours.
pub(crate) fn has_filters(record: &AttachRecord) -> bool {
    let hooks = [record.hooks.ingress, record.hooks.egress];
    record.made_clsact || hooks.contains(&Some(Hook::Clsact))
}

/// Detaches and unpins the instance of this name, in whatever condition it is.
///
/// # Errors
/// `NotFound` if there is none, `InUse` if a process keeps it in the foreground,
/// `AbiMismatch` if another version made it or there is anything else among its
/// pins, `Invalid` for what is no instance's name, `NotPermitted`.
pub fn detach(instance: &str) -> Result<()> {
    instance::check_name(instance)?;
    let absent = || not_attached(instance);
    let dir = PinDir::find(instance).ok_or_else(absent)?;
    // Looked at before, so that a wrong name leaves no lock, and after, because
    // others may have been faster.
    if !is_there(&dir)? {
        return Err(absent());
    }
    let _lock = dir.lock("detaching")?;
    if !is_there(&dir)? {
        return Err(absent());
    }
    let unseen = take_down(&dir).with_context(|| format!("detach instance {instance}"))?;
    unseen.tell(instance);
    Ok(())
}

/// Whether there is something in the directory, be it broken or foreign.
fn is_there(dir: &PinDir) -> Result<bool> {
    match dir.inspect() {
        Ok(Condition::Absent) => Ok(false),
        Ok(_) => Ok(true),
        Err(_) if dir.exists() => Ok(true),
        Err(error) => Err(error),
    }
}

pub(crate) fn not_attached(instance: &str) -> Error {
    let others = PinDir::instances().map(|mut names| {
        names.retain(|name| name != instance);
        names.join(", ")
    });
    let others = match others {
        Ok(names) if names.is_empty() => ", nor is any other: `attach` starts one".to_owned(),
        Ok(names) => format!("; running here: {names}"),
        Err(_) => String::new(),
    };
    let message = format!("instance {instance} is not attached{others}");
    Error::new(ErrorKind::NotFound, message)
}
