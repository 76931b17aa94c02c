//! `upgrade`.

use std::io;
use std::io::Write;
use std::process::ExitCode;

use super::Context;
use crate::failure::Failure;

/// Puts this version's programs in the place of those that run.
pub(crate) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let tracker = context.open_silently()?;
    let report = tracker.upgrade().map_err(|error| {
        let instead = "end that process and start it anew with this version, which begins with \
                       no flows";
        context.refused(&tracker, error, instead)
    })?;
    let (instance, from, to) = (&context.instance, report.from, report.to);
    writeln!(
        io::stdout(),
        "instance {instance}: programs of version {to} took over from {from}"
    )
    .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}
