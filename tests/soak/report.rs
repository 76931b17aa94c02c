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
        *self.transient.entry((cause, field)).or_default() += 1;
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
        for ((cause, field), count) in &self.transient {
            println!("{count:>8} {}: {cause}", field.name());
        }
        println!("lasting: {}", self.lasting.len());
        for line in &self.lasting {
            println!("  {line}");
        }
    }
}
