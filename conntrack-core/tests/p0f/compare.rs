//! What p0f says and what we say, field by field; each difference has its reason.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use conntrack_core::p0f::Database;
use conntrack_core::p0f::Raw;

use crate::crafted;
use crate::filed;
use crate::probe::Probe;
use crate::probe::SEEN_ACK;
use crate::program::*;

/// A segment, and what is said of it by whom with which file.
struct Case<'a> {
    file: &'a str,
    probe: &'a Probe,
    ours: &'a Answer,
    theirs: &'a Answer,
}

/// Fields that may differ, for whom, and why.
struct Difference {
    fields: &'static [&'static str],
    applies: fn(&Case) -> bool,
    why: &'static str,
}

const DIFFERENCES: [Difference; 11] = [
    Difference {
        fields: &["all"],
        applies: |case| case.probe.shape.v6 && !case.probe.shape.ip_options.is_empty(),
        why: "p0f reads no packet with IPv6 extension headers; we measure them, as olen",
    },
    Difference {
        fields: &["mss"],
        applies: |case| case.theirs["mss"] == "*" && case.ours["mss"] == "1331",
        why: "p0f hints at a wildcard where a SYN+ACK has the MSS of its own tool",
    },
    Difference {
        fields: &["quirks", "os", "params"],
        applies: |case| case.probe.shape.ack & SEEN_ACK == 0 && overlooks(case, "ack+"),
        why: "p0f sees ack+ by one bit of the number only, for want of a second &",
    },
    Difference {
        fields: &["quirks", "os", "params"],
        applies: |case| case.probe.shape.options.last() != Some(&0) && overlooks(case, "opt+"),
        why: "p0f sees no opt+ if the last byte is the only one that is not 0",
    },
    Difference {
        fields: &["wsize"],
        applies: |case| case.probe.peer_mss < 78 && case.theirs["wsize"].starts_with("mss*"),
        why: "p0f takes any factor of a peer's MSS, and that less 12 though it be negative",
    },
    Difference {
        fields: &["tos"],
        applies: |case| case.theirs["tos"] == format!("tos:{:#04x}", case.probe.shape.class >> 2),
        why: "p0f has the traffic class among its params; it is no part of a signature",
    },
    Difference {
        fields: &["os", "params", "dist"],
        applies: |case| case.probe.shape.v6 && has_version(case.file, &case.theirs["os"], "4:"),
        why: "p0f forgets to compare the IP version",
    },
    Difference {
        fields: &["os", "params", "dist"],
        applies: |case| case.probe.shape.v6 && case.ours["os"] == "Reserved",
        why: "p0f forgets to leave 0+ out of account for IPv6",
    },
    Difference {
        fields: &["os", "params", "dist"],
        applies: |case| {
            [case.ours, case.theirs]
                .iter()
                .any(|said| said["os"] == "Routed")
        },
        why: "p0f overlooks the first digit of olen behind a TTL with -",
    },
    Difference {
        fields: &["dist", "params"],
        applies: |case| case.theirs["os"] == "???" && case.theirs["dist"] == "0",
        why: "p0f guesses no distance where all that nearly fits is a program",
    },
    Difference {
        fields: &["link", "raw_mtu"],
        applies: |case| case.ours["mss"] == "1331" && case.ours["wsize"] == "1337",
        why: "p0f takes what its own tool sends for no host",
    },
];

/// Whether p0f has all of our quirks but this one.
fn overlooks(case: &Case, quirk: &str) -> bool {
    let ours = case.ours["quirks"].split(',');
    let rest: Vec<&str> = ours.clone().filter(|name| *name != quirk).collect();
    rest.len() < ours.count() && rest.join(",") == case.theirs["quirks"]
}

/// Whether one of a label's signatures is for this version of IP only.
fn has_version(file: &str, label: &str, version: &str) -> bool {
    let mut here = false;
    file.lines().any(|line| {
        let (name, value) = line.split_once('=').unwrap_or_default();
        let value = value.trim();
        match name.trim() {
            "label" => {
                let mut parts = value.splitn(4, ':').skip(2);
                let mut next = || parts.next().unwrap_or_default();
                here = format!("{} {}", next(), next()).trim() == label;
                false
            }
            "sig" => here && value.starts_with(version),
            _ => false,
        }
    })
}

/// How often each difference was seen.
type Seen = BTreeMap<&'static str, usize>;

/// Compares our records, and counts the differences that have a reason.
fn compare(file: &Path, probes: &[Probe], records: &[Raw], seen: &mut Seen) {
    let text = fs::read_to_string(file).expect("p0f's file (scripts/setup.sh test installs it)");
    let database = Database::parse(text.as_bytes()).unwrap();
    let mut wrong: BTreeMap<String, (usize, &Probe)> = BTreeMap::new();
    assert_eq!(records.len(), probes.len());
    let theirs = theirs(file, probes);
    for ((probe, theirs), record) in probes.iter().zip(theirs).zip(records) {
        let ours = ours(&database, record);
        let case = Case {
            file: &text,
            probe,
            ours: &ours,
            theirs: &theirs,
        };
        for name in differing(&ours, &theirs) {
            let known = |difference: &&Difference| {
                difference.fields.contains(&name) && (difference.applies)(&case)
            };
            if let Some(difference) = DIFFERENCES.iter().find(known) {
                *seen.entry(difference.why).or_default() += 1;
                continue;
            }
            let text = format!("{name}: {:?}, p0f: {:?}", ours.get(name), theirs.get(name));
            wrong.entry(text).or_insert((0, probe)).0 += 1;
        }
    }
    let mut report = String::new();
    for (text, (count, probe)) in wrong.iter().take(20) {
        report += &format!("{count} x {text}: such as {probe:x?}\n");
    }
    assert!(
        wrong.is_empty(),
        "{} kinds of differences:\n{report}",
        wrong.len()
    );
}

/// The fields that differ; `all` if p0f is silent.
fn differing(ours: &Answer, theirs: &Answer) -> BTreeSet<&'static str> {
    if theirs.is_empty() {
        return BTreeSet::from(["all"]);
    }
    let names = ours.keys().chain(theirs.keys()).copied();
    names
        .filter(|name| ours.get(name) != theirs.get(name))
        .collect()
}

/// What Debian's file does not try: each rule of matching, and their order.
const RULES: &str = "\
classes = unix,win
[mtu]
label = one
sig = 1500
[tcp:request]
label = s:unix:Reserved:
sig = *:64:0:1460:*,0:mss:df,id+,0+:0
label = s:unix:Ladder:
sig = *:60-:0:*:mss*10,8:mss,nop,ws,nop,nop,sok:df,id+:0
label = s:unix:Quirky:1
sig = *:30:0:*:*,8:mss,nop,ws,nop,nop,sok:df,id+:0
sig = *:64:0:1460:*,0:mss:df,id+,seq-:0
sig = *:64:0:1460:*,0:mss:id-,ecn,flow:0
sig = 6:64:0:1460:*,0:mss:flow,pushf+:*
label = s:unix:Modulo:
sig = *:64:0:*:%5,*:mss:df,id+:*
label = s:unix:Routed:
sig = *:200-:8:*:%3,*:mss:df,id+:*
label = s:!:Tool:x
sys = @unix, Modulo
sig = *:200-:0:*:mtu*17,0:mss::0
sig = *:90:0:*:*,7:mss,sok,ts,nop,ws:df:0
label = g:win:Any:
sig = *:100+28:0:*:*,*:mss,nop,ws,nop,nop,sok:df,id+:0
sig = *:64:0:*:*,*:mss:df,id+:0
sig = *:64:0:*:*,*:nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop:df,id+,bad:0
sig = *:64:0:*:*,*:eol+3:df,id+:0
[tcp:response]
label = g:unix:Peer:
sig = *:64:0:*:mss*7,*:mss:df:0
";

/// Compares what `records` makes of packets with what p0f says of them, and makes sure that
/// each difference was seen.
pub(crate) fn check(mut records: impl FnMut(&[Probe]) -> Vec<Raw>) {
    let mut seen = Seen::new();
    let file = fs::read_to_string(FILE).expect("p0f's file (scripts/setup.sh test installs it)");
    let filed = filed::probes(&file);
    let crafted = crafted::probes();
    assert!(filed.len() > 1000 && crafted.len() > 1000);
    let (of_filed, of_crafted) = (records(&filed), records(&crafted));
    compare(FILE.as_ref(), &filed, &of_filed, &mut seen);
    compare(FILE.as_ref(), &crafted, &of_crafted, &mut seen);
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.fp");
    fs::write(&rules, RULES).unwrap();
    compare(&rules, &crafted, &of_crafted, &mut seen);
    for difference in &DIFFERENCES {
        let seen = seen.get(difference.why);
        assert!(seen.is_some(), "never seen: {}", difference.why);
    }
}
