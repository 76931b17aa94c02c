//! The older ConnTracker's command line.

use std::process::ExitCode;
use std::time::Duration;

use super::Context;
use super::attach;
use super::attach::Wish;
use crate::args::LegacyArgs;
use crate::failure::Failure;
use crate::failure::program;

/// How often it printed its statistics is not known; this is ours.
const INTERVAL: Duration = Duration::from_secs(10);

/// Attaches the interfaces in the foreground.
pub(crate) fn run(args: &LegacyArgs, mut context: Context) -> Result<ExitCode, Failure> {
    let interfaces = args.interfaces();
    if interfaces.is_empty() && context.config.attach.interfaces.is_empty() {
        let text = format!("no command and no interface: see {} --help", program());
        return Err(Failure::Usage(text));
    }
    if let Some(limit) = args.threshold {
        context.config.threshold.get_or_insert_default().new = limit;
    }
    attach::start(
        context,
        Wish {
            interfaces,
            foreground: Some(INTERVAL),
            ..Wish::default()
        },
    )
}
