//! `demo`, from beginning to end.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::process;
use std::process::Command;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::run::program;
use crate::traces;
use crate::traces::Traces;

/// `demo` for so many seconds, its stdout to be read, and to be found again by a word.
fn demo(seconds: &str, word: &str) -> Command {
    let mut command = program();
    command.args(["demo", "--seconds", seconds]);
    command.stdout(Stdio::piped());
    traces::mark(&mut command, word);
    command
}

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

#[test]
#[ignore = "root"]
fn everything_is_seen() {
    let links = names("/sys/class/net");
    let word = format!("demo-{}-whole", process::id());
    let mut child = demo("3", &word).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut traces) = (String::new(), None);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        stdout += &format!("{}\n", line.unwrap());
        if traces.is_none() && stdout.contains("ESTABLISHED") {
            traces = Some(Traces::of(&word, format!("demo-{}", child.id())));
        }
    }
    let run = child.wait_with_output().unwrap();
    assert_eq!(
        (run.status.code(), run.stderr.as_slice()),
        (Some(0), &b""[..]),
        "{stdout}"
    );
    for word in [
        "ESTABLISHED",
        "TIME_WAIT",
        "CLOSE",
        "icmpv6",
        "[2001:db8:1::2]",
    ] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
    assert!(!stdout.contains("MISSING"), "{stdout}");
    assert_eq!(names("/sys/class/net"), links);
    let traces = traces.expect("it was seen at work");
    assert!(traces.programs.len() >= 2, "{traces:?}");
    traces.assert_gone("the whole demo");
}

#[test]
#[ignore = "root"]
fn an_interrupted_demo_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let word = format!("demo-{}-{signal}", process::id());
        let mut child = demo("60", &word).stderr(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        let reader = BufReader::new(child.stdout.take().unwrap());
        let mut lines = reader.lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("ESTABLISHED")));
        let traces = Traces::of(&word, format!("demo-{pid}"));
        assert_eq!(traces.namespaces.len(), 3, "{traces:?}");
        // Two interfaces, ingress and egress; links of both, or of one.
        assert!(traces.programs.len() >= 2, "{traces:?}");
        assert!(traces.links.len() >= 2, "{traces:?}");
        let ours = |name: &String| name.starts_with("ct_");
        assert!(traces.programs.values().all(ours), "{traces:?}");
        kill(Pid::from_raw(pid as i32), signal).unwrap();
        lines.for_each(drop);
        let code = child.wait().unwrap().code();
        let want = if signal == Signal::SIGKILL {
            None
        } else {
            Some(3)
        };
        assert_eq!(code, want, "{signal}");
        traces.assert_gone(signal.as_str());
    }
}
