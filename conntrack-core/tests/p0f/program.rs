//! The same packets to p0f itself, with its own file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use conntrack_core::p0f::Database;
use conntrack_core::p0f::Kind;
use conntrack_core::p0f::Raw;
use conntrack_core::p0f::Signature;

use crate::probe::Probe;

/// Where Debian's p0f has its signatures.
pub(crate) const FILE: &str = "/etc/p0f/p0f.fp";

/// What one or the other says of a segment, by name.
pub(crate) type Answer = BTreeMap<&'static str, String>;

const SIGNATURE: [&str; 9] = [
    "ver", "ittl", "olen", "mss", "wsize", "scale", "olayout", "quirks", "pclass",
];

/// Takes a signature apart.
fn fields(text: &str) -> Answer {
    let mut parts: Vec<&str> = text.split(':').collect();
    let (window, scale) = parts[4].split_once(',').unwrap();
    parts.splice(4..5, [window, scale]);
    assert_eq!(parts.len(), SIGNATURE.len(), "{text}");
    let named = SIGNATURE.into_iter().zip(parts);
    named.map(|(name, part)| (name, part.to_owned())).collect()
}

/// What we say, in p0f's words.
pub(crate) fn ours(database: &Database, raw: &Raw) -> Answer {
    let signature = Signature::from_raw(raw).unwrap();
    let found = database.find(raw.kind(), &signature);
    let mut answer = fields(&signature.to_string());
    let (label, limit) = match found.matched {
        Some(matched) => (matched.label.to_string(), matched.any_ttl),
        None => ("???".to_owned(), false),
    };
    answer.insert("os", label);
    let limit = if limit { "<= " } else { "" };
    answer.insert("dist", format!("{limit}{}", found.distance));
    answer.insert("params", found.params());
    if let Some(mtu) = found.mtu {
        answer.insert("raw_mtu", mtu.to_string());
        answer.insert("link", found.link.unwrap_or("???").to_owned());
    }
    answer
}

/// A capture of whole IP packets, as libpcap writes it.
fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    const RAW_IP: u32 = 101;
    let mut file = u32::to_ne_bytes(0xa1b2_c3d4).to_vec();
    for version in [2, 4] {
        file.extend(u16::to_ne_bytes(version));
    }
    for word in [0, 0, 65_535, RAW_IP] {
        file.extend(u32::to_ne_bytes(word));
    }
    for (number, packet) in (0..).zip(packets) {
        let length = u32::try_from(packet.len()).unwrap();
        for word in [1_700_000_000, number, length, length] {
            file.extend(u32::to_ne_bytes(word));
        }
        file.extend(packet);
    }
    file
}

/// What p0f says of each probe; empty if it says nothing.
pub(crate) fn theirs(file: &Path, probes: &[Probe]) -> Vec<Answer> {
    let mut packets = Vec::new();
    for (number, probe) in (1..).zip(probes) {
        if probe.kind() == Kind::SynAck {
            packets.push(probe.question(number).bytes());
        }
        packets.push(probe.numbered(number).bytes());
    }
    let folder = tempfile::tempdir().unwrap();
    let (pcap, log) = (folder.path().join("pcap"), folder.path().join("log"));
    fs::write(&pcap, capture(&packets)).unwrap();
    let files: [&OsStr; 6] = [
        "-f".as_ref(),
        file.as_ref(),
        "-r".as_ref(),
        pcap.as_ref(),
        "-o".as_ref(),
        log.as_ref(),
    ];
    let output = Command::new("p0f")
        .env("PATH", "/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")
        .args(files)
        .output()
        .expect("p0f (scripts/setup.sh test installs it)");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    let mut answers = vec![Answer::new(); probes.len()];
    for line in fs::read_to_string(&log).unwrap().lines() {
        note(&mut answers, probes, line);
    }
    answers
}

/// `[date] mod=syn|cli=10.0.0.2/1|srv=10.0.0.3/80|subj=cli|os=…|…`
fn note(answers: &mut [Answer], probes: &[Probe], line: &str) {
    let (_, line) = line.split_once("] ").unwrap();
    let parts: BTreeMap<&str, &str> = line.split('|').filter_map(|p| p.split_once('=')).collect();
    let (_, port) = parts["cli"].rsplit_once('/').unwrap();
    let index = port.parse::<usize>().unwrap() - 1;
    let subject = match probes[index].kind() {
        Kind::Syn => "cli",
        Kind::SynAck => "srv",
    };
    let answer = &mut answers[index];
    match parts["mod"] {
        _ if parts["subj"] != subject => {}
        // What p0f's own tool sends it calls otherwise.
        "syn" | "syn+ack" | "sendsyn probe" => {
            answer.extend(fields(parts["raw_sig"]));
            let label = parts.get("os").or(parts.get("app")).unwrap();
            answer.insert("os", (*label).to_owned());
            answer.insert("dist", parts["dist"].to_owned());
            let (traffic, params): (Vec<&str>, Vec<&str>) = parts["params"]
                .split(' ')
                .partition(|word| word.starts_with("tos:"));
            answer.extend(traffic.first().map(|word| ("tos", (*word).to_owned())));
            let params = if params.is_empty() {
                "none".to_owned()
            } else {
                params.join(" ")
            };
            answer.insert("params", params);
        }
        "mtu" => {
            answer.insert("link", parts["link"].to_owned());
            answer.insert("raw_mtu", parts["raw_mtu"].to_owned());
        }
        // What it concludes of hosts over time.
        _ => {}
    }
}
