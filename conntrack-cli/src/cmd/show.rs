//! Flows to stdout, in the order and form that were asked for.

use conntrack_core::Flow;

use crate::args::Format;
use crate::args::ViewArgs;
use crate::failure::Failure;
use crate::failure::say;
use crate::output;
use crate::output::Printer;
use crate::output::Selection;
use crate::output::Shape;
use crate::terminal::Terminal;

/// Shows flows as they come, or sorted; how many were shown. `rows` is a limit
/// beside that of the user.
pub(crate) fn show<E>(
    flows: impl Iterator<Item = Result<Flow, E>>,
    view: &ViewArgs,
    rows: Option<usize>,
) -> Result<u64, Failure>
where
    Failure: From<E>,
{
    let shape = Shape {
        format: view.output,
        header: !view.no_header,
        terminal: Terminal::stdout(),
    };
    let limit = view.limit.into_iter().chain(rows).min();
    let mut printer = Printer::new(output::stdout(), shape).map_err(Failure::output)?;
    match view.order() {
        Some(order) => {
            let mut selection = Selection::new(order, limit);
            for flow in flows {
                selection.add(flow?);
            }
            for flow in selection.finish() {
                printer.flow(&flow).map_err(Failure::output)?;
            }
        }
        None => {
            for flow in flows.take(limit.unwrap_or(usize::MAX)) {
                printer.flow(&flow?).map_err(Failure::output)?;
            }
        }
    }
    let shown = printer.finish().map_err(Failure::output)?;
    if view.output == Format::Extended {
        summary(shown);
    }
    Ok(shown)
}

/// conntrack-tools' closing words.
fn summary(shown: u64) {
    say(format_args!(
        "v{} (conntrack-xdp): {shown} flow entries have been shown.",
        env!("CARGO_PKG_VERSION")
    ));
}
