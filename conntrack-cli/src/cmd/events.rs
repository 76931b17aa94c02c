//! `events`.

use std::io;
use std::io::BufWriter;
use std::io::StdoutLock;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use conntrack::Event;
use conntrack::Events;
use conntrack_core::EventType;
use conntrack_core::format::event_line;

use super::Context;
use super::list::ifindex;
use crate::args::EventFormat;
use crate::args::EventsArgs;
use crate::failure::Failure;
use crate::signals::Signals;

/// How often it is looked whether there is still a tracker.
const ALIVE: Duration = Duration::from_secs(1);

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
    loop {
        left = drain(&mut events, &mut out, left)?;
        out.flush().map_err(Failure::output)?;
        if left == 0 || signals.wait_with(&events, ALIVE)? {
            return Ok(ExitCode::SUCCESS);
        }
        if tracker.is_detached() {
            left = drain(&mut events, &mut out, left)?;
            out.flush().map_err(Failure::output)?;
            return match left {
                0 => Ok(ExitCode::SUCCESS),
                _ => Err(context.detached()),
            };
        }
    }
}

/// Shows what is there; how many of `left` are left.
fn drain(events: &mut Events, out: &mut Output, mut left: u64) -> Result<u64, Failure> {
    while left > 0 {
        let Some(event) = events.try_next()? else {
            break;
        };
        out.event(&event).map_err(Failure::output)?;
        left -= 1;
    }
    Ok(left)
}

/// Lines, one an event.
struct Output {
    out: BufWriter<StdoutLock<'static>>,
    format: EventFormat,
}

impl Output {
    fn new(format: EventFormat) -> Self {
        let out = BufWriter::new(io::stdout().lock());
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
