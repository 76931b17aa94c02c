//! Samples of both tables, and what came of comparing them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use conntrack::Tracker;
use conntrack::Tuple;

use crate::compare::Field;
use crate::compare::Outcome;
use crate::compare::Rows;
use crate::report::Cause;
use crate::report::Report;
use crate::support::ctnetlink;
use crate::support::entry::Entry;
use crate::support::entry::Table;
use crate::support::netlink::Netlink;
use crate::support::netns::Netns;

/// How often a difference is looked at again before it counts as one that stays,
const REREADS: u32 = 25;
/// and how long after each look. A packet is inside the router for less, but a
/// processor of a virtual machine may be taken away for a while.
const PAUSE: Duration = Duration::from_millis(10);

/// How often among these looks a busy flow may be caught with a packet half
/// counted, each time another one.
const CHANCES: u32 = 4;

/// How many looks in a row may meet a stream between two of its packets, each time
/// others. Five have been seen once in 13 minutes; each further look has to meet
/// one of the microseconds anew.
const PASSES: u32 = 12;

/// Ours, the kernel's, ours again.
struct Reading {
    before: Table,
    theirs: Table,
    after: Table,
    seconds: u64,
}

impl Reading {
    fn rows(&self, tuple: &Tuple) -> Rows<'_> {
        Rows {
            before: self.before.get(tuple),
            theirs: self.theirs.get(tuple),
            after: self.after.get(tuple),
            seconds: self.seconds,
        }
    }

    fn tuples(&self) -> BTreeSet<Tuple> {
        let tables = [&self.before, &self.theirs, &self.after];
        tables.into_iter().flat_map(Table::keys).copied().collect()
    }
}

/// Reads both tables and remembers what stayed different.
pub(crate) struct Sampler<'a> {
    tracker: &'a Tracker,
    socket: Netlink,
    known: BTreeSet<Tuple>,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(router: &Netns, tracker: &'a Tracker) -> Self {
        Self {
            tracker,
            socket: router.run(Netlink::open),
            known: BTreeSet::new(),
        }
    }

    fn ours(&self) -> Table {
        let flows = self.tracker.flows().map(|flow| flow.expect("read a flow"));
        flows
            .map(|flow| (flow.original.tuple, Entry::from(&flow)))
            .collect()
    }

    fn read(&mut self) -> Reading {
        let begin = Instant::now();
        Reading {
            before: self.ours(),
            theirs: ctnetlink::flows(&mut self.socket),
            after: self.ours(),
            seconds: begin.elapsed().as_secs(),
        }
    }

    /// Compares the two tables now, and what differs again until it no longer
    /// does or has differed each time.
    pub(crate) fn sample(&mut self, report: &mut Report) {
        let reading = self.read();
        let tuples = reading.tuples();
        report.sampled(tuples.len());
        let mut open = BTreeMap::new();
        for tuple in tuples {
            let rows = reading.rows(&tuple);
            match rows.compare() {
                Outcome::Equal => _ = self.known.remove(&tuple),
                Outcome::Between(field) => report.transient(field, Cause::Between),
                Outcome::Differs(_) if self.known.contains(&tuple) => {}
                Outcome::Differs(field) => _ = open.insert(tuple, Open::of(field, &rows)),
            }
        }
        self.look_again(open, report);
    }

    fn look_again(&mut self, mut open: BTreeMap<Tuple, Open>, report: &mut Report) {
        for look in 1..=REREADS {
            if open.is_empty() {
                return;
            }
            let reading = self.read();
            open.retain(|tuple, first| {
                let rows = reading.rows(tuple);
                let differs = matches!(rows.compare(), Outcome::Differs(_));
                let cause = first.cause(&rows, look);
                // Other packets than at first, and theirs is not between two of ours.
                let moved = matches!(cause, Cause::Passing(_) | Cause::HalfWay(_));
                first.caught += u32::from(differs && moved && !rows.passing());
                let passes = matches!(cause, Cause::Passing(_)) && look > PASSES;
                if differs && (look == REREADS || passes || first.caught > CHANCES) {
                    report.lasting(tuple, first.field, &rows);
                    self.known.insert(*tuple);
                    return false;
                }
                if !differs {
                    report.transient(first.field, cause);
                }
                differs
            });
            thread::sleep(PAUSE);
        }
    }
}

/// A difference when it was first seen.
struct Open {
    field: Field,
    /// Only one has the flow, and its time is up within a second.
    ends: bool,
    /// Theirs was on the way from one of ours to the other.
    passing: bool,
    /// How often a packet was half counted since.
    caught: u32,
    /// What each had counted; theirs first.
    packets: [Option<[u64; 2]>; 2],
}

impl Open {
    fn of(field: Field, rows: &Rows<'_>) -> Self {
        let ends = match (rows.theirs, rows.after) {
            (Some(row), None) | (None, Some(row)) => row.timeout == 0,
            _ => false,
        };
        Self {
            field,
            ends,
            passing: rows.passing(),
            caught: 0,
            packets: [rows.theirs, rows.after].map(packets),
        }
    }

    /// Why it is gone; or, of one that is not, would be.
    fn cause(&self, now: &Rows<'_>, look: u32) -> Cause {
        let [theirs, ours] = self.packets;
        let stood = packets(now.theirs) == ours || packets(now.after) == theirs;
        if self.ends {
            Cause::Deadline
        } else if stood {
            Cause::CaughtUp
        } else if self.passing {
            Cause::Passing(look)
        } else {
            Cause::HalfWay(look)
        }
    }
}

fn packets(row: Option<&Entry>) -> Option<[u64; 2]> {
    row.map(|row| row.packets)
}
