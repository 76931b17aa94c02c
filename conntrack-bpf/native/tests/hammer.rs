//! Several threads in one table: creating, finding, counting, expiring, pushing out,
//! deleting, flushing. Each remembers what became of each of its packets; then the table
//! must hold what they remember.
//!
//! Eighteen million operations; `CONNTRACK_TEST_HAMMER=100` makes twenty times as
//! many of it.

mod common;

use std::collections::HashMap;
use std::env;
use std::sync::Barrier;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::OTHER;
use common::Random;
use common::packet;
use common::rounds::LONG;
use common::rounds::STEP;
use common::rounds::Shape;
use common::rounds::names_are_unique;
use common::rounds::shape;
use common::rounds::table;
use common::rounds::work;
use common::tally::Tally;
use common::tally::miscounted;
use common::tally::stuck;
use common::tally::unbalanced;
use conntrack_native::Build;
use conntrack_native::Outcome;
use conntrack_native::Table;
use conntrack_native::TableEvent;

const THREADS: u32 = 4;
/// Of each thread in a round.
const OPERATIONS: u32 = 150_000;

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
                    let tally = work(
                        table,
                        (thread, THREADS),
                        shape,
                        |done| done < OPERATIONS,
                        clock,
                        random,
                    );
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
