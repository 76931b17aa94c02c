//! `delete` and `flush`.

use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::process::ExitCode;

use super::Context;
use super::list::ifindex;
use super::list::key;
use super::show::summary;
use crate::args::DeleteArgs;
use crate::args::FlushArgs;
use crate::failure::Failure;
use crate::failure::program;

/// Deletes a flow, or those that meet the conditions.
pub(crate) fn delete(args: &DeleteArgs, context: &Context) -> Result<ExitCode, Failure> {
    let deleted = match args.key.is_empty() {
        true => delete_matching(args, context)?,
        false => {
            let key = key(&args.key.join(" "))?;
            u64::from(context.open()?.delete(&key)?)
        }
    };
    summary(deleted, "deleted");
    Ok(ExitCode::from(u8::from(deleted == 0)))
}

fn delete_matching(args: &DeleteArgs, context: &Context) -> Result<u64, Failure> {
    let mut filter = args.filter.filter();
    if filter.is_empty() && args.interface.is_none() {
        let program = program();
        let text = format!("say which flows: a key or a condition (`{program} flush` deletes all)");
        return Err(Failure::Usage(text));
    }
    let tracker = context.open()?;
    if let Some(name) = &args.interface {
        filter.ifindex = Some(ifindex(&tracker, name, context)?);
    }
    Ok(tracker.delete_matching(filter)?)
}

/// Deletes all flows.
pub(crate) fn flush(args: &FlushArgs, context: &Context) -> Result<ExitCode, Failure> {
    let instance = &context.instance;
    if !args.yes && !io::stdin().is_terminal() {
        let text = format!("this deletes every flow of instance {instance}: say --yes");
        return Err(Failure::Usage(text));
    }
    let tracker = context.open()?;
    if !args.yes && !agreed(instance)? {
        return Err(Failure::Nothing("no flow was deleted".to_owned()));
    }
    summary(tracker.flush()?, "deleted");
    Ok(ExitCode::SUCCESS)
}

/// Asks whoever sits at the terminal.
fn agreed(instance: &str) -> Result<bool, Failure> {
    let ask = || {
        let mut stderr = io::stderr().lock();
        write!(stderr, "Delete every flow of instance {instance}? [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error: io::Error| Failure::doing("ask", error))?;
    let answer = answer.trim().to_ascii_lowercase();
    Ok(answer == "y" || answer == "yes")
}
