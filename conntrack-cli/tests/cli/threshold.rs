//! `threshold`, and what it does to real connections.

use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::SockaddrStorage;
use nix::sys::socket::bind;
use nix::sys::socket::socket;
use nix::unistd::Pid;
use serde_json::Value;

use crate::events::Listening;
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

fn limits(netns: &Netns) -> Value {
    serde_json::from_str(&netns.run(&["threshold", "get", "-o", "json"]).ok()).unwrap()
}

/// A server behind a wire, and clients of two addresses of both families.
struct Scene {
    server: Netns,
    clients: Netns,
    listeners: Vec<TcpListener>,
}

impl Scene {
    fn new() -> Self {
        let (server, clients) = (Netns::new(), Netns::new());
        server.wire(&clients);
        for (netns, device, addresses) in [
            (&server, "inner", &["10.9.0.1/24", "fd09::1/64"][..]),
            (
                &clients,
                "outer",
                &["10.9.0.7/24", "10.9.0.8/24", "fd09::7/64", "fd09::8/64"],
            ),
        ] {
            for address in addresses {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                netns.ip(&format!("addr add {address} dev {device}{nodad}"));
            }
        }
        let listeners = server.inside(|| {
            ["10.9.0.1:80", "[fd09::1]:80"]
                .map(|addr| TcpListener::bind(addr).unwrap())
                .into()
        });
        Self {
            server,
            clients,
            listeners,
        }
    }

    /// Opens so many connections from an address, one after the other; how many came
    /// about before one did not.
    fn connect(&self, from: &str, count: usize) -> usize {
        let from: SocketAddr = from.parse().unwrap();
        let listener = self.listeners.iter().find(|it| {
            let here = it.local_addr().unwrap();
            here.is_ipv4() == from.is_ipv4()
        });
        let listener = listener.unwrap();
        let to = listener.local_addr().unwrap();
        self.clients.inside(|| {
            let came = (0..count).take_while(|_| {
                let stream = open(from, to);
                stream.is_some_and(|_stream| listener.accept().is_ok())
            });
            came.count()
        })
    }
}

/// A connection from an address, if it comes about soon.
fn open(from: SocketAddr, to: SocketAddr) -> Option<TcpStream> {
    let family = match from {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let kind = (SockType::Stream, SockFlag::SOCK_NONBLOCK);
    let socket = socket(family, kind.0, kind.1, None).unwrap();
    let raw = std::os::fd::AsRawFd::as_raw_fd(&socket);
    bind(raw, &SockaddrStorage::from(from)).unwrap();
    let _ = nix::sys::socket::connect(raw, &SockaddrStorage::from(to));
    let stream = TcpStream::from(socket);
    for _ in 0..150 {
        if stream.peer_addr().is_ok() {
            return Some(stream);
        }
        thread::sleep(Duration::from_millis(2));
    }
    None
}

#[test]
#[ignore = "root"]
fn limits_are_set_shown_and_ended() {
    let netns = Netns::new();
    netns.run(&["threshold", "get"]).failed(3, &netns.name);
    netns.run(&["attach", "lo"]).ok();
    assert_eq!(limits(&netns)["limits"], Value::Null);
    assert!(
        netns
            .run(&["threshold", "get"])
            .ok()
            .starts_with("# no limit\n")
    );
    said(&netns.run(&["threshold", "off"]), 1, "there is no limit");
    said(
        &netns.run(&["threshold", "set", "action=ban"]),
        2,
        "there is no limit",
    );

    let set = netns.run(&["threshold", "set", "window=5s", "9"]).ok();
    assert!(
        set.contains("new=9\n") && set.contains("window=5s\n"),
        "{set}"
    );
    // What is in force, with the window of before.
    let set = netns.run(&["threshold", "set", "50", "half_open=20"]);
    let set = set.ok_saying("kept from before: window=5s; --anew");
    let text = netns.run(&["threshold", "get"]).ok();
    assert!(
        set.contains("window=5s\n") && text.starts_with(&set),
        "{set}{text}"
    );
    let json = limits(&netns);
    let set = &json["limits"];
    assert_eq!((&set["new"], &set["half_open"]), (&50.into(), &20.into()));
    assert_eq!(
        (&set["window"], &set["action"]),
        (&"5s".into(), &"drop".into())
    );
    assert_eq!(json["sketch"]["memory_bytes"], 2 << 20);
    let text = netns.run(&["threshold", "get"]).ok();
    assert!(
        text.contains("new=50\n") && text.contains("# sketch: 65536 cells"),
        "{text}"
    );

    // Other programs and other tables know them as well.
    let upgrade = netns.run(&["upgrade"]);
    assert_eq!(upgrade.code, Some(0), "{upgrade:?}");
    let resize = netns.run(&["resize", "--max-flows", "1000"]);
    assert_eq!(resize.code, Some(0), "{resize:?}");
    assert_eq!(limits(&netns), json);

    // What is refused changes nothing.
    said(
        &netns.run(&["threshold", "set", "new=60", "news=1"]),
        2,
        "news",
    );
    said(
        &netns.run(&["threshold", "set", "new=60", "window=2h"]),
        2,
        "100ms to 1h",
    );
    assert_eq!(limits(&netns), json);
    let syn = netns.run(&[
        "threshold",
        "set",
        "--anew",
        "9",
        "action=ban",
        "ban_on=syn",
    ]);
    let set = syn.ok_saying("forged");
    assert!(
        set.contains("ban_on=syn\n") && set.contains("window=1s\n"),
        "{set}"
    );
    assert_eq!(limits(&netns)["limits"]["half_open"], 0);
    said(&netns.run(&["threshold", "off"]), 0, "no limit any more");
    assert_eq!(limits(&netns)["limits"], Value::Null);
    netns.run(&["detach"]).ok();
}

#[test]
#[ignore = "root"]
fn attach_takes_limits() {
    let netns = Netns::new();
    said(&netns.run(&["attach", "lo", "-t", "many"]), 2, "many");
    netns
        .run(&[
            "attach",
            "lo",
            "--threshold",
            "50",
            "--threshold",
            "action=count",
        ])
        .ok();
    let set = &limits(&netns)["limits"];
    assert_eq!((&set["new"], &set["action"]), (&50.into(), &"count".into()));
    let again = netns.run(&["attach", "lo", "--threshold", "9"]);
    assert_eq!(again.code, Some(3), "{again:?}");
    assert!(again.stderr.contains("threshold set"), "{again:?}");
    netns.run(&["detach"]).ok();
}

#[test]
#[ignore = "root"]
fn real_connections_are_limited_and_their_source_is_banned() {
    let scene = Scene::new();
    let server = &scene.server;
    let attach = [
        "attach",
        "inner",
        "--threshold",
        "30",
        "--threshold",
        "action=ban",
    ];
    server.run(&attach).ok();
    for (bad, good, shown) in [
        ("10.9.0.7:0", "10.9.0.8:0", "10.9.0.7"),
        ("[fd09::7]:0", "[fd09::8]:0", "fd09::7"),
    ] {
        assert_eq!(scene.connect(good, 20), 20, "below the limit");
        let came = scene.connect(bad, 500);
        assert!((30..=60).contains(&came), "{came}");
        assert_eq!(scene.connect(bad, 1), 0, "{bad} is banned");
        thread::sleep(Duration::from_millis(1100));
        assert_eq!(scene.connect(good, 20), 20, "{good} is not");

        let origin = ["banned", "--origin", "threshold", "-o", "json", shown];
        let bans: Vec<Value> = serde_json::from_str(&server.run(&origin).ok()).unwrap();
        let [ban] = &bans[..] else { panic!("{bans:?}") };
        schema::check("ban", ban);
        assert_eq!(ban["reason"], "more connections in 1s than new 30");
        let left = ban["ttl_s"].as_u64().unwrap();
        assert!((560..=600).contains(&left), "{left}");
    }
    let suspects = server.run(&["threshold", "suspects", "-o", "json"]).ok();
    let suspects: Vec<Value> = serde_json::from_str(&suspects).unwrap();
    let found = suspects.iter().any(|it| {
        it["source"] == "10.9.0.7/32" && it["measure"] == "established" && it["over"] != 0
    });
    assert!(found, "{suspects:?}");
    let table = server.run(&["threshold", "suspects", "10.9.0.7"]).ok();
    assert!(
        table.contains("10.9.0.7") && table.starts_with("SOURCE"),
        "{table}"
    );
    let stats = schema::document(
        "stats",
        &server
            .run(&["stats", "-o", "json", "--interval", "0.1"])
            .ok(),
    );
    assert_eq!(stats["threshold"]["banned"], 2);
    assert!(
        server
            .run(&["stats", "-o", "prometheus"])
            .ok()
            .contains("conntrack_threshold_bans_total 2\n")
    );

    // Over a restart, though no command has changed bans since.
    server.run(&["detach"]).ok();
    assert_eq!(scene.connect("10.9.0.7:0", 1), 1);
    let again = server.run(&["attach", "inner"]);
    again.ok_saying("bans of an earlier run are in force again");
    assert_eq!(scene.connect("10.9.0.7:0", 1), 0);
    let unban = server.run(&["unban", "10.9.0.7"]);
    said(&unban, 0, "no longer banned");
    assert_eq!(scene.connect("10.9.0.7:0", 100), 100, "no limit any more");
    server.run(&["detach"]).ok();
}

#[test]
#[ignore = "root"]
fn bans_are_told_as_they_are_made_and_taken_back() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    let args = ["-o", "jsonl", "--type", "ban,unban"];
    let mut json = Listening::start(&netns, &args);
    let mut text = Listening::start(&netns, &["--type", "ban,unban"]);
    let poke = || drop(netns.run(&["ban", "198.51.100.1"]));
    json.first(poke);
    text.first(poke);
    let scan = [
        "ban",
        "203.0.113.7",
        "--ttl",
        "10m",
        "--reason",
        "scan",
        "--scope",
        "tcp/22",
    ];
    netns.run(&scan);
    netns.run(&["ban", "2001:db8::/48", "--dry-run"]);
    // Of fingerprints nothing is told.
    let print = ["--fingerprint", "4:64:0:*:*,*:mss:df:0"];
    for run in [["ban"], ["unban"]] {
        let run = netns.run(&[&run[..], &print[..]].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    netns.run(&["unban", "203.0.113.7"]);
    netns.run(&["ban", "203.0.113.9", "--direction", "both", "--confirm"]);
    netns.run(&["unban", "203.0.113.9"]);
    netns.run(&["unban", "--all"]);
    // Of the pokes there may have been several.
    let next = |listening: &mut Listening| loop {
        let line = listening.line();
        if !line.contains("198.51.100.1") {
            return line;
        }
    };
    let mut event = || {
        let event = schema::document("event", &next(&mut json));
        schema::check("ban", &event["ban"]);
        event
    };
    let scan = event();
    assert_eq!(scan["event"], "ban");
    let ban = &scan["ban"];
    assert_eq!(
        (&ban["addr"], &ban["scope"]),
        (&"203.0.113.7".into(), &"tcp/22".into())
    );
    assert_eq!(
        (&ban["origin"], &ban["reason"]),
        (&"manual".into(), &"scan".into())
    );
    let left = ban["ttl_s"].as_u64().unwrap();
    assert!((590..=600).contains(&left), "{left}");
    let six = event();
    assert_eq!(
        (&six["ban"]["prefix"], &six["ban"]["dry_run"]),
        (&48.into(), &true.into())
    );
    let back = event();
    assert_eq!(
        (&back["event"], &back["ban"]["addr"]),
        (&"unban".into(), &"203.0.113.7".into())
    );
    let both = event();
    assert_eq!(
        (&both["event"], &both["ban"]["direction"]),
        (&"ban".into(), &"both".into())
    );
    assert_eq!(
        event()["event"],
        "unban",
        "what drops both ways is told once"
    );
    let all = event();
    assert_eq!(
        (&all["event"], &all["ban"]["addr"]),
        (&"unban".into(), &"2001:db8::".into())
    );
    json.interrupt();

    let line = next(&mut text);
    assert!(
        line.contains("    [BAN] 203.0.113.7 tcp/22 origin=manual until="),
        "{line}"
    );
    assert!(
        line.ends_with(" packets=0 bytes=0 reason=\"scan\""),
        "{line}"
    );
    let both = (0..3).map(|_| next(&mut text));
    let both = both.last().unwrap_or_default();
    assert!(
        both.contains("    [BAN] 203.0.113.9 origin=manual until=")
            && both.contains(" both-ways unconfirmed packets=0 "),
        "{both}"
    );
    text.interrupt();
    netns.run(&["detach"]).ok();
}

/// What a host is changes while a tracker runs: it is not to be cut off by then.
#[test]
#[ignore = "root"]
fn a_process_that_runs_keeps_the_guard_current() {
    let scene = Scene::new();
    let mut foreground = scene.server.command(&["attach", "inner", "--foreground"]);
    let mut foreground = foreground.stdout(Stdio::null()).spawn().unwrap();
    let ban = ["ban", "10.9.0.64/26", "--direction", "both"];
    let banned = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(100));
        scene.server.run(&ban).code == Some(0)
    });
    assert!(banned);
    let ping = || {
        let mut ping = Command::new("ping");
        ping.args(["-c", "1", "-W", "1", "10.9.0.77"]);
        scene.clients.inside(|| finish(&mut ping)).code == Some(0)
    };
    scene.server.ip("addr add 10.9.0.77/24 dev inner");
    let passes = (0..10).any(|_| ping());
    kill(Pid::from_raw(foreground.id() as i32), Signal::SIGINT).unwrap();
    assert!(foreground.wait().unwrap().success());
    assert!(passes, "its own new address is guarded");
}

/// A process that runs writes down what packets ban; so a kill loses nothing of it.
#[test]
#[ignore = "root"]
fn bans_by_packets_survive_a_kill() {
    let scene = Scene::new();
    let server = &scene.server;
    let attach = [
        "attach",
        "inner",
        "--foreground",
        "--threshold",
        "30",
        "--threshold",
        "action=ban",
    ];
    let mut foreground = server.command(&attach);
    let mut foreground = foreground.stdout(Stdio::null()).spawn().unwrap();
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        let came = (0..150).any(|_| {
            thread::sleep(Duration::from_millis(100));
            done()
        });
        assert!(came, "{what}");
    };
    wait("attached", &|| {
        server.run(&["threshold", "get"]).code == Some(0)
    });
    assert!(scene.connect("10.9.0.7:0", 500) < 100);
    let file = server.state_dir().join(&server.name).join("bans");
    let written = |addr: &str| {
        let bytes = std::fs::read(&file).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(addr)
    };
    wait("written down", &|| written("10.9.0.7"));
    // While an attack goes on that is not done all the time; what came meanwhile is kept by
    // whoever clears up behind the killed one.
    assert!(scene.connect("10.9.0.8:0", 500) < 100);
    assert!(!written("10.9.0.8"), "seconds later");
    foreground.kill().unwrap();
    foreground.wait().unwrap();
    let again = server.run(&["attach", "inner"]);
    again.ok_saying("bans of an earlier run are in force again");
    for source in ["10.9.0.7:0", "10.9.0.8:0"] {
        assert_eq!(scene.connect(source, 1), 0, "{source} is banned still");
    }
    // Nor is it forgotten that this was the first time.
    server
        .run(&["threshold", "set", "new=30", "action=ban"])
        .ok();
    said(&server.run(&["unban", "10.9.0.7"]), 0, "no longer banned");
    assert!(scene.connect("10.9.0.7:0", 500) < 100);
    let bans = server.run(&["banned", "-o", "json", "10.9.0.7"]).ok();
    let bans: Vec<Value> = serde_json::from_str(&bans).unwrap();
    let left = bans[0]["ttl_s"].as_u64().unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    server.run(&["detach"]).ok();
}

#[test]
#[ignore = "root"]
fn changes_of_limits_at_once_are_all_made() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--threshold", "1000"]).ok();
    for round in 1..=5 {
        let keys = ["new", "half_open", "new_per_port", "new_per_prefix"];
        let running: Vec<_> = keys
            .iter()
            .map(|key| {
                let setting = format!("{key}={round}");
                let mut command = netns.command(&["threshold", "set", &setting]);
                command.stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().unwrap()
            })
            .collect();
        for mut run in running {
            assert!(run.wait().unwrap().success());
        }
        let now = limits(&netns);
        for key in keys {
            assert_eq!(now["limits"][key], round, "{key} of {now}");
        }
    }
    netns.run(&["detach"]).ok();
}
