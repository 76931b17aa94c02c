//! Standard output, whose reader may not read.

use std::fmt::Display;
use std::io;
use std::io::BufWriter;
use std::io::Write;

use nix::unistd::write;

use crate::signals;

/// What a pipe takes at once where `poll` says that it takes something: `PIPE_BUF` of
/// Linux, see pipe(7).
const AT_ONCE: usize = 4096;

/// Stdout, buffered. Flush it: an error in dropping is lost.
///
/// Nobody is held up by a reader that doesn't read: where signals are caught (which then
/// don't interrupt a write), a write that can't go on fails once one has come.
pub(crate) fn stdout() -> BufWriter<Stdout> {
    BufWriter::with_capacity(1 << 16, Stdout(io::stdout()))
}

/// A line to stdout, at once.
pub(crate) fn put_line(line: impl Display) -> io::Result<()> {
    let mut out = stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

#[derive(Debug)]
pub(crate) struct Stdout(io::Stdout);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut most = bytes.len();
        if signals::are_caught() {
            most = most.min(AT_ONCE);
            if !signals::writable(&self.0)? {
                let message = "nobody read it, and a signal came to end this process";
                return Err(io::Error::other(message));
            }
        }
        // Past the buffer of `io::stdout()`, whose writes may be longer.
        Ok(write(&self.0, &bytes[..most])?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
