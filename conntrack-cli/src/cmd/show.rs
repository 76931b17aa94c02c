//! Flows to stdout, in the order and form that were asked for.

use std::io;
use std::io::Write;

use conntrack::FingerprintNames;
use conntrack_core::Flow;

use crate::args::Format;
use crate::args::SortOrder;
use crate::args::ViewArgs;
use crate::failure::Failure;
use crate::output;
use crate::output::Printer;
use crate::output::Selection;
use crate::output::Shape;
use crate::terminal::Terminal;

/// Whether a form shows the fingerprints of flows, which somebody has to read first.
pub(super) fn shows_fingerprints(format: Format) -> bool {
    [Format::Json, Format::Jsonl].contains(&format)
}

/// What the form has no place for, said before anything is done.
pub(super) fn check(view: &ViewArgs) -> Result<(), Failure> {
    match view.output {
        Format::Extended | Format::Session if view.wide => Err(Failure::Usage(
            "--wide is for table and csv; json has all that is known".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Whether what is shown has what is known of flows beside their slots.
pub(super) fn shows_health(view: &ViewArgs) -> bool {
    view.wide || shows_fingerprints(view.output)
}

/// Shows flows as they come, or sorted; how many were shown. `rows` is a limit
/// beside that of the user. A flow that can't be read doesn't hide the others:
/// it is reported after them.
pub(crate) fn show<E>(
    flows: impl Iterator<Item = Result<Flow, E>>,
    names: &FingerprintNames,
    view: &ViewArgs,
    rows: Option<usize>,
) -> Result<u64, Failure>
where
    Failure: From<E>,
{
    let shape = Shape {
        format: view.output,
        header: !view.no_header,
        wide: view.wide,
        terminal: Terminal::stdout(),
    };
    let mut unread = None;
    let readable = flows.filter_map(|flow| match flow {
        Ok(mut flow) => {
            names.name(&mut flow);
            Some(flow)
        }
        Err(error) => {
            unread.get_or_insert(error);
            None
        }
    });
    let limit = view.limit.into_iter().chain(rows).min();
    let shown = print(readable, view.order(), limit, shape).map_err(Failure::output)?;
    if view.output == Format::Extended {
        summary(shown, "shown");
    }
    match unread {
        Some(error) => Err(error.into()),
        None => Ok(shown),
    }
}

fn print(
    flows: impl Iterator<Item = Flow>,
    order: Option<SortOrder>,
    limit: Option<usize>,
    shape: Shape,
) -> io::Result<u64> {
    let mut printer = Printer::new(output::stdout(), shape)?;
    match order {
        Some(order) => {
            let mut selection = Selection::new(order, limit);
            flows.for_each(|flow| selection.add(flow));
            for flow in selection.finish() {
                printer.flow(&flow)?;
            }
        }
        None => {
            for flow in flows.take(limit.unwrap_or(usize::MAX)) {
                printer.flow(&flow)?;
            }
        }
    }
    printer.finish()
}

/// conntrack-tools' closing words, in its own form.
pub(super) fn summary(flows: u64, done: &str) {
    let version = env!("CARGO_PKG_VERSION");
    let line =
        format!("conntrack v{version} (conntrack-xdp): {flows} flow entries have been {done}.\n");
    // Nobody to tell if that fails.
    let _ = io::stderr().write_all(line.as_bytes());
}
