//! The program `conntrack`.

#![forbid(unsafe_code)]

mod args;
mod capture;
mod cmd;
mod failure;
mod log;
mod output;
mod progress;
mod signals;
mod stream;
mod terminal;

use std::process::ExitCode;

use crate::args::Cli;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody to tell if that fails. The code is 0 for --help, else 2.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    log::start(cli.verbosity());
    match cmd::run(&cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
