//! `demo`, from beginning to end.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::run::program;
use crate::run::run;

/// Names in a folder; nothing if there is no such folder.
fn names(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

/// What a demo must not leave behind, as far as this one could have.
fn traces(pid: u32) -> Vec<String> {
    let pins = ["/sys/fs/bpf/conntrack/v4", "/run/conntrack"];
    let found = pins.iter().flat_map(|folder| names(folder));
    found
        .filter(|name| name.contains(&format!("demo-{pid}")))
        .collect()
}

#[test]
#[ignore = "root"]
fn everything_is_seen() {
    let links = names("/sys/class/net");
    let run = run(&["demo", "--seconds", "3"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(0), ""),
        "{}",
        run.stdout
    );
    for word in [
        "ESTABLISHED",
        "TIME_WAIT",
        "CLOSE",
        "icmpv6",
        "[2001:db8:1::2]",
    ] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    assert!(!run.stdout.contains("MISSING"), "{}", run.stdout);
    assert_eq!(names("/sys/class/net"), links);
}

#[test]
#[ignore = "root"]
fn an_interrupted_demo_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let mut child = program()
            .args(["demo", "--seconds", "60"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        let reader = BufReader::new(child.stdout.take().unwrap());
        let mut lines = reader.lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("ESTABLISHED")));
        kill(Pid::from_raw(pid as i32), signal).unwrap();
        lines.for_each(drop);
        let code = child.wait().unwrap().code();
        let want = if signal == Signal::SIGKILL {
            None
        } else {
            Some(3)
        };
        assert_eq!(code, want, "{signal}");
        assert_eq!(traces(pid), [""; 0], "{signal}");
    }
}
