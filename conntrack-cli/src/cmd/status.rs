//! `status`.

use std::io::Write;
use std::process::ExitCode;

use super::Context;
use crate::args::StatusArgs;
use crate::args::TextFormat;
use crate::failure::Failure;
use crate::failure::say;
use crate::output;

/// Shows what is attached where. Of a tracker that is attached to nothing any more, too;
/// but whoever asks a program whether one is there gets the answer by its exit code.
pub(crate) fn run(args: &StatusArgs, context: &Context) -> Result<ExitCode, Failure> {
    let tracker = context.open()?;
    let status = tracker.status()?;
    let mut out = output::stdout();
    match args.output {
        TextFormat::Text => output::status::text(&status, context.verbose, &mut out),
        TextFormat::Json => output::json(&mut out, &status),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    let warnings = status.tables.iter().filter_map(output::status::warning);
    warnings.for_each(say);
    Ok(ExitCode::from(if tracker.is_dead() { 3 } else { 0 }))
}
