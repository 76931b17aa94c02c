//! What an instance is and does right now.

use std::collections::BTreeMap;
use std::time::Duration;

use conntrack_core::Family;
use conntrack_core::HealthConfig;
use conntrack_core::Hooks;
use conntrack_core::PressureLevel;
use conntrack_core::Status;
use conntrack_core::Timestamp;
use conntrack_core::status::InterfaceStatus;
use conntrack_core::status::KernelStatus;
use conntrack_core::status::Namespace;
use conntrack_core::status::ObjectStatus;
use conntrack_core::status::TableStatus;
use libbpf_rs::MapCore;
use libbpf_rs::MapHandle;
use nix::time::ClockId;
use nix::time::clock_gettime;

use super::Instance;
use crate::counters;
use crate::counters::Meter;
use crate::datapath::Datapath;
use crate::defines::SLOTS;
use crate::devices;
use crate::error::Context;
use crate::error::Result;
use crate::netns::Netns;
use crate::netns::NetnsId;
use crate::netns::NetnsRef;
use crate::pins::PinDir;
use crate::probe::KernelSupport;
use crate::records::AttachRecord;
use crate::records::Meta;
use crate::records::Phase;
use crate::side;
use crate::stacking;
use crate::sweep;
use crate::sys;
use crate::teardown;

impl Instance {
    /// What it measures of TCP connections, and for how many there is room.
    pub fn health_config(&self) -> HealthConfig {
        side::config(&self.datapath())
    }

    /// What it is and does right now. Hooks are looked up in the kernel, not
    /// remembered. Brings the stacked devices up to date on the way.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn status(&self) -> Result<Status> {
        if let Err(error) = self.refresh_uppers() {
            tracing::warn!("look at stacked devices: {error:#}");
        }
        let (datapath, unfinished, beside) = {
            let state = self.state();
            let dir = state.dir.as_ref();
            let unfinished = dir.is_some_and(PinDir::is_upgrading);
            let beside = dir.is_some_and(PinDir::is_resizing);
            (self.current(&state), unfinished, beside)
        };
        let resizing = beside || datapath.meta.phase != Phase::None;
        let meta = &datapath.meta;
        let clocks = Clocks::now();
        let kernel = KernelSupport::probe();
        let facts = kernel.deciding();
        Ok(Status {
            instance: self.name.clone(),
            version: meta.version.clone(),
            abi_version: meta.abi,
            since: clocks.civil(meta.created),
            uptime_ns: clocks.boottime.saturating_sub(meta.created),
            namespace: namespace(meta),
            interfaces: self.interfaces(&kernel, &clocks)?,
            programs: programs(&datapath),
            upgrade_unfinished: unfinished && !resizing,
            resize_unfinished: resizing,
            maps: maps(&datapath)?,
            kernel: KernelStatus {
                release: kernel.release.clone(),
                facts: facts.map(|(name, fact)| (name.to_owned(), fact)).into(),
            },
            tables: tables(&datapath)?,
            memory_bytes: counters::memory_bytes(&datapath.maps)?,
        })
    }

    /// What was opened, for the log.
    pub(super) fn tell(&self) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let (datapath, place) = (self.datapath(), self.namespace());
        let (name, meta) = (&self.name, &datapath.meta);
        let (version, layout) = (&meta.version, meta.abi);
        tracing::info!(
            "opened instance {name} of {place}: programs of version {version}, maps of layout {layout}"
        );
        for (name, program) in datapath.programs.named() {
            tracing::debug!("program {name} has id {}", program.id());
        }
        for record in self.records().into_iter().flatten() {
            tracing::debug!("attached to {}: {}", record.name, record.hooks);
        }
    }

    /// The network namespace it belongs to.
    pub fn namespace(&self) -> Namespace {
        namespace(&self.datapath().meta)
    }

    /// Whether that is the calling thread's; `true` where this cannot be told.
    pub fn is_here(&self) -> bool {
        let home = netns_id(&self.datapath().meta);
        Netns::open(&NetnsRef::Current).map_or(true, |here| here.id() == home)
    }

    fn interfaces(&self, kernel: &KernelSupport, clocks: &Clocks) -> Result<Vec<InterfaceStatus>> {
        let records = self.records()?;
        let live = match &self.netns {
            Some(netns) => {
                let programs = || self.program_ids(&self.state());
                let of = records.iter().map(|record| record.ifindex).collect();
                teardown::live_hooks(netns, kernel, &of, programs)?
            }
            None => BTreeMap::new(),
        };
        let devices = self.devices()?;
        let attached = self.ifaces.attached();
        let uppers = devices::uppers(&devices, attached.iter().copied());
        let interfaces = records.into_iter().map(|record| {
            let hooks = live.get(&record.ifindex).copied().unwrap_or_default();
            let mut devices_now = devices.iter();
            let device = devices_now.find(|device| device.ifindex == record.ifindex);
            let mut notes = why(&record, hooks, uppers.contains(&record.ifindex));
            if let Some(device) = device {
                notes.extend(stacking::caveats(&devices, &attached, device));
            }
            InterfaceStatus {
                why: Some(notes.join("; ")).filter(|why| !why.is_empty()),
                name: device.map_or(record.name, |device| device.name.clone()),
                ifindex: record.ifindex,
                mode: hooks.mode(),
                hooks,
                since: clocks.civil(record.since),
            }
        });
        Ok(interfaces.collect())
    }
}

fn netns_id(meta: &Meta) -> NetnsId {
    NetnsId {
        inode: meta.netns_ino,
        device: meta.netns_dev,
    }
}

/// A name tells more than a path, or the number of a process that may be gone.
fn namespace(meta: &Meta) -> Namespace {
    let recorded = Some(meta.netns.clone()).filter(|name| !name.is_empty());
    let name = match meta.netns.parse() {
        Ok(NetnsRef::Name(_)) => recorded,
        _ => Netns::name_of(netns_id(meta)).or(recorded),
    };
    Namespace {
        name,
        inode: meta.netns_ino,
        device: meta.netns_dev,
    }
}

fn programs(datapath: &Datapath) -> Vec<ObjectStatus> {
    let programs = datapath.programs.named();
    let programs = programs.map(|(name, program)| ObjectStatus {
        name: name.to_owned(),
        id: program.id(),
    });
    programs.collect()
}

fn maps(datapath: &Datapath) -> Result<Vec<ObjectStatus>> {
    let maps = datapath.maps.named().into_iter();
    let maps = maps.map(|(name, map)| {
        Ok(ObjectStatus {
            name: format!("ct_{name}"),
            id: map.info().context("look at a map")?.info.id,
        })
    });
    maps.collect()
}

fn tables(datapath: &Datapath) -> Result<Vec<TableStatus>> {
    let (maps, meta) = (&datapath.maps, &datapath.meta);
    let levels = sweep::read(datapath)?.map(|(_, levels)| levels);
    let [live4, live6] = Meter::map(datapath)?.live();
    let tables = [
        (Family::Ipv4, &maps.table4, meta.max_flows4, live4),
        (Family::Ipv6, &maps.table6, meta.max_flows6, live6),
    ];
    let tables = tables.into_iter().zip(0..);
    let tables = tables.map(|((family, map, max_flows, flows), index)| {
        let slots = u64::from(map.max_entries()) * u64::from(SLOTS);
        Ok(TableStatus {
            flows,
            pressure: levels.map(|levels: [PressureLevel; 2]| levels[index]),
            ..TableStatus::new(family, max_flows, slots, memory(map)?)
        })
    });
    tables.collect()
}

/// The kernel's own figure, or what the values take where it says nothing.
fn memory(map: &MapHandle) -> Result<u64> {
    let values = u64::from(map.value_size()) * u64::from(map.max_entries());
    Ok(counters::map_memory(map)?.unwrap_or(values))
}

/// What was said at attaching, and what has changed since.
fn why(record: &AttachRecord, now: Hooks, is_upper: bool) -> Vec<String> {
    let mut why = Vec::new();
    if !record.why.is_empty() {
        why.push(record.why.clone());
    }
    if now != record.hooks {
        let then = record.hooks;
        why.push(format!("it was attached as {then} and is {now} now"));
    }
    if is_upper {
        why.push(
            "it is stacked on another attached interface: packets are counted on both".to_owned(),
        );
    }
    why
}

/// Both clocks at one moment.
struct Clocks {
    boottime: u64,
    realtime: Timestamp,
}

impl Clocks {
    fn now() -> Self {
        let realtime = clock_gettime(ClockId::CLOCK_REALTIME).map(Duration::from);
        let nanos = realtime.unwrap_or_default().as_nanos();
        Self {
            boottime: sys::boottime_ns(),
            realtime: Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX)),
        }
    }

    /// To the millisecond: the two clocks are not read at quite the same moment, and
    /// the time of an event should not change from one look to the next.
    fn civil(&self, boottime: u64) -> Timestamp {
        const MILLISECOND: i64 = 1_000_000;
        let ago = self.boottime.saturating_sub(boottime);
        let ago = i64::try_from(ago).unwrap_or(i64::MAX);
        let nanos = self.realtime.0.saturating_sub(ago);
        Timestamp(nanos.saturating_add(MILLISECOND / 2) / MILLISECOND * MILLISECOND)
    }
}

#[cfg(test)]
mod tests {
    use conntrack_core::Hook;

    use super::*;

    #[test]
    fn a_time_stays_the_same() {
        let at = |boottime, realtime| {
            let realtime = Timestamp(realtime);
            Clocks { boottime, realtime }.civil(1_000_000_000)
        };
        let first = at(3_000_000_000, 1_700_000_002_302_245_006);
        assert_eq!(first, Timestamp(1_700_000_000_302_000_000));
        assert_eq!(at(3_000_000_010, 1_700_000_002_302_245_006), first);
        assert_eq!(at(9_000_000_000, 1_700_000_008_302_244_950), first);
    }

    #[test]
    fn changes_since_attaching_are_told() {
        let hooks = Hooks {
            ingress: Some(Hook::XdpNative),
            egress: Some(Hook::Tcx),
        };
        let record = AttachRecord {
            ifindex: 2,
            name: "eth0".to_owned(),
            hooks,
            made_clsact: false,
            since: 0,
            why: String::new(),
        };
        assert_eq!(why(&record, hooks, false), [""; 0]);
        let gone = why(&record, Hooks::default(), false).remove(0);
        assert!(gone.contains("xdp-native+tcx and is -+-"), "{gone}");
        assert!(why(&record, hooks, true)[0].contains("stacked"));
    }
}
