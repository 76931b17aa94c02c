//! `list`.

use std::io;
use std::io::Write;
use std::process::ExitCode;

use conntrack::FingerprintNames;
use conntrack::Tracker;
use conntrack_core::FlowFilter;
use conntrack_core::FlowKey;

use super::Context;
use super::health::say_what_is_off;
use super::show::check;
use super::show::show;
use super::show::shows_fingerprints;
use super::show::shows_health;
use crate::args::Format;
use crate::args::ListArgs;
use crate::failure::Failure;
use crate::output;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// Shows flows, once or again and again.
pub(crate) fn run(args: &ListArgs, context: &Context) -> Result<ExitCode, Failure> {
    check(&args.view)?;
    let key = match args.key.is_empty() {
        true => None,
        false => Some(key(&args.key.join(" "))?),
    };
    let watch = match args.watch {
        Some(every) => Some((every.0, Signals::catch()?)),
        None => None,
    };
    let tracker = context.open()?;
    let mut filter = args.filter.filter();
    if let Some(name) = &args.interface {
        filter.ifindex = Some(ifindex(&tracker, name, context)?);
    }
    if args.view.wide {
        say_what_is_off(tracker.health_config());
    }
    let Some((every, signals)) = watch else {
        let shown = once(&tracker, key.as_ref(), &filter, args, None)?;
        return match (key, shown) {
            (Some(key), 0) => Err(Failure::Nothing(format!("there is no flow {key}"))),
            _ => Ok(ExitCode::SUCCESS),
        };
    };
    loop {
        let rows = begin_again(args.view.output).map_err(Failure::output)?;
        once(&tracker, key.as_ref(), &filter, args, rows)?;
        if signals.wait(every)? {
            return Ok(ExitCode::SUCCESS);
        }
        context.still_there(&tracker)?;
    }
}

pub(super) fn key(text: &str) -> Result<FlowKey, Failure> {
    text.parse()
        .map_err(|error| Failure::Usage(format!("{error}")))
}

/// The index of an attached interface.
pub(super) fn ifindex(tracker: &Tracker, name: &str, context: &Context) -> Result<u32, Failure> {
    let status = tracker.status()?;
    let found = status.interfaces.iter().find(|it| it.name == name);
    found.map(|it| it.ifindex).ok_or_else(|| {
        let instance = &context.instance;
        Failure::Runtime(format!("{name} is not attached to instance {instance}"))
    })
}

/// One reading; how many flows were shown.
fn once(
    tracker: &Tracker,
    key: Option<&FlowKey>,
    filter: &FlowFilter,
    args: &ListArgs,
    rows: Option<usize>,
) -> Result<u64, Failure> {
    let names = match shows_fingerprints(args.view.output) {
        true => tracker.fingerprint_names()?,
        false => FingerprintNames::default(),
    };
    let Some(key) = key else {
        let flows = tracker.flows().filter_flows(filter.clone());
        let flows = flows.with_health(shows_health(&args.view));
        return show(flows, &names, &args.view, rows);
    };
    let found = tracker.flow(key)?.filter(|flow| filter.matches(flow));
    let found = found.map(Ok::<_, Failure>).into_iter();
    show(found, &names, &args.view, rows)
}

/// Clears the screen, or leaves a line between two tables; how many rows a
/// screen has room for.
fn begin_again(format: Format) -> io::Result<Option<usize>> {
    let terminal = Terminal::stdout();
    let mut out = output::stdout();
    match terminal.height {
        Some(height) if terminal.color => {
            out.write_all(b"\x1b[H\x1b[2J")?;
            out.flush()?;
            // The heading, and the line the cursor is left on.
            Ok(Some(height.saturating_sub(2)))
        }
        _ => {
            if format == Format::Table {
                out.write_all(b"\n")?;
                out.flush()?;
            }
            Ok(None)
        }
    }
}
