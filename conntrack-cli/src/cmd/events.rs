//! `events`.

use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use conntrack::Event;
use conntrack::Events;
use conntrack::What;
use conntrack_core::EventType;
use conntrack_core::format::event_line;

use super::Context;
use super::list::ifindex;
use crate::args::EventFormat;
use crate::args::EventsArgs;
use crate::failure::Failure;
use crate::output;
use crate::signals::Signals;

/// How often it is looked whether there is still a tracker.
const ALIVE: Duration = Duration::from_secs(1);

/// So many are shown before it is looked whether to go on.
const AT_ONCE: u64 = 4096;

/// Shows events until it is interrupted, or the tracker is detached.
pub(crate) fn run(args: &EventsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let signals = Signals::catch()?;
    let tracker = context.open()?;
    let mut filter = args.filter.filter();
    if let Some(name) = &args.interface {
        filter.ifindex = Some(ifindex(&tracker, name, context)?);
    }
    let types = match args.types.as_slice() {
        [] => EventType::DEFAULT.to_vec(),
        types => types.to_vec(),
    };
    let mut builder = tracker.events_builder().types(types).filter(filter);
    if let Some(bytes) = args.buffer {
        builder = builder.buffer(bytes);
    }
    let mut events = builder.listen()?;
    let mut out = Output::new(args.output);
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut asked = Instant::now();
    loop {
        let shown = show(&mut events, &mut out, left.min(AT_ONCE))?;
        left -= shown;
        out.flush().map_err(Failure::output)?;
        if left == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        // They may come faster than they are shown: then there is always more.
        let more = shown == AT_ONCE;
        let interrupted = signals.wait_with(&events, if more { Duration::ZERO } else { ALIVE })?;
        // To ask opens all that is pinned: not for every event.
        if !interrupted && asked.elapsed() < ALIVE {
            continue;
        }
        asked = Instant::now();
        if !interrupted && !tracker.is_detached() {
            continue;
        }
        left -= show_rest(&mut events, &mut out, left)?;
        out.flush().map_err(Failure::output)?;
        return match interrupted || left == 0 {
            true => Ok(ExitCode::SUCCESS),
            false => Err(context.detached()),
        };
    }
}

/// Shows what is there, at most so many; how many there were.
fn show(events: &mut Events, out: &mut Output, most: u64) -> Result<u64, Failure> {
    for shown in 0..most {
        let Some(event) = events.try_next()? else {
            return Ok(shown);
        };
        out.event(&event).map_err(Failure::output)?;
    }
    Ok(most)
}

/// Shows what has come by now, and what was lost of it, at most so many; how many there
/// were.
fn show_rest(events: &mut Events, out: &mut Output, most: u64) -> Result<u64, Failure> {
    let end = events.total();
    let mut shown = 0;
    while shown < most {
        let Some(event) = events.try_next()? else {
            break;
        };
        let is_late = event.seq >= end;
        if !is_late || matches!(event.what, What::Lost(_)) {
            out.event(&event).map_err(Failure::output)?;
            shown += 1;
        }
        if is_late {
            break;
        }
    }
    Ok(shown)
}

/// Lines, one an event.
struct Output {
    out: BufWriter<crate::stream::Stream>,
    format: EventFormat,
}

impl Output {
    fn new(format: EventFormat) -> Self {
        let out = output::stdout();
        Self { out, format }
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        match self.format {
            EventFormat::Text => writeln!(self.out, "{}", event_line(event)),
            EventFormat::Jsonl => {
                serde_json::to_writer(&mut self.out, event)?;
                self.out.write_all(b"\n")
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
