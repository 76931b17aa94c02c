//! The older ConnTracker's command line.

use std::process::ExitCode;
use std::time::Duration;

use super::Context;
use super::attach;
use super::attach::Wish;
use crate::args::LegacyArgs;
use crate::failure::Failure;
use crate::failure::say;

/// How often it printed its statistics is not known; this is ours.
const INTERVAL: Duration = Duration::from_secs(10);

/// Attaches the interfaces in the foreground, and says what comes later.
pub(crate) fn run(args: &LegacyArgs, context: Context) -> Result<ExitCode, Failure> {
    let interfaces = args.interfaces();
    if interfaces.is_empty() && context.config.attach.interfaces.is_empty() {
        let text = "no command and no interface: see conntrack --help";
        return Err(Failure::Usage(text.to_owned()));
    }
    if let Some(limit) = args.threshold.or(context.config.threshold) {
        say(format_args!(
            "the threshold of {limit} new connections per second and source is not enforced yet: \
             nothing will be dropped"
        ));
    }
    if !context.config.ips.is_empty() {
        say(format_args!(
            "forwarding to the {} entries of ips: is not done yet: packets take their usual way",
            context.config.ips.len()
        ));
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
