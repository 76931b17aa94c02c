//! Events beside those of conntrack-tools, of the same packets.

use std::collections::HashMap;
use std::process::Command;

use crate::events::Listening;
use crate::events::datagram;
use crate::netns::Netns;
use crate::run::finish;

/// Two of one thing may be told a moment apart.
const SLACK: u64 = 1;

/// What only one of the two has to say: nf_conntrack_acct is off, only we tell why something
/// ended, and only they who has ended it.
const OWN: [&str; 6] = [
    "packets=",
    "bytes=",
    "reason=",
    "[USERSPACE]",
    "portid=",
    "progname=",
];

/// A line: what differs between two trackers that agree is taken out of it, and the
/// seconds it has left.
#[derive(Debug)]
struct Line {
    text: String,
    timeout: Option<u64>,
}

impl Line {
    fn of(line: &str) -> Self {
        let (time, rest) = line.split_once('\t').unwrap();
        let time = time.strip_prefix('[').unwrap().strip_suffix(']').unwrap();
        assert!(time.parse::<f64>().unwrap() > 1e9, "{line}");
        let mut words: Vec<&str> = rest
            .split(' ')
            .filter(|word| !OWN.iter().any(|own| word.starts_with(own)))
            .collect();
        // `[NEW] tcp      6 120 SYN_SENT …`; of what has ended there is no time left.
        let proto = words.iter().position(|word| *word == "6").unwrap();
        let timeout = words[proto + 1].parse().ok();
        if timeout.is_some() {
            words.remove(proto + 1);
        }
        Self {
            text: words.join(" "),
            timeout,
        }
    }

    fn agrees_with(&self, other: &Self) -> bool {
        let close = match (self.timeout, other.timeout) {
            (Some(a), Some(b)) => a.abs_diff(b) <= SLACK,
            (a, b) => a == b,
        };
        self.text == other.text && close
    }
}

/// What was told of TCP, up to the end of its only connection.
fn of_tcp(listening: &mut Listening) -> Vec<Line> {
    let mut lines = Vec::new();
    loop {
        let line = listening.line();
        if !line.contains(" tcp ") {
            continue;
        }
        lines.push(Line::of(&line));
        if line.contains("[DESTROY]") {
            return lines;
        }
    }
}

/// The program of conntrack-tools; ours may have the same name.
fn theirs() -> &'static str {
    let is_it = |name: &&str| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("conntrack-tools"))
    };
    let names = ["conntrack", "/usr/sbin/conntrack"];
    names.into_iter().find(is_it).expect("conntrack-tools")
}

fn inside(netns: &Netns, words: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &netns.name]).args(words);
    command
}

#[test]
#[ignore = "root"]
fn lines_of_a_connection_s_life_are_theirs() {
    let netns = Netns::new();
    let rules = "add table inet t; \
                 add chain inet t c { type filter hook prerouting priority 0; }; \
                 add rule inet t c ct state new";
    let run = finish(&mut inside(&netns, &["nft", rules]));
    assert_eq!(run.code, Some(0), "{run:?}");
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let mut ours = Listening::start(&netns, &[]);
    let watch = [theirs(), "-E", "-o", "timestamp"];
    let mut nf_conntrack = Listening::of(&mut inside(&netns, &watch));
    ours.first(|| datagram(&netns));
    nf_conntrack.first(|| datagram(&netns));
    drop(netns.connection());
    netns.run(&["flush", "--yes"]);
    let run = finish(&mut inside(&netns, &[theirs(), "-F"]));
    assert_eq!(run.code, Some(0), "{run:?}");

    let (ours, nf_conntrack) = (of_tcp(&mut ours), of_tcp(&mut nf_conntrack));
    let agree = ours
        .iter()
        .zip(&nf_conntrack)
        .all(|(a, b)| a.agrees_with(b));
    assert!(
        agree && ours.len() == nf_conntrack.len(),
        "{ours:#?}\n{nf_conntrack:#?}"
    );
    let kinds = ours.iter().fold(HashMap::new(), |mut kinds, line| {
        let kind = line.text.trim_start().split(' ').next().unwrap();
        *kinds.entry(kind.to_owned()).or_insert(0) += 1;
        kinds
    });
    assert!(
        kinds["[NEW]"] == 1 && kinds["[DESTROY]"] == 1 && kinds["[UPDATE]"] >= 5,
        "{kinds:?}"
    );
    netns.run(&["detach"]).ok();
}
