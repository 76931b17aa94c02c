//! `replay`.

use std::collections::BTreeMap;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use conntrack::FingerprintNames;
use conntrack::Replay;
use conntrack_core::Counters;
use conntrack_core::Stats;

use super::Context;
use super::fingerprints;
use super::health::say_what_is_off;
use super::show::check;
use super::show::show;
use super::show::shows_fingerprints;
use super::show::shows_health;
use crate::args::By;
use crate::args::FingerprintFormat;
use crate::args::FingerprintOrder;
use crate::args::Format;
use crate::args::ReplayArgs;
use crate::capture::Capture;
use crate::capture::CaptureError;
use crate::capture::LinkType;
use crate::failure::Failure;
use crate::failure::open_file;
use crate::failure::say;
use crate::output;
use crate::output::counted;
use crate::output::fingerprints::Row;
use crate::progress::Progress;

/// Sends a capture through the packet path and shows what came of it.
pub(crate) fn run(args: &ReplayArgs, context: &Context) -> Result<ExitCode, Failure> {
    check(&args.view)?;
    if args.stats && ![Format::Table, Format::Json].contains(&args.view.output) {
        let text = "--stats is shown as table or json only";
        return Err(Failure::Usage(text.to_owned()));
    }
    let name = args.file.display().to_string();
    let (reader, length) = open(&args.file).map_err(|error| Failure::opening(&name, &error))?;
    let mut capture =
        Capture::open(reader).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    let mut replay = Replay::new(context.config.clone())?;
    let mut progress = Progress::new("packets", length);
    let read = feed(&mut capture, &mut replay, &mut progress)?;
    progress.end();

    let counters = replay.counters()?;
    let missing = counters.table.evicted() + counters.passed_untracked["table_full"];
    if let Some(by) = args.fingerprints {
        show_fingerprints(by, args, &replay)?;
    } else if args.stats {
        show_stats(args.view.output, counters, read.span)?;
    } else {
        if args.view.wide {
            say_what_is_off(context.config.health);
        }
        let flows = replay.flows().filter_flows(args.filter.filter());
        let flows = flows.with_health(shows_health(&args.view));
        let names = match shows_fingerprints(args.view.output) {
            true => replay.fingerprint_names()?,
            false => FingerprintNames::default(),
        };
        show(flows, &names, &args.view, None)?;
    }
    if missing > 0 {
        say(format_args!(
            "{name}: the table was full: {} pushed out or not tracked; --config with a larger \
             table.max_flows (it is {}) has room",
            counted(missing, "flow"),
            context.config.table.max_flows
        ));
    }
    for (link, packets) in &read.unread {
        say(format_args!(
            "{name}: {} of link type {link} left out; {} are read",
            counted(*packets, "packet"),
            LinkType::READABLE
        ));
    }
    match read.error {
        Some(error) if read.packets == 0 => Err(Failure::doing(&name, error)),
        Some(error) => Err(Failure::doing(
            &name,
            format_args!("{error}; what is before it was shown"),
        )),
        None if read.packets == 0 && !read.unread.is_empty() => {
            Err(Failure::doing(&name, "no packet in it could be read"))
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// In the order that the command `fingerprints` has unless told.
fn show_fingerprints(by: By, args: &ReplayArgs, replay: &Replay) -> Result<(), Failure> {
    let view = fingerprints::View {
        order: FingerprintOrder::Count,
        limit: args.view.limit,
        header: !args.view.no_header,
        format: match args.view.output {
            Format::Table => FingerprintFormat::Table,
            Format::Json => FingerprintFormat::Json,
            Format::Jsonl => FingerprintFormat::Jsonl,
            Format::Csv => FingerprintFormat::Csv,
            Format::Extended | Format::Session => {
                let text = "--fingerprints are shown as table, json, jsonl or csv only";
                return Err(Failure::Usage(text.to_owned()));
            }
        },
    };
    let database = fingerprints::database(&args.database)?;
    let rows: Result<Vec<_>, conntrack::Error> = match by {
        By::Signature => replay
            .fingerprints()
            .map(|row| Ok(Row::Signature(row?)))
            .collect(),
        By::Source => replay
            .fingerprint_sources()
            .map(|row| Ok(Row::Source(row?)))
            .collect(),
    };
    fingerprints::show(rows?, &view, &database)
}

/// The file or stdin, and its length if that is known.
fn open(path: &Path) -> io::Result<(Box<dyn Read>, Option<u64>)> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = open_file(path)?;
    let metadata = file.metadata()?;
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
}

/// What was in the capture.
#[derive(Debug, Default)]
struct Contents {
    /// Packets replayed.
    packets: u64,
    /// From the first packet to the last.
    span: Duration,
    /// Packets of link types that aren't read.
    unread: BTreeMap<LinkType, u64>,
    /// Why it ended before its end.
    error: Option<CaptureError>,
}

/// Sends all packets there are.
fn feed(
    capture: &mut Capture<impl Read>,
    replay: &mut Replay,
    progress: &mut Progress,
) -> Result<Contents, Failure> {
    let mut contents = Contents::default();
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    let mut frame = Vec::new();
    loop {
        progress.show(capture.position(), contents.packets);
        let packet = match capture.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => {
                contents.error = Some(error);
                break;
            }
        };
        let Some((frame, wire_len)) =
            packet
                .link
                .ethernet(packet.data, packet.wire_len, &mut frame)
        else {
            *contents.unread.entry(packet.link).or_default() += 1;
            continue;
        };
        replay.packet(packet.time_ns, frame, wire_len)?;
        contents.packets += 1;
        (first, last) = (first.min(packet.time_ns), last.max(packet.time_ns));
    }
    contents.span = Duration::from_nanos(last.checked_sub(first).map_or(0, i64::unsigned_abs));
    Ok(contents)
}

/// Rates are means over the capture.
fn show_stats(format: Format, counters: Counters, span: Duration) -> Result<(), Failure> {
    let stats = Stats::from_counters(counters, &Counters::default(), span);
    let mut out = output::stdout();
    match format {
        Format::Json => output::json(&mut out, &stats),
        _ => output::stats::table(&stats, &mut out),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::output)
}
