//! The kernel's own tracker: switched on in a namespace, and read.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use conntrack::L4;
use conntrack::Protocol;

use super::netns::Netns;
use super::row::Half;
use super::row::Row;

/// Timeouts that a slow machine may outlast between traffic and comparison: a
/// stream that ended in a RST, for one, is there for 10 s only. In both trackers
/// they are [`LONG`].
pub(crate) const SHORT: [&str; 4] = [
    "tcp_timeout_close",
    "udp_timeout",
    "icmp_timeout",
    "icmpv6_timeout",
];

/// Seconds.
pub(crate) const LONG: u32 = 200;

/// Switches nf_conntrack and its accounting on in a namespace. It registers its
/// hooks only when a rule asks for a connection's state. Flows that exist
/// already are not known to it.
pub(crate) fn watch(ns: &Netns) {
    // Accounting first: a flow that began before it was asked for has no counters.
    // Where nf_conntrack is a module, the setting is there once it is loaded; where it
    // is built in, there is nothing to load, and perhaps no modprobe.
    let _ = Command::new("modprobe")
        .args(["-q", "nf_conntrack"])
        .status();
    ns.sysctl("net/netfilter/nf_conntrack_acct", "1");
    ns.sh("nft add table inet watch");
    ns.sh("nft add chain inet watch seen { type filter hook prerouting priority 0 ; }");
    ns.sh("nft add rule inet watch seen ct state new");
}

/// The same, with the timeouts of [`SHORT`] made long.
pub(crate) fn track(ns: &Netns) {
    watch(ns);
    for name in SHORT {
        let setting = format!("net/netfilter/nf_conntrack_{name}");
        ns.sysctl(&setting, &LONG.to_string());
    }
}

/// Where bridges hand their own packets to it, they no longer do.
pub(crate) fn leave_bridged(ns: &Netns) {
    for name in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
        let setting = format!("net/bridge/{name}");
        if Path::new("/proc/sys").join(&setting).exists() {
            ns.sysctl(&setting, "0");
        }
    }
}

/// All entries it has, sorted.
pub(crate) fn rows(ns: &Netns) -> Vec<Row> {
    let mut rows = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let text = ns.sh(&format!("{} -L -f {family} -o extended", tool()));
        rows.extend(text.lines().map(parse));
    }
    rows.sort();
    rows
}

/// How many packets it called INVALID.
pub(crate) fn invalid(ns: &Netns) -> u64 {
    let text = ns.sh(&format!("{} -S", tool()));
    let words = text.split_whitespace();
    let counts = words.filter_map(|word| word.strip_prefix("invalid="));
    counts
        .map(|count| count.parse::<u64>().expect("a number"))
        .sum()
}

/// The program of conntrack-tools; one of ours may have the same name.
fn tool() -> &'static str {
    static TOOL: OnceLock<&str> = OnceLock::new();
    TOOL.get_or_init(|| {
        let is_it = |name: &&str| {
            let output = Command::new(name).arg("--version").output();
            output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("conntrack-tools"))
        };
        ["conntrack", "/usr/sbin/conntrack"]
            .into_iter()
            .find(is_it)
            .expect("conntrack-tools is not installed")
    })
}

/// `ipv4 2 tcp 6 431999 ESTABLISHED src=… dst=… … src=… … [ASSURED] mark=0 use=1`
fn parse(line: &str) -> Row {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number: u8 = words[3].parse().expect("a protocol number");
    let state = words.get(5).filter(|word| !word.contains('='));
    let timeout = words[4].parse().expect("a timeout");
    let second = words
        .iter()
        .rposition(|word| word.starts_with("src="))
        .expect("a reply");
    Row {
        protocol: Protocol(number),
        original: half(Protocol(number), &words[..second]),
        reply: half(Protocol(number), &words[second..]),
        state: state.map(|&word| word.to_owned()),
        seen_reply: !line.contains("[UNREPLIED]"),
        assured: line.contains("[ASSURED]"),
        timeout,
    }
}

fn half(protocol: Protocol, words: &[&str]) -> Half {
    let find = |key: &str| {
        words
            .iter()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    let text = |key: &str| find(key).unwrap_or_else(|| panic!("no {key} in {words:?}"));
    let number = |key: &str| text(key).parse::<u64>().expect("a number");
    let l4 = match protocol {
        Protocol::ICMP | Protocol::ICMPV6 => L4::Icmp {
            kind: number("type") as u8,
            code: number("code") as u8,
            id: number("id") as u16,
        },
        _ if find("sport").is_some() => L4::Ports {
            src: number("sport") as u16,
            dst: number("dport") as u16,
        },
        _ => L4::None,
    };
    Half {
        src: text("src").parse().expect("an address"),
        dst: text("dst").parse().expect("an address"),
        l4,
        packets: number("packets"),
        bytes: number("bytes"),
    }
}
