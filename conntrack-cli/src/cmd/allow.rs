//! `allow`.

use std::io::Write;
use std::process::ExitCode;

use conntrack::Allowed;

use super::Context;
use crate::args::AllowArgs;
use crate::args::TextFormat;
use crate::failure::Failure;
use crate::failure::say;
use crate::output;
use crate::output::bans::shown;

/// Allows, takes that back, or shows what is allowed.
pub(crate) fn run(args: &AllowArgs, context: &Context) -> Result<ExitCode, Failure> {
    let tracker = context.open()?;
    let Some(net) = args.whom.map(|net| net.trunc()) else {
        return show(&tracker.allowed()?, args);
    };
    let name = shown(&net);
    match (
        args.remove,
        if args.remove {
            tracker.disallow(net)?
        } else {
            tracker.allow(net)?
        },
    ) {
        (true, true) => say(format_args!("{name} is no longer allowed")),
        (true, false) => return Err(Failure::Nothing(format!("{name} was not allowed"))),
        (false, true) => say(format_args!("{name} is never dropped")),
        (false, false) => say(format_args!("{name} was allowed already")),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(allowed: &[Allowed], args: &AllowArgs) -> Result<ExitCode, Failure> {
    let mut out = output::stdout();
    match args.output {
        TextFormat::Json => output::bans::allowed_json(allowed, &mut out),
        TextFormat::Text => output::bans::allowed_table(allowed, !args.no_header, &mut out),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}
