//! Several threads in one table: creating, finding, counting, expiring, pushing out,
//! deleting, flushing. Each remembers what became of each of its packets; then the table
//! must hold what they remember.
//!
//! Eighteen million operations; `CONNTRACK_TEST_HAMMER=100` makes twenty times as
//! many of it.

mod common;

use std::collections::HashMap;
use std::collections::HashSet;
use std::env;
use std::sync::Barrier;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::*;
use conntrack_native::Build;
use conntrack_native::Done;
use conntrack_native::End;
use conntrack_native::Key;
use conntrack_native::Outcome;
use conntrack_native::Packet;
use conntrack_native::Slot;
use conntrack_native::Table;
use conntrack_native::TableEvent;
use conntrack_native::Timeout;

const THREADS: u32 = 4;
/// Of each thread in a round.
const OPERATIONS: u32 = 150_000;
/// Nanoseconds from one operation to the next.
const STEP: u64 = 1000;
/// Length of the longest packet.
const MOST_BYTES: u32 = 1039;
/// For flows that are to stay: longer than any round.
const LONG: u64 = 1 << 50;

/// The conditions of a round.
#[derive(Copy, Clone, Debug)]
struct Shape {
    buckets: u32,
    connections: u32,
    timeout: u64,
    grace: u64,
    /// Deletes, of a hundred operations. With them, all is flushed now and then.
    releases: u64,
}

/// Two buckets are within reach of every key.
const SHAPES: [Shape; 6] = [
    // Nothing ends but TCP flows: what is counted is all still there.
    shape(2, 6, LONG, 0, 0),
    shape(2, 25, 300 * STEP, 0, 3),
    // More connections than slots.
    shape(2, 60, LONG, 0, 1),
    shape(2, 60, 200 * STEP, 20 * STEP, 1),
    shape(4, 90, 500 * STEP, 10 * STEP, 5),
    // Hot: everybody at the same few.
    shape(2, 3, 100 * STEP, 0, 10),
];

const fn shape(buckets: u32, connections: u32, timeout: u64, grace: u64, releases: u64) -> Shape {
    Shape {
        buckets,
        connections,
        timeout,
        grace,
        releases,
    }
}

fn table(build: Build, shape: Shape) -> Table {
    let mut table = Table::new(build, [shape.buckets; 2], &SEED);
    for timeout in [
        Timeout::Udp,
        Timeout::UdpStream,
        Timeout::Gre,
        Timeout::GreStream,
        Timeout::Generic,
    ] {
        table.set_timeout(timeout, shape.timeout);
    }
    table.set_tcp_timeouts(shape.timeout);
    table.set_grace(shape.grace);
    table
}

/// A flow: its table (IPv6's?), place and generation.
type Name = (bool, u32, u32);

/// What threads remember of a flow.
#[derive(Clone, Debug)]
struct Memory {
    key: Key,
    created: u32,
    packets: [u64; 2],
    bytes: [u64; 2],
    /// The opener is the key's higher end, by each direction that was told.
    opener: Vec<bool>,
}

/// What one thread, or all of them, went through.
#[derive(Default, Debug)]
struct Tally {
    flows: HashMap<Name, Memory>,
    outcomes: HashMap<&'static str, u64>,
    created: u64,
    strays: u64,
    /// Of flows that are no more, as they were told.
    ends: Vec<End>,
}

impl Tally {
    fn note(&mut self, v6: bool, packet: &Packet, bytes: u32, done: &Done) {
        self.strays += u64::from(done.strays);
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

    fn join(&mut self, other: Self) {
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
    fn learn(&mut self, key: Key, opener: bool) {
        if key != self.key {
            self.opener = vec![true, false];
        } else if !self.opener.contains(&opener) {
            self.opener.push(opener);
        }
    }
}

/// A random operation on a random connection.
fn operate(
    table: &Table,
    thread: u32,
    shape: Shape,
    now: u64,
    random: &mut Random,
    tally: &mut Tally,
) {
    let number = random.below(shape.connections.into()) as u32;
    let proto = [UDP, TCP, GRE, OTHER][number as usize % 4];
    let v6 = number.is_multiple_of(3);
    let bytes = 40 + random.below(u64::from(MOST_BYTES) - 39) as u32;
    let flags = [SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST | ACK][random.below(7) as usize];
    let packet = packet(number, proto, v6, random.percent(40));
    let packet = packet.at(now).bytes(bytes).tcp_flags(flags);
    if random.percent(shape.releases) {
        table.release(thread, &packet);
    } else if random.below(500) == 0 {
        table.sweep(thread, now);
    } else if shape.releases > 0 && random.below(500) == 0 {
        table.flush(thread, now);
    } else {
        tally.note(v6, &packet, bytes, &table.packet(thread, &packet));
    }
    tally.ends.extend(table.ends());
}

fn work(table: &Table, thread: u32, shape: Shape, clock: &AtomicU64, mut random: Random) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..OPERATIONS {
        // CPUs do not agree on the time to the nanosecond.
        let now = clock.fetch_add(STEP / u64::from(THREADS), Ordering::Relaxed);
        let now = now - random.below(3 * STEP);
        operate(table, thread, shape, now, &mut random, &mut tally);
    }
    tally
}

/// A round: what all threads remember, and the pairs of flows with one key that
/// were seen meanwhile.
fn round(table: &Table, shape: Shape, seed: u64) -> (Tally, u32) {
    let clock = AtomicU64::new(1 << 40);
    let (begin, working) = (Barrier::new(THREADS as usize), AtomicU32::new(THREADS));
    let mut all = Tally::default();
    let mut duplicates = 0;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (clock, begin, working) = (&clock, &begin, &working);
                scope.spawn(move || {
                    begin.wait();
                    let random = Random(seed << 8 | u64::from(thread));
                    let tally = work(table, thread, shape, clock, random);
                    working.fetch_sub(1, Ordering::SeqCst);
                    tally
                })
            })
            .collect();
        while working.load(Ordering::SeqCst) > 0 {
            duplicates += table.duplicates(false) + table.duplicates(true);
            thread::sleep(Duration::from_millis(2));
        }
        for worker in workers {
            all.join(worker.join().expect("a thread"));
        }
    });
    (all, duplicates)
}

/// All slots: IPv6's?, place, slot.
fn slots(table: &Table) -> impl Iterator<Item = (bool, u32, Slot)> {
    [false, true].into_iter().flat_map(move |v6| {
        let places = 0..table.places(v6);
        places.map(move |place| (v6, place, table.slot(v6, place)))
    })
}

/// Slots in which somebody still seems to be at work, or that cannot be found by
/// their tag.
fn stuck(table: &Table) -> Vec<String> {
    let stuck = slots(table).filter(|(_, _, slot)| {
        let tag = if slot.is_live() { slot.key_tag } else { 0 };
        !(slot.is_live() || slot.is_free()) || slot.tag != tag
    });
    stuck.map(|slot| format!("stuck: {slot:?}")).collect()
}

/// Flows that are neither there nor ended, or both.
fn unbalanced(table: &Table, tally: &Tally) -> Option<String> {
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

/// Whether a place and a generation name one flow only. Generations have 16 bits,
/// and a thread that is stopped in the middle of creating a flow makes the others
/// take slots in vain until it goes on.
fn names_are_unique(table: &Table, tally: &Tally) -> bool {
    let mut taken: HashMap<(bool, u32), u64> = HashMap::new();
    for ((v6, place, _), memory) in &tally.flows {
        *taken.entry((*v6, *place)).or_default() += u64::from(memory.created);
    }
    let most = taken.into_values().max().unwrap_or(0);
    most + table.events(TableEvent::Conflicts) < 1 << 16
}

/// Counts of flows, there or told of when they ended: what they are too high by.
#[derive(Default)]
struct Excess {
    packets: u64,
    bytes: u64,
    faults: Vec<String>,
}

impl Excess {
    fn add(&mut self, memory: Option<&Memory>, packets: [u64; 2], bytes: [u64; 2]) {
        let Some(memory) = memory else {
            return self.faults.push(format!("nobody knows of {packets:?}"));
        };
        for dir in [0, 1] {
            let more = packets[dir].checked_sub(memory.packets[dir]);
            match more.zip(bytes[dir].checked_sub(memory.bytes[dir])) {
                Some((packets, bytes)) => {
                    self.packets += packets;
                    self.bytes += bytes;
                }
                None => self
                    .faults
                    .push(format!("lost: {packets:?} {bytes:?} of {memory:?}")),
            }
        }
    }
}

/// Flows that count other than is remembered of them, while they are there or when
/// they ended.
fn miscounted(table: &Table, tally: &Tally) -> Vec<String> {
    let single = |(name, memory): (&Name, &Memory)| match memory {
        Memory {
            created: 1, opener, ..
        } if opener.len() == 1 => None,
        memory => Some(format!("{name:?} is no single flow: {memory:?}")),
    };
    let mut excess = Excess {
        faults: tally.flows.iter().filter_map(single).collect(),
        ..Excess::default()
    };
    for (v6, place, slot) in slots(table).filter(|(_, _, slot)| slot.is_live()) {
        let memory = tally.flows.get(&(v6, place, slot.generation));
        let memory = memory.filter(|memory| memory.key == slot.key);
        excess.add(memory, slot.packets, slot.bytes);
    }
    let mut ended = HashSet::new();
    for end in &tally.ends {
        let name = (end.v6, end.place, end.generation);
        excess.add(tally.flows.get(&name), end.packets, end.bytes);
        if !ended.insert(name) {
            excess.faults.push(format!("ended twice: {end:?}"));
        }
    }
    // A stray's packet may have been wiped with the slot, and its bytes not.
    let (packets, bytes, strays) = (excess.packets, excess.bytes, tally.strays);
    if packets > strays || bytes > strays * u64::from(MOST_BYTES) {
        let text = format!("{packets} packets, {bytes} bytes too many: {strays} strays");
        excess.faults.push(text);
    }
    excess.faults
}

/// When all that is in the table has expired, every slot can be had again.
fn every_slot_can_be_had(table: &Table) -> Vec<String> {
    let mut faults = Vec::new();
    for v6 in [false, true] {
        for number in 0..table.places(v6) {
            let packet = packet(1_000_000 + number, OTHER, v6, false).at(u64::MAX >> 2);
            let done = table.packet(0, &packet);
            if done.outcome != Outcome::Created {
                faults.push(format!("{number}: {done:?}"));
            }
        }
        let live = (0..table.places(v6)).filter(|&place| table.slot(v6, place).is_live());
        let live = live.count();
        if live != table.places(v6) as usize {
            faults.push(format!("{live} of {} slots can be had", table.places(v6)));
        }
    }
    faults
}

/// One round: what was wrong; and whether counts could be judged.
fn hammer(build: Build, shape: Shape, seed: u64) -> (Tally, Vec<String>, bool) {
    let table = table(build, shape);
    let (tally, duplicates) = round(&table, shape, seed);
    let mut faults = stuck(&table);
    faults.extend(unbalanced(&table, &tally));
    if shape.releases > 0 {
        let removed = [TableEvent::Deleted, TableEvent::Flushed].map(|event| table.events(event));
        if removed.contains(&0) {
            faults.push(format!("hardly anything is removed: {removed:?}"));
        }
    }
    if duplicates > 0 {
        faults.push(format!("{duplicates} duplicates"));
    }
    let judged = names_are_unique(&table, &tally);
    if judged {
        faults.extend(miscounted(&table, &tally));
    }
    if shape.buckets == 2 {
        faults.extend(every_slot_can_be_had(&table));
    }
    (tally, faults, judged)
}

#[test]
fn nothing_is_lost_doubled_or_stuck() {
    let times = env::var("CONNTRACK_TEST_HAMMER").map_or(5, |text| text.parse().expect("a number"));
    let mut all: HashMap<&str, u64> = HashMap::new();
    let (mut strays, mut unjudged) = (0, 0);
    for seed in 0..times {
        for shape in SHAPES {
            let (tally, faults, judged) = hammer(Build::Product, shape, seed);
            assert_eq!(faults, [""; 0], "{shape:?}, seed {seed}");
            strays += tally.strays;
            unjudged += u64::from(!judged);
            for (name, count) in tally.outcomes {
                *all.entry(name).or_default() += count;
            }
        }
    }
    println!("{all:?}, {strays} strays, {unjudged} rounds not judged");
    assert!(
        unjudged < times * 2,
        "hardly any round is judged: {unjudged}"
    );
    for outcome in ["created", "counted", "ignored"] {
        assert!(
            all[outcome] > 10_000 * times,
            "hardly any {outcome}: {all:?}"
        );
    }
}

/// Rounds until something is wrong; a build without its atomics must be found out.
fn is_found_out(build: Build, shape: Shape) -> String {
    for seed in 0..200 {
        let (_, mut faults, _) = hammer(build, shape, seed);
        if let Some(fault) = faults.pop() {
            return format!("round {seed}: {} faults, as {fault}", faults.len() + 1);
        }
    }
    panic!("{build:?} was not found out");
}

#[test]
fn without_atomic_adds_counts_are_lost() {
    println!("{}", is_found_out(Build::PlainAdd, SHAPES[0]));
}

#[test]
fn without_compare_and_swap_flows_are_doubled() {
    println!("{}", is_found_out(Build::PlainCas, SHAPES[5]));
}
