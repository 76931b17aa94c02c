//! `ban --file`, `unban --list`, `banned --lists`.

use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use conntrack::ListSpec;
use conntrack::Listed;
use conntrack::Tracker;
use conntrack_core::Timestamp;
use conntrack_core::banlist;
use conntrack_core::banlist::Found;
use conntrack_core::banlist::ListEntry;
use conntrack_core::banlist::ReadOptions;
use conntrack_core::banlist::Summary;
use conntrack_core::format::human_bytes;

use super::Context;
use super::now;
use crate::args::BanArgs;
use crate::args::BannedArgs;
use crate::args::BannedFormat;
use crate::args::ListFormat;
use crate::failure::Failure;
use crate::failure::open_file;
use crate::failure::say;
use crate::output;
use crate::output::counted;
use crate::progress::Progress;
use crate::terminal::clean;

/// Bad items that are shown one by one.
const SHOWN: u64 = 20;
/// Between two looks at what would be cut.
const APART: Duration = Duration::from_secs(1);

/// Bans what is on a list.
pub(crate) fn ban(args: &BanArgs, file: &Path, context: &Context) -> Result<ExitCode, Failure> {
    let name = name(args, file)?;
    let shown = clean(&file.display().to_string());
    // Before anything else: it is an argument.
    let input: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(open_file(file).map_err(|error| Failure::opening(&shown, &error))?),
    };
    let tracker = context.open_attached()?;
    let list = read(args, input, &shown)?;
    if args.list.preview {
        return preview(&tracker, &list.entries);
    }
    if args.list.replace && !list.summary.is_complete() {
        let why = list
            .summary
            .cut_off
            .as_deref()
            .unwrap_or("there are fewer entries than it says");
        let message = format!("{shown} is not complete ({why}): it replaces nothing");
        return Err(Failure::Usage(message));
    }
    // A list that became empty is ended by `unban --list`; a file that did is a download
    // that failed.
    if list.entries.is_empty() && (list.summary.items > 0 || args.list.replace) {
        return Err(Failure::Usage(format!(
            "{shown}: nothing on it can be banned"
        )));
    }
    let spec = {
        let mut spec = ListSpec::new(name);
        spec.source = match file.to_str() {
            Some("-") => "standard input".to_owned(),
            _ => file.display().to_string(),
        };
        spec.replace = args.list.replace;
        (spec.dry_run, spec.direction) = (args.dry_run, args.direction);
        spec
    };
    let mut progress = Progress::new("entries", Some(list.entries.len() as u64));
    let loaded = tracker.load_list(&spec, &list.entries, |done| progress.show(done, done));
    progress.end();
    let report = loaded?;
    let done = if args.dry_run {
        "counted, not dropped"
    } else {
        "in force"
    };
    say(format_args!(
        "list {}: {} {done}, {} before",
        spec.name,
        counted(report.entries, "ban"),
        report.before
    ));
    if report.guarded > 0 {
        let count = report.guarded;
        say(format_args!(
            "{count} of them touch what is never dropped: that passes all the same"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of the list: that of its file, unless it is given.
fn name(args: &BanArgs, file: &Path) -> Result<String, Failure> {
    if let Some(name) = &args.list.list {
        return Ok(name.clone());
    }
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.filter(|stem| *stem != "-");
    stem.map(str::to_owned)
        .ok_or_else(|| Failure::Usage("it needs a name: --list NAME".to_owned()))
}

/// What was on a list.
struct List {
    entries: Vec<Listed>,
    summary: Summary,
}

/// Reads all of it, and says what is wrong with it.
fn read(args: &BanArgs, input: impl Read, shown: &str) -> Result<List, Failure> {
    let mut options = ReadOptions::default();
    options.format = args.list.format;
    options.column.clone_from(&args.list.column);
    options.set.clone_from(&args.list.set);
    let now = now();
    let (mut entries, mut bad, mut left_out, mut over) = (Vec::new(), 0, 0_u64, 0_u64);
    let summary = banlist::read(input, &options, &mut |found| match found {
        Found::Entry(entry) if entry.except || (entry.dry_run && !args.dry_run) => left_out += 1,
        Found::Entry(entry) => match listed(args, entry, now) {
            Some(listed) => entries.push(listed),
            None => over += 1,
        },
        Found::Bad(item) => {
            bad += 1;
            if bad <= SHOWN {
                say(format_args!("{shown}: {}", clean(&item.to_string())));
            }
        }
    });
    let summary = summary
        .map_err(|error| Failure::Usage(format!("{shown}: {}", clean(&error.to_string()))))?;
    if bad > SHOWN {
        say(format_args!("{shown}: {} more like these", bad - SHOWN));
    }
    let notes = [
        (left_out, "are exceptions, or only count"),
        (over, "have expired"),
    ];
    for (count, what) in notes.into_iter().filter(|(count, _)| *count > 0) {
        say(format_args!("{shown}: {count} left out that {what}"));
    }
    Ok(List { entries, summary })
}

/// An entry as it is banned: what the list does not say comes from the command line.
fn listed(args: &BanArgs, entry: ListEntry, now: Timestamp) -> Option<Listed> {
    let spec = entry.spec(args.exact, now)?;
    let reason = match spec.reason.as_str() {
        "" => args.reason.as_str(),
        reason => reason,
    };
    let mut listed = Listed::new(spec.target);
    listed.ttl = spec.ttl.or(args.ttl.map(|ttl| ttl.0));
    listed.reason = reason.into();
    Some(listed)
}

fn preview(tracker: &Tracker, entries: &[Listed]) -> Result<ExitCode, Failure> {
    let preview = tracker.preview(entries.iter().map(|entry| &entry.target), APART)?;
    let mut out = output::stdout();
    let rate = human_bytes(preview.bytes_per_sec as u64);
    writeln!(
        out,
        "{} of {} would be cut; they carry {rate}/s",
        counted(preview.flows, "live flow"),
        counted(preview.sources, "host"),
    )
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// Ends a list.
pub(crate) fn unban(name: &str, context: &Context) -> Result<ExitCode, Failure> {
    match context.open()?.unload_list(name)? {
        Some(count) => {
            say(format_args!("list {name}: {} ended", counted(count, "ban")));
            Ok(ExitCode::SUCCESS)
        }
        None => Err(Failure::Nothing(format!(
            "there is no list {:?}",
            clean(name)
        ))),
    }
}

/// Shows which lists there are.
pub(crate) fn lists(args: &BannedArgs, context: &Context) -> Result<ExitCode, Failure> {
    let format = match args.output {
        BannedFormat::Table => ListFormat::Table,
        BannedFormat::Json => ListFormat::Json,
        BannedFormat::Jsonl => ListFormat::Jsonl,
        BannedFormat::Csv => ListFormat::Csv,
        BannedFormat::Plain | BannedFormat::Ipset | BannedFormat::Nft => {
            let text = "--lists are shown as table, json, jsonl or csv only; a list's bans with \
                        --origin list:NAME";
            return Err(Failure::Usage(text.to_owned()));
        }
    };
    let lists = context.open()?.lists()?;
    let mut out = output::stdout();
    output::ban_lists::write(&lists, format, !args.no_header, &mut out)
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}
