//! `stats`.

use std::io;
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use conntrack::Tracker;
use conntrack_core::Counters;
use conntrack_core::Stats;

use super::Context;
use crate::args::StatsArgs;
use crate::args::StatsFormat;
use crate::failure::Failure;
use crate::output;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// Readings of one tracker, for the rates between them.
#[derive(Debug)]
pub(crate) struct Readings<'a> {
    tracker: &'a Tracker,
    counters: Counters,
    taken: Instant,
}

impl<'a> Readings<'a> {
    /// The first.
    pub(crate) fn begin(tracker: &'a Tracker) -> Result<Self, Failure> {
        Ok(Self {
            tracker,
            counters: tracker.stats()?,
            taken: Instant::now(),
        })
    }

    /// One more, with the rates since the one before.
    pub(crate) fn next(&mut self) -> Result<Stats, Failure> {
        let counters = self.tracker.stats()?;
        let now = Instant::now();
        let stats = Stats::from_counters(counters, &self.counters, now - self.taken);
        (self.counters, self.taken) = (stats.counters.clone(), now);
        Ok(stats)
    }
}

/// Shows counts, once or again and again.
pub(crate) fn run(args: &StatsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let signals = match args.watch {
        true => Some(Signals::catch()?),
        false => None,
    };
    let tracker = context.open()?;
    let mut readings = Readings::begin(&tracker)?;
    if args.output == StatsFormat::Prometheus && !args.watch {
        // It has no rates: there is nothing to wait for.
        return show(&readings.next()?, args).map(|()| ExitCode::SUCCESS);
    }
    loop {
        if wait(signals.as_ref(), args.interval.0)? {
            return Ok(ExitCode::SUCCESS);
        }
        context.still_there(&tracker)?;
        show(&readings.next()?, args)?;
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Waits; whether it is time to end.
fn wait(signals: Option<&Signals>, time: Duration) -> Result<bool, Failure> {
    match signals {
        Some(signals) => signals.wait(time),
        None => {
            thread::sleep(time);
            Ok(false)
        }
    }
}

fn show(stats: &Stats, args: &StatsArgs) -> Result<(), Failure> {
    let mut out = output::stdout();
    write(stats, args, &mut out)
        .and_then(|()| out.flush())
        .map_err(Failure::output)
}

/// Watched JSON is a line each time, a watched table clears the screen.
fn write(stats: &Stats, args: &StatsArgs, out: &mut impl Write) -> io::Result<()> {
    match args.output {
        StatsFormat::Table => {
            if args.watch {
                let clear = Terminal::stdout().color;
                out.write_all(if clear { b"\x1b[H\x1b[2J" } else { b"\n" })?;
            }
            output::stats::table(stats, out)
        }
        StatsFormat::Json if args.watch => {
            serde_json::to_writer(&mut *out, stats)?;
            out.write_all(b"\n")
        }
        StatsFormat::Json => output::json(out, stats),
        StatsFormat::Prometheus => output::prometheus(&stats.counters, out),
    }
}
