//! `ports`.

use std::cmp::Reverse;
use std::io::Write;
use std::process::ExitCode;

use super::Context;
use crate::args::PortsArgs;
use crate::failure::Failure;
use crate::output;

/// Shows who reaches which port.
pub(crate) fn run(args: &PortsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let query = args.query();
    let tracker = context.open()?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let (format, header) = (args.output, !args.no_header);
    let mut out = output::stdout();
    let written = if args.list {
        let mut sources = tracker.port_sources(&query)?;
        sources.truncate(limit);
        output::ports::sources(&sources, format, header, &mut out)
    } else {
        let mut ports = tracker.ports_of(&query)?;
        ports
            .rows
            .sort_by_key(|row| (Reverse(row.sources), row.name));
        ports.rows.truncate(limit);
        output::ports::rows(&ports, format, header, &mut out)
    };
    written
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}
