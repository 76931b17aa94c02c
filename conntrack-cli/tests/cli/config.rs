//! `config`, on running trackers.

use crate::netns::Netns;

const SYSCTLS: &str = "/proc/sys/net/netfilter";

fn number(json: &str, name: &str) -> u64 {
    let settings: serde_json::Value = serde_json::from_str(json).unwrap();
    settings[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {json}"))
}

#[test]
#[ignore = "root"]
fn settings_change_while_it_runs() {
    let netns = Netns::new();
    netns.run(&["config", "get"]).failed(3, &netns.name);
    netns
        .run(&["config", "set", "tcp_loose=0"])
        .failed(3, &netns.name);
    netns.run(&["attach", "lo"]).ok();
    let _open = netns.connection();

    let all = netns.run(&["config", "get"]).ok();
    assert_eq!(all.lines().count(), 31, "{all}");
    assert!(all.lines().is_sorted(), "{all}");
    assert!(all.contains("\nnf_conntrack_tcp_timeout_established=432000\n"));
    let one = ["config", "get", "tcp_loose"];
    assert_eq!(netns.run(&one).ok(), "nf_conntrack_tcp_loose=1\n");
    // What is shown can be set.
    let same = [&["config", "set"][..], &all.lines().collect::<Vec<_>>()].concat();
    assert_eq!(netns.run(&same).ok(), all);
    assert_eq!(netns.run(&["config", "get"]).ok(), all);

    let set = ["config", "set", "tcp_timeout_established=90", "tcp_loose=0"];
    let want = "nf_conntrack_tcp_loose=0\nnf_conntrack_tcp_timeout_established=90\n";
    assert_eq!(netns.run(&set).ok(), want);
    let set = ["config", "set", "udp_timeout", "7", "-o", "json"];
    assert_eq!(number(&netns.run(&set).ok(), "nf_conntrack_udp_timeout"), 7);
    let now = netns.run(&["config", "get", "-o", "json"]).ok();
    for (name, value) in [
        ("tcp_loose", 0),
        ("tcp_timeout_established", 90),
        ("udp_timeout", 7),
    ] {
        assert_eq!(number(&now, &format!("nf_conntrack_{name}")), value);
    }
    // The flow is still there, and lives by the new timeout.
    let flows = crate::schema::flows(&netns.run(&["list", "-o", "json"]).ok());
    assert_eq!(flows.len(), 1);
    assert!(flows[0]["timeout"].as_u64().unwrap() <= 90, "{flows:?}");

    // All or nothing.
    let bad = ["config", "set", "udp_timeout=8", "tcp_loose=7"];
    netns.run(&bad).failed(2, "tcp_loose");
    assert_eq!(netns.run(&["config", "get", "-o", "json"]).ok(), now);
    let other = Netns::new();
    let mut elsewhere = crate::run::program();
    elsewhere.args(["--netns", &other.name, "--instance", &netns.name]);
    elsewhere.args(["config", "set", "udp_timeout=8"]);
    crate::run::finish(&mut elsewhere).failed(3, "two namespaces");
    netns.run(&["detach"]).ok();
}

#[test]
#[ignore = "root"]
fn those_of_the_kernel_are_those_of_the_namespace() {
    let netns = Netns::new();
    let write = |name: &str, value: &str| {
        let path = format!("{SYSCTLS}/nf_conntrack_{name}");
        netns.inside(|| std::fs::write(path, value).unwrap());
    };
    write("udp_timeout", "77");
    write("tcp_be_liberal", "1");
    netns.run(&["attach", "lo"]).ok();
    let run = netns.run(&["config", "set", "--from-kernel", "checksum=0"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for line in [
        "nf_conntrack_udp_timeout=77",
        "nf_conntrack_tcp_be_liberal=1",
    ] {
        assert!(run.stdout.lines().any(|it| it == line), "{line}: {run:?}");
    }
    // Every setting was copied, or is said to have been kept.
    let kept = run
        .stderr
        .lines()
        .filter(|line| line.contains("no such setting"));
    assert_eq!(run.stdout.lines().count() + kept.count(), 31, "{run:?}");
    let now = netns.run(&["config", "get"]).ok();
    for line in run.stdout.lines() {
        assert!(now.lines().any(|it| it == line), "{line}: {now}");
    }
    assert!(now.contains("nf_conntrack_checksum=0\n"), "{now}");
    // The host's own were not touched, nor asked.
    assert_ne!(
        std::fs::read_to_string(format!("{SYSCTLS}/nf_conntrack_udp_timeout")).unwrap(),
        "77\n"
    );
}
