//! The commands: what each does with the library and shows.

mod attach;
mod config;
mod context;
mod demo;
mod detach;
mod doctor;
mod events;
mod follow;
mod legacy;
mod list;
mod remove;
mod replay;
mod show;
mod stats;
mod status;
mod sweep;
mod upgrade;

use std::process::ExitCode;

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
        Command::Status(args) => status::run(args, &context),
        Command::Doctor(args) => doctor::run(args, &context),
        Command::List(args) => list::run(args, &context),
        Command::Stats(args) => stats::run(args, &context),
        Command::Events(args) => events::run(args, &context),
        Command::Sweep => sweep::run(&context),
        Command::Delete(args) => remove::delete(args, &context),
        Command::Flush(args) => remove::flush(args, &context),
        Command::Config(args) => config::run(args, &context),
        Command::Replay(args) => replay::run(args, &context),
        Command::Demo(args) => demo::run(args),
    }
}
