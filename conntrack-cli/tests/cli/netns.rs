//! Network namespaces of tests, with a tracker in them.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;

use nix::sched::CloneFlags;
use nix::sched::setns;

use crate::run::Run;
use crate::run::feed_to;
use crate::run::finish;
use crate::run::program;

/// A named namespace with loopback up; detached and deleted when dropped.
pub(crate) struct Netns {
    pub(crate) name: String,
}

fn ip(args: &str) {
    let run = finish(Command::new("ip").args(args.split(' ')));
    assert_eq!(run.code, Some(0), "ip {args}: {run:?}");
}

impl Netns {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let netns = Self {
            name: format!("ctcli{}n{number}", process::id()),
        };
        ip(&format!("netns add {}", netns.name));
        netns.ip("link set lo up");
        netns
    }

    /// `ip` inside.
    pub(crate) fn ip(&self, args: &str) {
        ip(&format!("-n {} {args}", self.name));
    }

    /// A wire, up: `inner` here, `outer` there.
    pub(crate) fn wire(&self, there: &Self) {
        let there_name = &there.name;
        self.ip(&format!(
            "link add inner type veth peer name outer netns {there_name}"
        ));
        self.ip("link set inner up");
        there.ip("link set outer up");
    }

    /// The program, for this namespace and an instance of its name.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = program();
        let name = self.name.as_str();
        command
            .env("CONNTRACK_STATE_DIR", self.state_dir())
            .args(["--netns", name, "--instance", name])
            .args(args);
        command
    }

    /// Where bans are kept over a restart.
    pub(crate) fn state_dir(&self) -> PathBuf {
        std::env::temp_dir().join(format!("{}-state", self.name))
    }

    /// Runs it.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        finish(&mut self.command(args))
    }

    /// Runs it with something on stdin.
    pub(crate) fn feed(&self, args: &[&str], stdin: &[u8]) -> Run {
        feed_to(&mut self.command(args), stdin)
    }

    /// Does something inside.
    pub(crate) fn inside<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        let file = std::fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::scope(|scope| {
            let ran = scope.spawn(|| {
                setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
                task()
            });
            ran.join().unwrap()
        })
    }

    /// A TCP connection over loopback, with data both ways; it stays open.
    pub(crate) fn connection(&self) -> (TcpStream, TcpStream) {
        let (mut client, mut server) = self.inside(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (client, listener.accept().unwrap().0)
        });
        self.talk(&mut client, &mut server);
        (client, server)
    }

    /// A byte each way.
    pub(crate) fn talk(&self, client: &mut TcpStream, server: &mut TcpStream) {
        let mut byte = [0];
        client.write_all(b"?").unwrap();
        server.read_exact(&mut byte).unwrap();
        server.write_all(b"!").unwrap();
        client.read_exact(&mut byte).unwrap();
    }

    /// A datagram from an address of this host to another.
    pub(crate) fn datagrams_from(&self, addr: &str) {
        self.inside(|| {
            let socket = UdpSocket::bind((addr, 20_000)).unwrap();
            socket.send_to(b"?", "127.0.0.1:9").unwrap();
        });
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Whatever state the test left; nothing attached is an error here.
        self.run(&["detach"]);
        finish(Command::new("ip").args(["netns", "del", &self.name]));
        let _ = std::fs::remove_dir_all(self.state_dir());
    }
}
