//! What is wrong before anything is done. None of this needs root.

use std::fs;
use std::process::Stdio;

use crate::run::program;
use crate::run::run;

#[test]
fn bad_arguments_are_code_2() {
    for args in [
        &["nonsense"][..],
        &["list", "--nonsense"],
        &["list", "-p", "tcpx"],
        &["list", "-p", "256"],
        &["list", "--state", "OPEN"],
        &["list", "--src", "10.0.0.0/33"],
        &["list", "--dport", "90-80"],
        &["list", "--sport", "65536"],
        &["list", "--sort", "size"],
        &["list", "--reverse"],
        &["list", "--limit", "-1"],
        &["list", "-o", "xml"],
        &["list", "--watch=0"],
        &["list", "--instance", "../etc"],
        &["list", "--netns", ""],
        &["list", "--assured", "--unreplied"],
        &["events", "-b", "2G"],
        &["stats", "--interval", "0"],
        &["attach", "eth0", "--mode", "xdp"],
        &["attach", "--all", "eth0"],
        &["attach", "eth0", "--follow"],
        &["follow", "--all", "eth0"],
        &["attach", "eth0", "--max-flows", "0"],
        &["attach", "eth0", "--max-flows", "67108865"],
        &["attach", "eth0", "--interval", "5"],
        &["detach", "eth0", "--force"],
        &["upgrade", "eth0"],
        &["resize"],
        &["resize", "eth0", "--max-flows", "1000"],
        &["resize", "--max-flows", "0"],
        &["resize", "--max-memory", "64M", "--max-flows", "1000"],
        &["flush", "all"],
        &["delete", "--dport", "x"],
        &["delete", "udp", "10.0.0.1:1", "10.0.0.2:2", "-p", "udp"],
        &["delete", "udp", "10.0.0.1:1", "10.0.0.2:2", "-i", "lo"],
        &["ban"],
        &["ban", "host"],
        &["ban", "10.0.0.0/33"],
        &["ban", "10.0.0.1", "--ttl", "0"],
        &["ban", "10.0.0.1", "--ttl", "1y"],
        &["ban", "10.0.0.1", "--scope", "icmp/8"],
        &["ban", "10.0.0.1", "--direction", "out"],
        &["ban", "10.0.0.1", "10.0.0.2"],
        &["unban"],
        &["unban", "--all", "10.0.0.1"],
        &["banned", "-o", "xml"],
        &["banned", "--lists", "10.0.0.1"],
        &["ban", "10.0.0.1", "--list", "a"],
        &["ban", "10.0.0.1", "--replace"],
        &["ban", "10.0.0.1", "--file", "a"],
        &["ban", "--file", "a", "--confirm"],
        &["unban", "--list", "a", "--all"],
        &["banned", "--origin", "me"],
        &["allow", "--remove"],
        &["allow", "host"],
        &["confirm", "10.0.0.1"],
        &["config"],
        &["config", "set"],
        &["config", "set", "tcp_loose=0", "-o", "yaml"],
        &["config", "get", "--from-kernel"],
        &["replay"],
        &["demo", "--seconds", "2"],
        &["demo", "--netns", "1"],
        &["replay", "capture", "--instance", "a"],
        &["--t", "0"],
    ] {
        let run = run(args);
        assert_eq!(run.code, Some(2), "{args:?}: {run:?}");
        assert_eq!(run.stdout, "", "{args:?}");
        assert!(!run.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn what_clap_cannot_know_is_code_2_too() {
    for (args, says) in [
        (&["list", "tcp", "10.0.0.1:1"][..], "flow key"),
        (&["list", "tcp 10.0.0.1:1 [::1]:2"], "flow key"),
        (&["flush"], "--yes"),
        (&["delete"], "conntrack flush"),
        (&["delete", "tcp", "10.0.0.1:1"], "flow key"),
        (
            &["config", "get", "tcp_loos"],
            "\"tcp_loos\": did you mean nf_conntrack_tcp_loose?",
        ),
        (&["config", "get", "tcp_loose", "max"], "max"),
        (&["config", "set", "tcp_loos=1"], "tcp_loos"),
        (&["config", "set", "tcp_loose=1", "checksum=2"], "checksum"),
        (&["config", "set", "tcp_loose", "off"], "off"),
        (&["attach"], "no interface"),
        (&["follow"], "no interface"),
        (&["attach", "a", "a"], "conntrack: \"a\" is listed twice"),
        (&["attach", "a/b"], "no interface name"),
        (
            &["--config", "/nonexistent/c.yaml", "list"],
            "c.yaml: ENOENT: No such",
        ),
        (&["attach", "eth[0"], "no interface name or pattern"),
        (&["attach", "*", "*"], "listed twice"),
        (&["attach", "--config", "/nonexistent/c.yaml"], "c.yaml"),
        (&["--iface1", "eth0", "list"], "--iface1"),
        (&["--t", "50"], "no interface"),
        (&["list", "--wide", "-o", "extended"], "table and csv"),
        (
            &["replay", "x.pcap", "--wide", "-o", "session"],
            "table and csv",
        ),
        (
            &["replay", "x.pcap", "--stats", "-o", "csv"],
            "table or json",
        ),
    ] {
        run(args).failed(2, says);
    }
}

/// Whatever is to be read there, and whether or not a tracker runs.
#[test]
fn files_that_cannot_be_read_are_code_2() {
    for (path, says) in [
        (
            "/nonexistent.file",
            "/nonexistent.file: ENOENT: No such file",
        ),
        ("/", "/: EISDIR: Is a directory"),
    ] {
        for args in [
            &["--config", path, "list"][..],
            &["attach", "--config", path],
            &["ban", "--file", path, "--list", "a"],
            &["fingerprints", "--p0f-fp", path],
            &["replay", path],
        ] {
            run(args).failed(2, says);
        }
    }
    // Where opening succeeds, and reading does not.
    let memory = "/proc/self/mem";
    for args in [
        &["--config", memory, "list"][..],
        &["fingerprints", "--p0f-fp", memory],
        &["replay", memory],
    ] {
        run(args).failed(2, "EIO: ");
    }
}

#[test]
fn a_key_after_watch_is_explained() {
    let run = run(&["list", "-w", "tcp", "10.0.0.1:1", "10.0.0.2:2"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("a KEY goes before"), "{run:?}");
}

#[test]
fn a_bad_configuration_names_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    let path = path.to_str().unwrap();
    for (yaml, says) in [
        (
            "mode: auto\nintefaces: [lo]\n",
            &["line 2", "intefaces"][..],
        ),
        (
            "conntrack:\n  nf_conntrack_tcp_loose: maybe\n",
            &["line 2", "conntrack.nf_conntrack_tcp_loose", "maybe"],
        ),
        (
            "ips:\n  - ip: 10.0.0.1\n    mac: aa:bb\n",
            &["line 3", "ips[0].mac"],
        ),
    ] {
        fs::write(path, yaml).unwrap();
        for args in [
            &["attach", "lo", "--config", path][..],
            &["-c", path, "list"],
            &["--c", path, "--iface1", "lo"],
        ] {
            let run = run(args);
            for word in says {
                run.failed(2, word);
            }
            run.failed(2, path);
        }
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = run(&["--version"]).ok();
    assert_eq!(
        version,
        concat!("conntrack ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let help = run(&["--help"]).ok();
    for word in ["attach", "Exit codes", "NO_COLOR", "conntrack list -p tcp"] {
        assert!(help.contains(word), "{word}");
    }
    // The older command line is taken, and not advertised.
    assert!(!help.contains("--iface1"));
    for command in [
        "attach", "follow", "detach", "upgrade", "resize", "status", "doctor", "list", "stats",
        "config", "delete", "flush", "replay", "demo",
    ] {
        let help = run(&[command, "--help"]).ok();
        assert!(help.contains("--instance"), "{command}");
    }
    let nothing = run::<&str>(&[]);
    assert_eq!(nothing.code, Some(2));
    assert_eq!(nothing.stdout, "");
}

#[test]
fn a_reader_that_left_is_no_error() {
    let mut child = program()
        .arg("--help")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}
