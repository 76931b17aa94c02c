//! `--p0f-socket`: p0f's API socket, for tools that ask p0f.

use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::thread;

use conntrack::Tracker;
use conntrack_core::p0f::Database;
use conntrack_core::p0f::Kind;
use conntrack_core::p0f::api;
use nix::errno::Errno;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use nix::sys::stat::Mode;
use nix::sys::stat::umask;

use crate::failure::Failure;
use crate::failure::in_words;

/// Who may be connected at once; others wait.
const CLIENTS: usize = 32;

/// The socket; its file goes away with it.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Somebody who asks, and what he has sent of his next query.
struct Client {
    stream: UnixStream,
    query: [u8; api::QUERY_BYTES],
    have: usize,
}

impl Socket {
    /// Listens, for root (or whoever runs this) alone. The file of a process that is gone
    /// is taken over. Before anything starts a thread: a mask of the process is changed.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::Usage(format!(
                "--p0f-socket {}: {}",
                path.display(),
                in_words(&error)
            ))
        };
        if UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            fs::remove_file(path).map_err(failed)?;
        }
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Answers while something else is done.
    pub(super) fn during<T>(
        &self,
        tracker: &Tracker,
        database: &Database,
        task: impl FnOnce() -> T,
    ) -> io::Result<T> {
        let (stop, stopped) = UnixStream::pair()?;
        Ok(thread::scope(|scope| {
            scope.spawn(|| self.serve(tracker, database, stopped));
            let done = task();
            drop(stop);
            done
        }))
    }

    /// Answers until the other end of `stopped` is closed.
    fn serve(&self, tracker: &Tracker, database: &Database, stopped: UnixStream) {
        let answer = |addr| answer(tracker, database, addr);
        let mut clients: Vec<Client> = Vec::new();
        loop {
            let flags = PollFlags::POLLIN;
            let mut fds = vec![PollFd::new(stopped.as_fd(), flags)];
            fds.extend(
                clients
                    .iter()
                    .map(|it| PollFd::new(it.stream.as_fd(), flags)),
            );
            if clients.len() < CLIENTS {
                fds.push(PollFd::new(self.listener.as_fd(), flags));
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            }
            if fds[0].any().unwrap_or(true) {
                return;
            }
            clients.retain_mut(|client| client.attend(answer).is_ok());
            if clients.len() < CLIENTS
                && let Ok((stream, _)) = self.listener.accept()
                && stream.set_nonblocking(true).is_ok()
            {
                clients.push(Client {
                    stream,
                    query: [0; api::QUERY_BYTES],
                    have: 0,
                });
            }
        }
    }
}

impl Client {
    /// Reads what there is, and answers a whole query. An error is the end of it: also for
    /// whoever does not take his answers.
    fn attend(&mut self, answer: impl Fn(IpAddr) -> [u8; api::RESPONSE_BYTES]) -> io::Result<()> {
        match self.stream.read(&mut self.query[self.have..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => self.have += bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        if self.have < api::QUERY_BYTES {
            return Ok(());
        }
        self.have = 0;
        let response = api::query(&self.query).map_or_else(api::bad_query, answer);
        self.stream.write_all(&response)
    }
}

/// What is known of an address: as a client or, if it has been none, as a server.
fn answer(tracker: &Tracker, database: &Database, addr: IpAddr) -> [u8; api::RESPONSE_BYTES] {
    let of = |kind| tracker.fingerprint_of(addr, kind).ok().flatten();
    let (client, server) = (of(Kind::Syn), of(Kind::SynAck));
    let count = [&client, &server]
        .into_iter()
        .flatten()
        .map(|it| it.count)
        .sum();
    match client.or(server) {
        None => api::unknown(),
        Some(source) => {
            let found = database.find(source.kind(), &source.signature);
            api::known(&source, count, &found)
        }
    }
}
