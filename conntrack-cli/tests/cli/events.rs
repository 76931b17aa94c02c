//! `events` and `sweep` on live interfaces.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Lines;
use std::io::Read;
use std::io::Write;
use std::net::UdpSocket;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::fcntl::FcntlArg;
use nix::fcntl::fcntl;
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
        Self::of(&mut netns.command(&args))
    }

    /// Another program that tells of events, a line each.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Its first line: does something again and again, of which it is to tell,
    /// until it listens and does.
    pub(crate) fn first(&mut self, mut poke: impl FnMut()) -> String {
        thread::scope(|scope| {
            let first = scope.spawn(|| self.line());
            while !first.is_finished() {
                poke();
                thread::sleep(Duration::from_millis(10));
            }
            first.join().unwrap()
        })
    }

    pub(crate) fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn event(&mut self) -> Value {
        event(&self.line())
    }

    /// Ends it, and expects that it ends well.
    pub(crate) fn interrupt(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        assert!(self.end().success());
    }

    /// How it ends. What it still has to say is read: it can't end while nobody
    /// takes it.
    fn end(&mut self) -> ExitStatus {
        self.lines.by_ref().for_each(|line| drop(line.unwrap()));
        self.child.wait().unwrap()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Unless it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An event of `-o jsonl`.
fn event(line: &str) -> Value {
    let event = schema::document("event", line);
    if let Some(flow) = event.get("flow") {
        schema::check("flow", flow);
    }
    event
}

/// A datagram from a port that has sent none yet, to nobody.
pub(crate) fn datagram(netns: &Netns) {
    datagram_from(netns, 0);
}

fn datagram_from(netns: &Netns, port: u16) {
    netns.inside(|| {
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        socket.send_to(b"?", "127.0.0.1:9").unwrap();
    });
}

#[test]
#[ignore = "root"]
fn a_connection_is_told_from_begin_to_end() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let mut json = Listening::start(&netns, &["-o", "jsonl"]);
    let mut text = Listening::start(&netns, &[]);
    // Datagrams tell when both listen; the connection is all there is of TCP.
    let udp = event(&json.first(|| datagram(&netns)));
    assert_eq!((&udp["event"], &udp["seq"]), (&"new".into(), &0.into()));
    text.first(|| datagram(&netns));
    let (client, server) = netns.connection();
    let port = client.local_addr().unwrap().port();
    let mut seq = 0;
    let mut tcp = || loop {
        let event = json.event();
        seq += 1;
        assert_eq!(event["seq"], seq);
        if event["flow"]["protocol"] == "tcp" {
            return event;
        }
    };
    let first = tcp();
    assert_eq!(first["event"], "new");
    assert_eq!(first["flow"]["original"]["sport"], port);
    assert_eq!(first["flow"]["interface"], "lo");
    assert_eq!(tcp()["flow"]["state"], "SYN_RECV");
    let third = tcp();
    assert_eq!(third["flow"]["state"], "ESTABLISHED");
    assert_eq!(third["flow"]["status"][1], "ASSURED");
    drop((client, server));
    while tcp()["flow"]["state"] != "TIME_WAIT" {}
    json.interrupt();

    let mut tcp = || loop {
        let line = text.line();
        if line.contains(" tcp ") {
            return line;
        }
    };
    let line = tcp();
    let (time, rest) = line.split_once(']').unwrap();
    assert!(time.strip_prefix('[').unwrap().parse::<f64>().unwrap() > 1e9);
    let want = format!(
        "\t    [NEW] tcp      6 120 SYN_SENT src=127.0.0.1 dst=127.0.0.1 sport={port} dport="
    );
    let whole = want.replace(" 119 ", " 120 ");
    assert!(
        rest.starts_with(&want) || rest.starts_with(&whole),
        "{line}"
    );
    assert!(rest.contains(" [UNREPLIED] src=127.0.0.1"), "{line}");
    let second = tcp();
    assert!(second.contains(" [UPDATE] tcp      6 "), "{second}");
    assert!(tcp().ends_with(" [ASSURED]"));
    text.interrupt();
    netns.run(&["detach"]).ok();
}

/// Where /run and /sys are others than process 1's, as in a container.
#[test]
#[ignore = "root"]
fn they_come_in_a_container_too() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    // A /sys without bpffs is what `ip netns exec` makes.
    let there = "mount -t tmpfs tmpfs /run && exec \"$@\"";
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &netns.name, "unshare", "--mount"])
        .args(["sh", "-c", there, "sh", env!("CARGO_BIN_EXE_conntrack")])
        .args(["--instance", &netns.name, "events", "-e", "new", "-n", "2"]);
    let mut events = Listening::of(&mut command);
    let first = events.first(|| datagram(&netns));
    assert!(first.contains("[NEW] udp "), "{first}");
    datagram(&netns);
    assert!(events.end().success());
    // Nothing of it is left where locks are: its own there were another's here.
    let locks = std::fs::read_dir("/run/conntrack").unwrap();
    let names = locks.map(|file| file.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.contains(&netns.name)).collect();
    assert_eq!(left, [""; 0]);
    netns.run(&["detach"]).ok();
}

#[test]
#[ignore = "root"]
fn filters_and_a_limit() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let wish = ["-p", "tcp", "-e", "new", "-n", "3"];
    let mut events = Listening::start(&netns, &wish);
    let mut lines = vec![events.first(|| {
        datagram(&netns);
        netns.connection();
    })];
    for _ in 0..2 {
        datagram(&netns);
        netns.connection();
        lines.push(events.line());
    }
    assert!(
        lines.iter().all(|line| line.contains("[NEW] tcp ")),
        "{lines:?}"
    );
    assert!(events.lines.next().is_none(), "ends after three");
    assert!(events.child.wait().unwrap().success());
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
        let first = listening.first(|| drop(netns.connection()));
        assert_eq!(event(&first)["event"], "new");
        drop(listening); // by SIGKILL
    }
    let mut last = Listening::start(&netns, &["-p", "tcp", "-e", "new"]);
    let first = last.first(|| drop(netns.connection()));
    assert!(first.contains("[NEW] tcp"), "{first}");
    last.interrupt();
    netns.run(&["detach"]).ok();
}

/// A reader that has stopped to read holds up nobody who is to end.
#[test]
#[ignore = "root"]
fn it_ends_though_nobody_reads() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "10000"]).ok();
    let mut listening = Listening::start(&netns, &["-o", "jsonl", "-e", "new"]);
    listening.first(|| datagram(&netns));
    // Far more than a pipe takes. It need not wait yet when the signal comes.
    for _ in 0..1000 {
        datagram(&netns);
    }
    let pid = Pid::from_raw(listening.child.id() as i32);
    kill(pid, Signal::SIGTERM).unwrap();
    let end = listening.child.wait().unwrap();
    let mut stderr = String::new();
    let mut said = listening.child.stderr.take().unwrap();
    said.read_to_string(&mut stderr).unwrap();
    assert_eq!(end.code(), Some(3), "{stderr}");
    assert_eq!(
        stderr,
        "conntrack: write to standard output: a signal came to end this, and nobody reads\n"
    );
    netns.run(&["detach"]).ok();
}

/// Received and told lost are all there were.
#[test]
#[ignore = "root"]
fn what_is_lost_is_told() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "10000"]).ok();
    let wish = ["-o", "jsonl", "-e", "new", "--buffer", "4096"];
    let mut listening = Listening::start(&netns, &wish);
    let first = event(&listening.first(|| datagram(&netns)));
    assert_eq!((&first["event"], &first["seq"]), (&"new".into(), &0.into()));
    let pid = Pid::from_raw(listening.child.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    for port in 20_000..20_500 {
        datagram_from(&netns, port);
    }
    kill(pid, Signal::SIGCONT).unwrap();
    let (mut told, mut lost, mut ended) = (1, 0, false);
    for line in listening.lines.by_ref() {
        let event = event(&line.unwrap());
        if event["event"] == "lost" {
            let count = event["lost"].as_u64().unwrap();
            assert_eq!(event["lost_by_type"], serde_json::json!({"new": count}));
            lost += count;
        } else {
            told += 1;
        }
        if lost > 0 && !ended {
            ended = true;
            kill(pid, Signal::SIGTERM).unwrap();
        }
    }
    assert!(lost > 0 && told + lost >= 501, "{told} told, {lost} lost");
    assert!(listening.child.wait().unwrap().success());
    netns.run(&["detach"]).ok();
}

/// And one that is slow gets all that had come by then.
#[test]
#[ignore = "root"]
fn a_slow_reader_gets_the_rest() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "10000"]).ok();
    let mut listening = Listening::start(&netns, &["-o", "jsonl", "-e", "new"]);
    let first = event(&listening.first(|| datagram(&netns)));
    assert_eq!(first["seq"], 0);
    for port in 20_000..21_000 {
        datagram_from(&netns, port);
    }
    kill(Pid::from_raw(listening.child.id() as i32), Signal::SIGTERM).unwrap();
    let mut seq = 0;
    for line in listening.lines.by_ref() {
        thread::sleep(Duration::from_millis(2));
        seq += 1;
        assert_eq!(event(&line.unwrap())["seq"], seq);
    }
    assert!(seq >= 1000, "{seq}");
    assert!(listening.child.wait().unwrap().success());
    netns.run(&["detach"]).ok();
}

/// Bytes that a process has written so far.
fn written(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    count.unwrap().parse().unwrap()
}

/// A foreground tracker says what it does on stdout now and then; that nobody reads it is
/// no reason to do nothing else.
#[test]
#[ignore = "root"]
fn the_foreground_goes_on_though_nobody_reads() {
    let netns = Netns::new();
    let args = ["attach", "lo", "--foreground", "--interval", "0.1"];
    let mut child = netns.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let room = fcntl(&stdout, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    // Until no further line fits.
    let (end, mut last) = (Instant::now() + Duration::from_secs(60), 0);
    loop {
        thread::sleep(Duration::from_secs(1));
        let now = written(child.id());
        if now > room as u64 / 2 && now == last {
            break;
        }
        assert!(Instant::now() < end, "{now} bytes are written");
        last = now;
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    assert!(said.ends_with('\n'), "whole lines only: {said}");
    let longest = said.lines().map(str::len).max().unwrap() + 1;
    assert!(said.len() + longest > room as usize, "it was full: {said}");
}

/// Nor is that nobody reads its stderr.
#[test]
#[ignore = "root"]
fn it_is_attached_though_nobody_reads_how() {
    let netns = Netns::new();
    let (mut reader, stderr) = std::io::pipe().unwrap();
    let room = fcntl(&stderr, FcntlArg::F_SETPIPE_SZ(4096)).unwrap() as usize;
    let args = ["attach", "lo", "--foreground", "--interval", "0.1", "-vvv"];
    let mut child = {
        let mut command = netns.command(&args);
        command.stdout(Stdio::piped()).stderr(stderr);
        command.spawn().unwrap()
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let statistics = |line: &std::io::Result<String>| line.as_ref().unwrap().contains("packets");
    assert!(lines.by_ref().any(|line| statistics(&line)));
    let mut said = vec![0; room];
    let length = reader.read(&mut said).unwrap();
    assert!(length + 1024 > room, "it was full: {length} bytes");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(
        rest.contains(" lines left out, which nobody read\n"),
        "{rest}"
    );
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
    // Each has a source port of its own: two from one port are one flow.
    let mut sent = 0;
    let first = listening.first(|| {
        datagram_from(&netns, 20_000 + sent);
        sent += 1;
    });
    let event = event(&first);
    assert_eq!(
        (&event["event"], &event["reason"]),
        (&"destroy".into(), &"timeout".into())
    );
    assert_eq!(event["flow"]["original"]["packets"], 1);
    assert_eq!(event["flow"]["timeout"], 0);
    // The others go as well, and who reads none of it is in nobody's way.
    let stats = loop {
        let stats = netns.run(&["stats", "-o", "json", "--interval", "0.1"]);
        let stats = schema::document("stats", &stats.ok());
        if stats["flows"]["active"] == 0 && stats["flows"]["expired_pending"] == 0 {
            break stats;
        }
    };
    assert_eq!(stats["removed"]["timeout"], sent);
    assert!(stats["sweep"]["runs"].as_u64().unwrap() > 0);

    netns.run(&["detach"]).ok();
    let left = listening.end();
    assert_eq!(left.code(), Some(3), "it says that it was detached");
}

#[test]
#[ignore = "root"]
fn sweep_takes_out_at_once() {
    let netns = Netns::new();
    let config = std::env::temp_dir().join(format!("{}.yaml", netns.name));
    std::fs::write(
        &config,
        "sweep: {interval: 0}\n\
         conntrack: {udp_timeout: 1, tcp_timeout_time_wait: 1, tcp_timeout_close: 1}\n",
    )
    .unwrap();
    netns
        .run(&["attach", "lo", "-c", config.to_str().unwrap()])
        .ok();
    std::fs::remove_file(&config).unwrap();
    netns.inside(|| {
        for port in 20_000..20_010 {
            let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
            socket.send_to(b"?", "127.0.0.1:9").unwrap();
        }
    });
    // One connection is closed by both ends, one is reset.
    drop(netns.connection());
    let (client, mut server) = netns.connection();
    server.write_all(b"!").unwrap();
    drop(client); // with something it has not read
    drop(server);
    thread::sleep(Duration::from_millis(1200));
    let pending = |want: u64| {
        let stats = netns
            .run(&["stats", "-o", "json", "--interval", "0.1"])
            .ok();
        let stats = schema::document("stats", &stats);
        assert_eq!(stats["flows"]["expired_pending"], want);
        stats["sweep"]["removed"].clone()
    };
    pending(12);
    let run = netns.run(&["sweep"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        run.stderr,
        "conntrack: 12 expired flows have been removed\n"
    );
    let removed = serde_json::json!({"timeout": 10, "fin": 1, "rst": 1});
    assert_eq!(pending(0), removed);
    let metrics = netns.run(&["stats", "-o", "prometheus"]).ok();
    for (reason, count) in removed.as_object().unwrap() {
        let sample = format!("\nconntrack_sweep_removed_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&sample), "{sample} in {metrics}");
    }
    netns.run(&["detach"]).ok();
}
