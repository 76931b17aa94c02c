//! `resize`.

use std::io;
use std::io::Write;
use std::process::ExitCode;

use conntrack::Family;
use conntrack::TableConfig;
use conntrack::Tracker;

use super::Context;
use crate::args::ResizeArgs;
use crate::failure::Failure;
use crate::output::counted;

/// Gives the tables of a running tracker another size.
pub(crate) fn run(args: &ResizeArgs, context: &Context) -> Result<ExitCode, Failure> {
    if !args.size.given() && !context.configured {
        let text = "how large? --max-flows, --max-flows-v6 or --max-memory says so, or a \
                    configuration file";
        return Err(Failure::Usage(text.to_owned()));
    }
    let tracker = context.open_silently()?;
    let mut table = match context.configured {
        true => context.config.table,
        false => present(&tracker)?,
    };
    args.size.apply(&mut table);
    let report = tracker.resize(&table).map_err(|error| {
        let instead = "end that process and start it anew with this size, which begins with no \
                       flows";
        context.refused(&tracker, error, instead)
    })?;
    let [v4, v6] = report.to;
    let (instance, moved) = (&context.instance, counted(report.moved, "flow"));
    let [before4, before6] = report.from;
    writeln!(
        io::stdout(),
        "instance {instance}: room for {v4} IPv4 and {v6} IPv6 flows, before it was {before4} and \
         {before6}; {moved} moved in {:.1} s",
        report.took.as_secs_f64()
    )
    .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// The IPv4 table as it is.
fn present(tracker: &Tracker) -> Result<TableConfig, Failure> {
    let mut table = TableConfig::default();
    let tables = tracker.status()?.tables.into_iter();
    for now in tables.filter(|table| table.family == Family::Ipv4) {
        table.max_flows = u32::try_from(now.max_flows).unwrap_or(table.max_flows);
    }
    Ok(table)
}
