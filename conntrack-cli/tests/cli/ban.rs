//! `ban`, `unban`, `banned`, `allow` and `confirm`, on running trackers.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::netns::Netns;
use crate::run::Run;
use crate::run::finish;
use crate::schema;

/// It ended with this code and said this on stderr, nothing on stdout.
#[track_caller]
fn said(run: &Run, code: i32, says: &str) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{run:?}");
    assert!(run.stderr.contains(says), "{says:?} in {run:?}");
}

/// All bans by `banned -o json`, each of which fits the schema.
fn banned(netns: &Netns, args: &[&str]) -> Vec<Value> {
    let args = [&["banned", "-o", "json"], args].concat();
    let bans: Vec<Value> = serde_json::from_str(&netns.run(&args).ok()).unwrap();
    bans.iter().for_each(|ban| schema::check("ban", ban));
    bans
}

/// Whether a datagram from an address gets through on loopback.
fn arrives(netns: &Netns, from: &str) -> bool {
    netns.inside(|| {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        to.set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let from = UdpSocket::bind((from, 0)).unwrap();
        from.send_to(b"?", to.local_addr().unwrap()).unwrap();
        to.recv(&mut [0]).is_ok()
    })
}

#[test]
#[ignore = "root"]
fn a_ban_is_made_shown_and_ended() {
    let netns = Netns::new();
    netns.run(&["ban", "203.0.113.7"]).failed(3, &netns.name);
    netns.run(&["attach", "lo"]).ok();
    assert_eq!(banned(&netns, &[]), [0; 0]);
    netns.run(&["banned"]).ok();

    let scan = ["ban", "203.0.113.7", "--ttl", "10m", "--reason", "ssh scan"];
    said(&netns.run(&scan), 0, "203.0.113.7: banned for 10m");
    let six = netns.run(&["ban", "2001:db8::7"]);
    said(
        &six,
        0,
        "2001:db8::/64: banned for ever (the /64 of 2001:db8::7; --exact is for it",
    );
    let exact = [
        "ban",
        "2001:db8::7",
        "--exact",
        "--scope",
        "tcp/22",
        "--dry-run",
    ];
    said(
        &netns.run(&exact),
        0,
        "2001:db8::7 tcp/22: packets are counted, not dropped, for ever",
    );
    let bans = banned(&netns, &[]);
    assert_eq!(bans.len(), 3);
    let bans = banned(&netns, &["203.0.113.0/24"]);
    let [ban] = &bans[..] else { panic!("{bans:?}") };
    assert_eq!(
        (&ban["addr"], &ban["reason"]),
        (&"203.0.113.7".into(), &"ssh scan".into())
    );
    assert_eq!(
        (&ban["origin"], &ban["prefix"]),
        (&"manual".into(), &32.into())
    );
    let left = ban["ttl_s"].as_u64().unwrap();
    assert!((590..=600).contains(&left), "{left}");
    assert_eq!(banned(&netns, &["--origin", "api"]).len(), 0);
    assert_eq!(banned(&netns, &["2001:db8::9"]).len(), 1);
    let lines = netns.run(&["banned", "-o", "jsonl"]).ok();
    assert_eq!(lines.lines().count(), 3);
    let table = netns.run(&["banned", "203.0.113.7"]).ok();
    assert!(
        table.starts_with("BANNED ") && table.contains("ssh scan"),
        "{table}"
    );
    assert_eq!(
        netns.run(&["banned", "--no-header"]).ok().lines().count(),
        3
    );

    said(
        &netns.run(&["unban", "203.0.113.7"]),
        0,
        "203.0.113.7 is no longer banned",
    );
    said(
        &netns.run(&["unban", "203.0.113.7"]),
        1,
        "203.0.113.7 is not banned",
    );
    said(
        &netns.run(&["unban", "2001:db8::7", "--exact"]),
        1,
        "by 2001:db8::/64",
    );
    said(
        &netns.run(&["unban", "2001:db8::7"]),
        0,
        "2001:db8::/64 is no longer banned",
    );
    said(&netns.run(&["unban", "--all"]), 1, "0 bans ended");
}

#[test]
#[ignore = "root"]
fn what_a_network_covers_is_named() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    said(
        &netns.run(&["ban", "203.0.113.0/24"]),
        0,
        "203.0.113.0/24: banned",
    );
    let unban = ["unban", "203.0.113.7"];
    said(
        &netns.run(&unban),
        1,
        "by 203.0.113.0/24: `unban 203.0.113.0/24` ends that",
    );
    let except = netns.run(&["unban", "203.0.113.7", "--except"]);
    said(&except, 0, "203.0.113.7 passes, whatever bans it");
    let allowed = netns.run(&["allow"]).ok();
    let mut lines = allowed.lines();
    let heading: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["ALLOWED", "WHY", "WON"]);
    let bare = netns.run(&["allow", "--no-header"]).ok();
    assert_eq!(bare.lines().count() + 1, allowed.lines().count());
    assert!(!bare.contains("WON"), "{bare}");
    assert!(lines.any(|line| line.starts_with("203.0.113.7 ") && line.contains("exception")));
    said(
        &netns.run(&["ban", "203.0.113.7"]),
        1,
        "it is an exception from bans",
    );
    said(
        &netns.run(&["allow", "203.0.113.7", "--remove"]),
        0,
        "no longer allowed",
    );
    said(
        &netns.run(&["allow", "203.0.113.7", "--remove"]),
        1,
        "was not allowed",
    );
    said(&netns.run(&["unban", "--all"]), 0, "1 ban ended");
}

#[test]
#[ignore = "root"]
fn the_host_is_guarded() {
    let netns = Netns::new();
    netns.ip("addr add 192.0.2.1/24 dev lo");
    netns.run(&["attach", "lo"]).ok();
    for (target, says) in [
        (
            "192.0.2.1",
            "192.0.2.1 is not banned: it is an address of this host",
        ),
        (
            "192.0.2.0/24",
            "192.0.2.0/24 is not banned: 192.0.2.1 is an address of this host",
        ),
        ("127.0.0.9", "loopback"),
        ("0.0.0.0/0", "this host"),
        ("::/0", "this host"),
    ] {
        said(&netns.run(&["ban", target]), 1, says);
    }
    // As over SSH; one line more says what passes.
    let mut command = netns.command(&["ban", "198.51.100.0/24"]);
    let run = finish(command.env("SSH_CONNECTION", "198.51.100.9 5000 192.0.2.1 22"));
    said(&run, 1, "198.51.100.9 is the other end of this SSH session");
    assert_eq!(banned(&netns, &[]).len(), 0);
    let run = netns.run(&["ban", "192.0.2.1", "--force"]);
    said(&run, 0, "192.0.2.1 passes all the same");
    assert!(arrives(&netns, "192.0.2.1"));

    said(
        &netns.run(&["allow", "198.51.100.7"]),
        0,
        "198.51.100.7 is never dropped",
    );
    said(
        &netns.run(&["allow", "198.51.100.7"]),
        0,
        "was allowed already",
    );
    said(
        &netns.run(&["ban", "198.51.100.0/24"]),
        1,
        "198.51.100.7 is allowed by the operator",
    );
    let all = netns.run(&["allow", "-o", "json"]).ok();
    let all: Vec<Value> = serde_json::from_str(&all).unwrap();
    let find = |addr: &str| all.iter().find(|it| it["addr"] == *addr).unwrap();
    assert_eq!(find("198.51.100.7")["why"], serde_json::json!(["allow"]));
    assert_eq!(find("192.0.2.1")["why"], serde_json::json!(["guard"]));
}

/// Whoever looks after bans later need not sit at the end of that session, nor find it.
#[test]
#[ignore = "root"]
fn the_session_that_attached_is_guarded_until_somebody_says_otherwise() {
    let netns = Netns::new();
    let mut command = netns.command(&["attach", "lo"]);
    let session = "198.51.100.9 5000 192.0.2.1 22";
    finish(command.env("SSH_CONNECTION", session)).ok();
    let mut command = netns.command(&["allow"]);
    let passing = "198.51.100.8 5000 192.0.2.1 22";
    let shown = finish(command.env("SSH_CONNECTION", passing)).ok();
    assert!(shown.contains("198.51.100.8") && shown.contains("198.51.100.9"));
    // Without a session, as a service does.
    let shown = netns.run(&["allow"]).ok();
    assert!(!shown.contains("198.51.100.8") && shown.contains("198.51.100.9"));
    let refused = netns.run(&["ban", "198.51.100.0/24"]);
    let says = "198.51.100.9 is the other end of the SSH session that attached this";
    said(&refused, 1, says);
    assert_eq!(
        netns.run(&["allow", "--remove", "198.51.100.9"]).code,
        Some(0)
    );
    said(&netns.run(&["ban", "198.51.100.0/24"]), 0, "banned");
    netns.run(&["detach"]).ok();
}

#[test]
#[ignore = "root"]
fn an_unconfirmed_ban_is_shown_and_confirmed() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    said(&netns.run(&["confirm"]), 1, "nothing waits to be confirmed");
    let ban = ["ban", "203.0.113.7", "--ttl", "1h", "--confirm", "90s"];
    said(
        &netns.run(&ban),
        0,
        "for 1h, if `conntrack confirm` comes within 90s",
    );
    said(&netns.run(&ban), 3, "banned already");
    let bans = banned(&netns, &[]);
    assert_eq!(bans[0]["unconfirmed"], true);
    assert!(bans[0]["ttl_s"].as_u64().unwrap() <= 90);
    said(&netns.run(&["confirm"]), 0, "1 ban confirmed");
    let bans = banned(&netns, &[]);
    assert_eq!(bans[0]["unconfirmed"], false);
    assert!(bans[0]["ttl_s"].as_u64().unwrap() > 3500);
}

#[test]
#[ignore = "root"]
fn a_foreground_tracker_takes_bans() {
    let netns = Netns::new();
    let mut command: Command = netns.command(&["attach", "lo", "--foreground"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while netns.run(&["status"]).code != Some(0) {
        std::thread::sleep(Duration::from_millis(50));
    }
    netns.ip("addr add 192.0.2.1/24 dev lo");
    assert!(arrives(&netns, "192.0.2.1"));
    said(&netns.run(&["ban", "203.0.113.7"]), 0, "banned");
    assert_eq!(banned(&netns, &[]).len(), 1);
    said(&netns.run(&["unban", "203.0.113.7"]), 0, "no longer");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "root"]
fn many_at_once_lose_nothing() {
    const EACH: u8 = 8;
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    std::thread::scope(|scope| {
        for net in 0..4_u8 {
            let netns = &netns;
            scope.spawn(move || {
                for host in 0..EACH {
                    let addr = format!("203.0.{net}.{host}");
                    said(&netns.run(&["ban", &addr, "--reason", &addr]), 0, &addr);
                    if host % 2 == 0 {
                        said(&netns.run(&["unban", &addr]), 0, &addr);
                    }
                    banned(netns, &[]);
                }
            });
        }
    });
    let bans = banned(&netns, &[]);
    let mut addrs: Vec<_> = bans
        .iter()
        .map(|ban| ban["addr"].as_str().unwrap())
        .collect();
    assert!(bans.iter().all(|ban| ban["reason"] == ban["addr"]));
    addrs.sort_unstable();
    let mut want = Vec::new();
    for net in 0..4 {
        want.extend(
            (1..EACH)
                .step_by(2)
                .map(|host| format!("203.0.{net}.{host}")),
        );
    }
    assert_eq!(addrs, want);
}
