//! Interfaces by pattern: which are attached to, which are left out and why.

use std::io::BufRead;
use std::io::BufReader;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::netns::Netns;
use crate::replay::File;
use crate::run::Run;
use crate::run::finish;
use crate::schema;

/// The names that are attached, sorted.
fn attached(netns: &Netns) -> Vec<String> {
    let status = schema::document("status", &netns.run(&["status", "-o", "json"]).ok());
    let interfaces = status["interfaces"].as_array().unwrap();
    let names = interfaces.iter().map(|it| it["name"].as_str().unwrap());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort_unstable();
    names
}

/// It ended well; the names at the beginnings of its lines on stdout, and stderr.
#[track_caller]
fn done(run: Run) -> (Vec<String>, String) {
    assert_eq!(run.code, Some(0), "{run:?}");
    let names = run.stdout.lines().map(|line| line.split(':').next());
    let names = names.map(|name| name.unwrap_or_default().to_owned());
    (names.collect(), run.stderr)
}

/// Two ports `p0` and `p1` of bridge `br0`, `q0` and `eth5` apart from it; the
/// other ends are in the second namespace.
fn host() -> (Netns, Netns) {
    let (netns, far) = (Netns::new(), Netns::new());
    for name in ["p0", "p1", "q0", "eth5"] {
        veth(&netns, &far, name);
    }
    netns.ip("link add br0 type bridge");
    netns.ip("link set p0 master br0");
    netns.ip("link set p1 master br0");
    (netns, far)
}

#[test]
#[ignore = "root"]
fn all_is_one_layer_of_each_stack() {
    let (netns, _far) = host();
    let (names, words) = done(netns.run(&["attach", "--all"]));
    assert_eq!(names, ["p0", "p1", "q0", "eth5"]);
    for why in [
        "lo is left out: it is the loopback device",
        "br0 is left out: it is stacked on p",
    ] {
        assert!(words.contains(why), "{why}: {words}");
    }
    assert_eq!(attached(&netns), ["eth5", "p0", "p1", "q0"]);
    // Again: there is nothing new, which is fine, and said.
    for again in ["--all", "p?"] {
        let (names, words) = done(netns.run(&["attach", again]));
        assert_eq!(names, [""; 0]);
        let says = format!("instance {} is running, and attached to all", netns.name);
        assert!(words.contains(&says), "{again}: {words}");
    }
    // What one lacks comes.
    netns.run(&["detach", "p0"]).ok();
    let (names, words) = done(netns.run(&["attach", "*"]));
    assert_eq!(names, ["p0"], "{words}");
    assert!(!words.contains("is running"), "{words}");
}

#[test]
#[ignore = "root"]
fn globs_beside_names() {
    let (netns, _far) = host();
    netns
        .run(&["attach", "z*"])
        .failed(3, "no interface like z*");
    netns.run(&["attach", "p*", "z*"]).failed(3, "like z*");
    netns.run(&["attach", "p*", "nothere"]).failed(3, "nothere");
    netns
        .run(&["attach", "l*"])
        .failed(3, "nothing to attach to: lo: ");
    netns.run(&["status"]).failed(3, &netns.name);

    let (names, words) = done(netns.run(&["attach", "lo", "br0", "[pq]?"]));
    assert_eq!(names, ["lo", "br0", "q0"]);
    for port in ["p0", "p1"] {
        let why = format!("{port} is left out: br0, which is stacked on it, goes first");
        assert!(words.contains(&why), "{words}");
    }
    netns
        .run(&["attach", "p*"])
        .failed(3, "nothing to attach to: p0: br0");
    assert_eq!(attached(&netns), ["br0", "lo", "q0"]);
}

#[test]
#[ignore = "root"]
fn what_refuses_leaves_the_others() {
    let (netns, far) = host();
    // A bridge has no native XDP.
    netns.ip("link add br1 type bridge");
    let native = |names: &[&str]| netns.run(&[&["attach", "--mode", "native"], names].concat());
    native(&["eth5", "br1"]).failed(3, "br1");
    native(&["br*"]).failed(3, "nothing to attach to: br0: ");
    let (names, words) = done(native(&["eth5", "b*1", "q*"]));
    assert_eq!(names, ["eth5", "q0"]);
    assert!(words.contains("br1 is left out: "), "{words}");
    assert!(words.contains("native"), "{words}");

    // The driver refuses only when asked: the other end has more queues.
    let peer = format!("peer name t0 numtxqueues 4 netns {}", far.name);
    netns.ip(&format!("link add t0 numrxqueues 1 type veth {peer}"));
    let queues = ["netns", "exec", &far.name, "ethtool", "-L", "t0", "tx", "4"];
    finish(Command::new("ip").args(queues)).ok();
    native(&["p0", "t0"]).failed(3, "t0");
    assert_eq!(attached(&netns), ["eth5", "q0"]);
    let (names, words) = done(native(&["[pt]*"]));
    assert_eq!(names, ["p0", "p1"]);
    assert!(words.contains("t0 is left out: "), "{words}");
    assert_eq!(attached(&netns), ["eth5", "p0", "p1", "q0"]);
}

/// A program that runs, with the lines it says.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(netns: &Netns, args: &[&str]) -> Self {
        let mut command = netns.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The next line on stdout.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    /// How it ended, and stderr; after SIGTERM, if it is to.
    fn end(self, term: bool) -> (Option<i32>, String) {
        if term {
            let pid = Pid::from_raw(self.child.id().try_into().unwrap());
            kill(pid, Signal::SIGTERM).unwrap();
        }
        let output = self.child.wait_with_output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), words)
    }
}

/// A veth with its other end elsewhere.
fn veth(here: &Netns, far: &Netns, name: &str) {
    let peer = format!("peer name {name} netns {}", far.name);
    here.ip(&format!("link add {name} type veth {peer}"));
}

#[test]
#[ignore = "root"]
fn a_pinned_tracker_is_followed_for() {
    let (netns, far) = (Netns::new(), Netns::new());
    netns.run(&["follow", "v*"]).failed(3, &netns.name);
    netns.run(&["attach", "lo"]).ok();
    veth(&netns, &far, "v0");
    let mut follow = Running::start(&netns, &["follow", "v*", "wg0"]);
    assert!(follow.line().starts_with("v0: native, "));
    veth(&netns, &far, "v1");
    assert!(follow.line().starts_with("v1: native, "));
    netns.ip("link del v0");
    assert_eq!(follow.line(), "v0: detached: it is gone\n");
    // It has no lock while there is nothing to do.
    netns.run(&["detach", "lo"]).ok();
    assert_eq!(attached(&netns), ["v1"]);
    netns.ip("link add v7 type bridge");
    veth(&netns, &far, "v2");
    assert!(follow.line().starts_with("v2: native, "));
    let (code, words) = follow.end(true);
    assert_eq!(code, Some(0), "{words}");
    let said: Vec<&str> = words.lines().collect();
    assert_eq!(
        said,
        [
            "conntrack: wg0 is not there yet",
            "conntrack: v7 is left out: it is a bridge without ports so far",
        ]
    );
    assert_eq!(attached(&netns), ["v1", "v2"]);

    veth(&netns, &far, "v3");
    let mut follow = Running::start(&netns, &["follow", "--all"]);
    assert!(follow.line().starts_with("v3: native, "));
    netns.run(&["detach"]).ok();
    let (code, words) = follow.end(false);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("detached"), "{words}");
}

#[test]
#[ignore = "root"]
fn in_the_foreground_it_follows_too() {
    let (netns, far) = (Netns::new(), Netns::new());
    let args = [
        "attach",
        "--foreground",
        "--follow",
        "v*",
        "--interval",
        "0.2",
    ];
    let mut child = Running::start(&netns, &args);
    // The statistics, with nothing attached.
    assert!(child.line().contains(" flows 0 "));
    netns.run(&["follow", "v*"]).failed(3, "is held by process");
    veth(&netns, &far, "v0");
    let mut next = |starts: &str| while !child.line().starts_with(starts) {};
    next("v0: native, ");
    assert_eq!(attached(&netns), ["v0"]);
    netns.ip("link del v0");
    next("v0: detached: it is gone");
    assert_eq!(attached(&netns), [""; 0]);
    assert_eq!(child.end(true), (Some(0), String::new()));
    netns.run(&["status"]).failed(3, &netns.name);
}

#[test]
#[ignore = "root"]
fn the_configuration_has_patterns_too() {
    let (netns, _far) = host();
    let yaml = File::new(b"interfaces: ['eth*', q0]\nmode: tc\ntable:\n  max_flows: 100\n");
    let yaml = yaml.path.to_str().unwrap();
    let (names, words) = done(netns.run(&["-c", yaml, "attach"]));
    assert_eq!(
        (names, words.as_str()),
        (vec!["q0".into(), "eth5".into()], "")
    );
    let doctor = netns.run(&["-c", yaml, "doctor"]);
    assert!(doctor.stdout.contains("eth5"), "{doctor:?}");
    netns.run(&["doctor", "z*"]).failed(3, "like z*");
}
