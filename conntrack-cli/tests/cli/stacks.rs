//! Real stacks with many settings: what is recorded of them is what p0f says, live, on the
//! same wire.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::netns::Netns;
use crate::schema;

/// What is set at once on one side: `net.ipv4.` and the name.
const SETTINGS: [&[(&str, &str)]; 18] = [
    &[],
    &[("tcp_timestamps", "0")],
    &[("tcp_sack", "0")],
    &[("tcp_window_scaling", "0")],
    &[("tcp_timestamps", "0"), ("tcp_sack", "0")],
    &[("tcp_timestamps", "0"), ("tcp_window_scaling", "0")],
    &[("tcp_sack", "0"), ("tcp_window_scaling", "0")],
    &[
        ("tcp_timestamps", "0"),
        ("tcp_sack", "0"),
        ("tcp_window_scaling", "0"),
    ],
    &[("tcp_timestamps", "2")],
    &[("tcp_ecn", "1")],
    &[("tcp_ecn", "0")],
    &[("ip_default_ttl", "128")],
    &[("ip_default_ttl", "255"), ("tcp_timestamps", "0")],
    &[("ip_default_ttl", "33")],
    &[("ip_no_pmtu_disc", "1")],
    &[("tcp_rmem", "4096 16384 65536")],
    &[("tcp_rmem", "4096 1000000 6291456")],
    &[("tcp_base_mss", "600"), ("tcp_min_snd_mss", "500")],
];
const DEFAULTS: [(&str, &str); 10] = [
    ("tcp_timestamps", "1"),
    ("tcp_sack", "1"),
    ("tcp_window_scaling", "1"),
    ("tcp_ecn", "2"),
    ("ip_default_ttl", "64"),
    ("ip_no_pmtu_disc", "0"),
    ("tcp_rmem", "4096 131072 6291456"),
    ("tcp_base_mss", "1024"),
    ("tcp_min_snd_mss", "48"),
    ("tcp_fastopen", "1"),
];
const MTUS: [u32; 3] = [1500, 1280, 9000];

fn set(settings: &[(&str, &str)]) {
    for (name, value) in settings {
        let path = format!("/proc/sys/net/ipv4/{name}");
        fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// p0f on an interface, writing to a log.
struct P0f(Child);

impl P0f {
    fn start(netns: &Netns, log: &Path) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &netns.name, "p0f", "-i", "inner", "-o"]);
        command
            .arg(log)
            .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin");
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(
            quiet
                .spawn()
                .expect("p0f (scripts/setup.sh test installs it)"),
        )
    }
}

impl Drop for P0f {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kind and signature of each SYN and SYN+ACK that p0f has logged.
fn logged(log: &Path) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let field = |name: &str| {
            let mut parts = line.split('|');
            parts.find_map(|part| part.split_once(name).map(|(_, value)| value.to_owned()))
        };
        let kind = field("mod=").filter(|kind| kind.starts_with("syn"))?;
        Some((kind, field("raw_sig=")?))
    });
    lines.collect()
}

#[test]
#[ignore = "root"]
fn real_stacks_are_recorded_as_p0f_sees_them() {
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
    server.run(&["attach", "inner", "--mode", "tc"]).ok();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let _p0f = P0f::start(&server, &log);
    thread::sleep(Duration::from_secs(1));
    let connect = |to: &str| {
        let to: SocketAddr = to.parse().unwrap();
        let listener = server.inside(|| TcpListener::bind(to).unwrap());
        client.inside(|| TcpStream::connect_timeout(&to, Duration::from_secs(2)).unwrap());
        drop(listener);
    };
    let mut port = 1000;
    for mtu in MTUS {
        for (netns, device) in [(&server, "inner"), (&client, "outer")] {
            netns.ip(&format!("link set dev {device} mtu {mtu}"));
        }
        for settings in SETTINGS {
            for [changed, other] in [[&client, &server], [&server, &client]] {
                changed.inside(|| {
                    set(&DEFAULTS);
                    set(settings);
                });
                other.inside(|| set(&DEFAULTS));
                port += 1;
                connect(&format!("10.9.0.1:{port}"));
                connect(&format!("[fd09::1]:{port}"));
                // What is new is recorded at a limited rate.
                thread::sleep(Duration::from_millis(40));
            }
        }
    }
    thread::sleep(Duration::from_secs(1));
    let text = server.run(&["fingerprints", "-o", "json"]).ok();
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let ours: BTreeSet<(String, String)> = rows
        .iter()
        .map(|row| ["kind", "signature"].map(|name| row[name].as_str().unwrap().to_owned()))
        .map(|[kind, signature]| (kind, signature))
        .collect();
    let theirs = logged(&log);
    let stats = schema::document("stats", &server.run(&["stats", "-o", "json"]).ok());
    assert_eq!(stats["fingerprints_left_out"]["signature"], 0);
    let only = |a: &BTreeSet<_>, b: &BTreeSet<_>| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!(
        (only(&ours, &theirs), only(&theirs, &ours)),
        (vec![], vec![])
    );
    assert!(ours.len() > 80, "{} kinds of segments only", ours.len());
}
