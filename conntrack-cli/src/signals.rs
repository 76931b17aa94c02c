//! Being asked to end.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SfdFlags;
use nix::sys::signalfd::SigSet;
use nix::sys::signalfd::SignalFd;

use crate::failure::Failure;

/// Where they come, once they are caught: signals are the whole process's.
static CAUGHT: OnceLock<SignalFd> = OnceLock::new();

/// Receives SIGINT, SIGTERM and SIGHUP instead of dying by them. They are looked for and
/// not taken: one that has come stays.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: &'static SignalFd,
}

impl Signals {
    /// From now on. Call it before any thread is started: a signal goes to any
    /// thread that doesn't block it.
    ///
    /// SIGHUP stays ignored where it is, under nohup.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        if !is_ignored(Signal::SIGHUP) {
            set.add(Signal::SIGHUP);
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        set.thread_block()
            .and_then(|()| SignalFd::with_flags(&set, flags))
            .map(|fd| Self {
                fd: CAUGHT.get_or_init(|| fd),
            })
            .map_err(|error| Failure::doing("catch signals", error))
    }

    /// Waits so long, or until a signal, or until there is something to read;
    /// whether a signal came.
    pub(crate) fn wait_with(&self, other: &impl AsFd, time: Duration) -> Result<bool, Failure> {
        let mut fds = [self.fd.as_fd(), other.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, time) {
            Ok(_) => Ok(fds[0].any().unwrap_or(false)),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(Failure::doing("wait for events", error)),
        }
    }

    /// Waits so long, or until a signal; whether one came.
    pub(crate) fn wait(&self, time: Duration) -> Result<bool, Failure> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Rounded up, or the last millisecond would be waited for in a loop.
            let left = PollTimeout::try_from(left + Duration::from_micros(999))
                .unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, left) {
                Ok(0) if Instant::now() >= end => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(Failure::doing("wait for signals", error)),
            }
        }
    }
}

/// Does this process look for signals, instead of dying by them?
pub(crate) fn are_caught() -> bool {
    CAUGHT.get().is_some()
}

/// How long a reader may read nothing, once a signal has come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Waits until a write to this file goes on or fails; false if a signal has come and it
/// does not for as long as [`PATIENCE`].
pub(crate) fn wait_for_room(file: &impl AsFd) -> io::Result<bool> {
    let mut fds = vec![PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
    fds.extend(
        CAUGHT
            .get()
            .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
    );
    let mut time = PollTimeout::NONE;
    loop {
        match poll(&mut fds, time) {
            Ok(0) => return Ok(false),
            Ok(_) if fds[0].any().unwrap_or(true) => return Ok(true),
            Ok(_) => {
                // The signal, which stays.
                fds.truncate(1);
                time = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What was ignored when the process began is to stay so.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}
