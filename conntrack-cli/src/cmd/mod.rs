//! The commands: what each does with the library and shows.

mod allow;
mod attach;
mod ban;
mod ban_list;
mod config;
mod context;
mod demo;
mod detach;
mod doctor;
mod events;
mod fingerprints;
mod follow;
mod health;
mod icmp;
mod keeper;
mod legacy;
mod list;
mod p0f_socket;
mod ports;
mod remove;
mod replay;
mod resize;
mod show;
mod stats;
mod status;
mod sweep;
mod threshold;
mod upgrade;

use std::process::ExitCode;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use conntrack_core::Timestamp;

use self::context::Context;
use crate::args::Cli;
use crate::args::Command;
use crate::failure::Failure;

/// Does what the command line says.
pub(crate) fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let context = Context::new(&cli.global)?;
    let Some(command) = &cli.command else {
        return legacy::run(&cli.legacy, context);
    };
    if let Some(option) = cli.legacy.given() {
        return Err(Failure::Usage(format!(
            "{option} belongs to the older ConnTracker's command line, which has no commands"
        )));
    }
    match command {
        Command::Attach(args) => attach::run(args, context),
        Command::Follow(args) => follow::run(args, context),
        Command::Detach(args) => detach::run(args, &context),
        Command::Upgrade => upgrade::run(&context),
        Command::Resize(args) => resize::run(args, &context),
        Command::Status(args) => status::run(args, &context),
        Command::Doctor(args) => doctor::run(args, &context),
        Command::List(args) => list::run(args, &context),
        Command::Ports(args) => ports::run(args, &context),
        Command::Icmp(args) => icmp::run(args, &context),
        Command::Stats(args) => stats::run(args, &context),
        Command::Fingerprints(args) => fingerprints::run(args, &context),
        Command::Events(args) => events::run(args, &context),
        Command::Sweep => sweep::run(&context),
        Command::Delete(args) => remove::delete(args, &context),
        Command::Flush(args) => remove::flush(args, &context),
        Command::Ban(args) => ban::ban(args, &context),
        Command::Unban(args) => ban::unban(args, &context),
        Command::Banned(args) => ban::banned(args, &context),
        Command::Allow(args) => allow::run(args, &context),
        Command::Confirm => ban::confirm(&context),
        Command::Threshold(args) => threshold::run(args, &context),
        Command::Config(args) => config::run(args, &context),
        Command::Replay(args) => {
            alone(cli, "replay")?;
            replay::run(args, &context)
        }
        Command::Demo(args) => {
            alone(cli, "demo")?;
            demo::run(args)
        }
    }
}

/// For commands that make a tracker of their own: which one was meant?
fn alone(cli: &Cli, command: &str) -> Result<(), Failure> {
    let given = [
        ("--instance", cli.global.instance.is_some()),
        ("--netns", cli.global.netns.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Failure::Usage(format!(
            "{option} names a running tracker; {command} makes one of its own"
        ))),
        None => Ok(()),
    }
}

/// What the clock says.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }))
}
