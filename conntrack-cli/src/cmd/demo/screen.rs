//! What the demo prints.

use std::fmt::Write as _;
use std::io;
use std::io::Write;

use conntrack_core::Flow;
use conntrack_core::Status;

use crate::args::Format;
use crate::failure::Failure;
use crate::output;
use crate::output::Printer;
use crate::output::Selection;
use crate::output::Shape;
use crate::terminal::Terminal;

/// Stdout, and how many of its last lines are a table to draw over.
#[derive(Debug, Default)]
pub(super) struct Screen {
    drawn: usize,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A paragraph.
    pub(super) fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.lines(&format!("\n{text}\n"))
    }

    /// Lines as they are.
    pub(super) fn lines(&mut self, text: &str) -> Result<(), Failure> {
        self.drawn = 0;
        let mut out = output::stdout();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(Failure::output)
    }

    /// Where the tracker sits.
    pub(super) fn attached(&mut self, status: &Status) -> Result<(), Failure> {
        let mut text = String::new();
        for interface in &status.interfaces {
            let _ = writeln!(text, "  {}", output::status::on_interface(interface));
        }
        self.lines(&text)
    }

    /// The flows, in the order they began.
    pub(super) fn table(&mut self, flows: Vec<Flow>) -> Result<(), Failure> {
        let text = drawn(flows).map_err(Failure::output)?;
        self.lines(&format!("\n{text}"))
    }

    /// Whether the last thing shown is a table that was drawn over.
    pub(super) fn is_redrawn(&self) -> bool {
        self.drawn > 0
    }

    /// The flows in place of those shown before, on a terminal; nothing
    /// elsewhere.
    pub(super) fn redraw(&mut self, flows: Vec<Flow>) -> Result<(), Failure> {
        if !Terminal::stdout().color {
            return Ok(());
        }
        let text = drawn(flows).map_err(Failure::output)?;
        let up = match self.drawn {
            0 => "\n".to_owned(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        };
        self.lines(&format!("{up}{text}"))?;
        self.drawn = text.lines().count();
        Ok(())
    }
}

fn drawn(flows: Vec<Flow>) -> io::Result<String> {
    let order = crate::args::SortOrder {
        key: crate::args::SortKey::Start,
        reverse: true,
    };
    let mut selection = Selection::new(order, None);
    flows.into_iter().for_each(|flow| selection.add(flow));
    let shape = Shape {
        format: Format::Table,
        header: true,
        wide: false,
        terminal: Terminal::stdout(),
    };
    let mut text = Vec::new();
    let mut printer = Printer::new(&mut text, shape)?;
    for flow in selection.finish() {
        printer.flow(&flow)?;
    }
    printer.finish()?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
