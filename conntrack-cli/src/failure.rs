//! How a command ends when it doesn't end well.

use std::env;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;

use conntrack::ErrorKind;
use nix::errno::Errno;

use crate::stream::put_last_line;
use crate::stream::stderr;
use crate::terminal::clean;

/// Why a command ends early. What it says is one line.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read the output has enough. That is success.
    Closed,
    /// Exit code 1: what was asked for isn't there.
    Nothing(String),
    /// Exit code 2: bad arguments or configuration, a file that cannot be read.
    Usage(String),
    /// Exit code 3: it failed at run time.
    Runtime(String),
}

impl Failure {
    /// An error of writing to stdout.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Runtime(format!("write to standard output: {}", in_words(&error))),
        }
    }

    /// Something named on the command line cannot be opened or read.
    pub(crate) fn opening(what: impl Display, error: &io::Error) -> Self {
        Self::Usage(format!("{what}: {}", in_words(error)))
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
        let _ = put_last_line(line(text));
        ExitCode::from(code)
    }
}

impl From<conntrack::Error> for Failure {
    fn from(error: conntrack::Error) -> Self {
        let text = format!("{error:#}");
        match error.kind() {
            ErrorKind::Invalid => Self::Usage(text),
            ErrorKind::Guarded => Self::Nothing(text),
            _ => Self::Runtime(text),
        }
    }
}

/// Opens a file that is named on the command line; a folder, of which only reading would
/// fail, is none.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(Errno::EISDIR.into()),
        false => Ok(file),
    }
}

/// An error of the system as the library says it: `ENOENT: No such file or
/// directory`.
pub(crate) fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => Errno::from_raw(errno).to_string(),
        None => error.to_string(),
    }
}

/// The name it was called by: where another `conntrack` is installed, this one has
/// a name of its own.
pub(crate) fn program() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let called = env::args_os().next().unwrap_or_default();
        let name = Path::new(&called).file_name().unwrap_or_default();
        match name.to_string_lossy() {
            empty if empty.is_empty() => "conntrack".to_owned(),
            name => clean(&name),
        }
    })
}

/// A line on stderr. There is nobody to tell if that fails.
pub(crate) fn say(text: impl Display) {
    let _ = stderr().write_all(format!("{}\n", line(text)).as_bytes());
}

/// As it is said: one line, and whose.
fn line(text: impl Display) -> String {
    let text = text.to_string().replace(['\n', '\r'], " ");
    format!("{}: {text}", program())
}
