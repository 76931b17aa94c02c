//! `sweep`.

use std::process::ExitCode;

use super::Context;
use crate::failure::Failure;
use crate::failure::say;
use crate::output::counted;

/// Takes expired flows out and says how many.
pub(crate) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let removed = context.open()?.sweep()?;
    let has = if removed == 1 { "has" } else { "have" };
    let flows = counted(removed, "expired flow");
    say(format_args!("{flows} {has} been removed"));
    Ok(ExitCode::SUCCESS)
}
