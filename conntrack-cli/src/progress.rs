//! A line on the terminal that says how far something has come.

use std::io;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

use crate::terminal;

/// Between two updates of the line.
const UPDATE: Duration = Duration::from_millis(200);

/// The line. Nothing is shown at first: most things are soon done.
#[derive(Debug)]
pub(crate) struct Progress {
    /// What is counted.
    things: &'static str,
    length: Option<u64>,
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Up to a position, if that is known.
    pub(crate) fn new(things: &'static str, length: Option<u64>) -> Self {
        let next = terminal::can_show_progress().then(|| Instant::now() + UPDATE * 3);
        Self {
            things,
            length,
            next,
            shown: false,
        }
    }

    /// Shows where it is, if the last time is long enough ago.
    pub(crate) fn show(&mut self, position: u64, count: u64) {
        // The clock is asked now and then only.
        let Some(next) = self.next.filter(|_| count.is_multiple_of(256)) else {
            return;
        };
        if Instant::now() < next {
            return;
        }
        self.next = Some(Instant::now() + UPDATE);
        self.shown = true;
        let part = match self.length {
            Some(length) if length > 0 => format!("{:>3}%, ", position * 100 / length),
            _ => String::new(),
        };
        let _ = write!(io::stderr(), "\r{part}{count} {}\x1b[K", self.things);
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
