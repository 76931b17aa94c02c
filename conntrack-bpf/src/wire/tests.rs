//! The constants that BTF does not carry, and the names of enum values, against
//! the C header and `conntrack-core`.

use std::collections::HashMap;

use conntrack_core::EventType;
use conntrack_core::GoneReason;
use conntrack_core::SctpState;
use conntrack_core::Segment;
use conntrack_core::TcpState;
use conntrack_core::Timeout;
use conntrack_core::stats::BAN_ORIGINS;
use conntrack_core::stats::DROP_REASONS;
use conntrack_core::stats::PASS_REASONS;
use conntrack_core::stats::UNRECORDED;

use super::*;
use crate::defines::HEADERS;

/// The enumerators of an enum of the header, less its prefix and in lower case,
/// with their numbers.
fn enumerators(name: &str, prefix: &str) -> Vec<(String, u32)> {
    let begin = HEADERS.find(&format!("enum {name} {{\n")).expect(name);
    let body = &HEADERS[begin..begin + HEADERS[begin..].find("\n};").expect(name)];
    let mut next = 0;
    let lines = body.lines().skip(1).map(str::trim);
    lines
        .filter(|line| line.starts_with("CT_"))
        .map(|line| {
            let item = &line[..line.find(',').expect(line)];
            let (item, value) = item.split_once(" = ").unwrap_or((item, ""));
            let number = value.parse().unwrap_or(next);
            next = number + 1;
            let short = item.strip_prefix(prefix).unwrap_or(item);
            (short.to_lowercase(), number)
        })
        .collect()
}

/// The values of the header's `#define`s that are shifts and masks.
fn defines() -> HashMap<&'static str, u64> {
    let mut known = HashMap::new();
    for line in HEADERS.lines() {
        let Some(rest) = line.strip_prefix("#define ") else {
            continue;
        };
        let Some((name, value)) = rest.split_once(char::is_whitespace) else {
            continue;
        };
        let value = value.split("/*").next().unwrap_or("").trim();
        if let Some(value) = evaluate(value, &known) {
            known.insert(name, value);
        }
    }
    known
}

fn evaluate(text: &str, known: &HashMap<&str, u64>) -> Option<u64> {
    let text = text.trim_start_matches('(').trim_end_matches(')');
    if let Some((left, right)) = text.split_once(" << ") {
        return Some(evaluate(left, known)? << evaluate(right, known)?);
    }
    let digits = text.trim_end_matches("ULL");
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok().or_else(|| known.get(text).copied()),
    }
}

#[test]
fn constants_are_those_of_the_header() {
    let defines = defines();
    let want = [
        ("CT_W_PHASE", Word::PHASE),
        ("CT_W_SEEN_REPLY", Word::SEEN_REPLY),
        ("CT_W_ASSURED", Word::ASSURED),
        ("CT_W_ORIG_HI", Word::ORIG_HI),
        ("CT_W_STATE_SHIFT", u64::from(Word::STATE_SHIFT)),
        ("CT_W_STATE", Word::STATE),
        ("CT_W_TMO_SHIFT", u64::from(Word::TMO_SHIFT)),
        ("CT_W_TMO", Word::TMO),
        ("CT_W_GEN", Word::GEN),
        ("CT_W_LEFT", Word::LEFT),
        ("CT_W_MOVED", Word::MOVED),
        ("CT_W_ARRIVED", Word::ARRIVED),
    ];
    for (name, value) in want {
        assert_eq!(defines.get(name), Some(&value), "{name}");
    }
}

#[test]
fn reasons_are_those_of_the_header() {
    for (name, prefix, reasons, count) in [
        ("ct_pass", "CT_PASS_", &PASS_REASONS[..], "reasons"),
        ("ct_drop", "CT_DROP_", &DROP_REASONS[..], "reasons"),
        (
            "ct_class",
            "CT_CLASS_",
            // The order of `ClassCounts::from`.
            &["new", "established", "related", "invalid", "untracked"],
            "ct_classes",
        ),
        (
            "ct_table_event",
            "CT_TABLE_",
            // The order of `TableCounts::from`.
            &["created", "conflicts"],
            "events",
        ),
        ("ct_gone", "CT_GONE_", &GoneReason::NAMES, "reasons"),
        ("ct_ban_origin", "CT_ORIGIN_", &BAN_ORIGINS, "ct_origins"),
        (
            "ct_limited",
            "CT_LIMITED_",
            // The order of `LimitCounts::from`.
            &["over", "banned", "no_room"],
            "events",
        ),
        ("ct_unprinted", "CT_UNPRINTED_", &UNRECORDED, "maps"),
        (
            "ct_event_type",
            "CT_EVENT_",
            &EventType::ALL.map(EventType::name),
            "types",
        ),
    ] {
        let names = reasons.iter().chain([&count]).map(|name| name.to_string());
        let want: Vec<_> = names.zip(0..).collect();
        assert_eq!(enumerators(name, prefix), want, "{name}");
    }
}

#[test]
fn states_are_those_of_the_header() {
    let tcp = TcpState::ALL.map(|state| (state.name().to_lowercase(), state.index()));
    let sctp = SctpState::ALL.map(|state| (state.name().to_lowercase(), state.index()));
    for (name, prefix, states) in [
        ("ct_tcp_state", "CT_TCP_", &tcp[..]),
        ("ct_sctp_state", "CT_SCTP_", &sctp[..]),
    ] {
        let mut known = enumerators(name, prefix);
        let end = known.iter().position(|(name, _)| name == "states");
        known.truncate(end.expect("the number of states"));
        let want: Vec<_> = states
            .iter()
            .map(|(name, index)| (name.clone(), u32::from(*index)))
            .collect();
        assert_eq!(known, want, "{name}");
    }
}

#[test]
fn segments_are_those_of_the_header() {
    let want: Vec<String> = Segment::ALL
        .iter()
        .map(|segment| format!("{segment:?}").to_lowercase())
        .chain(["kinds".to_owned()])
        .collect();
    let known = enumerators("ct_tcp_segment", "CT_SEG_");
    assert_eq!(known, want.into_iter().zip(0..).collect::<Vec<_>>());
}

#[test]
fn timeouts_are_those_of_the_header() {
    let want = [
        ("tcp", Timeout::Tcp(TcpState::None)),
        ("tcp_retrans", Timeout::TcpRetrans),
        ("tcp_unack", Timeout::TcpUnack),
        ("udp", Timeout::Udp),
        ("udp_stream", Timeout::UdpStream),
        ("icmp", Timeout::Icmp),
        ("icmpv6", Timeout::Icmpv6),
        ("gre", Timeout::Gre),
        ("gre_stream", Timeout::GreStream),
        ("generic", Timeout::Generic),
        ("sctp", Timeout::Sctp(SctpState::None)),
    ];
    let want = want.map(|(name, timeout)| (name.to_owned(), u32::from(timeout.index())));
    let slots = ("max".to_owned(), Timeout::SLOTS as u32);
    let want: Vec<_> = want.into_iter().chain([slots]).collect();
    assert_eq!(enumerators("ct_timeout", "CT_TMO_"), want);
}

#[test]
fn structs_are_copied_from_words() {
    let words = [AtomicU64::new(0x0102_0304_0506_0708), AtomicU64::new(7)];
    let replay: ct_replay = copy(&words);
    assert_eq!(replay.now, 0x0102_0304_0506_0708);
    let [low, high] = [replay.wire_len, replay.pad].map(u32::to_ne_bytes);
    assert_eq!([low, high].concat(), 7_u64.to_ne_bytes());
}

#[test]
fn words_compare_by_generation_and_phase() {
    let word = Word(0x0007_0000_0000_0302);
    assert!(word.is_live() && word.state() == 3);
    assert!(word.same_life(Word(word.0 | Word::ASSURED)));
    assert!(!word.same_life(Word(word.0 + (1 << 48))));
    assert!(!word.same_life(Word(word.0 | 1)));
}
