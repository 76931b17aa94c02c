//! `doctor`.

use std::io::Write;
use std::process::ExitCode;

use conntrack::Verdict;

use super::Context;
use crate::args::DoctorArgs;
use crate::args::TextFormat;
use crate::failure::Failure;
use crate::output;

/// Says what this host can do and what `attach` would choose.
pub(crate) fn run(args: &DoctorArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mode = args.mode.unwrap_or(context.config.attach.mode);
    let interfaces = match args.interfaces.is_empty() {
        true => &context.config.attach.interfaces,
        false => &args.interfaces,
    };
    let doctor = conntrack::doctor_in(&context.netns, interfaces, mode)?;
    let mut out = output::stdout();
    match args.output {
        TextFormat::Text => output::doctor::text(&doctor, &mut out),
        TextFormat::Json => output::json(&mut out, &doctor),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    Ok(ExitCode::from(match doctor.verdict {
        Verdict::Full => 0,
        Verdict::Fallbacks => 4,
        Verdict::Impossible => 5,
    }))
}
