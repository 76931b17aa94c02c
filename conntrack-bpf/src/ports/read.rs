//! Reading: entries and registers together.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::AsFd;

use conntrack_core::Family;
use conntrack_core::PortsConfig;
use conntrack_core::Protocol;
use conntrack_core::ports::PortDst;
use conntrack_core::ports::PortName;
use conntrack_core::ports::PortQuery;
use conntrack_core::ports::PortRow;
use conntrack_core::ports::PortSource;
use conntrack_core::ports::Ports;
use conntrack_core::ports::Precision;
use conntrack_core::reference::distinct::Registers;
use libbpf_rs::MapCore;

use crate::clock::Clock;
use crate::clock::age;
use crate::datapath::Datapath;
use crate::datapath::Maps;
use crate::defines::PORT_TICK_SHIFT;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::hash;
use crate::hash::Hash;
use crate::key;
use crate::key::Seed;
use crate::mapped::Mapped;
use crate::row::addr;
use crate::wire::ct_port;
use crate::wire::ct_port_cpu;
use crate::wire::ct_port_key;
use crate::wire::ct_port_register;
use crate::wire::ct_port_slot;
use crate::wire::ct_port_source;

/// Addresses of this host, by which local ones are told.
pub type Own = HashSet<IpAddr>;

/// One reading: what came within a window up to now.
#[derive(Debug)]
pub struct Reading<'a> {
    maps: &'a Maps,
    seed: Seed,
    config: PortsConfig,
    query: &'a PortQuery,
    own: &'a Own,
    clock: Clock,
    /// Now, and the window: nanoseconds.
    now: u64,
    window: u64,
}

/// What is known of a port.
#[derive(Debug, Default)]
struct Found {
    sources: HashSet<IpAddr>,
    registers: Option<Registers>,
    /// Of the last one: nanoseconds.
    last: u64,
    missed: bool,
}

/// Of the entries as a whole.
#[derive(Debug, Default)]
struct Entries {
    count: u64,
    /// When the one was last seen that was not for the longest time.
    oldest: Option<u64>,
}

impl<'a> Reading<'a> {
    /// Begins one.
    ///
    /// # Errors
    /// `Unsupported` if ports are not kept; or what the kernel says.
    pub fn new(
        datapath: &'a Datapath,
        query: &'a PortQuery,
        own: &'a Own,
        clock: Clock,
    ) -> Result<Self> {
        let config = super::config(&datapath.maps)?;
        if !config.enabled {
            let message = "who reaches which port is not kept: `ports.enabled` in the \
                           configuration that the tracker was attached with says so";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(Self {
            maps: &datapath.maps,
            seed: datapath.meta.hash_seed,
            config,
            query,
            own,
            clock,
            now: clock.now(),
            window: u64::try_from(query.window.as_nanos()).unwrap_or(u64::MAX),
        })
    }

    /// How many have reached which port.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn rows(&self) -> Result<Ports> {
        let mut found = BTreeMap::<PortName, Found>::new();
        let entries = self.entries(&mut found)?;
        self.registers(&mut found)?;
        self.missed(&mut found)?;
        let mut ports = Ports::default();
        let entered = self.counters(&mut ports)?;
        ports.evicted = entered.saturating_sub(entries.count);
        // What gave way was seen before all that is left: about, for the kernel's LRU is not
        // exact.
        let reaches_back = entries
            .oldest
            .is_none_or(|last| age(self.now, last) < self.window);
        let forgotten = ports.evicted > 0 && reaches_back;
        let rows = found
            .into_iter()
            .filter_map(|(name, found)| self.row(name, &found, forgotten));
        ports.rows = rows.collect();
        Ok(ports)
    }

    /// Who has reached them, as far as that is known one by one, the latest first.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sources(&self) -> Result<Vec<PortSource>> {
        let mut sources = HashMap::<(PortName, IpAddr), ct_port_source>::new();
        self.for_each(|name, src, value| {
            if self.is_within(value.last) {
                let known = sources.entry((name, src));
                known
                    .and_modify(|known| merge(known, value))
                    .or_insert(*value);
            }
        })?;
        let civil = |instant| self.clock.civil(instant);
        let sources = sources.into_iter().map(|((name, addr), value)| {
            let times = [value.first, value.last].map(civil);
            let mut source = PortSource::new(name, addr, times);
            (source.connections, source.ifindex) = (value.count, value.ifindex);
            source
        });
        let mut sources: Vec<_> = sources.collect();
        sources.sort_by_key(|it| (it.name, std::cmp::Reverse(it.last), it.addr));
        Ok(sources)
    }

    fn is_within(&self, last: u64) -> bool {
        age(self.now, last) <= self.window
    }

    /// The same of a tick of registers; 0 is none.
    fn has_tick(&self, tick: u32) -> bool {
        tick != 0 && u64::from(self.ticks_since(tick)) <= self.window >> PORT_TICK_SHIFT
    }

    fn ticks_since(&self, tick: u32) -> u32 {
        let since = ((self.now >> PORT_TICK_SHIFT) as u32).wrapping_sub(tick);
        // A packet may have come in since.
        if since > u32::MAX / 2 { 0 } else { since }
    }

    fn is_local(&self, addr: IpAddr) -> bool {
        addr.is_loopback() || self.own.contains(&addr)
    }

    fn concerns(&self, dst: IpAddr) -> bool {
        match self.query.dst {
            PortDst::Any => true,
            PortDst::Local => self.is_local(dst),
            PortDst::Net(net) => net.contains(&dst),
        }
    }

    /// Gives every entry that meets the conditions but the window; what is known of all.
    fn for_each(&self, mut each: impl FnMut(PortName, IpAddr, &ct_port_source)) -> Result<Entries> {
        let hash = Hash::<ct_port_key, ct_port_source>::new(self.maps.port_sources.as_fd());
        let mut all = Entries::default();
        hash::for_each(&hash, |key, value| {
            // 0: another CPU has just put it in.
            if value.count == 0 {
                return Ok(());
            }
            all.count += 1;
            all.oldest = Some(all.oldest.unwrap_or(u64::MAX).min(value.last));
            let name = name_of(&key);
            let [src, dst] = [key.src, key.dst].map(|words| addr(name.family, words));
            let from_here = !self.query.with_local && self.is_local(src);
            if self.query.wants(name) && self.concerns(dst) && !from_here {
                each(name, src, &value);
            }
            Ok::<_, Error>(())
        })
        .context("read the sources of ports")?;
        Ok(all)
    }

    fn entries(&self, found: &mut BTreeMap<PortName, Found>) -> Result<Entries> {
        self.for_each(|name, src, value| {
            if self.is_within(value.last) {
                let port = found.entry(name).or_default();
                port.sources.insert(src);
                port.last = port.last.max(value.last);
            }
        })
    }

    /// What is in the registers of each port.
    fn registers(&self, found: &mut BTreeMap<PortName, Found>) -> Result<()> {
        let maps = self.maps;
        let (slots, each) = (self.config.estimated_ports, self.config.registers);
        let of_slots = Mapped::<ct_port_slot>::read_only(&maps.port_slots, slots as usize);
        let of_slots = of_slots.context("map the slots of ports")?;
        let all = (slots * each) as usize;
        let registers = Mapped::<ct_port_register>::read_only(&maps.port_registers, all);
        let registers = registers.context("map the registers of ports")?;
        for at in 0..slots {
            let Some(slot) = of_slots.get(at as usize).filter(|slot| slot.port != 0) else {
                continue;
            };
            let name = name_at(slot.port - 1);
            if !self.query.wants(name) {
                continue;
            }
            let lives = self.ticks_since(slot.since);
            let port = found.entry(name).or_default();
            let ranks = port.registers.get_or_insert_with(|| Registers::new(each));
            let mut newest = u32::MAX;
            for register in 0..each {
                let Some(times) = registers.get((at * each + register) as usize) else {
                    break;
                };
                let ranked = times.last.iter().zip(1_u8..);
                for (tick, rank) in ranked.filter(|(tick, _)| self.has_tick(**tick)) {
                    let since = self.ticks_since(*tick);
                    if since <= lives {
                        ranks.note_rank(register, rank);
                        newest = newest.min(since);
                    }
                }
            }
            if newest != u32::MAX {
                let last = self
                    .now
                    .saturating_sub(u64::from(newest) << PORT_TICK_SHIFT);
                port.last = port.last.max(last);
            }
        }
        Ok(())
    }

    /// Which ports have missed a source.
    fn missed(&self, found: &mut BTreeMap<PortName, Found>) -> Result<()> {
        let len = self.maps.ports.max_entries() as usize;
        let ports = Mapped::<ct_port>::read_only(&self.maps.ports, len);
        let ports = ports.context("map the ports")?;
        for (name, found) in found {
            let port = ports.get(index_of(*name) as usize);
            found.missed = port.is_some_and(|port| self.has_tick(port.missed));
        }
        Ok(())
    }

    /// What CPUs have counted; how many sources were entered.
    fn counters(&self, ports: &mut Ports) -> Result<u64> {
        let len = self.maps.port_cpus.max_entries() as usize;
        let cpus = Mapped::<ct_port_cpu>::read_only(&self.maps.port_cpus, len);
        let cpus = cpus.context("map the counters of ports")?;
        let mut entered = 0;
        for cpu in (0..len).filter_map(|cpu| cpus.get(cpu)) {
            entered += cpu.entered;
            ports.scans += cpu.scans;
            ports.without_registers += cpu.full;
        }
        Ok(entered)
    }

    fn row(&self, name: PortName, found: &Found, forgotten: bool) -> Option<PortRow> {
        let exact = found.sources.len() as u64;
        let noted = found.registers.as_ref().filter(|it| !it.is_empty());
        let (sources, precision) = match noted {
            None if found.missed || forgotten => (exact, Precision::AtLeast),
            None => (exact, Precision::Exact),
            Some(_) if self.query.dst != PortDst::Any => (exact, Precision::AtLeast),
            Some(registers) => {
                let mut both = registers.clone();
                let known = found.sources.iter();
                known.for_each(|source| both.note(hash_of(&self.seed, *source)));
                let estimate = both.estimate().round() as u64;
                let error = self.config.standard_error();
                (estimate.max(exact), Precision::Estimated(error))
            }
        };
        let last = self.clock.civil(found.last);
        (sources > 0).then(|| PortRow::new(name, sources, precision, last))
    }
}

/// Of a source that has reached a port at several addresses.
fn merge(known: &mut ct_port_source, other: &ct_port_source) {
    known.first = known.first.min(other.first);
    known.count += other.count;
    if other.last > known.last {
        (known.last, known.ifindex) = (other.last, other.ifindex);
    }
}

fn name_of(key: &ct_port_key) -> PortName {
    PortName {
        family: match key.family {
            6 => Family::Ipv6,
            _ => Family::Ipv4,
        },
        protocol: Protocol(key.proto),
        port: u16::from_be(key.port_be),
    }
}

/// `ct_port_index()`.
fn index_of(name: PortName) -> u32 {
    let family = u32::from(name.family == Family::Ipv6) << 1;
    let kind = family | u32::from(name.protocol == Protocol::UDP);
    kind << 16 | u32::from(name.port)
}

fn name_at(index: u32) -> PortName {
    PortName {
        family: match index >> 17 & 1 {
            1 => Family::Ipv6,
            _ => Family::Ipv4,
        },
        protocol: match index >> 16 & 1 {
            1 => Protocol::UDP,
            _ => Protocol::TCP,
        },
        port: index as u16,
    }
}

/// `ct_port_hash()`.
fn hash_of(seed: &Seed, source: IpAddr) -> u64 {
    let words = key::addr_words(source);
    let [first, second, third, fourth] = words;
    let nh = |a, b, at: usize| key::nh(a, b, seed[at], seed[at + 1]);
    key::mix(match source {
        IpAddr::V4(_) => nh(first, 4, 1),
        IpAddr::V6(_) => nh(first, 6, 1)
            .wrapping_add(nh(second, third, 5))
            .wrapping_add(nh(fourth, 0, 9)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_places() {
        for index in [0, 22, 65_535, 65_536 + 53, 0x2_0050, 0x3_ffff] {
            assert_eq!(index_of(name_at(index)), index);
        }
        let name = name_at(0x3_0035);
        assert_eq!(
            (name.family, name.protocol, name.port),
            (Family::Ipv6, Protocol::UDP, 53)
        );
    }
}
