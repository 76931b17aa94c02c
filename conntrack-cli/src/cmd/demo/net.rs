//! The demo's network: a client, a router and a server, each in a network
//! namespace of its own.
//!
//! The namespaces have no names: only this process holds them, so they and
//! their links are gone with it, however it ends.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process;
use std::process::Command;
use std::process::Stdio;
use std::thread;

use nix::sched::CloneFlags;
use nix::sched::setns;
use nix::sched::unshare;

use crate::failure::Failure;

/// The client's addresses, from the blocks for documentation.
pub(super) const CLIENT: [&str; 2] = ["192.0.2.2", "2001:db8:1::2"];
/// The server's.
pub(super) const SERVER: [&str; 2] = ["198.51.100.2", "2001:db8:2::2"];
/// The router's interfaces, each named after whom it leads to.
pub(super) const ROUTER: [&str; 2] = ["client", "server"];

/// A network namespace, as long as this lives.
#[derive(Debug)]
pub(super) struct Namespace {
    file: File,
}

impl Namespace {
    /// A new one, with its loopback device down.
    fn new() -> io::Result<Self> {
        thread::scope(|scope| {
            let made = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET)?;
                File::open("/proc/thread-self/ns/net")
            });
            made.join().unwrap_or_else(|_| Err(panicked()))
        })
        .map(|file| Self { file })
    }

    /// Runs something in it. Sockets made there belong to it for good,
    /// whoever uses them later.
    pub(super) fn run<T: Send>(
        &self,
        task: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        thread::scope(|scope| {
            let ran = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)?;
                task()
            });
            ran.join().unwrap_or_else(|_| Err(panicked()))
        })
    }

    /// A path to it, good while it lives.
    pub(super) fn path(&self) -> PathBuf {
        let (process, fd) = (process::id(), self.file.as_raw_fd());
        PathBuf::from(format!("/proc/{process}/fd/{fd}"))
    }

    /// Runs lines of `ip -batch` in it.
    fn ip(&self, lines: &str) -> io::Result<()> {
        self.run(|| {
            let mut child = Command::new("ip")
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| io::Error::other(format!("run ip (of iproute2): {error}")))?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(lines.as_bytes())?;
            }
            let output = child.wait_with_output()?;
            if output.status.success() {
                return Ok(());
            }
            let words = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("ip: {}", words.trim())))
        })
    }
}

/// Sets a value of the namespace that the calling thread is in.
fn sysctl(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value).map_err(|error| io::Error::other(format!("write {path}: {error}")))
}

fn panicked() -> io::Error {
    io::Error::other("a thread panicked")
}

/// The three namespaces, joined.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) client: Namespace,
    pub(super) router: Namespace,
    pub(super) server: Namespace,
}

impl Net {
    /// Makes it.
    pub(super) fn new() -> Result<Self, Failure> {
        let make = || {
            let net = Self {
                client: Namespace::new()?,
                router: Namespace::new()?,
                server: Namespace::new()?,
            };
            net.join()?;
            Ok(net)
        };
        make().map_err(|error: io::Error| match error.raw_os_error() {
            Some(_) if error.kind() == io::ErrorKind::PermissionDenied => {
                Failure::doing("make network namespaces (run it as root)", error)
            }
            _ => Failure::doing("make network namespaces", error),
        })
    }

    fn join(&self) -> io::Result<()> {
        for namespace in [&self.client, &self.router, &self.server] {
            // No waiting for duplicate addresses: there are none.
            namespace.run(|| sysctl("ipv6/conf/default/accept_dad", "0"))?;
        }
        let (client, server) = (self.client.path(), self.server.path());
        self.router.ip(&format!(
            "link set lo up\n\
             link add client type veth peer name eth0 netns {}\n\
             link add server type veth peer name eth0 netns {}\n\
             address add 192.0.2.1/24 dev client\n\
             address add 198.51.100.1/24 dev server\n\
             address add 2001:db8:1::1/64 dev client nodad\n\
             address add 2001:db8:2::1/64 dev server nodad\n\
             link set client up\n\
             link set server up\n",
            client.display(),
            server.display()
        ))?;
        for (namespace, [v4, v6], [via4, via6]) in [
            (&self.client, CLIENT, ["192.0.2.1", "2001:db8:1::1"]),
            (&self.server, SERVER, ["198.51.100.1", "2001:db8:2::1"]),
        ] {
            namespace.ip(&format!(
                "link set lo up\n\
                 address add {v4}/24 dev eth0\n\
                 address add {v6}/64 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add default via {via4}\n\
                 route add default via {via6}\n"
            ))?;
        }
        self.router.run(|| {
            sysctl("ipv4/ip_forward", "1")?;
            sysctl("ipv6/conf/all/forwarding", "1")
        })
    }
}
