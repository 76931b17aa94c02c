//! `fingerprints`.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use conntrack_core::p0f::Database;

use super::Context;
use crate::args::By;
use crate::args::DatabaseArgs;
use crate::args::FingerprintFormat;
use crate::args::FingerprintOrder;
use crate::args::FingerprintsArgs;
use crate::failure::Failure;
use crate::failure::in_words;
use crate::failure::say;
use crate::output;
use crate::output::fingerprints::Row;

/// Where Debian's p0f has its file.
const DATABASE: &str = "/etc/p0f/p0f.fp";

/// Shows what SYNs and SYN+ACKs have told of their senders.
pub(crate) fn run(args: &FingerprintsArgs, context: &Context) -> Result<ExitCode, Failure> {
    if args.banned {
        return banned(args, context);
    }
    let database = database(&args.database)?;
    let tracker = context.open()?;
    if !tracker.keeps_fingerprints() {
        let text = "fingerprints are not kept: they were switched off when the tracker was \
                    attached (fingerprints.enabled)";
        return Err(Failure::Runtime(text.to_owned()));
    }
    let rows = match args.by {
        By::Signature => {
            let rows = tracker.fingerprints().map(|row| Ok(Row::Signature(row?)));
            wanted(rows, args, &database)
        }
        By::Source => {
            let rows = tracker.fingerprint_sources();
            wanted(rows.map(|row| Ok(Row::Source(row?))), args, &database)
        }
    };
    let view = View {
        order: args.sort,
        limit: args.limit,
        header: !args.no_header,
        format: args.output,
    };
    show(rows?, &view, &database)?;
    Ok(ExitCode::SUCCESS)
}

/// How they are shown.
#[derive(Copy, Clone, Debug)]
pub(super) struct View {
    pub(super) order: FingerprintOrder,
    pub(super) limit: Option<usize>,
    pub(super) header: bool,
    pub(super) format: FingerprintFormat,
}

/// Shows rows in their order.
pub(super) fn show(mut rows: Vec<Row>, view: &View, database: &Database) -> Result<(), Failure> {
    let place = |row: &Row| (row.addr(), row.kind(), row.signature().to_string());
    match view.order {
        FingerprintOrder::Count => rows.sort_by_cached_key(|it| (Reverse(it.count()), place(it))),
        FingerprintOrder::Last => rows.sort_by_cached_key(|it| (Reverse(it.last()), place(it))),
    }
    rows.truncate(view.limit.unwrap_or(usize::MAX));
    let mut out = output::stdout();
    output::fingerprints::write(&rows, database, view.format, view.header, &mut out)
        .and_then(|()| out.flush())
        .map_err(Failure::output)
}

/// The rows that were asked for.
fn wanted(
    rows: impl Iterator<Item = Result<Row, conntrack::Error>>,
    args: &FingerprintsArgs,
    database: &Database,
) -> Result<Vec<Row>, conntrack::Error> {
    let is_wanted = |row: &Row| {
        let of_net = args.nets.is_empty() || args.nets.iter().any(|it| it.contains(&row.addr()));
        let of_kind = args.kind.is_none_or(|kind| kind == row.kind());
        let of_label = |text: &String| match row.label(database) {
            None => text == "?",
            Some(label) => label.to_lowercase().contains(&text.to_lowercase()),
        };
        of_net && of_kind && args.label.as_ref().is_none_or(of_label)
    };
    rows.filter(|row| row.as_ref().is_ok_and(is_wanted) || row.is_err())
        .collect()
}

/// Shows which are banned.
fn banned(args: &FingerprintsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let format = args.output;
    if ![FingerprintFormat::Table, FingerprintFormat::Json].contains(&format) {
        let text = "--banned is shown as table or json only";
        return Err(Failure::Usage(text.to_owned()));
    }
    let bans = context.open()?.fingerprint_bans()?;
    let mut out = output::stdout();
    match format {
        FingerprintFormat::Json => output::json(&mut out, &bans),
        _ => output::fingerprints::bans(&bans, !args.no_header, &mut out),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// Bans one.
pub(super) fn ban(
    pattern: &str,
    ttl: Option<Duration>,
    dry_run: bool,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let ban = context
        .open_attached()?
        .ban_fingerprint(pattern, ttl, dry_run)?;
    let done = match ban.dry_run {
        true => "SYNs are counted, not dropped,",
        false => "banned",
    };
    let until = ban.until.map(|until| format!("until {until}"));
    let until = until.unwrap_or_else(|| "for ever".to_owned());
    say(format_args!("{}: {done} {until}", ban.pattern));
    Ok(ExitCode::SUCCESS)
}

/// Ends the ban of one.
pub(super) fn unban(pattern: &str, context: &Context) -> Result<ExitCode, Failure> {
    match context.open()?.unban_fingerprint(pattern)? {
        true => {
            say(format_args!("{pattern} is no longer banned"));
            Ok(ExitCode::SUCCESS)
        }
        false => Err(Failure::Nothing(format!("{pattern} is not banned"))),
    }
}

/// Known signatures: of the file that is named, or of Debian's where it is. Without one
/// no system has a name.
pub(super) fn database(args: &DatabaseArgs) -> Result<Database, Failure> {
    if let Some(path) = &args.p0f_fp {
        let name = path.display();
        let text = fs::read(path).map_err(|error| Failure::opening(name, &error))?;
        let name = path.display();
        return Database::parse(&text).map_err(|error| Failure::Usage(format!("{name}: {error}")));
    }
    let text = match fs::read(Path::new(DATABASE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Database::default()),
        Err(error) => {
            say(format_args!("{DATABASE}: {}", in_words(&error)));
            return Ok(Database::default());
        }
    };
    Ok(Database::parse(&text).unwrap_or_else(|error| {
        say(format_args!(
            "{DATABASE}: {error}; systems go without names"
        ));
        Database::default()
    }))
}
