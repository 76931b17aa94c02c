//! Flows in every form, one by one: nothing is kept but a table's first rows.

use std::io;
use std::io::Write;

use conntrack_core::Flow;
use conntrack_core::format::extended_line;
use conntrack_core::format::session_line;

use super::csv;
use super::table::Table;
use crate::args::Format;
use crate::terminal::Terminal;

/// The form and its details.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) format: Format,
    /// A heading, where the form has one.
    pub(crate) header: bool,
    /// Columns of how connections do, in a table and in csv.
    pub(crate) wide: bool,
    pub(crate) terminal: Terminal,
}

/// Writes flows.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    shape: Shape,
    table: Table,
    shown: u64,
}

impl<W: Write> Printer<W> {
    /// Writes what stands before the first flow.
    pub(crate) fn new(mut out: W, shape: Shape) -> io::Result<Self> {
        match shape.format {
            Format::Json => out.write_all(b"[")?,
            Format::Csv if shape.header => csv::header(shape.wide, &mut out)?,
            _ => {}
        }
        Ok(Self {
            out,
            shape,
            table: Table::new(shape.header, shape.wide, shape.terminal),
            shown: 0,
        })
    }

    /// Writes a flow.
    pub(crate) fn flow(&mut self, flow: &Flow) -> io::Result<()> {
        let out = &mut self.out;
        match self.shape.format {
            Format::Table => self.table.row(flow, out)?,
            Format::Json => {
                out.write_all(if self.shown == 0 { b"\n" } else { b",\n" })?;
                serde_json::to_writer(&mut *out, flow)?;
            }
            Format::Jsonl => {
                serde_json::to_writer(&mut *out, flow)?;
                out.write_all(b"\n")?;
            }
            Format::Csv => csv::row(flow, self.shape.wide, out)?,
            Format::Extended => writeln!(out, "{}", extended_line(flow))?,
            Format::Session => writeln!(out, "{}", session_line(flow))?,
        }
        self.shown += 1;
        Ok(())
    }

    /// Writes what stands after the last flow; how many there were.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        match self.shape.format {
            Format::Table => self.table.finish(&mut self.out)?,
            Format::Json if self.shown == 0 => self.out.write_all(b"]\n")?,
            Format::Json => self.out.write_all(b"\n]\n")?,
            _ => {}
        }
        self.out.flush()?;
        Ok(self.shown)
    }
}
