//! `sweep`.

use std::process::ExitCode;

use super::Context;
use crate::failure::Failure;
use crate::output::counted;

/// Takes expired flows out and says how many.
pub(crate) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let removed = context.open()?.sweep()?;
    let has = if removed == 1 { "has" } else { "have" };
    eprintln!("{} {has} been removed", counted(removed, "expired flow"));
    Ok(ExitCode::SUCCESS)
}
