//! What a soak found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use conntrack::Counters;
use conntrack::Tuple;

use crate::compare::Field;
use crate::compare::Rows;
use crate::support::entry::Entry;
use crate::support::relay::lane::Totals;
use crate::traffic::Tally;

/// Why a difference is none. The two tables cannot be read at one instant.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(crate) enum Cause {
    /// Packets came between the two readings of ours, and the kernel's table was
    /// read when it had counted some of them.
    Between,
    /// The flow's last second: one of the two had it no more, and it was due to
    /// go.
    Deadline,
    /// Looked at again, the other one had counted as many packets: one was in the
    /// router, past the first and not yet past the second.
    CaughtUp,
    /// As [`Self::Between`], but of a moment that both readings of ours are past or
    /// not yet at: a timeout goes up and down with each packet of a stream. Equal
    /// when looked at again for so many times.
    Passing(u32),
    /// The kernel had counted what one of the readings of ours had, and said
    /// something else: it changes a row one field after the other, and so do we.
    /// Equal when looked at again for so many times, more packets having come.
    HalfWay(u32),
}

/// How many differences of a kind there may be. More of them than what the kind is
/// allows is no matter of two readings that are not one.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Limit {
    /// As many as there are rows: theirs lies between two of ours by every count, so
    /// there is nothing that differs, and a stream is so at each sample.
    Any,
    /// A flow ends once.
    Flows,
    /// A packet is in the router for microseconds, or for as long as a busy machine
    /// stops there: one on each of two wires, either way, at each sample, and one row
    /// in a thousand besides.
    Lanes,
    /// A row is half written, or between two packets of a stream, for microseconds:
    /// 353 of 4 million rows were in 13 minutes. Ten times that, and one a sample
    /// for runs that are short.
    Chance,
}

impl Cause {
    /// The same of each kind, however often it was looked at.
    fn kind(self) -> usize {
        match self {
            Self::Between => 0,
            Self::Deadline => 1,
            Self::CaughtUp => 2,
            Self::Passing(_) => 3,
            Self::HalfWay(_) => 4,
        }
    }

    /// A flow at rest shows none of these.
    fn moves(self) -> bool {
        self != Self::Deadline
    }
}

/// What each kind is, by [`Cause::kind`], and its limit.
const KINDS: [(&str, Limit); 5] = [
    (
        "packets came between two readings of ours, theirs is in the middle",
        Limit::Any,
    ),
    (
        "the last second of a flow: one of the two had it no more",
        Limit::Flows,
    ),
    (
        "a packet was past one of the two and not yet at the other; then equal",
        Limit::Lanes,
    ),
    (
        "a stream between two packets that ours does not show; then equal",
        Limit::Chance,
    ),
    (
        "one of the two had counted a packet by half; then equal",
        Limit::Chance,
    ),
];

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between => f.write_str("packets came between the readings"),
            Self::Deadline => f.write_str("the flow's time was up between the readings"),
            Self::CaughtUp => f.write_str("a packet was in the router; then equal"),
            Self::Passing(look) => write!(f, "between two packets; equal at look {look}"),
            Self::HalfWay(look) => write!(f, "a packet half counted; equal at look {look}"),
        }
    }
}

/// Counts and findings.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    begin: Instant,
    samples: u64,
    /// Rows compared, all samples together.
    rows: u64,
    /// Rows of one sample, at most.
    most: usize,
    transient: BTreeMap<(Cause, Field), u64>,
    /// Those of flows that moved though nothing was to move any more.
    at_rest: Option<u64>,
    /// What stayed different, in words.
    pub(crate) lasting: Vec<String>,
}

impl Report {
    /// Nothing yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            begin: Instant::now(),
            samples: 0,
            rows: 0,
            most: 0,
            transient: BTreeMap::new(),
            at_rest: None,
            lasting: Vec::new(),
        }
    }

    /// One more sample, of so many rows.
    pub(crate) fn sampled(&mut self, rows: usize) {
        self.samples += 1;
        self.rows += rows as u64;
        self.most = self.most.max(rows);
    }

    /// One more difference that did not stay.
    pub(crate) fn transient(&mut self, field: Field, cause: Cause) {
        if let Some(count) = &mut self.at_rest {
            *count += u64::from(cause.moves());
        }
        *self.transient.entry((cause, field)).or_default() += 1;
    }

    /// From now on nothing moves.
    pub(crate) fn rest(&mut self) {
        self.at_rest = Some(0);
    }

    /// How many differences of each kind there were, and may be.
    fn kinds(&self, created: u64) -> [(u64, u64); 5] {
        let mut kinds = KINDS.map(|(_, limit)| match limit {
            Limit::Any => (0, self.rows),
            Limit::Flows => (0, created),
            Limit::Lanes => (0, 4 * self.samples + self.rows / 1000),
            Limit::Chance => (0, self.samples + self.rows / 1000),
        });
        for ((cause, _), count) in &self.transient {
            kinds[cause.kind()].0 += count;
        }
        kinds
    }

    /// Kinds of which there are more than may be, in words. `created`: flows, all in
    /// all.
    pub(crate) fn beyond(&self, created: u64) -> Vec<String> {
        let kinds = self.kinds(created).into_iter().zip(KINDS);
        let beyond = kinds.filter(|((count, limit), _)| count > limit);
        let mut beyond: Vec<String> = beyond
            .map(|((count, limit), (what, _))| format!("{count}, not {limit} at most: {what}"))
            .collect();
        if let Some(count @ 1..) = self.at_rest {
            beyond.push(format!("{count} when nothing moved any more"));
        }
        beyond
    }

    /// One more that did.
    pub(crate) fn lasting(&mut self, tuple: &Tuple, field: Field, rows: &Rows<'_>) {
        let side = |row: Option<&Entry>| row.map_or("none".to_owned(), |row| format!("{row:?}"));
        let line = format!(
            "{tuple}: {}\n    ours         {}\n    nf_conntrack {}\n    ours again   {}",
            field.name(),
            side(rows.before),
            side(rows.theirs),
            side(rows.after),
        );
        println!("differs: {line}");
        self.lasting.push(line);
    }

    /// How far it is, in one line.
    pub(crate) fn progress(&self) -> String {
        format!(
            "{} s, {} samples, {} rows compared ({} at once at most), {} transient, {} lasting",
            self.begin.elapsed().as_secs(),
            self.samples,
            self.rows,
            self.most,
            self.transient.values().sum::<u64>(),
            self.lasting.len(),
        )
    }

    /// All of it, in lines.
    pub(crate) fn print(&self, tallies: &[Tally], relayed: &Totals, ours: &Counters, invalid: u64) {
        println!("== soak, CONNTRACK_SEED={}", self.seed);
        println!("{}", self.progress());
        for tally in tallies {
            let (done, failed) = (tally.done, tally.failed);
            println!("{done:>8} of {:<28}{failed:>6} failed", tally.name);
        }
        println!(
            "relays: {} packets came, {} left; {} lost, {} duplicated, {} held back, \
             {} reordered; {} refused, {} missed",
            relayed.came,
            relayed.left,
            relayed.lost,
            relayed.duplicated,
            relayed.held_back,
            relayed.reordered,
            relayed.refused,
            relayed.missed,
        );
        let classes = ours.ct_state.total();
        println!(
            "router: {} packets, {} flows created; {} NEW, {} ESTABLISHED, {} RELATED, \
             {} INVALID ({invalid} of nf_conntrack)",
            ours.packets,
            ours.table.created,
            classes.new,
            classes.established,
            classes.related,
            classes.invalid,
        );
        println!("transient: {}", self.transient.values().sum::<u64>());
        let kinds = self.kinds(ours.table.created).into_iter().zip(KINDS);
        for ((count, limit), (what, _)) in kinds {
            println!("{count:>8} of {limit} at most: {what}");
        }
        println!("of these, by field:");
        for ((cause, field), count) in &self.transient {
            println!("{count:>8} {}: {cause}", field.name());
        }
        println!("lasting: {}", self.lasting.len());
        for line in &self.lasting {
            println!("  {line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cause;
    use super::Field;
    use super::Report;

    #[test]
    fn each_kind_has_its_limit() {
        let mut report = Report::new(1);
        report.sampled(1000);
        for look in 1..=2 {
            report.transient(Field::State, Cause::HalfWay(look));
            report.transient(Field::Packets, Cause::Between);
            report.transient(Field::OnlyOurs, Cause::Deadline);
        }
        assert_eq!(report.beyond(2).len(), 0);
        assert_eq!(report.beyond(1).len(), 1, "one flow ends once");
        report.transient(Field::State, Cause::HalfWay(1));
        assert_eq!(report.beyond(2).len(), 1, "one a sample, one in a thousand");
        report.rest();
        report.transient(Field::OnlyOurs, Cause::Deadline);
        assert_eq!(report.beyond(3).len(), 1);
        report.transient(Field::Packets, Cause::Between);
        assert_eq!(report.beyond(3).len(), 2, "what rests is not on its way");
    }
}
