//! Standard output, whose reader may not read.

use std::fmt::Display;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::send;
use nix::unistd::write;

use crate::signals;

/// Stdout, buffered. Flush it: an error in dropping is lost.
///
/// Where signals are caught, which then interrupt no write, a reader that doesn't read
/// doesn't hold up who is to end: once a signal has come, a write fails for which there has
/// been no room for [`signals::PATIENCE`].
pub(crate) fn stdout() -> BufWriter<Stdout> {
    BufWriter::with_capacity(1 << 16, Stdout::new())
}

/// A line to stdout, at once, or not at all where there is no room for it: of what goes on
/// while nobody may read.
pub(crate) fn put_line(line: impl Display) -> io::Result<()> {
    let line = format!("{line}\n");
    match Stdout::new().try_write(line.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        other => other.map(drop),
    }
}

/// How it is written to.
#[derive(Debug)]
pub(crate) enum Stdout {
    /// Waiting as long as it takes.
    Waiting(io::Stdout),
    /// A pipe or a terminal, opened anew: not to wait is a thing of the open file, which
    /// others have, too.
    Reopened(File),
    /// Which cannot be opened, but is asked for each message.
    Socket(io::Stdout),
}

impl Stdout {
    fn new() -> Self {
        let stdout = io::stdout();
        if !signals::are_caught() {
            return Self::Waiting(stdout);
        }
        let path = "/proc/self/fd/1";
        let kind = std::fs::metadata(path).map(|it| it.file_type());
        match kind {
            // A file would be written to from its beginning.
            Ok(kind) if kind.is_fifo() || kind.is_char_device() => {
                let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
                let file = OpenOptions::new()
                    .write(true)
                    .custom_flags(flags)
                    .open(path);
                file.map_or(Self::Waiting(stdout), Self::Reopened)
            }
            Ok(kind) if kind.is_socket() => Self::Socket(stdout),
            _ => Self::Waiting(stdout),
        }
    }

    /// `WouldBlock` if there is no room and this is no file.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // Past its buffer: there is one.
            Self::Waiting(stdout) => Ok(write(stdout, bytes)?),
            Self::Reopened(file) => file.write(bytes),
            Self::Socket(stdout) => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                Ok(send(stdout.as_raw_fd(), bytes, flags)?)
            }
        }
    }

    fn has_room(&self) -> io::Result<bool> {
        match self {
            Self::Waiting(stdout) | Self::Socket(stdout) => signals::wait_for_room(stdout),
            Self::Reopened(file) => signals::wait_for_room(file),
        }
    }
}

impl Write for Stdout {
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
