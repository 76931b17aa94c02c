//! Bans of fingerprints drop what their pattern fits, and nothing else.

use std::collections::HashSet;
use std::time::Duration;

use conntrack_bpf::AllowedBy;
use conntrack_bpf::ErrorKind;
use conntrack_bpf::allow::Allow;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::prints::PrintBans;
use conntrack_bpf::testrun;
use conntrack_core::p0f::Kind;
use conntrack_core::p0f::Pattern;
use conntrack_core::p0f::Signature;

use crate::common::SECOND;
use crate::crafted;
use crate::place::Place;
use crate::place::frame;
use crate::place::source;
use crate::probe::Probe;
use crate::shape::*;

const DROP: u32 = 1;

/// Each field, with and without a wildcard, and each way of giving the window.
const PATTERNS: [&str; 22] = [
    "*:64:0:*:*,*:mss,sok,ts,nop,ws:df,id+:0",
    "4:64:0:1460:mss*10,0:mss:df,id+:0",
    "6:64:0:1460:*,0:mss::0",
    "*:64-:0:*:mss*10,8:mss,nop,ws,nop,nop,sok:df,id+:0",
    "*:100:0:*:*,*:mss,nop,ws,nop,nop,sok:df,id+:0",
    "*:255:0:1460:*,7:mss,sok,ts,nop,ws:df,id+:*",
    "*:64:0:1460:*,0:mss:df,id+,seq-:*",
    "*:64:0:1460:*,0:mss:id-,ecn,flow:0",
    "*:64:0:1460:*,*:mss:df,id+,0+:0",
    "*:64:0:*:%5,*:mss:df,id+:*",
    "*:64:0:*:%2,*:mss:df,id+:0",
    "*:64:0:*:mtu*3,*:mss:df,id+:0",
    "*:64:0:*:mtu*17,*:mss:df,id+:0",
    "*:64:0:*:mss*7,*:mss,nop,nop,ts:df,id+:0",
    "*:64:0:1460:14600,0:mss:df,id+:0",
    "*:64:0:*:32768,*:mss:df,id+:0",
    "*:64:8:*:*,*:mss:df,id+:0",
    "6:64:0:0:*,*:eol+3:opt+:0",
    "*:64:0:*:*,*:nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop:df,id+,bad:0",
    "*:64:0:1460:*,0:mss:df,id+:+",
    "*:64:0:*:*,*:mss:df,id+,pushf+:*",
    "*:64:0:*:mss*13,*:mss:df,id+:0",
];

/// The SYNs among what is made to try each rule.
fn probes() -> Vec<Probe> {
    let probes = crafted::probes().into_iter();
    probes.filter(|probe| probe.kind() == Kind::Syn).collect()
}

/// Whether a packet is dropped.
fn drops(place: &mut Place, shape: &Shape) -> bool {
    let frame = frame(shape);
    place.now += 1000;
    place.lab.replayer.set(place.now, frame.len() as u32);
    testrun::run(place.lab.program(Entry::Xdp), &frame).unwrap() == DROP
}

#[test]
#[ignore = "root"]
fn what_a_pattern_fits_is_dropped_and_nothing_else() {
    let mut place = Place::new(|_| ());
    let probes = probes();
    assert!(probes.len() > 1000);
    let (mut number, mut dropped) = (0_u16, 0_u64);
    let mut useless = HashSet::new();
    for text in PATTERNS {
        // Numbers come again: what they began before is over by then.
        place.now += 600 * SECOND;
        let maps = place.lab.datapath.maps.clone();
        let bans = PrintBans::of(&maps).unwrap();
        bans.put(text, None, false).unwrap();
        let pattern: Pattern = text.parse().unwrap();
        let mut hits = 0;
        for probe in &probes {
            number = number % 32_000 + 1;
            let shape = probe.numbered(number);
            let signature = Signature::from_raw(&probe.record()).unwrap();
            let fits = pattern.matches(&signature);
            assert_eq!(drops(&mut place, &shape), fits, "{text}: {signature}");
            hits += u64::from(fits);
        }
        let list = bans.list().unwrap();
        assert_eq!((list.len(), list[0].hits), (1, hits), "{list:?}");
        assert_eq!(list[0].pattern, text);
        if hits == 0 {
            useless.insert(text);
        }
        dropped += hits;
        assert!(bans.remove(text).unwrap() && !bans.remove(text).unwrap());
    }
    assert_eq!(
        useless,
        HashSet::new(),
        "patterns that fit nothing try nothing"
    );
    let counters = place.lab.counters();
    assert_eq!(counters.drops["fingerprint"], dropped);
    assert_eq!(counters.drops["ban"] + counters.drops["threshold"], 0);
}

#[test]
#[ignore = "root"]
fn only_what_begins_is_dropped_and_only_from_whom_it_may_be() {
    let mut place = Place::new(|_| ());
    let syn = |host| Shape {
        hosts: (host, 9),
        options: LINUX.to_vec(),
        ..Shape::default()
    };
    assert!(!drops(&mut place, &syn(1)), "before");
    let maps = place.lab.datapath.maps.clone();
    let bans = PrintBans::of(&maps).unwrap();
    bans.put(PATTERNS[0], None, true).unwrap();
    assert!(!drops(&mut place, &syn(2)), "a dry run");
    assert_eq!(bans.list().unwrap()[0].hits, 1);
    bans.put(PATTERNS[0], None, false).unwrap();
    assert!(drops(&mut place, &syn(3)));
    assert!(!drops(&mut place, &syn(1)), "a SYN of a flow that is there");
    let answer = Shape {
        hosts: (9, 1),
        ports: (80, 40_000),
        options: LINUX.to_vec(),
        ..Shape::answer()
    };
    assert!(!drops(&mut place, &answer), "a SYN+ACK");
    let other = Shape { ttl: 128, ..syn(4) };
    assert!(!drops(&mut place, &other), "another system");
    let in_parts = Shape {
        ip_flags: 0x2000,
        ..syn(7)
    };
    assert!(!drops(&mut place, &in_parts), "the first of fragments");
    let before = place.lab.counters().drops;
    assert_eq!((before["fingerprint"], before["threshold"]), (1, 0));
    let frame = frame(&syn(5));
    place.lab.replayer.set(place.now, frame.len() as u32);
    let egress = testrun::run(place.lab.program(Entry::TcIngress), &frame).unwrap();
    assert_eq!(egress, 2, "TC_ACT_SHOT, as by XDP");
    let allow = Allow::of(&maps).unwrap();
    allow.put(source(&syn(6)).into(), AllowedBy::List).unwrap();
    assert!(!drops(&mut place, &syn(6)), "never banned");
    assert!(
        place.of(&syn(3), Kind::Syn).is_none(),
        "what is dropped is not recorded"
    );
    assert!(place.of(&syn(6), Kind::Syn).is_some());
}

#[test]
#[ignore = "root"]
fn there_is_an_end_to_room_and_to_time() {
    let place = Place::new(|_| ());
    let maps = place.lab.datapath.maps.clone();
    let bans = PrintBans::of(&maps).unwrap();
    let pattern = |mss: u16| format!("*:64:0:{mss}:*,*:mss:df,id+:0");
    for mss in 0..64 {
        bans.put(&pattern(mss), None, false).unwrap();
    }
    let error = bans.put(&pattern(64), None, false).unwrap_err();
    assert!(error.to_string().contains("64 bans"), "{error}");
    bans.put(&pattern(7), Some(Duration::ZERO), false).unwrap();
    assert_eq!(PrintBans::of(&maps).unwrap().list().unwrap().len(), 63);
    PrintBans::of(&maps)
        .unwrap()
        .put(&pattern(64), None, false)
        .unwrap();
    for bad in ["", "4:64", &"x".repeat(300)] {
        assert_eq!(
            bans.put(bad, None, false).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
    let off = Place::new(|config| config.fingerprints.enabled = false);
    let bans = PrintBans::of(&off.lab.datapath.maps).unwrap();
    let error = bans.put(&pattern(1), None, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
