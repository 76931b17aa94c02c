//! `sweep`.

use std::process::ExitCode;

use super::Context;
use crate::failure::Failure;

/// Takes expired flows out and says how many.
pub(crate) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let removed = context.open()?.sweep()?;
    eprintln!("{removed} expired flows have been removed");
    Ok(ExitCode::SUCCESS)
}
