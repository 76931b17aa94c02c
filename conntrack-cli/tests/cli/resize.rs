//! `resize`.

use std::io::BufRead;
use std::io::BufReader;
use std::process::Child;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::netns::Netns;
use crate::replay::File;
use crate::schema;

fn status(netns: &Netns) -> serde_json::Value {
    schema::document("status", &netns.run(&["status", "-o", "json"]).ok())
}

/// Flows that the tables are sized for.
fn sizes(netns: &Netns) -> [u64; 2] {
    let status = status(netns);
    [0, 1].map(|table| status["tables"][table]["max_flows"].as_u64().unwrap())
}

/// A command that goes on, and the lines that it says.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn new(netns: &Netns, args: &[&str]) -> Self {
        let mut child = netns.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that has this in it.
    fn find(&mut self, word: &str) -> String {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        let found = lines.find(|line| line.contains(word));
        found.unwrap_or_else(|| panic!("{word}: it ended"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "root"]
fn sizes_change_and_flows_stay() {
    let netns = Netns::new();
    let to = |size: &'static str| ["resize", "--max-flows", size];
    netns.run(&to("2000")).failed(3, &netns.name);
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let (client, _server) = netns.connection();
    let port = client.local_addr().unwrap().port().to_string();
    let flows = netns.run(&["list", "-o", "session"]).ok();
    let mut list = Running::new(&netns, &["list", "--watch=0.1", "-o", "jsonl"]);
    let mut events = Running::new(&netns, &["events", "-o", "jsonl"]);
    list.find(&port);
    // It says nothing before there is an event.
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| events.find("\"new\""));
        while !first.is_finished() {
            drop(netns.connection());
            thread::sleep(Duration::from_millis(50));
        }
        first.join().unwrap()
    });
    assert!(first.contains("\"seq\":"), "{first}");

    let said = netns.run(&to("50000")).ok();
    for words in [
        &netns.name,
        "room for 50000 IPv4 and 25000 IPv6 flows",
        "before it was 1000 and 500",
        "flows moved in ",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(sizes(&netns), [50_000, 25_000]);
    let after = netns.run(&["list", "-o", "session"]).ok();
    for flow in flows.lines() {
        let (ends, _) = flow.split_once(" | ").unwrap();
        assert!(after.contains(ends), "{flow} in {after}");
    }
    // Both go on, with flows of the new table.
    let (later, _server) = netns.connection();
    let later = format!(":{}", later.local_addr().unwrap().port());
    list.find(&later);
    events.find(&later);
    netns.run(&["resize", "--max-flows-v6", "3000"]).ok();
    assert_eq!(sizes(&netns), [50_000, 3000]);
    let yaml = File::new(b"table:\n  max_memory: 32M\n");
    let yaml = yaml.path.to_str().unwrap();
    netns.run(&["resize", "-c", yaml]).ok();
    let [v4, v6] = sizes(&netns);
    assert_eq!(v4, 2 * v6);
    let memory = status(&netns)["memory_bytes"].as_u64().unwrap();
    assert!(memory <= 32 << 20, "{memory}");
    list.find(&port);
}

#[test]
#[ignore = "root"]
fn what_cannot_be_is_said() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let _open = [netns.connection(), netns.connection(), netns.connection()];
    let before = status(&netns);
    let little = netns.run(&["resize", "--max-flows", "2"]);
    little.failed(2, "the ipv4 table holds 3 flows, and is to have room for 2");
    assert_eq!(status(&netns)["maps"], before["maps"]);
    assert_eq!(status(&netns)["programs"], before["programs"]);
}

#[test]
#[ignore = "root"]
fn a_tracker_in_the_foreground_is_its_process_matter() {
    let netns = Netns::new();
    let mut foreground = Running::new(&netns, &["attach", "lo", "--foreground"]);
    foreground.find("lo");
    let refused = netns.run(&["resize", "--max-flows", "2000"]);
    refused.failed(3, &foreground.child.id().to_string());
    refused.failed(3, "foreground");
    refused.failed(3, "end that process and start it anew with this size");
}
