//! The table by which the packet path knows its interfaces (`ct_ifaces`), and
//! its counters' slots. Who writes it holds the instance's lock; packets read
//! it all the while, so every change is one 8-byte store.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;

use crate::datapath::Maps;
use crate::defines::IF_ATTACHED;
use crate::defines::IF_PROBE;
use crate::defines::IF_RAW_IP;
use crate::defines::IF_SLOTS;
use crate::defines::IF_UPPER;
use crate::defines::IFACES;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::shared::SharedWords;
use crate::skel::types::ct_ifstat;
use crate::sys;

/// Stands where an interface was, when the probe must go on behind it. No
/// interface has this index.
const GONE: u32 = u32::MAX;

/// An interface that the packet path knows.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) ifindex: u32,
    /// Its slot in `ct_ifstats`; 0 for all that have none of their own.
    pub(crate) stat: u16,
    flags: u16,
}

impl Entry {
    pub(crate) fn is_attached(self) -> bool {
        self.flags & IF_ATTACHED != 0
    }

    pub(crate) fn is_upper(self) -> bool {
        self.flags & IF_UPPER != 0
    }

    fn to_word(self) -> u64 {
        let [a, b, c, d] = self.ifindex.to_ne_bytes();
        let [e, f] = self.stat.to_ne_bytes();
        let [g, h] = self.flags.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    fn from_word(word: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
        Self {
            ifindex: u32::from_ne_bytes([a, b, c, d]),
            stat: u16::from_ne_bytes([e, f]),
            flags: u16::from_ne_bytes([g, h]),
        }
    }
}

/// The mapped table.
#[derive(Debug)]
pub(crate) struct IfaceTable {
    words: SharedWords,
}

impl IfaceTable {
    pub(crate) fn map(maps: &Maps) -> Result<Self> {
        let words = SharedWords::map(&maps.ifaces)?;
        Ok(Self { words })
    }

    fn slots(&self) -> Slots<'_> {
        Slots(self.words.words())
    }

    /// The interfaces in it.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.slots().entries().collect()
    }

    /// The interfaces that something is attached to.
    pub(crate) fn attached(&self) -> BTreeSet<u32> {
        let attached = self.slots().entries().filter(|entry| entry.is_attached());
        attached.map(|entry| entry.ifindex).collect()
    }

    /// Enters an interface that is about to be attached, with fresh counters.
    pub(crate) fn attach(&self, maps: &Maps, ifindex: u32, raw_ip: bool) -> Result<()> {
        let slots = self.slots();
        let used: BTreeSet<u16> = slots.entries().map(|entry| entry.stat).collect();
        let stat = (1..IFACES as u16).find(|stat| !used.contains(stat));
        let stat = stat.ok_or_else(|| full(ifindex))?;
        clear_counters(maps, stat)?;
        let old = slots.find(ifindex).map(|(_, entry)| entry.flags & IF_UPPER);
        let raw = if raw_ip { IF_RAW_IP } else { 0 };
        slots.put(Entry {
            ifindex,
            stat,
            flags: IF_ATTACHED | raw | old.unwrap_or(0),
        })
    }

    /// Takes an interface out that is no longer attached. It stays if it is
    /// stacked on one that is.
    pub(crate) fn detach(&self, ifindex: u32) {
        match self.slots().find(ifindex) {
            Some((_, entry)) if entry.is_upper() => {
                let flags = entry.flags & !(IF_ATTACHED | IF_RAW_IP);
                let upper = Entry {
                    stat: 0,
                    flags,
                    ..entry
                };
                // It has a slot already, so this cannot fail.
                let _ = self.slots().put(upper);
            }
            _ => self.slots().remove(ifindex),
        }
    }

    /// Makes these interfaces, and no others, the ones stacked on attached ones.
    pub(crate) fn set_uppers(&self, uppers: &BTreeSet<u32>) -> Result<()> {
        let slots = self.slots();
        for entry in self.entries() {
            let is_upper = uppers.contains(&entry.ifindex);
            if is_upper == entry.is_upper() {
                continue;
            }
            if entry.is_attached() {
                let flags = entry.flags ^ IF_UPPER;
                slots.put(Entry { flags, ..entry })?;
            } else {
                slots.remove(entry.ifindex);
            }
        }
        for &ifindex in uppers {
            if slots.find(ifindex).is_none() {
                slots.put(Entry {
                    ifindex,
                    stat: 0,
                    flags: IF_UPPER,
                })?;
            }
        }
        Ok(())
    }
}

/// Open addressing as `ct_iface_of` in `bpf/stats.h` reads it.
#[derive(Copy, Clone)]
struct Slots<'a>(&'a [AtomicU64]);

impl Slots<'_> {
    fn get(self, index: usize) -> Entry {
        Entry::from_word(self.0[index % self.0.len()].load(Ordering::Relaxed))
    }

    fn set(self, index: usize, entry: Entry) {
        self.0[index % self.0.len()].store(entry.to_word(), Ordering::Relaxed);
    }

    fn probe(ifindex: u32) -> impl Iterator<Item = usize> {
        let home = ifindex as usize & (IF_SLOTS - 1);
        home..home + IF_PROBE
    }

    fn entries(self) -> impl Iterator<Item = Entry> {
        let all = (0..self.0.len()).map(move |index| self.get(index));
        all.filter(|entry| entry.ifindex != 0 && entry.ifindex != GONE)
    }

    fn find(self, ifindex: u32) -> Option<(usize, Entry)> {
        Self::probe(ifindex)
            .map(|index| (index, self.get(index)))
            .take_while(|(_, entry)| entry.ifindex != 0)
            .find(|(_, entry)| entry.ifindex == ifindex)
    }

    fn put(self, entry: Entry) -> Result<()> {
        let known = self.find(entry.ifindex).map(|(index, _)| index);
        let free = || {
            Self::probe(entry.ifindex).find(|&index| matches!(self.get(index).ifindex, 0 | GONE))
        };
        let index = known.or_else(free).ok_or_else(|| full(entry.ifindex))?;
        self.set(index, entry);
        Ok(())
    }

    fn remove(self, ifindex: u32) {
        let Some((index, _)) = self.find(ifindex) else {
            return;
        };
        let next = self.get(index + 1).ifindex;
        let ifindex = if next == 0 { 0 } else { GONE };
        self.set(
            index,
            Entry {
                ifindex,
                ..Entry::default()
            },
        );
    }
}

fn full(ifindex: u32) -> Error {
    let message = format!("no room for interface {ifindex}: too many interfaces are tracked");
    Error::new(ErrorKind::Unsupported, message)
}

/// The slot may have been another interface's.
fn clear_counters(maps: &Maps, stat: u16) -> Result<()> {
    let zero = [0; size_of::<ct_ifstat>()];
    for cpu in 0..sys::possible_cpus() {
        let key = cpu * IFACES + u32::from(stat);
        maps.ifstats
            .update(&key.to_ne_bytes(), &zero, MapFlags::ANY)
            .context("clear an interface's counters")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<AtomicU64> {
        std::iter::repeat_with(|| AtomicU64::new(0))
            .take(IF_SLOTS)
            .collect()
    }

    fn entry(ifindex: u32) -> Entry {
        Entry {
            ifindex,
            stat: 3,
            flags: IF_UPPER,
        }
    }

    fn indices(slots: Slots<'_>) -> BTreeSet<u32> {
        slots.entries().map(|entry| entry.ifindex).collect()
    }

    #[test]
    fn words_are_the_struct() {
        let word = Entry {
            ifindex: 7,
            stat: 3,
            flags: IF_ATTACHED | IF_RAW_IP,
        };
        assert_eq!(Entry::from_word(word.to_word()), word);
        assert_eq!(&word.to_word().to_ne_bytes()[..4], 7_u32.to_ne_bytes());
    }

    #[test]
    fn collisions_are_found_and_survive_removal() {
        let words = table();
        let slots = Slots(&words);
        let step = IF_SLOTS as u32;
        let near: Vec<u32> = (0..IF_PROBE as u32).map(|n| 5 + n * step).collect();
        for &ifindex in &near {
            slots.put(entry(ifindex)).unwrap();
        }
        assert!(slots.put(entry(5 + 8 * step)).is_err(), "the probe is full");
        slots.put(entry(near[3])).unwrap();
        assert_eq!(slots.entries().count(), IF_PROBE, "no second entry");

        slots.remove(near[2]);
        assert!(slots.find(near[2]).is_none());
        assert!(slots.find(near[7]).is_some(), "behind the gap");
        slots.put(entry(5 + 8 * step)).unwrap();
        assert_eq!(slots.entries().count(), IF_PROBE, "the gap is used again");
        for &ifindex in &near {
            slots.remove(ifindex);
        }
        assert_eq!(indices(slots), BTreeSet::from([5 + 8 * step]));
    }

    #[test]
    fn the_table_wraps_around() {
        let words = table();
        let slots = Slots(&words);
        let last = IF_SLOTS as u32 - 1;
        for ifindex in [last, last + IF_SLOTS as u32, last + 2 * IF_SLOTS as u32] {
            slots.put(entry(ifindex)).unwrap();
            assert_eq!(slots.find(ifindex).unwrap().1.ifindex, ifindex);
        }
    }
}
