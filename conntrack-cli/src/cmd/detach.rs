//! `detach`.

use std::process::ExitCode;

use conntrack::ErrorKind;
use conntrack::Tracker;

use super::Context;
use super::context::not_seen;
use crate::args::DetachArgs;
use crate::failure::Failure;
use crate::failure::say;

/// Takes programs from the interfaces named, or everything away.
pub(crate) fn run(args: &DetachArgs, context: &Context) -> Result<ExitCode, Failure> {
    let instance = &context.instance;
    if args.interfaces.is_empty() {
        // What is broken or half made can be detached all the same, but not
        // what belongs to another namespace than the one named.
        let opened = Tracker::open_in(instance, &context.netns);
        if let Err(error) = opened.map(drop)
            && [ErrorKind::Invalid, ErrorKind::OtherNamespace].contains(&error.kind())
        {
            return Err(error.into());
        }
        match args.force {
            true => force(instance)?,
            false => conntrack::detach(instance).map_err(not_seen)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    // All names are looked at before anything is done.
    let tracker = context.open()?;
    let attached = tracker.status()?.interfaces;
    for name in &args.interfaces {
        if !attached.iter().any(|it| it.name == *name) {
            let text = format!("{name} is not attached to instance {instance}");
            return Err(Failure::Runtime(text));
        }
    }
    for name in &args.interfaces {
        tracker.remove_interface(name)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes away what is pinned under this name, by whichever version.
fn force(instance: &str) -> Result<(), Failure> {
    for report in conntrack::force_detach(instance).map_err(not_seen)? {
        let layout = report.layout;
        say(format_args!(
            "instance {instance} is detached, its maps had layout {layout}"
        ));
    }
    Ok(())
}
