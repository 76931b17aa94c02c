//! Tables sized by memory, and what `status` says of memory and pressure.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use crate::netns::Netns;
use crate::replay::File;
use crate::run::run;
use crate::schema;

fn status(netns: &Netns) -> Value {
    schema::document("status", &netns.run(&["status", "-o", "json"]).ok())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn one_size_or_the_other() {
    for other in ["--max-flows", "--max-flows-v6"] {
        let args = ["attach", "eth0", "--max-memory", "64M", other, "1000"];
        let run = run(&args);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains("cannot be used with"), "{run:?}");
    }
    let yaml = File::new(b"table:\n  max_memory: 64M\n  max_flows: 1000\n");
    let args = ["attach", "eth0", "-c", yaml.path.to_str().unwrap()];
    run(&args).failed(2, "line 2, column 3: table.max_memory: ");
    for bad in ["", "64X", "-1", "1.5G"] {
        let run = run(&["attach", "eth0", &format!("--max-memory={bad}")]);
        assert_eq!(run.code, Some(2), "{bad}: {run:?}");
    }
}

#[test]
#[ignore = "root"]
fn the_kernel_stays_within_the_memory() {
    for (size, bytes) in [("32M", 32 << 20), ("64M", 64 << 20)] {
        let netns = Netns::new();
        netns.run(&["attach", "lo", "--max-memory", size]).ok();
        let status = status(&netns);
        let memory = number(&status["memory_bytes"]);
        // What other maps take is not known to the byte beforehand.
        assert!(memory <= bytes && memory > bytes - (2 << 20), "{memory}");
        let [v4, v6] = [0, 1].map(|table| &status["tables"][table]);
        assert_eq!(number(&v4["max_flows"]), 2 * number(&v6["max_flows"]));
        for (table, each) in [(v4, 171), (v6, 251)] {
            // The last page is not filled.
            assert!((each..each + 2).contains(&number(&table["bytes_per_flow"])));
        }
        let tables = number(&v4["memory_bytes"]) + number(&v6["memory_bytes"]);
        assert!(tables < memory);
        let stats = netns.run(&["stats", "-o", "json", "--interval", "0.1"]);
        let stats = schema::document("stats", &stats.ok());
        assert_eq!(number(&stats["memory_bytes"]), memory);
    }
}

#[test]
#[ignore = "root"]
fn attaching_again_does_not_resize() {
    let netns = Netns::new();
    netns.ip("link add a0 type veth peer name a1");
    let little = netns.run(&["attach", "lo", "--max-memory", "100K"]);
    little.failed(2, "100K of memory is too little");
    let least = little.stderr.trim().rsplit(' ').next().unwrap();
    let yaml = File::new(format!("table:\n  max_memory: {least}\n").as_bytes());
    let yaml = yaml.path.to_str().unwrap();
    netns.run(&["-c", yaml, "attach", "lo"]).ok();
    assert_eq!(status(&netns)["tables"][1]["max_flows"], 16 * 12);
    // The same file says nothing new, another size does.
    netns.run(&["-c", yaml, "attach", "a0"]).ok();
    let sized = netns.run(&["attach", "a1", "--max-memory", "64M"]);
    sized.failed(3, "resize` gives its tables another size");
    let other = File::new(b"table:\n  max_memory: 64M\n");
    let other = other.path.to_str().unwrap();
    let kept = netns.run(&["-c", other, "attach", "a1"]);
    assert_eq!(kept.code, Some(0), "{kept:?}");
    assert!(kept.stderr.contains("table sizes"), "{kept:?}");
}

/// Waits until the sweep has seen the table so full.
fn pressed(netns: &Netns, level: &str) -> (Value, String) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let run = netns.run(&["status", "-o", "json"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        let status = schema::document("status", &run.stdout);
        let table = status["tables"][0].clone();
        if table["pressure"] == level {
            return (table, run.stderr);
        }
        assert!(Instant::now() < deadline, "{table}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "root"]
fn a_table_that_fills_up_is_told() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "100"]).ok();
    let (table, words) = pressed(&netns, "none");
    assert_eq!((number(&table["flows"]), words.as_str()), (0, ""));
    let flows = |count: usize| {
        netns.inside(|| {
            let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
            // All open at once: a port that is free again may be drawn again.
            let mut open = Vec::new();
            for _ in 0..count {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.send_to(b"?", sink.local_addr().unwrap()).unwrap();
                open.push(socket);
            }
        });
    };
    flows(85);
    let (table, words) = pressed(&netns, "high");
    assert_eq!(number(&table["flows"]), 85);
    let warning = "conntrack: the pressure on the ipv4 table is high, 85 flows where it is sized for 100 and has ";
    assert!(words.starts_with(warning), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    flows(11);
    let (_, words) = pressed(&netns, "critical");
    assert!(
        words.contains("is critical, 96 flows where it is sized for 100 "),
        "{words}"
    );
    let metrics = netns.run(&["stats", "-o", "prometheus"]).ok();
    for sample in ["{family=\"ipv4\"} 2\n", "{family=\"ipv6\"} 0\n"] {
        let sample = format!("\nconntrack_table_pressure{sample}");
        assert!(metrics.contains(&sample), "{sample} in {metrics}");
    }
    let text = netns.run(&["status"]);
    let line = "ipv4: 96 flows, sized for 100, 240 places, pressure critical, ";
    assert!(text.stdout.contains(line), "{text:?}");
}
