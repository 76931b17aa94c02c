//! Everything that is shown, and nothing of how it was found out.

pub(crate) mod ban_lists;
pub(crate) mod bans;
mod columns;
mod csv;
pub(crate) mod doctor;
pub(crate) mod fingerprints;
mod flows;
pub(crate) mod health;
pub(crate) mod icmp;
pub(crate) mod ports;
mod prometheus;
mod select;
pub(crate) mod stats;
pub(crate) mod status;
mod table;
pub(crate) mod threshold;

use std::io;
use std::io::Write;

use serde::Serialize;

pub(crate) use self::flows::Printer;
pub(crate) use self::flows::Shape;
pub(crate) use self::prometheus::prometheus;
pub(crate) use self::select::Selection;
pub(crate) use crate::stream::put_line;
pub(crate) use crate::stream::stdout;

/// `1 packet`, `2 packets`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A value as one JSON document, to read.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}
