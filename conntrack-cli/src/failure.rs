//! How a command ends when it doesn't end well.

use std::fmt::Display;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use conntrack::ErrorKind;

/// Why a command ends early. What it says is one line.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read the output has enough. That is success.
    Closed,
    /// Exit code 1: what was asked for isn't there.
    Nothing(String),
    /// Exit code 2: bad arguments or configuration.
    Usage(String),
    /// Exit code 3: it failed at run time.
    Runtime(String),
}

impl Failure {
    /// An error of writing to stdout.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Runtime(format!("write to standard output: {error}")),
        }
    }

    /// A run-time error while doing something.
    pub(crate) fn doing(what: impl Display, error: impl Display) -> Self {
        Self::Runtime(format!("{what}: {error}"))
    }

    /// Says why on stderr.
    pub(crate) fn report(&self) -> ExitCode {
        let (code, text) = match self {
            Self::Closed => return ExitCode::SUCCESS,
            Self::Nothing(text) => (1, text),
            Self::Usage(text) => (2, text),
            Self::Runtime(text) => (3, text),
        };
        say(text);
        ExitCode::from(code)
    }
}

impl From<conntrack::Error> for Failure {
    fn from(error: conntrack::Error) -> Self {
        let text = format!("{error:#}");
        match error.kind() {
            ErrorKind::Invalid => Self::Usage(text),
            _ => Self::Runtime(text),
        }
    }
}

/// A line on stderr. There is nobody to tell if that fails.
pub(crate) fn say(text: impl Display) {
    let line = text.to_string().replace(['\n', '\r'], " ");
    let _ = writeln!(io::stderr().lock(), "conntrack: {line}");
}
