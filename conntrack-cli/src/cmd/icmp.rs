//! `icmp`.

use std::io::Write;
use std::process::ExitCode;

use super::Context;
use crate::args::IcmpArgs;
use crate::failure::Failure;
use crate::output;

/// Shows what ICMP said.
pub(crate) fn run(args: &IcmpArgs, context: &Context) -> Result<ExitCode, Failure> {
    let filter = args.filter();
    let mut icmp = context.open()?.icmp()?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let (format, header) = (args.output, !args.no_header);
    let mut out = output::stdout();
    let written = match args.errors {
        true => {
            icmp.errors.retain(|error| filter.matches(error));
            icmp.errors.truncate(limit);
            output::icmp::errors(&icmp.errors, format, header, &mut out)
        }
        false => {
            let kinds = &mut icmp.counts.kinds;
            kinds.retain(|count| filter.matches_kind(count.kind));
            kinds.truncate(limit);
            output::icmp::counts(&icmp.counts, format, header, &mut out)
        }
    };
    written
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}
