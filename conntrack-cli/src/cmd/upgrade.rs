//! `upgrade`.

use std::io;
use std::io::Write;
use std::process::ExitCode;

use super::Context;
use crate::failure::Failure;

/// Puts this version's programs in the place of those that run.
pub(crate) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let report = context.open_silently()?.upgrade()?;
    let (instance, from, to) = (&context.instance, report.from, report.to);
    writeln!(
        io::stdout(),
        "instance {instance}: programs of version {to} took over from {from}"
    )
    .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}
