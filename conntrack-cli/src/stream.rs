//! Standard output and standard error, whose reader may not read.

use std::fmt::Display;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use nix::fcntl::OFlag;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::send;
use nix::unistd::write;

use crate::failure::program;
use crate::failure::say;
use crate::output::counted;
use crate::signals;

/// Lines of standard output, and of standard error, for which there was no room, and of
/// which nobody was told yet.
static LEFT_OUT: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Stdout, buffered. Flush it: an error in dropping is lost.
///
/// Where signals are caught, which then interrupt no write, a reader that doesn't read
/// doesn't hold up who is to end: once a signal has come, a write fails for which there has
/// been no room for [`signals::PATIENCE`].
pub(crate) fn stdout() -> BufWriter<Stream> {
    BufWriter::with_capacity(1 << 16, Stream::new(Standard::Output(io::stdout())))
}

/// A line to stdout, at once, or not at all where there is no room for it: of what goes on
/// while nobody may read. Of what was left out is told on stderr when there is room again.
pub(crate) fn put_line(line: impl Display) -> io::Result<()> {
    let line = format!("{line}\n");
    let [left_out, _] = &LEFT_OUT;
    match Stream::new(Standard::Output(io::stdout())).try_write(line.as_bytes()) {
        Ok(_) => {
            let lines = left_out.swap(0, Ordering::Relaxed);
            if lines > 0 {
                let lines = counted(lines, "line");
                say(format!(
                    "standard output: {lines} left out, which nobody read"
                ));
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            left_out.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Stderr, by the line. Where signals are caught, in what stays for long, a line for which
/// there is no room is left out, and when there is some, told of.
#[derive(Debug)]
pub(crate) struct Stderr(Stream);

/// For what is said on the way.
pub(crate) fn stderr() -> Stderr {
    Stderr(Stream::new(Standard::Error(io::stderr())))
}

/// The last line on stderr, which is waited for as for stdout: it says why this ends.
pub(crate) fn put_last_line(line: impl Display) -> io::Result<()> {
    let mut stderr = stderr();
    let _ = stderr.told_of_the_others();
    stderr.0.write_all(format!("{line}\n").as_bytes())
}

impl Stderr {
    fn told_of_the_others(&mut self) -> io::Result<()> {
        let [_, left_out] = &LEFT_OUT;
        let lines = left_out.swap(0, Ordering::Relaxed);
        if lines == 0 {
            return Ok(());
        }
        let counted = counted(lines, "line");
        let line = format!("{}: {counted} left out, which nobody read\n", program());
        let told = self.0.try_write(line.as_bytes());
        if told.is_err() {
            left_out.fetch_add(lines, Ordering::Relaxed);
        }
        told.map(drop)
    }
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self
            .told_of_the_others()
            .and_then(|()| self.0.try_write(line));
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let [_, left_out] = &LEFT_OUT;
                left_out.fetch_add(1, Ordering::Relaxed);
                Ok(line.len())
            }
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) enum Standard {
    Output(io::Stdout),
    Error(io::Stderr),
}

impl AsFd for Standard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Output(stdout) => stdout.as_fd(),
            Self::Error(stderr) => stderr.as_fd(),
        }
    }
}

/// How it is written to.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Waiting as long as it takes.
    Waiting(Standard),
    /// A pipe or a terminal, opened anew: not to wait is a thing of the open file, which
    /// others have, too.
    Reopened(File),
    /// Which cannot be opened, but is asked for each message.
    Socket(Standard),
}

impl Stream {
    fn new(standard: Standard) -> Self {
        if !signals::are_caught() {
            return Self::Waiting(standard);
        }
        let path = format!("/proc/self/fd/{}", standard.as_fd().as_raw_fd());
        let kind = std::fs::metadata(&path).map(|it| it.file_type());
        match kind {
            // A file would be written to from its beginning.
            Ok(kind) if kind.is_fifo() || kind.is_char_device() => {
                let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
                let file = OpenOptions::new()
                    .write(true)
                    .custom_flags(flags)
                    .open(path);
                file.map_or(Self::Waiting(standard), Self::Reopened)
            }
            Ok(kind) if kind.is_socket() => Self::Socket(standard),
            _ => Self::Waiting(standard),
        }
    }

    /// `WouldBlock` if there is no room and this is no file.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // Past its buffer: there is one.
            Self::Waiting(standard) => Ok(write(standard, bytes)?),
            Self::Reopened(file) => file.write(bytes),
            Self::Socket(standard) => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                Ok(send(standard.as_fd().as_raw_fd(), bytes, flags)?)
            }
        }
    }

    fn has_room(&self) -> io::Result<bool> {
        match self {
            Self::Waiting(standard) | Self::Socket(standard) => signals::wait_for_room(standard),
            Self::Reopened(file) => signals::wait_for_room(file),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if !self.has_room()? {
                let message = "a signal came to end this, and nobody reads";
                return Err(io::Error::other(message));
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
