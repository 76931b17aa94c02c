//! Network namespaces without a name: an open descriptor is all that keeps
//! one, so it is gone with this process, however that ends.

use std::fs;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;

use nix::sched::CloneFlags;
use nix::sched::setns;
use nix::sched::unshare;

/// Bytes of a TCP socket sent and not yet acknowledged: less than the 256 frames
/// that veth queues, so that nothing is lost and every count is exact.
const IN_FLIGHT: &str = "4096 65536 262144";

/// A network namespace; clones mean the same one.
#[derive(Clone, Debug)]
pub(crate) struct Netns {
    handle: Arc<File>,
}

impl Netns {
    /// A new one with `lo` up, where IPv6 looks for neither routers nor duplicate
    /// addresses.
    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a namespace (root is needed)");
            File::open("/proc/thread-self/ns/net").expect("open the new namespace")
        });
        let this = Self {
            handle: Arc::new(made.join().expect("a namespace")),
        };
        for setting in ["accept_dad", "router_solicitations", "accept_ra"] {
            this.sysctl(&format!("net/ipv6/conf/default/{setting}"), "0");
        }
        this.sysctl("net/ipv4/tcp_wmem", IN_FLIGHT);
        this.sh("ip link set lo up");
        this
    }

    /// A path by which any process finds it while this one lives.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            process::id(),
            self.handle.as_raw_fd()
        ))
    }

    /// What `f` says when it runs in the namespace, on a thread of its own.
    pub(crate) fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                f()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The same without waiting for it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let this = self.clone();
        thread::spawn(move || {
            this.enter();
            f()
        })
    }

    fn enter(&self) {
        setns(&*self.handle, CloneFlags::CLONE_NEWNET).expect("enter a namespace");
    }

    /// Runs a command, its words separated by spaces, and returns what it
    /// prints; fails if it does.
    pub(crate) fn sh(&self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = self.run(|| Command::new(words[0]).args(&words[1..]).output());
        let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(
            output.status.success(),
            "{command}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts a command and leaves it running, its output in a pipe.
    pub(crate) fn start(&self, command: &str) -> Running {
        let words: Vec<&str> = command.split_whitespace().collect();
        let child = self.run(|| {
            Command::new(words[0])
                .args(&words[1..])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
        });
        Running(child.unwrap_or_else(|error| panic!("{command}: {error}")))
    }

    /// Forwards packets of both families.
    pub(crate) fn forward(&self) {
        self.sysctl("net/ipv4/ip_forward", "1");
        self.sysctl("net/ipv6/conf/all/forwarding", "1");
    }

    /// Sets `/proc/sys/<name>`.
    pub(crate) fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{name}");
        self.run(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{path} = {value}: {error}"));
    }

    /// A file of `/proc/net` as this namespace has it.
    pub(crate) fn proc_net(&self, name: &str) -> String {
        let path = format!("/proc/thread-self/net/{name}");
        self.run(|| fs::read_to_string(&path))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Segments that TCP has sent so far, those it sent again included.
    pub(crate) fn segments_sent(&self) -> u64 {
        self.tcp_counter("OutSegs") + self.tcp_counter("RetransSegs")
    }

    /// A counter of TCP, by its name in `/proc/net/snmp`.
    pub(crate) fn tcp_counter(&self, name: &str) -> u64 {
        self.counter("snmp", "Tcp: ", name)
    }

    /// One of Linux's own counters of TCP, by its name in `/proc/net/netstat`.
    pub(crate) fn tcp_ext_counter(&self, name: &str) -> u64 {
        self.counter("netstat", "TcpExt: ", name)
    }

    /// A line of names, then one of their values, both begun by `group`.
    fn counter(&self, file: &str, group: &str, name: &str) -> u64 {
        let text = self.proc_net(file);
        let mut lines = text.lines().filter(|line| line.starts_with(group));
        let [names, values] = [lines.next(), lines.next()].map(|line| line.expect("a line"));
        let mut counts = names.split(' ').zip(values.split(' '));
        let found = counts.find(|(found, _)| *found == name);
        let (_, count) = found.unwrap_or_else(|| panic!("no counter {name}: {names}"));
        count.parse().expect("a number")
    }
}

/// A command that runs; dropping ends it.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
