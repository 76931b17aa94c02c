//! Bans, and what is never banned.

use std::io;
use std::io::Write;

use conntrack::Allowed;
use conntrack_core::Ban;
use conntrack_core::BanOrigin;
use conntrack_core::format::human_bytes;
use conntrack_core::format::human_duration;
use ipnet::IpNet;
use serde_json::json;

use super::columns::columns;
use super::json;
use crate::terminal::clean;

/// Rows that the widths of columns are taken from; later ones may be out of line.
const SAMPLE: usize = 512;
const COLUMNS: usize = 8;
const HEADINGS: [&str; COLUMNS] = [
    "BANNED", "SCOPE", "LEFT", "HITS", "BYTES", "ORIGIN", "NOTES", "REASON",
];
/// Numbers stand to the right.
const RIGHT: [bool; COLUMNS] = [false, false, true, true, true, false, false, false];

type Row = [String; COLUMNS];

/// Bans in columns, written as soon as it is known how wide they are.
#[derive(Debug)]
pub(crate) struct Table {
    header: bool,
    sample: Vec<Row>,
    widths: Option<[usize; COLUMNS]>,
}

impl Table {
    pub(crate) fn new(header: bool) -> Self {
        Self {
            header,
            sample: Vec::new(),
            widths: None,
        }
    }

    /// Takes a ban.
    pub(crate) fn row(&mut self, ban: &Ban, out: &mut impl Write) -> io::Result<()> {
        let row = cells(ban);
        if let Some(widths) = &self.widths {
            return line(&row, widths, out);
        }
        self.sample.push(row);
        match self.sample.len() {
            SAMPLE => self.finish(out),
            _ => Ok(()),
        }
    }

    /// Writes what was held back.
    pub(crate) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.widths.is_some() {
            return Ok(());
        }
        let mut rows = std::mem::take(&mut self.sample);
        if self.header {
            rows.insert(0, HEADINGS.map(str::to_owned));
        }
        let widths = std::array::from_fn(|column| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        });
        self.widths = Some(widths);
        rows.iter().try_for_each(|row| line(row, &widths, out))
    }
}

fn line(row: &Row, widths: &[usize; COLUMNS], out: &mut impl Write) -> io::Result<()> {
    let cells = row.iter().zip(widths).zip(RIGHT);
    let cells = cells.map(|((cell, &width), right)| match right {
        true => format!("{cell:>width$}"),
        false => format!("{cell:<width$}"),
    });
    let line: Vec<String> = cells.collect();
    writeln!(out, "{}", line.join("  ").trim_end())
}

fn cells(ban: &Ban) -> Row {
    let left = ban.ttl.map(human_duration);
    let notes = [
        ("both-ways", ban.direction.name() == "both"),
        ("dry-run", ban.dry_run),
        ("unconfirmed", ban.unconfirmed),
    ];
    [
        shown(&ban.target.net()),
        ban.target.scope.to_string(),
        left.map_or("-".to_owned(), |left| left.to_string()),
        ban.hits.to_string(),
        human_bytes(ban.bytes).to_string(),
        origins(ban),
        said(&notes),
        clean(&ban.reason),
    ]
}

/// Those that are so, or `-`.
pub(crate) fn said(notes: &[(&str, bool)]) -> String {
    let notes = notes.iter().filter(|(_, is)| *is).map(|(note, _)| *note);
    let notes: Vec<_> = notes.collect();
    match notes[..] {
        [] => "-".to_owned(),
        _ => notes.join(","),
    }
}

/// Who has it: `manual`, `list:a`, `manual,list:a,list:b`.
fn origins(ban: &Ban) -> String {
    let own = match &ban.origin {
        BanOrigin::List(_) => None,
        origin => Some(origin.to_string()),
    };
    let lists = ban.lists.iter().map(|list| format!("list:{list}"));
    own.into_iter().chain(lists).collect::<Vec<_>>().join(",")
}

/// A network; a single address without its prefix.
pub(crate) fn shown(net: &IpNet) -> String {
    match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    }
}

/// One array, a ban a line.
pub(crate) fn array(bans: impl Iterator<Item = Ban>, out: &mut impl Write) -> io::Result<()> {
    let mut before = "[";
    for ban in bans {
        out.write_all(before.as_bytes())?;
        out.write_all(b"\n")?;
        serde_json::to_writer(&mut *out, &ban)?;
        before = ",";
    }
    out.write_all(if before == "[" { b"[]\n" } else { b"\n]\n" })
}

/// Why something is never dropped.
fn why(allowed: &Allowed) -> Vec<&'static str> {
    let whys = [
        ("guard", allowed.guard),
        ("allow", allowed.listed),
        ("exception", allowed.exception),
    ];
    let whys = whys.into_iter().filter(|(_, is)| *is);
    whys.map(|(why, _)| why).collect()
}

/// What is never dropped, to read.
pub(crate) fn allowed_table(
    allowed: &[Allowed],
    header: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let heads = [("ALLOWED", false), ("WHY", false), ("WON", true)];
    let rows: Vec<_> = allowed
        .iter()
        .map(|it| [shown(&it.net), why(it).join(","), it.hits.to_string()])
        .collect();
    columns(heads, &rows, header, out)
}

/// What is never dropped, as one array.
pub(crate) fn allowed_json(allowed: &[Allowed], out: &mut impl Write) -> io::Result<()> {
    let all: Vec<_> = allowed
        .iter()
        .map(|it| {
            let (addr, prefix) = (it.net.addr(), it.net.prefix_len());
            json!({"addr": addr, "prefix": prefix, "why": why(it), "hits": it.hits})
        })
        .collect();
    json(out, &all)
}
