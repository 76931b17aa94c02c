//! A tracker on live interfaces, in namespaces of the tests' own.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::process::Child;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::netns::Netns;
use crate::replay::File;
use crate::run::finish;
use crate::run::run;
use crate::schema;

#[test]
#[ignore = "root"]
fn from_attach_to_detach() {
    let netns = Netns::new();
    netns.run(&["list"]).failed(3, &netns.name);
    netns.run(&["status"]).failed(3, &netns.name);
    netns.run(&["detach"]).failed(3, &netns.name);

    let report = netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    assert!(report.starts_with("lo: "), "{report}");
    let status = schema::document("status", &netns.run(&["status", "-o", "json"]).ok());
    assert_eq!(status["instance"], netns.name);
    assert_eq!(status["namespace"]["name"], netns.name);
    assert_eq!(status["interfaces"][0]["name"], "lo");
    assert_eq!(status["tables"][0]["max_flows"], 1000);
    assert_eq!(status["tables"][1]["max_flows"], 500);
    assert!(netns.run(&["status"]).ok().contains("lo: "));
    assert_eq!(netns.run(&["list", "-o", "json"]).ok(), "[]\n");

    let (client, server) = netns.connection();
    let (client, server) = (client.local_addr().unwrap(), server.local_addr().unwrap());
    let flows = schema::flows(&netns.run(&["list", "-o", "json"]).ok());
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0]["state"], "ESTABLISHED");
    assert_eq!(flows[0]["interface"], "lo");
    assert_eq!(flows[0]["original"]["sport"], client.port());

    // One flow by its key, ends in any order; another that isn't there.
    for ends in [[client, server], [server, client]] {
        let [a, b] = ends.map(|end| end.to_string());
        let found = netns.run(&["list", "tcp", &a, &b, "-o", "jsonl"]).ok();
        assert_eq!(schema::lines(&found)[0]["original"]["sport"], client.port());
    }
    let absent = netns.run(&["list", "tcp 127.0.0.1:1 127.0.0.1:2", "-o", "jsonl"]);
    absent.failed(1, "tcp 127.0.0.1:1 127.0.0.1:2");

    assert_eq!(
        netns
            .run(&["list", "-i", "lo", "-o", "session"])
            .ok()
            .lines()
            .count(),
        1
    );
    netns.run(&["list", "-i", "eth9"]).failed(3, "eth9");

    netns.run(&["detach", "eth9"]).failed(3, "eth9");
    netns.run(&["detach"]).ok();
    netns.run(&["status"]).failed(3, &netns.name);
}

#[test]
#[ignore = "root"]
fn statistics_in_every_form() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    let _open = netns.connection();
    let stats = netns
        .run(&["stats", "-o", "json", "--interval", "0.1"])
        .ok();
    let stats = schema::document("stats", &stats);
    assert_eq!(stats["flows"]["active"], 1);
    assert_eq!(stats["interfaces"][0]["name"], "lo");
    let metrics = netns.run(&["stats", "-o", "prometheus"]).ok();
    assert!(metrics.contains("\nconntrack_flows 1\n"), "{metrics}");
    let packets = format!("\nconntrack_packets_total {}\n", stats["packets"]);
    assert!(metrics.contains(&packets), "{packets} in {metrics}");
    let table = netns.run(&["stats", "--interval", "0.1"]).ok();
    assert!(table.contains("ESTABLISHED 1"), "{table}");
}

#[test]
#[ignore = "root"]
fn rates_are_of_the_interval() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let (mut client, mut server) = netns.connection();
    let rates = || {
        let stats = netns.run(&["stats", "-o", "json", "--interval", "0.2"]);
        let stats = schema::document("stats", &stats.ok());
        ["packets_per_sec", "bytes_per_sec"].map(|name| stats[name].as_f64().unwrap())
    };
    // What was before does not count.
    assert_eq!(rates(), [0.0, 0.0]);
    let done = AtomicBool::new(false);
    let [packets, bytes] = thread::scope(|scope| {
        scope.spawn(|| {
            let mut byte = [0];
            while !done.load(Ordering::Relaxed) {
                client.write_all(b"?").unwrap();
                server.read_exact(&mut byte).unwrap();
            }
        });
        let rates = rates();
        done.store(true, Ordering::Relaxed);
        rates
    });
    // Segments of one byte and their acknowledgments, each 52 bytes of headers.
    assert!(packets > 0.0, "{packets}");
    let mean = bytes / packets;
    assert!((52.0..=53.0).contains(&mean), "{bytes} in {packets}");
}

#[test]
#[ignore = "root"]
fn flows_are_listed_by_interface() {
    let netns = Netns::new();
    netns.ip("link add v0 type veth peer name v1");
    netns.run(&["attach", "lo", "v0"]).ok();
    let _open = netns.connection();
    let listed = |name: &str| {
        let lines = netns.run(&["list", "-i", name, "-o", "jsonl"]).ok();
        schema::lines(&lines)
    };
    assert_eq!(listed("v0").len(), 0);
    let found = listed("lo");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["interface"], "lo");
    assert_eq!(netns.run(&["list", "-i", "v0", "-o", "json"]).ok(), "[]\n");
}

#[test]
#[ignore = "root"]
fn interfaces_are_added_all_or_none() {
    let netns = Netns::new();
    netns.ip("link add a0 type veth peer name a1");
    netns.ip("link add b0 type veth peer name b1");
    let attached = || {
        let status = schema::document("status", &netns.run(&["status", "-o", "json"]).ok());
        let interfaces = status["interfaces"].as_array().unwrap().clone();
        let names = interfaces
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    };
    netns.run(&["attach", "a0", "nothere"]).failed(3, "nothere");
    netns.run(&["status"]).failed(3, &netns.name);

    netns.run(&["attach", "a0"]).ok();
    netns.run(&["attach", "a0"]).failed(3, "a0");
    netns.run(&["attach", "b0", "nothere"]).failed(3, "nothere");
    netns.run(&["attach", "b0", "a0"]).failed(3, "a0");
    netns
        .run(&["attach", "b0", "--max-flows", "5"])
        .failed(3, "tables");
    netns
        .run(&["attach", "b0", "--foreground"])
        .failed(3, "foreground");
    assert_eq!(attached(), ["a0"]);

    let report = netns.run(&["attach", "b0"]).ok();
    assert!(report.starts_with("b0: "), "{report}");
    assert_eq!(attached(), ["a0", "b0"]);
    netns.run(&["detach", "a0"]).ok();
    assert_eq!(attached(), ["b0"]);
}

/// A line of a child's stdout.
fn line(child: &mut Child) -> (String, BufReader<std::process::ChildStdout>) {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    (line, reader)
}

#[test]
#[ignore = "root"]
fn foreground_ends_with_the_process() {
    let netns = Netns::new();
    netns.ip("link add v0 type veth peer name v1");
    let yaml = File::new(b"ips:\n  - ip: 10.0.0.1\n    port: 80\n    mac: aa:bb:cc:dd:ee:ff\n");
    let yaml = yaml.path.to_str().unwrap();
    let older = [
        "--c",
        yaml,
        "--t",
        "50",
        "--iface1",
        "lo",
        "--iface2",
        "v0",
        "--log_level",
        "3",
    ];
    let ours = ["attach", "lo", "--foreground", "--interval", "0.2"];
    for (args, signal, words) in [
        (&older[..], Signal::SIGINT, &["not done yet"][..]),
        (&ours[..], Signal::SIGTERM, &[]),
    ] {
        let mut child = netns
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (first, mut reader) = line(&mut child);
        assert!(first.starts_with("lo: "), "{first}");
        if args == older {
            let mut second = String::new();
            reader.read_line(&mut second).unwrap();
            assert!(second.starts_with("v0: "), "{second}");
        }
        // Meanwhile it is there for everybody.
        assert_eq!(netns.run(&["list", "-o", "json"]).ok(), "[]\n");
        if args == ours {
            let mut text = String::new();
            reader.read_line(&mut text).unwrap();
            assert!(text.contains(" flows 0 (0 assured), packets 0"), "{text}");
        }
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{word}: {stderr}");
        }
        netns.run(&["status"]).failed(3, &netns.name);
    }
}

#[test]
#[ignore = "root"]
fn what_a_killed_process_leaves_is_understood() {
    let netns = Netns::new();
    let killed = || {
        let mut child = netns
            .command(&["attach", "lo", "--foreground"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (first, _reader) = line(&mut child);
        assert!(first.starts_with("lo: "), "{first}");
        // Alive, it is nobody else's to change.
        let holder = child.id().to_string();
        for args in [&["attach", "lo"][..], &["detach"], &["detach", "lo"]] {
            netns.run(args).failed(3, &holder);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let status = netns.run(&["status"]);
        let line = "lo: not attached any more";
        assert!(status.stdout.contains(line), "{status:?}");
        let warning = "nothing is attached any more";
        assert!(status.stderr.contains(warning), "{status:?}");
        let status = netns.run(&["status", "-o", "json"]).stdout;
        let status = schema::document("status", &status);
        assert!(status["interfaces"][0]["mode"].is_null(), "{status}");
    };
    killed();
    netns.run(&["detach"]).ok();
    netns.run(&["status"]).failed(3, &netns.name);
    killed();
    netns.run(&["attach", "lo"]).ok();
    let status = schema::document("status", &netns.run(&["status", "-o", "json"]).ok());
    assert!(status["interfaces"][0]["hooks"]["ingress"].is_string());
}

#[test]
#[ignore = "root"]
fn the_configuration_and_ip_netns_exec() {
    let netns = Netns::new();
    let yaml = format!(
        "interfaces: [lo]\nmode: tc\ninstance: {}\ntable:\n  max_flows: 100\n",
        netns.name
    );
    let yaml = File::new(yaml.as_bytes());
    let yaml = yaml.path.to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_conntrack");
    let mut inside = std::process::Command::new("ip");
    inside.args(["netns", "exec", &netns.name, program, "-c", yaml, "attach"]);
    assert!(finish(&mut inside).ok().starts_with("lo: tc, "));
    // It is the same instance from outside, and by the file's name for it.
    let status = run(&["-c", yaml, "status", "-o", "json"]).ok();
    let status = schema::document("status", &status);
    assert_eq!(status["instance"], netns.name);
    assert_eq!(status["tables"][0]["max_flows"], 100);

    let other = Netns::new();
    let list = ["--netns", &other.name, "-c", yaml, "list"];
    // By the name that it has, though nobody named it on attaching.
    run(&list).failed(3, &format!("belongs to network namespace {}", netns.name));
}

#[test]
#[ignore = "root"]
fn watching_goes_on_until_a_signal() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    for args in [
        &["list", "--watch", "0.1", "-o", "json"][..],
        &["stats", "--watch", "--interval", "0.1", "-o", "json"],
    ] {
        let mut child = netns.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let (_, mut reader) = line(&mut child);
        for _ in 0..3 {
            assert!(reader.read_line(&mut String::new()).unwrap() > 0);
        }
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
}

#[test]
#[ignore = "root"]
fn watching_ends_with_what_is_watched() {
    for args in [
        &["list", "--watch", "0.1", "-o", "json"][..],
        &["stats", "--watch", "--interval", "0.1", "-o", "json"],
    ] {
        let netns = Netns::new();
        netns.run(&["attach", "lo"]).ok();
        let mut command = netns.command(args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (_, mut reader) = line(&mut child);
        netns.run(&["detach"]).ok();
        // Another one of the name is not the one that was watched.
        netns.run(&["attach", "lo"]).ok();
        reader.read_to_string(&mut String::new()).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}: {stderr}");
        assert!(stderr.contains("was detached"), "{args:?}: {stderr}");
        netns.run(&["detach"]).ok();
    }
}

#[test]
#[ignore = "root"]
fn the_beginning_of_a_flow_is_always_the_same() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    let _open = netns.connection();
    let start = || {
        let flows = schema::flows(&netns.run(&["list", "-o", "json"]).ok());
        flows[0]["start"].clone()
    };
    let first = start();
    for _ in 0..10 {
        assert_eq!(start(), first);
    }
    netns.run(&["detach"]).ok();
}

#[test]
#[ignore = "root"]
fn what_is_not_acted_on_yet_is_said() {
    let netns = Netns::new();
    let yaml = File::new(b"ips:\n  - ip: 10.0.0.1\n");
    let yaml = yaml.path.to_str().unwrap();
    let run = netns.run(&["attach", "lo", "-c", yaml]);
    let words = "ips: is not done yet";
    assert_eq!(run.stderr.matches(words).count(), 1, "{run:?}");
    assert_eq!(run.code, Some(0), "{run:?}");
    netns.run(&["detach"]).ok();
    // Ok: it says nothing.
    netns.run(&["attach", "lo"]).ok();
    netns.run(&["detach"]).ok();
}
