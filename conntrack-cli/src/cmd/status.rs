//! `status`.

use std::io::Write;
use std::process::ExitCode;

use super::Context;
use crate::args::StatusArgs;
use crate::args::TextFormat;
use crate::failure::Failure;
use crate::failure::say;
use crate::output;

/// Shows what is attached where.
pub(crate) fn run(args: &StatusArgs, context: &Context) -> Result<ExitCode, Failure> {
    let status = context.open()?.status()?;
    let mut out = output::stdout();
    match args.output {
        TextFormat::Text => output::status::text(&status, context.verbose, &mut out),
        TextFormat::Json => output::json(&mut out, &status),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    let warnings = status.tables.iter().filter_map(output::status::warning);
    warnings.for_each(say);
    Ok(ExitCode::SUCCESS)
}
