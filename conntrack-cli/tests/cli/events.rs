//! `events` and `sweep` on live interfaces.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Lines;
use std::net::UdpSocket;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;

use crate::netns::Netns;
use crate::schema;

/// `events`, running.
pub(crate) struct Listening {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    pub(crate) fn start(netns: &Netns, args: &[&str]) -> Self {
        let args = [&["events"], args].concat();
        let mut child = netns
            .command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until it listens, which nothing tells from outside but its lock: that
    /// comes first, and the slot is opened right after.
    pub(crate) fn wait(&self) {
        let held = format!("process {}, listening", self.child.id());
        let holds = || {
            let found = std::fs::read_dir("/run/conntrack").into_iter().flatten();
            let paths = found.map(|entry| entry.unwrap().path());
            let mut slots = paths.filter(|path| path.to_str().unwrap().matches('-').count() == 2);
            slots.any(|path| std::fs::read_to_string(path).is_ok_and(|text| text == held))
        };
        for _ in 0..3000 {
            if holds() {
                thread::sleep(Duration::from_millis(200));
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not listen");
    }

    pub(crate) fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn event(&mut self) -> Value {
        let event = schema::document("event", &self.line());
        if let Some(flow) = event.get("flow") {
            schema::check("flow", flow);
        }
        event
    }

    /// Ends it, and expects that it ends well.
    pub(crate) fn interrupt(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Unless it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "root"]
fn a_connection_is_told_from_begin_to_end() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let mut json = Listening::start(&netns, &["-o", "jsonl", "-p", "tcp"]);
    let mut text = Listening::start(&netns, &["-p", "tcp", "-n", "3"]);
    json.wait();
    text.wait();
    let (client, server) = netns.connection();
    let port = client.local_addr().unwrap().port();
    let first = json.event();
    assert_eq!((&first["event"], &first["seq"]), (&"new".into(), &0.into()));
    assert_eq!(first["flow"]["original"]["sport"], port);
    assert_eq!(first["flow"]["interface"], "lo");
    assert_eq!(json.event()["flow"]["state"], "SYN_RECV");
    let third = json.event();
    assert_eq!(third["flow"]["state"], "ESTABLISHED");
    assert_eq!(third["flow"]["status"][1], "ASSURED");
    drop((client, server));
    while json.event()["flow"]["state"] != "TIME_WAIT" {}
    json.interrupt();

    let line = text.line();
    let (time, rest) = line.split_once(']').unwrap();
    assert!(time.strip_prefix('[').unwrap().parse::<f64>().unwrap() > 1e9);
    let want = format!(
        "\t    [NEW] tcp      6 119 SYN_SENT src=127.0.0.1 dst=127.0.0.1 sport={port} dport="
    );
    let whole = want.replace(" 119 ", " 120 ");
    assert!(
        rest.starts_with(&want) || rest.starts_with(&whole),
        "{line}"
    );
    assert!(rest.contains(" [UNREPLIED] src=127.0.0.1"), "{line}");
    assert!(text.line().contains("] [UPDATE] tcp      6 ") || line.contains('\t'));
    assert!(text.line().ends_with(" [ASSURED]"));
    assert!(text.child.wait().unwrap().success(), "ends after three");
    netns.run(&["detach"]).ok();
}

/// More are killed than there are places: each leaves its place to the next.
#[test]
#[ignore = "root"]
fn killed_listeners_leave_their_place() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    for _ in 0..10 {
        let mut listening = Listening::start(&netns, &["-o", "jsonl", "-e", "new"]);
        listening.wait();
        let _open = netns.connection();
        assert_eq!(listening.event()["event"], "new");
        drop(listening); // by SIGKILL
    }
    let mut last = Listening::start(&netns, &["-p", "tcp", "-e", "new"]);
    last.wait();
    let _open = netns.connection();
    assert!(last.line().contains("[NEW] tcp"));
    last.interrupt();
    netns.run(&["detach"]).ok();
}

#[test]
#[ignore = "root"]
fn expired_flows_go_without_a_process() {
    let netns = Netns::new();
    let config = std::env::temp_dir().join(format!("{}.yaml", netns.name));
    std::fs::write(
        &config,
        "sweep: {interval: 1}\nconntrack: {udp_timeout: 1}\n",
    )
    .unwrap();
    let file = config.to_str().unwrap();
    netns.run(&["attach", "lo", "-c", file]).ok();
    std::fs::remove_file(&config).unwrap();
    let mut listening = Listening::start(&netns, &["-o", "jsonl", "-e", "destroy"]);
    listening.wait();
    netns.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"?", "127.0.0.1:9").unwrap();
    });
    let event = listening.event();
    assert_eq!(
        (&event["event"], &event["reason"]),
        (&"destroy".into(), &"timeout".into())
    );
    assert_eq!(event["flow"]["original"]["packets"], 1);
    assert_eq!(event["flow"]["timeout"], 0);
    let stats = netns
        .run(&["stats", "-o", "json", "--interval", "0.1"])
        .ok();
    let stats = schema::document("stats", &stats);
    assert_eq!(stats["removed"]["timeout"], 1);
    assert_eq!(stats["flows"]["expired_pending"], 0);
    assert!(stats["sweep"]["runs"].as_u64().unwrap() > 0);

    // At once, if the sweep is off.
    netns.run(&["detach"]).ok();
    let left = listening.child.wait().unwrap();
    assert_eq!(left.code(), Some(3), "it says that it was detached");
}

#[test]
#[ignore = "root"]
fn sweep_takes_out_at_once() {
    let netns = Netns::new();
    let config = std::env::temp_dir().join(format!("{}.yaml", netns.name));
    std::fs::write(
        &config,
        "sweep: {interval: 0}\nconntrack: {udp_timeout: 1}\n",
    )
    .unwrap();
    netns
        .run(&["attach", "lo", "-c", config.to_str().unwrap()])
        .ok();
    std::fs::remove_file(&config).unwrap();
    netns.inside(|| {
        for _ in 0..10 {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"?", "127.0.0.1:9").unwrap();
        }
    });
    thread::sleep(Duration::from_millis(1200));
    let pending = |want: u64| {
        let stats = netns
            .run(&["stats", "-o", "json", "--interval", "0.1"])
            .ok();
        let stats = schema::document("stats", &stats);
        assert_eq!(stats["flows"]["expired_pending"], want);
    };
    pending(10);
    let run = netns.run(&["sweep"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stderr, "10 expired flows have been removed\n");
    pending(0);
    netns.run(&["detach"]).ok();
}
