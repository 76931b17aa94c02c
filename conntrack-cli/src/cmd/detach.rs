//! `detach`.

use std::fmt::Display;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use conntrack::ErrorKind;
use conntrack::Tracker;

use super::Context;
use super::context::not_seen;
use crate::args::DetachArgs;
use crate::failure::Failure;
use crate::failure::program;
use crate::failure::say;
use crate::terminal::clean;

/// Takes programs from the interfaces named, or everything away.
pub(crate) fn run(args: &DetachArgs, context: &Context) -> Result<ExitCode, Failure> {
    let instance = &context.instance;
    if args.interfaces.is_empty() {
        // What is broken or half made can be detached all the same, but not
        // what belongs to another namespace than the one named.
        let opened = Tracker::open_in(instance, &context.netns);
        let interfaces = match opened {
            Ok(tracker) => attached(&tracker),
            Err(error)
                if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::OtherNamespace) =>
            {
                return Err(error.into());
            }
            Err(_) => Vec::new(),
        };
        match args.force {
            true => force(instance)?,
            false => {
                conntrack::detach(instance).map_err(not_seen)?;
                let from = match interfaces.is_empty() {
                    true => String::new(),
                    false => format!(" from {}", interfaces.join(", ")),
                };
                tell(format_args!("instance {instance} is detached{from}"))?;
            }
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
        tell(format_args!("{name}: detached"))?;
    }
    if attached.len() == args.interfaces.len() {
        say(format_args!(
            "instance {instance} has no interface any more; its flows and tables stay until \
             `{} detach`",
            program()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The interfaces it is attached to, to read.
fn attached(tracker: &Tracker) -> Vec<String> {
    let interfaces = tracker.status().map(|status| status.interfaces);
    let names = interfaces.into_iter().flatten().map(|it| clean(&it.name));
    names.collect()
}

/// What was done.
fn tell(text: impl Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::output)
}

/// Takes away what is pinned under this name, by whichever version.
fn force(instance: &str) -> Result<(), Failure> {
    for report in conntrack::force_detach(instance).map_err(not_seen)? {
        let layout = report.layout;
        tell(format_args!(
            "instance {instance} is detached, its maps had layout {layout}"
        ))?;
    }
    Ok(())
}
