//! The packet path's records and the reference's.

use std::collections::HashSet;

use conntrack_core::p0f::Kind;
use conntrack_core::p0f::Raw;

use crate::common::SECOND;
use crate::compare;
use crate::crafted;
use crate::place::Place;
use crate::place::source;
use crate::probe::Probe;
use crate::shape::*;
use crate::wild;
use crate::wild::Numbers;

/// Sends each from an address of its own, and looks what it has been recorded as.
fn recorded(probes: &[Probe], send: fn(&mut Place, &Shape)) -> Vec<Raw> {
    let mut place = Place::new(|config| {
        config.fingerprints.max_signatures = 65_536;
        config.fingerprints.max_sources = 65_536;
    });
    let mut records = Vec::new();
    for (number, probe) in (1..).zip(probes) {
        if probe.kind() == Kind::SynAck {
            send(&mut place, &probe.question(number));
        }
        let shape = probe.numbered(number);
        send(&mut place, &shape);
        let found = place.of(&shape, probe.kind());
        let found = found.unwrap_or_else(|| panic!("nothing is recorded of {probe:x?}"));
        assert_eq!(found.count, 1, "{probe:x?}");
        records.push(found.record);
    }
    let known: HashSet<Raw> = place.signatures().iter().map(|it| it.record).collect();
    let missing = records.iter().find(|record| !known.contains(*record));
    assert_eq!(missing, None);
    records
}

#[test]
#[ignore = "root"]
fn what_is_recorded_is_what_p0f_says() {
    compare::check(|probes| recorded(probes, Place::send));
}

#[test]
#[ignore = "root"]
fn by_either_hook_it_is_what_the_reference_says() {
    let probes = crafted::probes();
    for send in [Place::send, Place::send_by_tc] {
        for (record, probe) in recorded(&probes, send).iter().zip(&probes) {
            assert_eq!(*record, probe.record(), "{probe:x?}");
        }
    }
}

#[test]
#[ignore = "root"]
fn a_hundred_thousand_hostile_strings_are_filed_rightly() {
    let mut place = Place::new(|config| {
        config.fingerprints.max_signatures = 4096;
        config.fingerprints.max_sources = 4096;
    });
    let before = place.lab.datapath.maps.named().len();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut seen, mut checked) = (HashSet::new(), 0_u32);
    while seen.len() < 100_000 {
        let options = wild::options(&mut numbers);
        if !seen.insert(options.clone()) {
            continue;
        }
        let answers = numbers.below(2) == 1;
        let plain = if answers {
            Shape::answer()
        } else {
            Shape::default()
        };
        let shape = Shape {
            options,
            hosts: (seen.len() as u16, 7),
            v6: numbers.below(2) == 1,
            ..plain
        };
        place.send(&shape);
        let kind = if answers { Kind::SynAck } else { Kind::Syn };
        let found = place.of(&shape, kind).unwrap();
        let want = Raw::from_packet(&shape.bytes(), None).unwrap();
        assert_eq!(found.record, want, "{shape:x?}");
        checked += 1;
    }
    assert_eq!(checked, 100_000);
    assert_eq!(place.lab.datapath.maps.named().len(), before);
    let (signatures, sources) = (place.signatures(), place.sources());
    assert!(
        (1000..=4096).contains(&signatures.len()),
        "{}",
        signatures.len()
    );
    assert!((1000..=4096).contains(&sources.len()), "{}", sources.len());
    let of_options: HashSet<_> = signatures.iter().map(|it| it.record.layout).collect();
    assert!(of_options.len() > 100, "one-sided");
    let left_out = place.lab.counters().fingerprints_left_out;
    assert_eq!((left_out["signature"], left_out["source"]), (0, 0));
}

#[test]
#[ignore = "root"]
fn counts_times_and_sources_are_kept() {
    let mut place = Place::new(|_| ());
    let syn = |host| Shape {
        hosts: (host, 9),
        ports: (1000 + host, 80),
        ..Shape::default()
    };
    for host in [1, 2, 1] {
        place.send(&syn(host));
    }
    let last = place.now;
    let found = &place.signatures()[..];
    let [found] = found else {
        panic!("{found:?}");
    };
    assert_eq!((found.count, found.kind()), (3, Kind::Syn));
    assert_eq!(found.last_source.to_string(), "10.0.0.1:1001");
    assert_eq!(found.last_seen.0, last);
    assert_eq!(last - found.first_seen.0, SECOND / 100);
    assert_ne!(found.id, 0);

    // Another system behind the address.
    let other = Shape { ttl: 128, ..syn(1) };
    place.send(&other);
    let of = place.of(&other, Kind::Syn).unwrap();
    assert_eq!((of.count, of.record.ttl), (3, 128));
    assert_eq!(of.source, source(&other));
    assert_eq!(of.last_seen.0 - of.first_seen.0, 3 * SECOND / 200);
    assert_eq!(place.of(&other, Kind::SynAck), None);
    assert_eq!(place.signatures().len(), 2);
    assert_eq!(place.sources().len(), 2);
}

#[test]
#[ignore = "root"]
fn what_is_no_syn_is_not_recorded() {
    let mut place = Place::new(|_| ());
    for flags in [0, ACK, SYN | 1, SYN | 4, SYN | ACK | 4, 1 | ACK, PSH | ACK] {
        place.send(&Shape {
            flags,
            ..Shape::default()
        });
    }
    // The first fragment of a SYN.
    place.send(&Shape {
        ip_flags: 0x2000,
        ..Shape::default()
    });
    assert_eq!((place.signatures(), place.sources()), (vec![], vec![]));
}

#[test]
#[ignore = "root"]
fn what_is_switched_off_is_not_there() {
    let mut place = Place::new(|config| config.fingerprints.enabled = false);
    place.send(&Shape::default());
    assert_eq!((place.signatures(), place.sources()), (vec![], vec![]));
    assert_eq!(place.of(&Shape::default(), Kind::Syn), None);
    assert_eq!(place.lab.counters().packets, 1);
}
