//! What the packet path counts, summed up.
//!
//! Each CPU writes its own counters and no other's, so a sum is of values that
//! were all true, if not at one moment.

use std::fs;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use conntrack_core::Counters;
use conntrack_core::stats::BAN_ORIGINS;
use conntrack_core::stats::CpuCounts;
use conntrack_core::stats::DROP_REASONS;
use conntrack_core::stats::PASS_REASONS;
use conntrack_core::stats::TableCounts;
use conntrack_core::stats::UNRECORDED;
use conntrack_core::stats::by_reason;
use libbpf_rs::MapCore;
use libbpf_rs::MapHandle;

use crate::datapath::Datapath;
use crate::datapath::Maps;
use crate::defines::IFACES;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::ifaces::IfaceTable;
use crate::mapped::Mapped;
use crate::policy::Policy;
use crate::shape;
use crate::wire::ct_cpu;
use crate::wire::ct_ifstat;

/// The counters of a data path, mapped for reading.
#[derive(Debug)]
pub struct Meter {
    cpus: Mapped<ct_cpu>,
    ifstats: Mapped<ct_ifstat>,
    ifaces: IfaceTable,
}

/// What was counted on one attached interface, over all CPUs.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct IfaceCounts {
    /// Its index.
    pub ifindex: u32,
    /// IP packets, both ways.
    pub packets: u64,
    /// Their IP total lengths.
    pub bytes: u64,
}

impl Meter {
    /// Maps the counters of a data path.
    ///
    /// # Errors
    /// The kernel refuses to map them.
    pub fn map(datapath: &Datapath) -> Result<Self> {
        let maps = &datapath.maps;
        let len = |map: &libbpf_rs::MapHandle| map.max_entries() as usize;
        Ok(Self {
            cpus: Mapped::read_only(&maps.cpu, len(&maps.cpu)).context("map the counters")?,
            ifstats: Mapped::read_only(&maps.ifstats, len(&maps.ifstats))
                .context("map the counters of interfaces")?,
            ifaces: IfaceTable::map(maps)?,
        })
    }

    /// The counters of packets and slots; what else there is in [`Counters`]
    /// stays empty.
    pub fn read(&self) -> Counters {
        let mut sum = ct_cpu::default();
        let mut per_cpu = Vec::with_capacity(self.cpus.len());
        let cpus = (0..self.cpus.len()).filter_map(|cpu| self.cpus.get(cpu));
        for (cpu, counts) in (0..).zip(cpus) {
            per_cpu.push(CpuCounts {
                cpu,
                packets: counts.packets,
                bytes: counts.bytes,
            });
            add(&mut sum, &counts);
        }
        let [original, reply] = sum.classes;
        let mut counters = Counters {
            packets: sum.packets,
            bytes: sum.bytes,
            drops: by_reason(&DROP_REASONS, &sum.drops),
            passed_untracked: by_reason(&PASS_REASONS, &sum.passed),
            table: TableCounts::new(sum.table, &sum.gone),
            limits: sum.limit.into(),
            banned: by_reason(&BAN_ORIGINS, &sum.banned),
            fingerprints_left_out: by_reason(&UNRECORDED, &sum.unprinted),
            per_cpu,
            ..Counters::default()
        };
        counters.ct_state.original = original.into();
        counters.ct_state.reply = reply.into();
        counters
    }

    /// What became of room beside the flows: who lost theirs, who got none.
    pub(crate) fn sides(&self) -> [u64; 2] {
        let mut sum = ct_cpu::default();
        let cpus = (0..self.cpus.len()).filter_map(|cpu| self.cpus.get(cpu));
        cpus.for_each(|counts| add(&mut sum, &counts));
        sum.side
    }

    /// Flows in each table, IPv4 and IPv6, those not yet cleared away included.
    pub fn live(&self) -> [u64; 2] {
        let mut sum = ct_cpu::default();
        let cpus = (0..self.cpus.len()).filter_map(|cpu| self.cpus.get(cpu));
        cpus.for_each(|counts| add(&mut sum, &counts));
        // A reader may meet a flow's end before its beginning.
        sum.live.map(|count| u64::try_from(count).unwrap_or(0))
    }

    /// The counters of the interfaces that programs of ours are attached to, by
    /// index.
    pub fn interfaces(&self) -> Vec<IfaceCounts> {
        let entries = self.ifaces.entries().into_iter();
        let attached = entries.filter(|entry| entry.is_attached());
        let mut counts: Vec<_> = attached
            .map(|entry| self.interface(entry.ifindex, entry.stat))
            .collect();
        counts.sort_unstable_by_key(|counts| counts.ifindex);
        counts
    }

    fn interface(&self, ifindex: u32, slot: u16) -> IfaceCounts {
        let mut sum = IfaceCounts {
            ifindex,
            packets: 0,
            bytes: 0,
        };
        let of_cpus = (usize::from(slot)..self.ifstats.len()).step_by(IFACES as usize);
        for counts in of_cpus.filter_map(|index| self.ifstats.get(index)) {
            sum.packets = sum.packets.wrapping_add(counts.packets);
            sum.bytes = sum.bytes.wrapping_add(counts.bytes);
        }
        sum
    }
}

fn add(sum: &mut ct_cpu, counts: &ct_cpu) {
    let add = |to: &mut [u64], from: &[u64]| {
        for (to, from) in to.iter_mut().zip(from) {
            *to = to.wrapping_add(*from);
        }
    };
    sum.packets = sum.packets.wrapping_add(counts.packets);
    sum.bytes = sum.bytes.wrapping_add(counts.bytes);
    for (to, from) in sum.classes.iter_mut().zip(&counts.classes) {
        add(to, from);
    }
    add(&mut sum.passed, &counts.passed);
    add(&mut sum.drops, &counts.drops);
    add(&mut sum.table, &counts.table);
    add(&mut sum.gone, &counts.gone);
    add(&mut sum.limit, &counts.limit);
    add(&mut sum.banned, &counts.banned);
    add(&mut sum.unprinted, &counts.unprinted);
    for (to, from) in sum.live.iter_mut().zip(counts.live) {
        *to = to.wrapping_add(from);
    }
}

/// Kernel memory of all maps in bytes, as the kernel accounts for it.
///
/// # Errors
/// /proc is not mounted.
pub fn memory_bytes(maps: &Maps) -> Result<u64> {
    let mut sum = 0;
    let [bans, allowed] = Policy::map(&maps.policy)?.entries();
    for (name, map) in maps.named() {
        let bytes = map_memory(map).with_context(|| format!("look at the map {name}"))?;
        let bytes = bytes.ok_or_else(|| {
            let message = format!("/proc does not say how much memory the map {name} takes");
            Error::new(ErrorKind::Unsupported, message)
        })?;
        // No ban has more than one reason.
        let entries = if name == "allow" { allowed } else { bans };
        sum += match shape::grown_bytes(name, map, entries) {
            Some(grown) => grown.min(bytes),
            None => bytes,
        };
    }
    Ok(sum)
}

/// Kernel memory of a map in bytes; `None` if the kernel does not say.
///
/// # Errors
/// /proc is not mounted.
pub(crate) fn map_memory(map: &MapHandle) -> Result<Option<u64>> {
    let path = format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd());
    let info = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    Ok(memlock(&info))
}

/// Not libbpf-rs's, which has 32 bits for it.
fn memlock(info: &str) -> Option<u64> {
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("memlock:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_summed() {
        let mut ones = ct_cpu {
            packets: 1,
            bytes: 1,
            ..ct_cpu::default()
        };
        ones.classes = [[1; 5]; 2];
        ones.passed.fill(1);
        ones.drops.fill(1);
        ones.table.fill(1);
        ones.gone.fill(1);
        ones.live.fill(1);
        ones.limit.fill(1);
        ones.banned.fill(1);
        ones.unprinted.fill(1);
        let mut sum = ones;
        add(&mut sum, &ones);
        assert_eq!((sum.packets, sum.bytes), (2, 2));
        assert_eq!(sum.classes, [[2; 5]; 2]);
        let rest = [
            &sum.passed[..],
            &sum.drops,
            &sum.table,
            &sum.gone,
            &sum.limit,
            &sum.banned,
            &sum.unprinted,
        ]
        .concat();
        assert_eq!(sum.live, [2, 2]);
        assert!(rest.iter().all(|&count| count == 2));
    }

    #[test]
    fn memory_is_found_in_fdinfo() {
        let info = "pos:\t0\nmap_type:\t2\nmemlock:\t4096\nmap_id:\t7\n";
        assert_eq!(memlock(info), Some(4096));
        assert_eq!(memlock("memlock:\t11453251584\n"), Some(11_453_251_584));
        assert_eq!(memlock("pos:\t0\n"), None);
    }
}
