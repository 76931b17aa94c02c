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
use serde::Serialize;

use super::Context;
use super::health::say_what_is_off;
use super::health::what_is_off;
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
    if args.health {
        return health(&tracker, args, context, signals.as_ref());
    }
    let mut readings = Readings::begin(&tracker)?;
    if args.output == StatsFormat::Prometheus && !args.watch {
        // It has no rates: there is nothing to wait for.
        return show(&tracker, &readings.next()?, args).map(|()| ExitCode::SUCCESS);
    }
    loop {
        if wait(signals.as_ref(), args.interval.0)? {
            return Ok(ExitCode::SUCCESS);
        }
        context.still_there(&tracker)?;
        show(&tracker, &readings.next()?, args)?;
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

/// Shows how connections are doing, once or again and again.
fn health(
    tracker: &Tracker,
    args: &StatsArgs,
    context: &Context,
    signals: Option<&Signals>,
) -> Result<ExitCode, Failure> {
    let measured = tracker.health_config();
    if !measured.enabled {
        return Err(Failure::Runtime(what_is_off(measured).unwrap_or_default()));
    }
    let mut said = false;
    loop {
        let stats = tracker.health()?;
        let mut out = output::stdout();
        let written = match args.output {
            StatsFormat::Table => {
                clear(args, &mut out).and_then(|()| output::health::table(&stats, &mut out))
            }
            StatsFormat::Json => json(args, &stats, &mut out),
            StatsFormat::Prometheus => output::health::prometheus(&stats, &mut out),
        };
        written
            .and_then(|()| out.flush())
            .map_err(Failure::output)?;
        drop(out);
        // Once, and again where the screen was cleared.
        if !said || (args.output == StatsFormat::Table && Terminal::stdout().color) {
            say_what_is_off(measured);
            said = true;
        }
        if !args.watch || wait(signals, args.interval.0)? {
            return Ok(ExitCode::SUCCESS);
        }
        context.still_there(tracker)?;
    }
}

fn show(tracker: &Tracker, stats: &Stats, args: &StatsArgs) -> Result<(), Failure> {
    let mut out = output::stdout();
    write(stats, args, &mut out).map_err(Failure::output)?;
    if args.output == StatsFormat::Prometheus {
        let health = tracker.health()?;
        output::health::prometheus(&health, &mut out).map_err(Failure::output)?;
    }
    out.flush().map_err(Failure::output)
}

fn write(stats: &Stats, args: &StatsArgs, out: &mut impl Write) -> io::Result<()> {
    match args.output {
        StatsFormat::Table => {
            clear(args, out)?;
            output::stats::table(stats, out)
        }
        StatsFormat::Json => json(args, stats, out),
        StatsFormat::Prometheus => output::prometheus(&stats.counters, out),
    }
}

/// A watched table clears the screen.
fn clear(args: &StatsArgs, out: &mut impl Write) -> io::Result<()> {
    if args.watch {
        let clear = Terminal::stdout().color;
        out.write_all(if clear { b"\x1b[H\x1b[2J" } else { b"\n" })?;
    }
    Ok(())
}

/// Watched JSON is a line each time.
fn json(args: &StatsArgs, value: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    if !args.watch {
        return output::json(out, value);
    }
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
