//! `fingerprints`, of real connections and of captures.

use std::net::Ipv6Addr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::netns::Netns;
use crate::packets;
use crate::packets::Link;
use crate::packets::shapes;
use crate::packets::story;
use crate::replay::File;
use crate::run::run;
use crate::schema;

/// Two systems that p0f's file would call by these names, if it had them.
const FILE: &str = "\
classes = unix
[tcp:request]
label = s:unix:Loop:back
sig = 4:64:0:65495:mss*1,*:mss,sok,ts,nop,ws:df,id+:0
[tcp:response]
label = g:unix:Answer:
sig = 4:64:0:*:*,*:mss,sok,ts,nop,ws:df:0
";

fn all(text: &str) -> Vec<Value> {
    let rows: Vec<Value> = serde_json::from_str(text).unwrap();
    rows.iter()
        .for_each(|row| schema::check("fingerprint", row));
    rows
}

/// Connections over loopback: so many over IPv4, and one over IPv6.
fn connect(netns: &Netns, count: usize) {
    for _ in 0..count {
        netns.connection();
    }
    netns.inside(|| {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    });
}

#[test]
#[ignore = "root"]
fn real_connections_by_signature_and_by_source() {
    let netns = Netns::new();
    netns.run(&["fingerprints"]).failed(3, &netns.name);
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    assert_eq!(netns.run(&["fingerprints", "-o", "json"]).ok(), "[]\n");
    assert_eq!(netns.run(&["fingerprints"]).ok(), "");
    connect(&netns, 3);
    let flows = schema::flows(&netns.run(&["list", "-o", "json"]).ok());
    assert_eq!(flows.len(), 4);
    for flow in &flows {
        let ends = ["original", "reply"].map(|end| flow["fingerprint"][end].as_str().unwrap());
        // IPv6 has no id by which the two would differ.
        let is_ipv4 = flow["family"] == "ipv4";
        let version = if is_ipv4 { "4:64+0:" } else { "6:64+0:" };
        assert!(ends.iter().all(|it| it.starts_with(version)), "{ends:?}");
        let has_id = ends.map(|it| it.contains("id+"));
        assert_eq!(has_id, [is_ipv4, false], "{ends:?}");
    }
    let file = File::new(FILE.as_bytes());
    let file = file.path.to_str().unwrap();
    let shown = |options: &[&str]| {
        let command = ["fingerprints", "--p0f-fp", file, "-o", "json"];
        all(&netns.run(&[&command[..], options].concat()).ok())
    };

    let rows = shown(&[]);
    assert_eq!(rows.len(), 4, "{rows:#?}");
    let counts: Vec<_> = rows
        .iter()
        .map(|row| row["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [3, 3, 1, 1], "the most first");
    let clients = shown(&["--kind", "syn", "127.0.0.0/8"]);
    let [client] = &clients[..] else {
        panic!("{clients:#?}");
    };
    assert_eq!(
        (&client["count"], &client["label"]),
        (&3.into(), &"Loop back".into())
    );
    assert_eq!(
        (&client["quality"], &client["mss"]),
        (&"exact".into(), &65_495.into())
    );
    assert_eq!(client["quirks"], serde_json::json!(["df", "id+"]));
    let signature = client["signature"].as_str().unwrap();
    assert!(
        signature.starts_with("4:64+0:0:65495:mss*1,"),
        "{signature}"
    );
    assert_eq!(shown(&["--label", "ANSWER"])[0]["kind"], "syn+ack");
    assert_eq!(shown(&["--label", "?"]).len(), 2, "IPv6");
    assert_eq!(shown(&["--sort", "last", "-n", "1"])[0]["family"], "ipv6");

    let sources = shown(&["--by", "source", "::1"]);
    assert_eq!(sources.len(), 2);
    assert!(
        sources
            .iter()
            .all(|row| row["source"] == "::1" && row["count"] == 1)
    );

    let table = netns.run(&["fingerprints", "--p0f-fp", file]).ok();
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(
        table.contains("Loop back") && table.starts_with("COUNT"),
        "{table}"
    );
    let csv = netns
        .run(&["fingerprints", "-o", "csv", "--no-header"])
        .ok();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    let lines = netns
        .run(&["fingerprints", "-o", "jsonl", "--by=source"])
        .ok();
    for line in lines.lines() {
        schema::document("fingerprint", line);
    }
}

#[test]
#[ignore = "root"]
fn without_them_it_says_so() {
    let netns = Netns::new();
    let config = File::new(b"fingerprints: {enabled: false}\n");
    let config = config.path.to_str().unwrap();
    netns.run(&["-c", config, "attach", "lo"]).ok();
    netns.connection();
    let run = netns.run(&["fingerprints"]);
    run.failed(3, "fingerprints.enabled");
    let stats = schema::document("stats", &netns.run(&["stats", "-o", "json"]).ok());
    assert_eq!(stats["flows"]["active"], 1);
}

#[test]
#[ignore = "root"]
fn of_a_capture() {
    let capture = File::new(&packets::pcap(Link::Ethernet, &story(), 65_535));
    let rows = all(&capture.replay(&["--fingerprints", "-o", "json"]).ok());
    let kinds: Vec<_> = rows
        .iter()
        .map(|row| row["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["syn", "syn+ack"]);
    assert_eq!(rows[0]["last_source"], "10.0.0.1");
    assert_eq!(rows[0]["last_seen"], "2026-11-20T17:52:37.123456000Z");
    let sources = capture
        .replay(&["--fingerprints=source", "-o", "jsonl"])
        .ok();
    assert!(
        sources.contains(r#""source":"10.0.0.2","kind":"syn+ack""#),
        "{sources}"
    );
    capture
        .replay(&["--fingerprints", "-o", "session"])
        .failed(2, "--fingerprints");
}

/// Linux over loopback, IPv4: any window.
const LINUX: &str = "4:64:0:*:*,*:mss,sok,ts,nop,ws:df,id+:0";

#[test]
#[ignore = "root"]
fn a_banned_fingerprint_connects_no_more() {
    let (server, client) = (Netns::new(), Netns::new());
    server.wire(&client);
    for (netns, device, addresses) in [
        (&server, "inner", ["10.9.0.1/24", "fd09::1/64"]),
        (&client, "outer", ["10.9.0.7/24", "fd09::7/64"]),
    ] {
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            netns.ip(&format!("addr add {address} dev {device}{nodad}"));
        }
    }
    let listeners = server
        .inside(|| ["10.9.0.1:80", "[fd09::1]:80"].map(|addr| TcpListener::bind(addr).unwrap()));
    let connects = |to: usize| {
        let to = listeners[to].local_addr().unwrap();
        let within = Duration::from_millis(600);
        client.inside(|| TcpStream::connect_timeout(&to, within).is_ok())
    };
    server.run(&["attach", "inner", "--mode", "tc"]).ok();
    let done = |command: &[&str]| {
        let run = server.run(command);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    };
    let ban = |more: &[&str]| done(&[&["ban", "--fingerprint", LINUX], more].concat());
    let banned = || {
        let text = server.run(&["fingerprints", "--banned", "-o", "json"]).ok();
        let bans: Vec<Value> = serde_json::from_str(&text).unwrap();
        bans.iter()
            .for_each(|ban| schema::check("fingerprint_ban", ban));
        bans
    };

    ban(&["--dry-run"]);
    assert_eq!(banned()[0]["last_hit"], Value::Null);
    assert!(connects(0), "a dry run");
    assert_eq!(
        (banned()[0]["hits"].clone(), banned()[0]["dry_run"].clone()),
        (1.into(), true.into())
    );
    ban(&[]);
    assert!(!connects(0));
    assert!(connects(1), "IPv6 is not banned");
    let hits = banned()[0]["hits"].as_u64().unwrap();
    assert!(hits >= 1, "{hits}");
    let stats = schema::document("stats", &server.run(&["stats", "-o", "json"]).ok());
    assert_eq!(stats["drops"]["fingerprint"], hits);
    let table = server.run(&["fingerprints", "--banned"]).ok();
    assert!(table.contains("DRY RUN  PATTERN"), "{table}");
    server
        .run(&["banned"])
        .ok_saying("and 1 banned fingerprint: `fingerprints --banned` shows");
    assert!(table.contains(LINUX), "{table}");

    done(&["unban", "--fingerprint", LINUX]);
    assert!(connects(0), "unbanned");
    server
        .run(&["unban", "--fingerprint", LINUX])
        .failed(1, "is not banned");
    // The kernel ends it.
    ban(&["--ttl", "2s"]);
    assert!(banned()[0]["until"].is_string());
    assert!(!connects(0));
    thread::sleep(Duration::from_secs(2));
    assert!(connects(0), "its time is up");
    assert_eq!(banned(), Vec::<Value>::new());
    ban(&[]);
    done(&["unban", "--all"]);
    assert!(connects(0), "all bans are ended");
    // What is never banned.
    done(&["allow", "10.9.0.7"]);
    ban(&[]);
    assert!(connects(0), "allowed");
    server
        .run(&["ban", "--fingerprint", "4:64:nonsense"])
        .failed(2, "signature");
}

#[test]
#[ignore = "root"]
fn a_replay_leaves_none_out() {
    let capture = File::new(&packets::pcap(Link::Ethernet, &shapes(200), 65_535));
    let rows = all(&capture.replay(&["--fingerprints", "-o", "json"]).ok());
    assert_eq!(rows.len(), 200);
    let flows = schema::flows(&capture.replay(&["-o", "json"]).ok());
    assert_eq!(flows.len(), 200);
    for flow in flows {
        let (ends, port) = (&flow["fingerprint"], &flow["original"]["sport"]);
        let signature = format!("4:64+0:0:0:{port},0::df,id+:0");
        assert_eq!(ends["original"], signature.as_str());
        assert!(ends["reply"].is_null());
    }
}

#[test]
fn what_is_wrong_is_named() {
    run(&["fingerprints", "--p0f-fp", "/nonexistent.fp"]).failed(2, "/nonexistent.fp: ENOENT");
    let file = File::new(b"[tcp:request]\nlabel = s:unix:A:\nsig = 4:64:nonsense\n");
    let path = file.path.to_str().unwrap();
    run(&["fingerprints", "--p0f-fp", path]).failed(2, "line");
    for (option, says) in [("--kind=rst", "syn or syn+ack"), ("not-a-net", "not-a-net")] {
        let run = run(&["fingerprints", option]);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains(says), "{run:?}");
    }
}
