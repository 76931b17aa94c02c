//! `doctor`.
use super::Context;
use crate::args::DoctorArgs;
use crate::failure::Failure;
use std::process::ExitCode;
pub(crate) fn run(_args: &DoctorArgs, _context: &Context) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
