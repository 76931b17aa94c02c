//! `delete` and `flush`, on running trackers.

use std::net::UdpSocket;

use crate::netns::Netns;
use crate::run::Run;
use crate::run::finish;
use crate::run::program;
use crate::schema;

/// It ended with this code, and said how many flows it deleted.
#[track_caller]
fn deleted(run: &Run, code: i32, flows: u64) {
    let version = env!("CARGO_PKG_VERSION");
    let words =
        format!("conntrack v{version} (conntrack-xdp): {flows} flow entries have been deleted.\n");
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(code), words.as_str()),
        "{run:?}"
    );
    assert_eq!(run.stdout, "", "{run:?}");
}

impl Netns {
    /// Datagrams to so many ports, each from a port of its own.
    fn datagrams(&self, ports: std::ops::Range<u16>) {
        self.inside(|| {
            for port in ports {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.send_to(b"?", ("127.0.0.2", port)).unwrap();
            }
        });
    }

    fn count(&self, conditions: &[&str]) -> usize {
        let args = [&["list", "-o", "json"], conditions].concat();
        schema::flows(&self.run(&args).ok()).len()
    }
}

#[test]
#[ignore = "root"]
fn flows_are_deleted_by_key_and_condition() {
    let netns = Netns::new();
    netns.run(&["delete", "-p", "udp"]).failed(3, &netns.name);
    netns.run(&["attach", "lo"]).ok();
    let (client, server) = netns.connection();
    netns.datagrams(1000..1010);

    let [a, b] = [&server, &client].map(|end| end.local_addr().unwrap().to_string());
    let key = ["delete", "tcp", &a, &b];
    deleted(&netns.run(&["delete", "--state", "TIME_WAIT"]), 1, 0);
    assert_eq!(netns.count(&["-p", "tcp"]), 1);
    deleted(&netns.run(&key), 0, 1);
    deleted(&netns.run(&key), 1, 0);

    let some = [
        "delete",
        "-p",
        "udp",
        "--dport",
        "1003-1005",
        "--src",
        "127.0.0.0/8",
    ];
    deleted(&netns.run(&some), 0, 3);
    deleted(&netns.run(&some), 1, 0);
    assert_eq!(netns.count(&["-p", "udp"]), 7);
    netns.run(&["delete", "-i", "eth9"]).failed(3, "eth9");
    let by_interface = netns.count(&["-i", "lo"]) as u64;
    assert!(by_interface >= 7);
    deleted(&netns.run(&["delete", "-i", "lo"]), 0, by_interface);
    assert_eq!(netns.count(&[]), 0);
    let stats = netns.run(&["stats", "--interval", "0.1"]).ok();
    let total = format!("deleted {}", 4 + by_interface);
    assert!(stats.contains(&total), "{total} in {stats}");
}

#[test]
#[ignore = "root"]
fn all_flows_are_deleted_if_it_is_meant() {
    let netns = Netns::new();
    netns.run(&["flush", "--yes"]).failed(3, &netns.name);
    netns.run(&["attach", "lo"]).ok();
    // None is to be over before it is deleted.
    netns.run(&["config", "set", "udp_timeout=3600"]).ok();
    deleted(&netns.run(&["flush", "--yes"]), 0, 0);
    netns.datagrams(1000..1100);
    netns.run(&["flush"]).failed(2, "--yes");
    assert_eq!(netns.count(&["-p", "udp"]), 100);

    // That of another namespace is not meant.
    let other = Netns::new();
    let elsewhere = [
        "--netns",
        &other.name,
        "--instance",
        &netns.name,
        "flush",
        "-y",
    ];
    finish(program().args(elsewhere)).failed(3, &netns.name);
    let absent = [
        "--netns",
        &netns.name,
        "--instance",
        "ctcli-absent",
        "flush",
        "-y",
    ];
    finish(program().args(absent)).failed(3, "ctcli-absent");
    assert_eq!(netns.count(&["-p", "udp"]), 100);

    let all = netns.count(&[]) as u64;
    deleted(&netns.run(&["flush", "-y"]), 0, all);
    assert_eq!(netns.count(&[]), 0);
    netns.datagrams(1000..1001);
    assert_eq!(netns.count(&["-p", "udp"]), 1);
}

/// `script` of util-linux gives it a terminal.
#[test]
#[ignore = "root"]
fn at_a_terminal_it_asks() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    let program = env!("CARGO_BIN_EXE_conntrack");
    let flush = format!("{program} --netns {0} --instance {0} flush", netns.name);
    for (answer, code, left) in [("n", 1, 3), ("", 1, 3), ("y", 0, 0)] {
        netns.run(&["flush", "--yes"]);
        netns.datagrams(1..4);
        let mut shell = std::process::Command::new("sh");
        let line = format!("echo '{answer}' | script -qec '{flush}' /dev/null");
        let run = finish(shell.args(["-c", &line]));
        assert!(run.stdout.contains("[y/N]"), "{run:?}");
        assert_eq!(run.code, Some(code), "{answer:?}: {run:?}");
        assert_eq!(netns.count(&["-p", "udp"]), left, "{answer:?}: {run:?}");
    }
}
