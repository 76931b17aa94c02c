//! Fingerprints in every form.

use std::io;
use std::io::Write;
use std::net::IpAddr;

use conntrack_core::Fingerprint;
use conntrack_core::FingerprintBan;
use conntrack_core::SourceFingerprint;
use conntrack_core::Timestamp;
use conntrack_core::p0f::Database;
use conntrack_core::p0f::Found;
use conntrack_core::p0f::Kind;
use conntrack_core::p0f::Quality;
use conntrack_core::p0f::Signature;
use serde::Serialize;

use crate::args::FingerprintFormat;
use crate::terminal::clean;

/// A line.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Row {
    Signature(Fingerprint),
    Source(SourceFingerprint),
}

impl Row {
    /// Whoever it is about, or sent the last of it.
    pub(crate) fn addr(&self) -> IpAddr {
        match self {
            Self::Signature(it) => it.last_source.addr,
            Self::Source(it) => it.source,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Signature(it) => it.kind(),
            Self::Source(it) => it.kind(),
        }
    }

    pub(crate) fn signature(&self) -> &Signature {
        match self {
            Self::Signature(it) => &it.signature,
            Self::Source(it) => &it.signature,
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Signature(it) => it.count,
            Self::Source(it) => it.count,
        }
    }

    pub(crate) fn last(&self) -> Timestamp {
        match self {
            Self::Signature(it) => it.last_seen,
            Self::Source(it) => it.last_seen,
        }
    }

    fn first(&self) -> Timestamp {
        match self {
            Self::Signature(it) => it.first_seen,
            Self::Source(it) => it.first_seen,
        }
    }

    fn found<'a>(&self, database: &'a Database) -> Found<'a> {
        database.find(self.kind(), self.signature())
    }

    /// The system, if the file knows it.
    pub(crate) fn label(&self, database: &Database) -> Option<String> {
        let matched = self.found(database).matched;
        matched.map(|matched| clean(&matched.label.to_string()))
    }
}

/// The JSON contract: `schemas/fingerprint.schema.json`.
#[derive(Serialize)]
struct RowJson<'a> {
    #[serde(flatten)]
    row: &'a Row,
    /// p0f's label, and how sure it is.
    label: Option<String>,
    quality: Option<&'static str>,
    /// What the sender's link has.
    mtu: Option<u32>,
    link: Option<&'a str>,
}

fn quality(quality: Quality) -> &'static str {
    match quality {
        Quality::Exact => "exact",
        Quality::Fuzzy => "fuzzy",
        Quality::Generic => "generic",
        Quality::FuzzyGeneric => "fuzzy_generic",
    }
}

impl<'a> RowJson<'a> {
    fn new(row: &'a Row, database: &'a Database) -> Self {
        let found = row.found(database);
        Self {
            row,
            label: row.label(database),
            quality: found.matched.map(|matched| quality(matched.quality)),
            mtu: found.mtu,
            link: found.link,
        }
    }
}

/// All rows.
pub(crate) fn write(
    rows: &[Row],
    database: &Database,
    format: FingerprintFormat,
    header: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        FingerprintFormat::Table => table(rows, database, header, out),
        FingerprintFormat::Csv => csv(rows, database, header, out),
        FingerprintFormat::Jsonl => rows.iter().try_for_each(|row| {
            serde_json::to_writer(&mut *out, &RowJson::new(row, database))?;
            out.write_all(b"\n")
        }),
        FingerprintFormat::Json => {
            let mut before = "[";
            for row in rows {
                out.write_all(before.as_bytes())?;
                out.write_all(b"\n")?;
                serde_json::to_writer(&mut *out, &RowJson::new(row, database))?;
                before = ",";
            }
            out.write_all(if rows.is_empty() { b"[]\n" } else { b"\n]\n" })
        }
    }
}

const COLUMNS: usize = 6;
const HEADINGS: [&str; COLUMNS] = ["COUNT", "KIND", "SOURCE", "LAST", "SYSTEM", "SIGNATURE"];

fn table(rows: &[Row], database: &Database, header: bool, out: &mut impl Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let cells = |row: &Row| {
        [
            row.count().to_string(),
            row.kind().to_string(),
            row.addr().to_string(),
            row.last().to_string(),
            row.label(database).unwrap_or_else(|| "?".to_owned()),
            row.signature().to_string(),
        ]
    };
    let mut lines: Vec<[String; COLUMNS]> = rows.iter().map(cells).collect();
    if header {
        lines.insert(0, HEADINGS.map(str::to_owned));
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(column).unwrap_or(0));
    lines.iter().try_for_each(|[count, rest @ .., last]| {
        write!(out, "{count:>width$}", width = widths[0])?;
        for (cell, width) in rest.iter().zip(&widths[1..]) {
            write!(out, "  {cell:<width$}")?;
        }
        writeln!(out, "  {last}")
    })
}

fn csv(rows: &[Row], database: &Database, header: bool, out: &mut impl Write) -> io::Result<()> {
    if header {
        writeln!(
            out,
            "count,kind,source,first_seen,last_seen,label,quality,distance,signature"
        )?;
    }
    rows.iter().try_for_each(|row| {
        let found = row.found(database);
        let sure = found.matched.map_or("", |matched| quality(matched.quality));
        let label = row.label(database).unwrap_or_default().replace('"', "\"\"");
        let (count, kind, addr) = (row.count(), row.kind(), row.addr());
        let (first, last, distance) = (row.first(), row.last(), found.distance);
        let signature = row.signature();
        writeln!(
            out,
            "{count},{kind},{addr},{first},{last},\"{label}\",{sure},{distance},\"{signature}\""
        )
    })
}

/// Those that are banned, one a line.
pub(crate) fn bans(bans: &[FingerprintBan], header: bool, out: &mut impl Write) -> io::Result<()> {
    if header && !bans.is_empty() {
        writeln!(out, "{:>10}  {:<30}  DRY RUN  PATTERN", "HITS", "UNTIL")?;
    }
    bans.iter().try_for_each(|ban| {
        let until = ban.until.map_or("-".to_owned(), |until| until.to_string());
        let dry_run = if ban.dry_run { "dry-run" } else { "" };
        let (hits, pattern) = (ban.hits, clean(&ban.pattern));
        writeln!(out, "{hits:>10}  {until:<30}  {dry_run:<7}  {pattern}")
    })
}
