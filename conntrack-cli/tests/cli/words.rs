//! What is said on stderr, and by which name: hints that must lead somewhere.

use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::Stdio;

use crate::netns::Netns;
use crate::run::Run;
use crate::run::finish;
use crate::run::program;

/// The program under another name.
fn called(name: &str, args: &[&str]) -> Run {
    finish(program().arg0(name).args(args))
}

/// It ended well, and said this on stderr in one line.
#[track_caller]
fn said(run: Run, says: &str) -> String {
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains(says), "{says:?} in {run:?}");
    run.stdout
}

#[test]
fn it_bears_the_name_it_was_called_by() {
    let path = "/usr/local/bin/conntrack-xdp";
    let version = called(path, &["--version"]).ok();
    assert!(version.starts_with("conntrack-xdp "), "{version}");
    for args in [
        &["--help"][..],
        &["-h"],
        &["attach", "--help"],
        &["list", "--help"],
        &["events", "--help"],
        &["config", "set", "--help"],
        &["delete", "--help"],
        &["replay", "--help"],
    ] {
        let help = called(path, args).ok();
        assert!(help.contains("conntrack-xdp "), "{args:?}: {help}");
        assert!(!help.contains("{program}"), "{args:?}: {help}");
        for line in help.lines() {
            // Another program's line is still that program's.
            let other = line.contains("conntrack -E") || line.contains("conntrack -L");
            assert!(other || !line.contains("conntrack "), "{args:?}: {line}");
        }
    }
    for args in [&["attach"][..], &["delete"], &["--t", "5"]] {
        let run = called(path, args);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.starts_with("conntrack-xdp: "), "{run:?}");
        assert!(!run.stderr.contains("conntrack "), "{run:?}");
    }
    let nameless = called("", &["attach"]);
    assert!(nameless.stderr.starts_with("conntrack: "), "{nameless:?}");
}

#[test]
#[ignore = "root"]
fn hints_bear_that_name_too() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let mut command = netns.command(&["detach", "lo"]);
    let run = finish(command.arg0("conntrack-xdp"));
    assert!(run.stderr.contains("`conntrack-xdp detach`"), "{run:?}");
}

/// A tracker whose process was killed.
fn killed(netns: &Netns) {
    let mut child = netns
        .command(&["attach", "lo", "--foreground", "--max-flows", "1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    netns.run(&["list"]).ok();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "root"]
fn a_dead_tracker_is_told_by_every_command() {
    let netns = Netns::new();
    killed(&netns);
    for args in [
        &["list"][..],
        &["stats", "--interval", "0.1"],
        &["stats", "-o", "prometheus"],
        &["config", "get"],
        &["config", "set", "tcp_loose=0"],
    ] {
        said(netns.run(args), "nothing is attached any more");
    }
    // Whoever asks whether a tracker is there, or that something be dropped, is told no.
    for args in [
        &["status"][..],
        &["ban", "203.0.113.7"],
        &["ban", "--list", "drop", "--file", "-"],
        &["ban", "--fingerprint", "*:64:0:*:1024,0::df:0"],
        &["threshold", "set", "50"],
    ] {
        let run = netns.run(args);
        assert_eq!(run.code, Some(3), "{run:?}");
        assert!(
            run.stderr.contains("nothing is attached any more"),
            "{run:?}"
        );
    }
    assert_eq!(netns.run(&["banned", "-o", "json"]).stdout.trim(), "[]");
    for args in [&["sweep"][..], &["flush", "--yes"]] {
        let run = netns.run(args);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stderr.contains("nothing is attached"), "{run:?}");
    }
    // It must not claim to have done what it cannot.
    netns
        .run(&["upgrade"])
        .failed(3, "attached to nothing any more");
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    netns.run(&["list"]).ok();
    netns.run(&["upgrade"]).ok();
}

#[test]
#[ignore = "root"]
fn the_default_of_another_namespace_is_told() {
    let (home, other) = (Netns::new(), Netns::new());
    home.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let inside = |args: &[&str]| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &other.name]);
        finish(command.arg(env!("CARGO_BIN_EXE_conntrack")).args(args))
    };
    // Who names it knows it.
    inside(&["--instance", &home.name, "list"]).ok();
    // Named with a namespace that is not its own.
    let elsewhere = ["--netns", &other.name, "--instance", &home.name, "status"];
    finish(program().args(elsewhere)).failed(3, &home.name);

    let there = finish(program().args(["status"])).code == Some(0);
    assert!(
        !there,
        "instance `default` of this machine is in the way: detach it"
    );
    let attach = ["--netns", &home.name, "attach", "lo", "--max-flows", "1000"];
    finish(program().args(attach)).ok();
    let listed = inside(&["list", "-o", "json"]);
    let detached = finish(program().args(["detach"]));
    let says = format!("is that of network namespace {}", home.name);
    assert_eq!(said(listed, &says), "[]\n");
    detached.ok();
}

#[test]
#[ignore = "root"]
fn a_namespace_is_called_by_its_name_if_it_has_one() {
    let netns = Netns::new();
    let mut sleeper = netns.inside(|| {
        let mut sleep = Command::new("sleep");
        sleep.arg("600").spawn().unwrap()
    });
    let pid = sleeper.id().to_string();
    let attach = ["--netns", &pid, "--instance", &netns.name, "attach", "lo"];
    finish(program().args(attach)).ok();
    let text = netns.run(&["status"]).ok();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let line = text.lines().find(|line| line.starts_with("namespace"));
    let want = format!("{}, net:[", netns.name);
    assert!(line.unwrap().contains(&want), "{text}");
}

#[test]
#[ignore = "root"]
fn what_is_not_attached_tells_what_is() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    for command in ["list", "status", "detach", "upgrade"] {
        let absent = ["--instance", "ctcli-no-such", command];
        let run = finish(program().args(absent));
        run.failed(3, "instance ctcli-no-such is not attached; running here: ");
        run.failed(3, &netns.name);
    }
}

#[test]
#[ignore = "root"]
fn verbose_tells_what_is_done() {
    let netns = Netns::new();
    let told = |args: &[&str], says: &[&str]| {
        let run = netns.run(args);
        assert_eq!(run.code, Some(0), "{run:?}");
        for word in says {
            assert!(run.stderr.contains(word), "{word:?} in {run:?}");
        }
    };
    let attach = ["-v", "attach", "lo", "--max-flows", "1000"];
    told(
        &attach,
        &[
            "chosen for lo",
            "are loaded",
            "are pinned in",
            "attached to lo",
        ],
    );
    told(&["-v", "list"], &["opened instance"]);
    told(&["-vv", "status"], &["opened instance", "has id"]);
    let status = netns.run(&["status"]).ok();
    assert!(!status.contains("ct_table4"), "{status}");
    let status = netns.run(&["status", "-v"]).stdout;
    assert!(status.contains("ct_table4"), "{status}");
    told(&["-v", "detach", "lo"], &["detached from lo"]);
    told(&["-v", "detach"], &["the pins are gone"]);
}

#[test]
#[ignore = "root"]
fn detaching_tells_what_it_did() {
    let netns = Netns::new();
    netns.ip("link add a0 type veth peer name a1");
    netns
        .run(&["attach", "lo", "a0", "--max-flows", "1000"])
        .ok();
    assert_eq!(netns.run(&["detach", "a0"]).ok(), "a0: detached\n");
    let last = said(netns.run(&["detach", "lo"]), "tables stay until");
    assert_eq!(last, "lo: detached\n");
    netns.run(&["attach", "lo"]).ok();
    let all = netns.run(&["detach"]).ok();
    assert_eq!(
        all,
        format!("instance {} is detached from lo\n", netns.name)
    );
}

#[test]
#[ignore = "root"]
fn the_doctor_refuses_what_attaching_refuses() {
    let netns = Netns::new();
    for pair in ["q0 type veth peer name q1", "p0 type veth peer name p1"] {
        netns.ip(&format!("link add {pair}"));
    }
    netns.ip("link add br0 type bridge");
    netns.ip("link set q1 master br0");
    for (args, code) in [
        (&["--mode", "native", "lo"][..], 3),
        (&["--mode", "offload", "lo"], 3),
        (&["--mode", "offload", "p0"], 3),
        (&["br0", "q1"], 2),
    ] {
        let doctor = netns.run(&[&["doctor"][..], args].concat());
        assert_eq!(doctor.code, Some(5), "{doctor:?}");
        let attach = netns.run(&[&["attach"][..], args].concat());
        assert_eq!(attach.code, Some(code), "{attach:?}");
        let reason = attach.stderr.trim_start_matches("conntrack: ").trim();
        assert!(doctor.stdout.contains(reason), "{reason}: {doctor:?}");
    }
    // What a pattern matches and cannot is no reason against the others.
    let doctor = netns.run(&["doctor", "--mode", "native", "lo*", "p?"]);
    assert_eq!(doctor.code, Some(4), "{doctor:?}");
    assert!(doctor.stdout.contains("it would be left out"), "{doctor:?}");
}

#[test]
#[ignore = "root"]
fn what_the_kernel_switches_on_is_told() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let note = "nf_conntrack_checksum=1 is copied";
    let copied = netns.run(&["config", "set", "--from-kernel"]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let has = copied.stdout.contains("nf_conntrack_checksum=1");
    assert_eq!(copied.stderr.contains(note), has, "{copied:?}");
    assert!(has, "nf_conntrack's default: {copied:?}");
    let off = netns.run(&["config", "set", "--from-kernel", "checksum=0"]);
    assert!(!off.stderr.contains(note), "{off:?}");
}
