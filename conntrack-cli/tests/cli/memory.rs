//! Memory of the program with a million flows: flat, and small.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::process::Child;
use std::process::Stdio;
use std::thread;

use crate::events::Listening;
use crate::netns::Netns;
use crate::schema;

const FLOWS: u32 = 1_000_000;

/// What a process may take, the mapping of the tables aside.
const MAX_KIB: u64 = 25 * 1024;

/// What it may grow by between its first lines and its last.
const GROWTH_KIB: u64 = 1024;

/// Memory of its own, in KiB: mappings of the tables are not among it.
fn own_memory(child: &Child) -> u64 {
    let path = format!("/proc/{}/status", child.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let amount = line.unwrap().split_whitespace().nth(1);
    amount.unwrap().parse().unwrap()
}

/// A tracker that has room for them all, and forgets none meanwhile.
fn roomy() -> Netns {
    let netns = Netns::new();
    let sizes = ["--max-flows", "1500000", "--max-flows-v6", "1000"];
    netns.run(&[&["attach", "lo"], &sizes[..]].concat()).ok();
    netns.run(&["config", "set", "udp_timeout=3600"]).ok();
    netns
}

/// A datagram to each of so many addresses, all of them this host's.
fn fill(netns: &Netns) {
    netns.inside(|| {
        // It takes them, so that nothing answers; nobody reads.
        let sink = UdpSocket::bind("0.0.0.0:9").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let first = u32::from(Ipv4Addr::new(127, 1, 0, 0));
        for to in first..first + FLOWS {
            from.send_to(b"!", (Ipv4Addr::from(to), 9)).unwrap();
        }
        drop(sink);
    });
}

/// What was seen of a process.
#[derive(Debug, Default)]
struct Seen {
    lines: u64,
    /// KiB when a tenth was out, and at most.
    early: u64,
    most: u64,
}

impl Seen {
    fn lines(&mut self, lines: u64, child: &Child) {
        const EVERY: u64 = 20_000;
        let before = self.lines / EVERY;
        self.lines += lines;
        if self.lines / EVERY != before {
            self.most = self.most.max(own_memory(child));
            if self.lines <= u64::from(FLOWS) / 10 {
                self.early = self.most;
            }
        }
    }

    #[track_caller]
    fn assert_flat(&self, what: &str) {
        println!("{what}: {self:?}");
        assert!(self.lines >= u64::from(FLOWS), "{what}: {self:?}");
        assert!(self.early > 0, "{what}: {self:?}");
        assert!(self.most <= MAX_KIB, "{what}: {self:?}");
        assert!(self.most <= self.early + GROWTH_KIB, "{what}: {self:?}");
    }
}

/// Reads to its end what a process prints.
fn read(mut child: Child) -> Seen {
    let mut output = child.stdout.take().unwrap();
    let mut buffer = vec![0; 64 << 10];
    let mut seen = Seen::default();
    loop {
        let len = output.read(&mut buffer).unwrap();
        if len == 0 {
            break;
        }
        let lines = buffer[..len].iter().filter(|byte| **byte == b'\n').count();
        seen.lines(lines as u64, &child);
    }
    assert!(child.wait().unwrap().success());
    seen
}

#[test]
#[ignore = "root"]
fn lists_are_flat_with_a_million_flows() {
    let netns = roomy();
    fill(&netns);
    for output in ["jsonl", "table"] {
        let mut command = netns.command(&["list", "-o", output]);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        read(child).assert_flat(output);
    }
    let watch = ["stats", "--watch", "--interval", "0.1", "-o", "json"];
    let mut child = netns.command(&watch);
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut memory = lines.by_ref().take(20).map(|line| {
        let stats = schema::document("stats", &line.unwrap());
        assert!(stats["flows"]["active"].as_u64() >= Some(u64::from(FLOWS)));
        own_memory(&child)
    });
    let first = memory.next().unwrap();
    let most = memory.max().unwrap();
    println!("stats: {first} and {most} KiB");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        most <= MAX_KIB && most <= first + GROWTH_KIB,
        "{first} to {most} KiB"
    );
}

/// The first million events of as many flows, and more.
#[test]
#[ignore = "root"]
fn events_are_flat_with_a_million_flows() {
    let netns = roomy();
    let wish = ["-o", "jsonl", "--type", "new", "--buffer", "268435456"];
    let mut events = Listening::start(&netns, &wish);
    // A buffer of this size takes a while.
    let mut to = 0_u16;
    events.first(|| {
        to += 1;
        netns.inside(|| {
            let from = UdpSocket::bind("127.0.0.1:0").unwrap();
            from.send_to(b"?", (Ipv4Addr::LOCALHOST, to)).unwrap();
        });
    });
    let seen = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = Seen::default();
            while seen.lines < u64::from(FLOWS) {
                assert!(
                    events.line().contains(r#""event":"new""#),
                    "with room for all"
                );
                seen.lines(1, &events.child);
            }
            seen
        });
        fill(&netns);
        reader.join().unwrap()
    });
    events.interrupt();
    seen.assert_flat("events");
}
