//! Lists of bans.

use std::io;
use std::io::Write;

use conntrack::BanList;
use conntrack_core::BanDirection;
use serde_json::Value;
use serde_json::json;

use super::bans::said;
use super::columns::columns;
use super::csv::quoted;
use super::icmp::lines;
use super::json;
use crate::args::ListFormat;
use crate::terminal::clean;

/// Lists, one a row.
pub(crate) fn write(
    lists: &[BanList],
    format: ListFormat,
    header: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let values = || lists.iter().map(value).collect::<Vec<_>>();
    match format {
        ListFormat::Json => json(out, &values()),
        ListFormat::Jsonl => lines(&values(), out),
        ListFormat::Csv => {
            if header {
                writeln!(out, "name,bans,updated,dry_run,direction,source")?;
            }
            lists.iter().try_for_each(|list| {
                let (name, bans, updated) = (&list.name, list.entries, list.updated);
                let (dry_run, direction) = (list.dry_run, list.direction.name());
                let source = quoted(&list.source);
                writeln!(
                    out,
                    "{name},{bans},{updated},{dry_run},{direction},{source}"
                )
            })
        }
        ListFormat::Table if lists.is_empty() => Ok(()),
        ListFormat::Table => {
            let heads = [
                ("LIST", false),
                ("BANS", true),
                ("UPDATED", false),
                ("NOTES", false),
                ("SOURCE", false),
            ];
            let rows: Vec<_> = lists.iter().map(row).collect();
            columns(heads, &rows, header, out)
        }
    }
}

fn value(list: &BanList) -> Value {
    json!({
        "name": list.name,
        "bans": list.entries,
        "updated": list.updated.to_string(),
        "dry_run": list.dry_run,
        "direction": list.direction.name(),
        "source": list.source,
    })
}

fn row(list: &BanList) -> [String; 5] {
    let updated = list.updated.to_string();
    [
        list.name.clone(),
        list.entries.to_string(),
        updated.get(..19).unwrap_or(&updated).to_owned(),
        said(&[
            ("both-ways", list.direction == BanDirection::Both),
            ("dry-run", list.dry_run),
        ]),
        clean(&list.source),
    ]
}
