//! Running the program.

use std::ffi::OsStr;
use std::io::Write;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program, with nothing of this environment that would change it.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conntrack"));
    command.env_remove("RUST_LOG").env_remove("NO_COLOR");
    command
}

/// Runs it to its end.
pub(crate) fn run<S: AsRef<OsStr>>(args: &[S]) -> Run {
    finish(program().args(args))
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Run {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it with something on stdin.
pub(crate) fn feed(args: &[&str], stdin: &[u8]) -> Run {
    feed_to(program().args(args), stdin)
}

/// Runs a command with something on stdin.
pub(crate) fn feed_to(command: &mut Command, stdin: &[u8]) -> Run {
    let mut child: Child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    let writer = std::thread::spawn(move || pipe.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// It ended well and said nothing; its output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// It did what it was asked, and said this beside it; what it printed.
    #[track_caller]
    pub(crate) fn ok_saying(self, says: &str) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(self.stderr.contains(says), "{self:?}");
        self.stdout
    }

    /// It ended with this code, without output, and said so in one line.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, says: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(self.stderr.starts_with("conntrack: "), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.contains(says), "{says:?} in {self:?}");
    }
}
