//! One way through a relay: packets that wait, and what has been done. Knows no
//! socket and no clock, only the times it is told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::plan::Action;
use super::plan::Impairment;
use super::plan::Way;
use super::seen::Seen;

/// What was done to one packet.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct Record {
    /// How many packets came this way before.
    pub(crate) index: u64,
    pub(crate) way: Way,
    /// When it came, since the relay began.
    pub(crate) at: Duration,
    pub(crate) action: Action,
    /// From its coming until it was to leave, at the earliest.
    pub(crate) delay: Duration,
    /// How many left this way before it, and before its copy; none if it did not.
    pub(crate) left: [Option<u64>; 2],
    pub(crate) packet: Seen,
}

impl Record {
    /// How often it arrived.
    pub(crate) fn arrivals(&self) -> usize {
        self.left.iter().flatten().count()
    }
}

/// What was done to all packets of one way, or of several.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub(crate) struct Totals {
    /// Packets that came.
    pub(crate) came: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) held_back: u64,
    /// Packets that left, copies included.
    pub(crate) left: u64,
    /// Those of them that left after one that had come later.
    pub(crate) reordered: u64,
    /// Packets that the next link did not take.
    pub(crate) refused: u64,
    /// Frames that were handed on at once: no IP, or a link's own.
    pub(crate) untouched: u64,
    /// Packets that the kernel dropped because we were too slow. No record has
    /// them.
    pub(crate) missed: u64,
}

impl Totals {
    /// With another way's.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            came: self.came + other.came,
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            held_back: self.held_back + other.held_back,
            left: self.left + other.left,
            reordered: self.reordered + other.reordered,
            refused: self.refused + other.refused,
            untouched: self.untouched + other.untouched,
            missed: self.missed + other.missed,
        }
    }
}

/// A frame whose time to leave has come.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct Leaving {
    pub(crate) frame: Vec<u8>,
    index: u64,
    copy: bool,
}

/// By due time; at the same time, by when it was put here.
type Waiting = BinaryHeap<Reverse<(Duration, u64, u64, bool, Vec<u8>)>>;

/// One way.
#[derive(Debug)]
pub(crate) struct Lane {
    way: Way,
    impairment: Impairment,
    waiting: Waiting,
    /// Of the last packet that may not be overtaken.
    last: Duration,
    /// Of what has been put into `waiting`.
    order: u64,
    /// One above the latest comer that has left.
    front: u64,
    totals: Totals,
    records: Option<Vec<Record>>,
}

impl Lane {
    /// Keeps records only if asked to.
    pub(crate) fn new(way: Way, impairment: Impairment, records: bool) -> Self {
        let shares = impairment.loss + impairment.duplicate + impairment.reorder;
        assert!((0.0..=1.0).contains(&shares), "more fates than packets");
        Self {
            way,
            impairment,
            waiting: Waiting::new(),
            last: Duration::ZERO,
            order: 0,
            front: 0,
            totals: Totals::default(),
            records: records.then(Vec::new),
        }
    }

    /// Takes a frame that came now. Gives it back if it is to leave at once and
    /// to be counted as untouched.
    pub(crate) fn take(&mut self, now: Duration, frame: &[u8]) -> Option<Leaving> {
        let Some(packet) = Seen::of(frame) else {
            self.totals.untouched += 1;
            let frame = frame.to_vec();
            return Some(Leaving {
                frame,
                index: 0,
                copy: false,
            });
        };
        let index = self.totals.came;
        self.totals.came += 1;
        let decision = self.impairment.decide(self.way, index);
        let due = now + decision.delay;
        match decision.action {
            Action::Lose => self.totals.lost += 1,
            Action::HoldBack => {
                self.totals.held_back += 1;
                self.wait(due, index, false, frame);
            }
            Action::Pass | Action::Duplicate => {
                self.last = self.last.max(due);
                self.wait(self.last, index, false, frame);
            }
        }
        if decision.action == Action::Duplicate {
            self.totals.duplicated += 1;
            self.wait(self.last + decision.copy, index, true, frame);
        }
        if let Some(records) = &mut self.records {
            records.push(Record {
                index,
                way: self.way,
                at: now,
                action: decision.action,
                delay: decision.delay,
                left: [None; 2],
                packet,
            });
        }
        None
    }

    fn wait(&mut self, due: Duration, index: u64, copy: bool, frame: &[u8]) {
        let item = (due, self.order, index, copy, frame.to_vec());
        self.waiting.push(Reverse(item));
        self.order += 1;
    }

    /// When the next one leaves.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.waiting.peek().map(|Reverse(item)| item.0)
    }

    /// The next one whose time has come.
    pub(crate) fn next(&mut self, now: Duration) -> Option<Leaving> {
        if self.due()? > now {
            return None;
        }
        let Reverse((_, _, index, copy, frame)) = self.waiting.pop()?;
        Some(Leaving { frame, index, copy })
    }

    /// It has left, or the next link refused it.
    pub(crate) fn done(&mut self, leaving: &Leaving, left: bool) {
        if !left {
            self.totals.refused += 1;
            return;
        }
        let place = self.totals.left;
        self.totals.left += 1;
        self.totals.reordered += u64::from(leaving.index + 1 < self.front);
        self.front = self.front.max(leaving.index + 1);
        let record = self
            .records
            .as_mut()
            .and_then(|records| records.get_mut(leaving.index as usize));
        if let Some(record) = record {
            record.left[usize::from(leaving.copy)] = Some(place);
        }
    }

    /// The kernel dropped so many before we saw them.
    pub(crate) fn missed(&mut self, packets: u64) {
        self.totals.missed += packets;
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Of all packets in the order they came; none if not asked for.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.clone().unwrap_or_default()
    }
}
