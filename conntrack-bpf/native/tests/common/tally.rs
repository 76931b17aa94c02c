//! What threads at one table remember of their packets, and whether the table holds
//! just that.

use std::collections::HashMap;
use std::collections::HashSet;

use conntrack_native::Done;
use conntrack_native::End;
use conntrack_native::Key;
use conntrack_native::Outcome;
use conntrack_native::Packet;
use conntrack_native::SECOND;
use conntrack_native::Slot;
use conntrack_native::Table;
use conntrack_native::TableEvent;

/// Length of the longest packet.
pub(crate) const MOST_BYTES: u32 = 1039;

/// A flow: its table (IPv6's?), place and generation.
pub(crate) type Name = (bool, u32, u32);

/// What threads remember of a flow.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) key: Key,
    pub(crate) created: u32,
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
    /// The opener is the key's higher end, by each direction that was told.
    pub(crate) opener: Vec<bool>,
}

/// What one thread, or all of them, went through.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) flows: HashMap<Name, Memory>,
    pub(crate) outcomes: HashMap<&'static str, u64>,
    pub(crate) created: u64,
    pub(crate) strays: u64,
    /// Of flows that are no more, as they were told.
    pub(crate) ends: Vec<End>,
}

impl Tally {
    pub(crate) fn note(&mut self, v6: bool, packet: &Packet, bytes: u32, done: &Done) {
        self.strays += u64::from(done.strays);
        *self.outcomes.entry("late").or_default() += u64::from(done.late);
        let name = match done.outcome {
            Outcome::Created => "created",
            Outcome::Counted => "counted",
            Outcome::Ignored => "ignored",
            Outcome::Refused => "refused",
            Outcome::Full => "full",
            Outcome::Busy => "busy",
        };
        *self.outcomes.entry(name).or_default() += 1;
        let created = done.outcome == Outcome::Created;
        if !created && done.outcome != Outcome::Counted {
            return;
        }
        let (key, from_higher) = packet.key();
        let memory = self.flows.entry((v6, done.place, done.generation));
        let memory = memory.or_insert_with(|| Memory::new(key));
        self.created += u64::from(created);
        memory.created += u32::from(created);
        memory.packets[done.dir] += 1;
        memory.bytes[done.dir] += u64::from(bytes);
        memory.learn(key, from_higher == (done.dir == 0));
    }

    pub(crate) fn join(&mut self, other: Self) {
        for (name, memory) in other.flows {
            let mine = self.flows.entry(name);
            let mine = mine.or_insert_with(|| Memory::new(memory.key));
            mine.created += memory.created;
            for dir in [0, 1] {
                mine.packets[dir] += memory.packets[dir];
                mine.bytes[dir] += memory.bytes[dir];
            }
            for opener in memory.opener {
                mine.learn(memory.key, opener);
            }
        }
        for (name, count) in other.outcomes {
            *self.outcomes.entry(name).or_default() += count;
        }
        self.created += other.created;
        self.ends.extend(other.ends);
        self.strays += other.strays;
    }

    /// What was counted in a slot that a flow has left is the flow's: where it went is
    /// in the slot.
    pub(crate) fn follow(&mut self, table: &Table) {
        for (v6, place, slot) in slots(table).filter(|(_, _, slot)| slot.left >= 2) {
            let Some(memory) = self.flows.remove(&(v6, place, slot.generation)) else {
                continue;
            };
            let mut moved = Self::default();
            moved.flows.insert((v6, slot.to.0, slot.to.1), memory);
            self.join(moved);
        }
    }
}

impl Memory {
    fn new(key: Key) -> Self {
        Self {
            key,
            created: 0,
            packets: [0; 2],
            bytes: [0; 2],
            opener: Vec::new(),
        }
    }

    /// Two openers stand for a fault: of two keys in one flow as well.
    pub(crate) fn learn(&mut self, key: Key, opener: bool) {
        if key != self.key {
            self.opener = vec![true, false];
        } else if !self.opener.contains(&opener) {
            self.opener.push(opener);
        }
    }
}

/// All slots: IPv6's?, place, slot.
pub(crate) fn slots(table: &Table) -> impl Iterator<Item = (bool, u32, Slot)> {
    [false, true].into_iter().flat_map(move |v6| {
        let second = (0..table.second_places(v6)).map(|place| place | SECOND);
        let places = (0..table.places(v6)).chain(second);
        places.map(move |place| (v6, place, table.slot(v6, place)))
    })
}

/// Slots in which somebody still seems to be at work, or that cannot be found by
/// their tag. One that its flow has left keeps its tag.
pub(crate) fn stuck(table: &Table) -> Vec<String> {
    let stuck = slots(table).filter(|(_, _, slot)| {
        let left = slot.left == 3;
        let tag = if slot.is_live() || left {
            slot.key_tag
        } else {
            0
        };
        !(slot.is_live() || slot.is_free() || left) || slot.tag != tag
    });
    stuck.map(|slot| format!("stuck: {slot:?}")).collect()
}

/// Flows that are neither there nor ended, or both.
pub(crate) fn unbalanced(table: &Table, tally: &Tally) -> Option<String> {
    let live = slots(table).filter(|(_, _, slot)| slot.is_live()).count() as u64;
    let ended = [
        TableEvent::Timeout,
        TableEvent::Fin,
        TableEvent::Rst,
        TableEvent::Evicted,
        TableEvent::Replaced,
        TableEvent::Deleted,
        TableEvent::Flushed,
    ];
    let ended: u64 = ended.map(|event| table.events(event)).iter().sum();
    let created = table.events(TableEvent::Created);
    let told = (tally.created, tally.ends.len() as u64);
    let right = told == (created, ended) && created == live + ended;
    (!right).then(|| format!("{created} created, {ended} ended, told {told:?}, {live} live"))
}

/// Counts of flows: what they are too high and too low by.
#[derive(Default)]
struct Balance {
    more: [u64; 2],
    less: [u64; 2],
    faults: Vec<String>,
}

impl Balance {
    fn add(&mut self, memory: Option<&Memory>, packets: [u64; 2], bytes: [u64; 2]) {
        let Some(memory) = memory else {
            return self.faults.push(format!("nobody knows of {packets:?}"));
        };
        for dir in [0, 1] {
            let counted = [packets[dir], bytes[dir]];
            let known = [memory.packets[dir], memory.bytes[dir]];
            for kind in [0, 1] {
                self.more[kind] += counted[kind].saturating_sub(known[kind]);
                self.less[kind] += known[kind].saturating_sub(counted[kind]);
            }
        }
    }

    /// So many packets may have been counted too many, and so many too few. Of each
    /// packet the one count may be there and the other not.
    fn judge(mut self, what: &str, most: u64, fewest: u64) -> Vec<String> {
        let limit = |packets: u64| [packets, packets * u64::from(MOST_BYTES)];
        let exceeds = |is: [u64; 2], limit: [u64; 2]| is[0] > limit[0] || is[1] > limit[1];
        if exceeds(self.more, limit(most)) {
            let text = format!("{what}: {:?} too many, {most} packets may be", self.more);
            self.faults.push(text);
        }
        if exceeds(self.less, limit(fewest)) {
            let text = format!("{what}: {:?} lost, {fewest} packets may be", self.less);
            self.faults.push(text);
        }
        self.faults
    }
}

/// Flows that count other than is remembered of them, while they are there or when
/// they ended. A stray may have been wiped with the slot, or not. A packet whose flow
/// moved meanwhile, and then ended, may have come too late for what was told of it, or
/// have been counted on what came after it. What is there has lost nothing.
pub(crate) fn miscounted(table: &Table, tally: &Tally) -> Vec<String> {
    let single = |(name, memory): (&Name, &Memory)| match memory {
        Memory {
            created: 1, opener, ..
        } if opener.len() == 1 => None,
        memory => Some(format!("{name:?} is no single flow: {memory:?}")),
    };
    let (mut there, mut gone) = (Balance::default(), Balance::default());
    for (v6, place, slot) in slots(table).filter(|(_, _, slot)| slot.is_live()) {
        let memory = tally.flows.get(&(v6, place, slot.generation));
        let memory = memory.filter(|memory| memory.key == slot.key);
        there.add(memory, slot.packets, slot.bytes);
    }
    let mut ended = HashSet::new();
    for end in &tally.ends {
        let name = (end.v6, end.place, end.generation);
        gone.add(tally.flows.get(&name), end.packets, end.bytes);
        if !ended.insert(name) {
            gone.faults.push(format!("ended twice: {end:?}"));
        }
    }
    let late = tally.outcomes.get("late").copied().unwrap_or(0);
    let mut faults: Vec<String> = tally.flows.iter().filter_map(single).collect();
    faults.extend(there.judge("flows that are there", tally.strays + late, 0));
    faults.extend(gone.judge("flows that ended", tally.strays + late, late));
    faults
}
