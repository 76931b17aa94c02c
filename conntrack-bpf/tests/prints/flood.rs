//! Floods of what is new.

use std::net::IpAddr;

use conntrack_core::p0f::Kind;

use crate::common::SECOND;
use crate::place::Place;
use crate::shape::*;

/// New signatures, and new sources, that a CPU records in a slice of 2^26 ns:
/// `bpf/types_print.h`.
const SIGNATURES: usize = 16;
const SOURCES: usize = 128;

fn syn(host: u16, window: u16) -> Shape {
    Shape {
        hosts: (host, 7),
        window,
        ..Shape::default()
    }
}

#[test]
#[ignore = "root"]
fn what_is_new_is_recorded_at_a_limited_rate() {
    let mut place = Place::new(|_| ());
    place.send(&syn(1, 60_000));
    // Time stands still.
    place.now += SECOND;
    for host in 2..2002 {
        place.send_now(&syn(host, host));
    }
    // Test runs may go over from one CPU to another.
    let cpus = place.lab.counters().per_cpu.len();
    let (signatures, sources) = (place.signatures().len() - 1, place.sources().len() - 1);
    assert!(
        (SIGNATURES..=SIGNATURES * cpus).contains(&signatures),
        "{signatures}"
    );
    assert!((SOURCES..=SOURCES * cpus).contains(&sources), "{sources}");
    let left_out = place.lab.counters().fingerprints_left_out;
    assert_eq!(left_out["signature"], 2000 - signatures as u64);
    assert_eq!(left_out["source"], 2000 - sources as u64);

    // What is known goes on to be counted.
    place.send_now(&syn(1, 60_000));
    assert_eq!(place.of(&syn(1, 60_000), Kind::Syn).unwrap().count, 2);
    let known = place.signatures();
    let known = known.iter().find(|it| it.record.window == 60_000).unwrap();
    assert_eq!(known.count, 2);

    // And in the next slice of time what is new is recorded.
    place.now += SECOND / 10;
    place.send_now(&syn(5000, 5000));
    assert_eq!(place.of(&syn(5000, 5000), Kind::Syn).unwrap().count, 1);
}

/// In a flood of one signature the CPUs do not take turns at naming its source.
#[test]
#[ignore = "root"]
fn its_source_is_the_first_of_a_millisecond() {
    let mut place = Place::new(|_| ());
    let from = |host| Shape {
        hosts: (host, 2),
        ..Shape::default()
    };
    let last = |place: &Place| {
        let [signature] = &place.signatures()[..] else {
            panic!("one signature");
        };
        let IpAddr::V4(addr) = signature.last_source.addr else {
            panic!("IPv4");
        };
        (signature.count, addr.octets()[3])
    };
    place.send(&from(1));
    assert_eq!(last(&place), (1, 1));
    place.send(&from(3));
    place.send_now(&from(4));
    place.send_now(&from(5));
    assert_eq!(last(&place), (4, 3));
    place.send(&from(6));
    assert_eq!(last(&place), (5, 6));
}
