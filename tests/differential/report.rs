//! What came of playing scenarios.

use std::collections::BTreeSet;

use crate::compare::Difference;
use crate::exceptions::Use;

/// Steps that differ although the table of exceptions does not say so.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) steps: usize,
    /// Those of them that differ in a core field.
    pub(crate) core: usize,
    /// What differs, in words.
    pub(crate) lines: Vec<String>,
    /// In which scenarios.
    pub(crate) scenarios: BTreeSet<String>,
}

impl Found {
    /// One more step.
    pub(crate) fn step(&mut self, scenario: &str, differences: &[Difference], text: String) {
        let core = differences.iter().any(|it| it.field.is_core());
        self.steps += 1;
        self.core += usize::from(core);
        self.lines.push(text);
        self.scenarios.insert(scenario.to_owned());
    }

    fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.core += other.core;
        self.lines.extend(other.lines);
        self.scenarios.extend(other.scenarios);
    }
}

/// What came of a run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) scenarios: usize,
    pub(crate) steps: usize,
    /// What differs.
    pub(crate) found: Found,
    /// What differs in scenarios whose first difference came as a flow's time was
    /// up: it may have been up for one of the two only.
    pub(crate) doubtful: Found,
    /// Steps that differ only as the table of exceptions says,
    pub(crate) excepted: usize,
    /// those of them where that is so of a core field,
    pub(crate) excepted_core: usize,
    /// and what of the table was needed for that.
    pub(crate) used: BTreeSet<Use>,
}

impl Report {
    /// Adds another run's.
    pub(crate) fn add(&mut self, other: Self) {
        self.scenarios += other.scenarios;
        self.steps += other.steps;
        self.found.add(other.found);
        self.doubtful.add(other.doubtful);
        self.excepted += other.excepted;
        self.excepted_core += other.excepted_core;
        self.used.extend(other.used);
    }

    /// The doubtful scenarios were played again, with longer waits: a packet does not
    /// come just as a flow's time is up once more, so what is the same now is forgiven.
    pub(crate) fn played_again(&mut self, again: Self) {
        self.found.add(again.found);
        self.doubtful = again.doubtful;
    }

    /// Nothing is played any more: what is still doubtful differs.
    pub(crate) fn settle(&mut self) {
        self.found.add(std::mem::take(&mut self.doubtful));
    }

    /// One line for people.
    pub(crate) fn summary(&self) -> String {
        let differ = self.found.steps + self.doubtful.steps;
        format!(
            "{} scenarios, {} steps: {:.2} % equal, {} differ ({} in core fields; {} as a \
             flow's time was up), {} as excepted ({} in core fields)",
            self.scenarios,
            self.steps,
            100.0 * (self.steps - differ) as f64 / self.steps.max(1) as f64,
            differ,
            self.found.core + self.doubtful.core,
            self.doubtful.steps,
            self.excepted,
            self.excepted_core,
        )
    }
}
