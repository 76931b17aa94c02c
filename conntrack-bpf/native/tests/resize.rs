//! One table replaces another while threads are at work at it: the programs change
//! thread by thread, flows move by packets and by the mover, and all the while they are
//! created, counted, expire, are pushed out and deleted. Then the second table must
//! hold what the threads remember, and the first nothing.
//!
//! Fourteen million operations; `CONNTRACK_TEST_HAMMER=100` makes a hundred times as many.

mod common;

use std::collections::HashMap;
use std::env;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

use common::Random;
use common::rounds::LONG;
use common::rounds::STEP;
use common::rounds::Shape;
use common::rounds::names_are_unique;
use common::rounds::shape;
use common::rounds::table;
use common::rounds::work;
use common::tally::Tally;
use common::tally::miscounted;
use common::tally::slots;
use common::tally::stuck;
use common::tally::unbalanced;
use conntrack_native::Build;
use conntrack_native::Program;
use conntrack_native::Table;

const THREADS: u32 = 4;
/// The thread that moves what no packet comes for.
const MOVER: u32 = THREADS;
/// When a round begins.
const BEGIN: u64 = 1 << 40;

/// A round: its conditions, the buckets of the second table, operations of each
/// thread, and how many such rounds there are for one of the longest.
#[derive(Copy, Clone, Debug)]
struct Round {
    shape: Shape,
    buckets: u32,
    operations: u32,
    times: u64,
}

const ROUNDS: [Round; 9] = [
    round(shape(2, 6, LONG, 0, 0), 7, 30_000, 1),
    round(shape(2, 25, 300 * STEP, 0, 3), 5, 30_000, 1),
    // More connections than slots: flows that stay where they are.
    round(shape(4, 60, LONG, 0, 1), 2, 30_000, 1),
    round(shape(3, 60, 200 * STEP, 20 * STEP, 1), 9, 30_000, 1),
    round(shape(9, 90, 500 * STEP, 10 * STEP, 5), 4, 30_000, 1),
    // Many flows to move.
    round(shape(40, 700, LONG, 0, 0), 60, 50_000, 1),
    // Hot: everybody at the same few, when they move.
    round(shape(2, 3, 100 * STEP, 0, 10), 3, 2_000, 6),
    round(shape(2, 2, LONG, 0, 0), 3, 2_000, 6),
    round(shape(2, 5, LONG, 0, 0), 2, 2_000, 6),
];

const fn round(shape: Shape, buckets: u32, operations: u32, times: u64) -> Round {
    Round {
        shape,
        buckets,
        operations,
        times,
    }
}

/// Lets the threads run another program, one after the other, and waits until none
/// runs the one before.
fn put(table: &Table, program: Program) {
    for thread in 0..=MOVER {
        table.set_program(thread, program);
        thread::yield_now();
    }
    table.wait();
}

/// Waits until so many thousandths of a round have gone by.
fn pause(clock: &AtomicU64, operations: u32, thousandths: u64, working: &AtomicU32) {
    let until = BEGIN + u64::from(operations) * STEP / 1000 * thousandths;
    while clock.load(Ordering::Relaxed) < until && working.load(Ordering::SeqCst) > 0 {
        thread::yield_now();
    }
}

/// Moves everything; whether nothing is left.
fn evacuate(table: &Table, now: u64, buckets: u32, tally: &mut Tally) -> bool {
    let mut left = 0;
    for v6 in [false, true] {
        let done = table.evacuate(MOVER, v6, 0, buckets, now);
        left += done.moved + done.ended + done.stay + done.again;
        tally.ends.extend(table.ends());
    }
    left == 0
}

/// What user space does; whether it came to its end.
fn replace(table: &Table, clock: &AtomicU64, round: Round, working: &AtomicU32) -> (bool, Tally) {
    let mut tally = Tally::default();
    let pause = |thousandths| pause(clock, round.operations, thousandths, working);
    pause(50);
    put(table, Program::Prepare);
    pause(100);
    put(table, Program::Move);
    pause(150);
    table.set_moving(true);
    pause(160);
    loop {
        if evacuate(
            table,
            clock.load(Ordering::Relaxed),
            round.shape.buckets,
            &mut tally,
        ) {
            break;
        }
        if working.load(Ordering::SeqCst) == 0 {
            return (false, tally);
        }
    }
    put(table, Program::New);
    table.set_moving(false);
    (true, tally)
}

/// A round: whether all flows moved, what all threads remember, and the pairs of
/// flows with one key that were seen meanwhile.
fn play(table: &Table, round: Round, seed: u64) -> (bool, Tally, u32) {
    let clock = AtomicU64::new(BEGIN);
    let (begin, working) = (Barrier::new(THREADS as usize + 1), AtomicU32::new(THREADS));
    let (replaced, done) = (AtomicBool::new(false), AtomicBool::new(false));
    // Until the replacement is over, where it can be.
    let go_on = |operations| {
        operations < round.operations || (operations < 200_000 && !replaced.load(Ordering::Relaxed))
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (clock, begin, working, go_on) = (&clock, &begin, &working, &go_on);
                scope.spawn(move || {
                    begin.wait();
                    let random = Random(seed << 8 | u64::from(thread));
                    let who = (thread, THREADS);
                    let tally = work(table, who, round.shape, go_on, clock, random);
                    working.fetch_sub(1, Ordering::SeqCst);
                    tally
                })
            })
            .collect();
        let watching = scope.spawn(|| {
            let mut duplicates = 0;
            while !done.load(Ordering::SeqCst) {
                duplicates += table.duplicates(false) + table.duplicates(true);
                thread::yield_now();
            }
            duplicates
        });
        begin.wait();
        let (finished, mut all) = replace(table, &clock, round, &working);
        replaced.store(true, Ordering::Relaxed);
        for worker in workers {
            all.join(worker.join().expect("a thread"));
        }
        done.store(true, Ordering::SeqCst);
        (finished, all, watching.join().expect("a thread"))
    })
}

/// One round: what was wrong; whether all flows moved; and whether counts could be
/// judged.
fn hammer(build: Build, round: Round, seed: u64) -> (Tally, Vec<String>, [bool; 2]) {
    let mut table = table(build, round.shape);
    table.second([round.buckets; 2]);
    let (finished, mut tally, duplicates) = play(&table, round, seed);
    let judged = names_are_unique(&table, &tally);
    let moved = slots(&table).filter(|(_, _, slot)| slot.left != 0).count();
    *tally.outcomes.entry("moved").or_default() += moved as u64;
    tally.follow(&table);
    let mut faults = stuck(&table);
    faults.extend(unbalanced(&table, &tally));
    if duplicates > 0 {
        faults.push(format!("{duplicates} duplicates"));
    }
    if judged {
        faults.extend(miscounted(&table, &tally));
    }
    let first = |place: u32| place < table.places(false).max(table.places(true));
    let left = slots(&table).filter(|(_, place, slot)| first(*place) && slot.is_live());
    let left = left.count();
    if finished && left > 0 {
        faults.push(format!("{left} flows are left behind"));
    }
    (tally, faults, [finished, judged])
}

#[test]
fn nothing_is_lost_doubled_or_stuck() {
    let times = env::var("CONNTRACK_TEST_HAMMER").map_or(3, |text| {
        let times: u64 = text.parse().expect("a number");
        times * 3
    });
    let mut all: HashMap<&str, u64> = HashMap::new();
    let (mut rounds, mut strays, mut unfinished, mut unjudged) = (0, 0, 0, 0);
    for round in ROUNDS {
        for seed in 0..times * round.times {
            // Every second one with the processor's own interleavings.
            let build = [Build::Stopping, Build::Product][seed as usize % 2];
            let (tally, faults, [finished, judged]) = hammer(build, round, seed);
            assert_eq!(faults, [""; 0], "{round:?}, seed {seed}");
            rounds += 1;
            strays += tally.strays;
            unfinished += u64::from(!finished);
            unjudged += u64::from(!judged);
            for (name, count) in tally.outcomes {
                *all.entry(name).or_default() += count;
            }
        }
    }
    println!("{rounds} rounds: {all:?}, {strays} strays");
    println!("{unfinished} not finished, {unjudged} not judged");
    assert!(unjudged < rounds / 10, "too few were judged");
    assert!(unfinished < rounds / 3, "too few were finished");
    assert!(all["moved"] > times * 300, "hardly anything moved: {all:?}");
}
