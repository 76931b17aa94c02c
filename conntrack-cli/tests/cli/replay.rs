//! `replay`: captures in, flows out.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::packets;
use crate::packets::Link;
use crate::packets::Packet;
use crate::packets::story;
use crate::run::Run;
use crate::run::feed;
use crate::run::program;
use crate::run::run;
use crate::schema;

/// A capture in a folder that goes away with it.
pub(crate) struct File {
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

impl File {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture");
        fs::write(&path, bytes).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    pub(crate) fn replay(&self, options: &[&str]) -> Run {
        let path = self.path.to_str().unwrap();
        run(&[&["replay", path], options].concat())
    }
}

/// The flows of a capture, sorted.
#[track_caller]
fn flows(bytes: &[u8]) -> Vec<Value> {
    let text = File::new(bytes)
        .replay(&["-o", "json", "--sort", "src"])
        .ok();
    schema::flows(&text)
}

fn plain(packets: &[Packet]) -> Vec<u8> {
    packets::pcap(Link::Ethernet, packets, 65_535)
}

#[test]
fn what_is_no_capture_is_told() {
    for (bytes, says) in [
        (&b""[..], "empty"),
        (b"MZ\x90\0 an executable", "neither pcap nor pcapng"),
        (b"\x1f\x8b\x08\0 by gzip", "gzip"),
        (
            &plain(&story())[..20],
            "at byte 0, after 0 whole packets: the file is cut: a file header of 24 bytes, \
             20 are there",
        ),
    ] {
        let file = File::new(bytes);
        let run = file.replay(&[]);
        run.failed(2, says);
        run.failed(2, file.path.to_str().unwrap());
    }
}

/// As README.md says: how many it was cut into is not in a capture.
#[test]
#[ignore = "root"]
fn a_super_packet_is_one_packet() {
    let flows = flows(&plain(&[packets::super_packet()]));
    let sent = &flows[0]["original"];
    assert_eq!(
        (&sent["packets"], &sent["bytes"]),
        (&1.into(), &14_028.into())
    );
}

#[test]
#[ignore = "root"]
fn every_form_of_capture_gives_the_same_flows() {
    let story = story();
    let want = flows(&plain(&story));
    assert_eq!(want.len(), 3);
    for link in Link::ALL {
        // 96 bytes hold every header, not the data.
        let cut = packets::pcap(link, &story, 96);
        assert_eq!(flows(&cut), want, "{link:?}, cut");
        let new = packets::pcapng(link, &story, 65_535);
        assert_eq!(flows(&new), want, "{link:?}, pcapng");
    }
}

#[test]
#[ignore = "root"]
fn stdin_is_read_too() {
    let bytes = plain(&story());
    let text = feed(&["replay", "-", "-o", "json", "--sort", "src"], &bytes).ok();
    assert_eq!(schema::flows(&text), flows(&bytes));
}

#[test]
#[ignore = "root"]
fn a_cut_file_shows_what_is_before_the_cut() {
    let story = story();
    let whole = packets::pcap(Link::Ethernet, &story, 65_535);
    let eight = packets::pcap(Link::Ethernet, &story[..8], 65_535);
    let cut = File::new(&whole[..eight.len() + 20]);
    let run = cut.replay(&["-o", "json", "--sort", "src"]);
    assert_eq!(run.code, Some(3));
    assert_eq!(schema::flows(&run.stdout), flows(&eight));
    let at = format!("at byte {}, after 8 whole packets", eight.len());
    assert!(run.stderr.contains(&at), "{}", run.stderr);
    assert!(run.stderr.contains("what is before it was shown"));
    assert_eq!(run.stderr.lines().count(), 1);
    // Nothing is before the first.
    let one = packets::pcap(Link::Ethernet, &story[..1], 65_535);
    let run = File::new(&one[..one.len() - 1]).replay(&["-o", "json"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(3), "[]\n"));
    assert!(run.stderr.contains("after 0 whole packets"), "{run:?}");
    assert!(!run.stderr.contains("was shown"), "{run:?}");
}

#[test]
#[ignore = "root"]
fn link_types_that_are_not_read_are_told() {
    let mut wifi = plain(&story());
    wifi[20] = 105;
    let run = File::new(&wifi).replay(&["-o", "json"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(3), "[]\n"));
    assert!(
        run.stderr
            .contains("10 packets of link type 105 (IEEE 802.11)"),
        "{run:?}"
    );
}

#[test]
#[ignore = "root"]
fn time_is_the_captures() {
    // The connection closes 100 s on: by then the question (30 s) and the ping
    // (30 s) have run out.
    let packets = [story(), packets::good_bye(100_000_000)].concat();
    let file = File::new(&plain(&packets));
    let left = schema::flows(&file.replay(&["-o", "json"]).ok());
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["state"], "TIME_WAIT");
    assert_eq!(left[0]["timeout"], 120);
    assert_eq!(left[0]["start"], "2026-11-20T17:52:37.123456000Z");
    assert_eq!(left[0]["last_seen"], "2026-11-20T17:54:17.123458000Z");
    assert_eq!(left[0]["duration_ns"], 100_000_002_000_u64);
    // Other timeouts, by the configuration.
    let yaml = File::new(b"conntrack:\n  udp_timeout: 200\n");
    let longer = file.replay(&["-o", "json", "-c", yaml.path.to_str().unwrap()]);
    let longer = schema::flows(&longer.ok());
    let udp = longer.iter().find(|flow| flow["protocol"] == "udp");
    assert_eq!(udp.unwrap()["timeout"], 100);
    assert_eq!(longer.len(), 2);
}

#[test]
#[ignore = "root"]
fn filters_choose() {
    let file = File::new(&plain(&story()));
    for (options, want) in [
        (&["--src", "10.0.0.0/8"][..], &["icmp", "tcp"][..]),
        (&["--state", "established", "--dport", "80"], &["tcp"]),
        (&["-p", "tcp", "--dport", "53"], &[]),
    ] {
        let text = file.replay(&[options, &["-o", "jsonl"]].concat()).ok();
        let flows = schema::lines(&text);
        let mut protocols: Vec<&str> = flows
            .iter()
            .map(|flow| flow["protocol"].as_str().unwrap())
            .collect();
        protocols.sort_unstable();
        assert_eq!(protocols, want, "{options:?}");
    }
}

#[test]
#[ignore = "root"]
fn order_and_limit() {
    let file = File::new(&plain(&story()));
    for (options, want) in [
        (&["--sort", "bytes"][..], &["tcp", "udp", "icmp"][..]),
        (
            &["--sort", "start", "--reverse", "-n", "2"],
            &["tcp", "udp"],
        ),
    ] {
        let text = file.replay(&[options, &["-o", "jsonl"]].concat()).ok();
        let flows = schema::lines(&text);
        let protocols: Vec<&str> = flows
            .iter()
            .map(|flow| flow["protocol"].as_str().unwrap())
            .collect();
        assert_eq!(protocols, want, "{options:?}");
    }
    let any = file.replay(&["--limit", "2", "-o", "session"]).ok();
    assert_eq!(any.lines().count(), 2);
}

#[test]
#[ignore = "root"]
fn statistics_of_a_capture() {
    let file = File::new(&plain(&story()));
    let stats = schema::document("stats", &file.replay(&["--stats", "-o", "json"]).ok());
    assert_eq!(stats["packets"], 10);
    assert_eq!(stats["flows"]["active"], 3);
    assert_eq!(stats["flows"]["by_state"]["ESTABLISHED"], 1);
    assert_eq!(stats["ct_state"]["total"]["new"], 3);
    assert_eq!(stats["ct_state"]["total"]["established"], 7);
    // 10 packets in 9 ms.
    let rate = stats["packets_per_sec"].as_f64().unwrap();
    assert!((rate - 10.0 / 0.009).abs() < 1e-6, "{rate}");
    let text = file.replay(&["--stats"]).ok();
    assert!(text.contains("ESTABLISHED 1"), "{text}");
}

#[test]
#[ignore = "root"]
fn what_finds_no_room_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small.yaml");
    fs::write(&small, "table:\n  max_flows: 100\n").unwrap();
    let file = File::new(&plain(&packets::questions(5000)));
    let run = file.replay(&["-o", "json", "--config", small.to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let shown = schema::flows(&run.stdout).len();
    let says = format!("the table was full: {} flows pushed out", 5000 - shown);
    assert!(run.stderr.contains(&says), "{says}: {}", run.stderr);
    assert!(
        run.stderr.contains("table.max_flows (it is 100)"),
        "{run:?}"
    );
    assert_eq!(
        schema::flows(&file.replay(&["-o", "json"]).ok()).len(),
        5000
    );
}

#[test]
#[ignore = "root"]
fn a_reader_that_leaves_is_no_error() {
    let file = File::new(&plain(&packets::many(50_000)));
    for form in ["table", "jsonl"] {
        let mut child = program()
            .args(["replay", file.path.to_str().unwrap(), "-o", form])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{form}");
        assert_eq!(output.stderr, b"", "{form}");
    }
}

#[test]
#[ignore = "root"]
fn a_full_disk_is_an_error() {
    let file = File::new(&plain(&story()));
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = program()
        .args(["replay", file.path.to_str().unwrap()])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("standard output"), "{stderr}");
}
