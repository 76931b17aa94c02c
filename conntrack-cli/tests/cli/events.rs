//! `events` and `sweep` on live interfaces.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Lines;
use std::net::UdpSocket;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;

use crate::netns::Netns;
use crate::schema;

/// `events`, running.
struct Listening {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    fn start(netns: &Netns, args: &[&str]) -> Self {
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

    fn line(&mut self) -> String {
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
    fn interrupt(mut self) {
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

/// Waits until so many listen, which nothing else tells from outside.
fn wait_for_listeners(netns: &Netns, want: usize) {
    let locks = || {
        let found = std::fs::read_dir("/run/conntrack").unwrap();
        let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let slots =
            names.filter(|name| name.starts_with(".events-") && name.matches('-').count() == 2);
        slots.count()
    };
    for _ in 0..3000 {
        if locks() >= want {
            // The lock comes first; the slot is opened right after.
            std::thread::sleep(std::time::Duration::from_millis(200));
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("nobody listens in {}", netns.name);
}

#[test]
#[ignore = "root"]
fn a_connection_is_told_from_begin_to_end() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let mut json = Listening::start(&netns, &["-o", "jsonl", "-p", "tcp"]);
    let mut text = Listening::start(&netns, &["-p", "tcp", "-n", "3"]);
    wait_for_listeners(&netns, 2);
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
    wait_for_listeners(&netns, 1);
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
    std::thread::sleep(std::time::Duration::from_millis(1200));
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
