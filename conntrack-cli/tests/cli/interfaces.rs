//! Interfaces by pattern: which are attached to, which are left out and why.

use std::process::Command;

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
        let peer = format!("peer name {name} netns {}", far.name);
        netns.ip(&format!("link add {name} type veth {peer}"));
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
    // Again: there is nothing new, which is fine.
    let (names, _) = done(netns.run(&["attach", "--all"]));
    assert_eq!(names, [""; 0]);
    // What one lacks comes.
    netns.run(&["detach", "p0"]).ok();
    let (names, words) = done(netns.run(&["attach", "*"]));
    assert_eq!(names, ["p0"], "{words}");
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
