//! What must have been seen, and whether it was.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use conntrack::Tracker;
use conntrack_core::Flow;
use conntrack_core::FlowKey;

use crate::failure::Failure;

/// How long the last packet of an exchange may be under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was looked for.
#[derive(Debug)]
pub(super) struct Checks<'a> {
    tracker: &'a Tracker,
    results: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    what: String,
    seen: bool,
    /// What was there instead.
    instead: String,
}

impl<'a> Checks<'a> {
    pub(super) fn new(tracker: &'a Tracker) -> Self {
        Self {
            tracker,
            results: Vec::new(),
        }
    }

    /// Looks for a flow as it should be.
    pub(super) fn flow(
        &mut self,
        what: impl Into<String>,
        key: &FlowKey,
        right: impl Fn(&Flow) -> bool,
    ) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        let found = loop {
            let found = self.tracker.flow(key)?;
            if found.as_ref().is_some_and(&right) || Instant::now() >= end {
                break found;
            }
            thread::sleep(Duration::from_millis(20));
        };
        let seen = found.as_ref().is_some_and(&right);
        let instead = match found {
            Some(flow) => flow.to_string(),
            None => format!("no flow {key}"),
        };
        self.results.push(Check {
            what: what.into(),
            seen,
            instead,
        });
        Ok(())
    }

    /// Counters: nothing invalid, the two refusals related to their flows.
    pub(super) fn counted_once(&mut self) -> Result<(), Failure> {
        let classes = self.tracker.stats()?.ct_state.total();
        self.results.push(Check {
            what: "the refusals, ICMP errors, counted as RELATED to their flows".to_owned(),
            seen: classes.related == 2,
            instead: format!("{} related packets", classes.related),
        });
        self.results.push(Check {
            what: "no packet of all this called INVALID".to_owned(),
            seen: classes.invalid == 0,
            instead: format!("{} invalid packets", classes.invalid),
        });
        Ok(())
    }

    /// How many were not seen.
    pub(super) fn missing(&self) -> usize {
        self.results.iter().filter(|check| !check.seen).count()
    }

    /// A line for each.
    pub(super) fn lines(&self) -> String {
        let mut text = "\n".to_owned();
        for check in &self.results {
            let _ = match check.seen {
                true => writeln!(text, "  seen     {}", check.what),
                false => writeln!(text, "  MISSING  {}: {}", check.what, check.instead),
            };
        }
        text
    }
}
