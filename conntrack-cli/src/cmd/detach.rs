//! `detach`.

use std::process::ExitCode;

use super::Context;
use crate::args::DetachArgs;
use crate::failure::Failure;

/// Takes programs from the interfaces named, or everything away.
pub(crate) fn run(args: &DetachArgs, context: &Context) -> Result<ExitCode, Failure> {
    let tracker = context.open()?;
    if args.interfaces.is_empty() {
        tracker.detach()?;
        return Ok(ExitCode::SUCCESS);
    }
    // All names are looked at before anything is done.
    let status = tracker.status()?;
    for name in &args.interfaces {
        if !status.interfaces.iter().any(|it| it.name == *name) {
            return Err(Failure::Runtime(format!(
                "{name} is not attached to instance {}",
                context.instance
            )));
        }
    }
    for name in &args.interfaces {
        tracker.remove_interface(name)?;
    }
    Ok(ExitCode::SUCCESS)
}
