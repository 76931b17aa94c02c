//! What flows keep of the fingerprints of their ends.

use conntrack_bpf::Clock;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::p0f::Raw;

use crate::common::SECOND;
use crate::place::Place;
use crate::shape::*;

const RST: u8 = 0x04;

/// A client's SYN.
fn syn(ttl: u8) -> Shape {
    Shape {
        ttl,
        options: LINUX.to_vec(),
        ..Shape::default()
    }
}

fn answer(window: u16) -> Shape {
    Shape {
        window,
        ..Shape::answer()
    }
}

/// Any other segment of the client's.
fn then(flags: u8, seq: u32) -> Shape {
    Shape {
        flags,
        seq,
        ack: 2,
        options: Vec::new(),
        ..Shape::default()
    }
}

fn flow(place: &Place) -> Flow {
    let tables = &place.lab.tables;
    let mut walk = tables.walk(FlowFilter::default(), Clock::stopped(place.now));
    let flow = walk.next().expect("a flow").unwrap();
    assert!(walk.next().is_none(), "one only");
    flow
}

/// What the reference makes of both, by the names that the flow has for them.
fn named(place: &Place) -> [Option<Raw>; 2] {
    let known = place.signatures();
    flow(place).fingerprint_ids.map(|id| {
        let found = known.iter().find(|it| it.id == id)?;
        Some(found.record)
    })
}

fn record(shape: &Shape) -> Option<Raw> {
    let peer_mss = (shape.flags & ACK != 0).then_some(1460);
    Some(Raw::from_packet(&shape.bytes(), peer_mss).unwrap())
}

#[test]
#[ignore = "root"]
fn a_flow_knows_both_ends_and_the_next_one_its_own() {
    for send in [Place::send, Place::send_by_tc] {
        let mut place = Place::new(|_| ());
        send(&mut place, &syn(64));
        assert_eq!(named(&place), [record(&syn(64)), None]);
        assert_eq!(flow(&place).health, None, "nothing is known of it yet");
        send(&mut place, &answer(40_001));
        assert_eq!(named(&place), [record(&syn(64)), record(&answer(40_001))]);
        send(&mut place, &then(ACK, 2));
        let both = [record(&syn(64)), record(&answer(40_001))];
        assert_eq!(named(&place), both);
        assert!(flow(&place).health.is_some());

        // What its flow does not accept is none of its ends'.
        send(&mut place, &answer(50_001));
        send(&mut place, &syn(50));
        assert_eq!(named(&place), both);
        assert_eq!(place.signatures().len(), 4, "they are recorded, though");

        // The tuple's next flow.
        send(&mut place, &then(RST | ACK, 2));
        place.now += 100 * SECOND;
        send(&mut place, &syn(128));
        assert_eq!(named(&place), [record(&syn(128)), None]);
        send(&mut place, &answer(45_001));
        assert_eq!(named(&place), [record(&syn(128)), record(&answer(45_001))]);
    }
}

/// An ACK in answer to a SYN is not one to the flow, but its numbers are kept.
#[test]
#[ignore = "root"]
fn the_first_answer_leaves_the_opener_its_own() {
    let mut place = Place::new(|_| ());
    place.send(&syn(64));
    let silent = flow(&place).reply.tcp.expect("TCP");
    assert_eq!([silent.seq, silent.ack, silent.flags.into()], [0, 0, 0]);
    let challenge = Shape {
        flags: ACK,
        options: Vec::new(),
        ..Shape::answer()
    };
    place.send(&challenge);
    let heard = flow(&place).reply.tcp.expect("TCP");
    assert_eq!([heard.seq, heard.ack], [challenge.seq, challenge.ack]);
    assert_eq!(named(&place), [record(&syn(64)), None]);
    place.send(&answer(40_001));
    assert_eq!(named(&place), [record(&syn(64)), record(&answer(40_001))]);
}

/// Both ends open at once: each has its SYN, then what it answers the other's with.
#[test]
#[ignore = "root"]
fn two_openers_have_their_own_each() {
    for send in [Place::send, Place::send_by_tc] {
        let mut place = Place::new(|_| ());
        let theirs = Shape {
            flags: SYN,
            ack: 0,
            ttl: 128,
            ..answer(40_001)
        };
        send(&mut place, &syn(64));
        send(&mut place, &theirs);
        assert_eq!(named(&place), [record(&syn(64)), record(&theirs)]);
        let ours = Shape {
            flags: SYN | ACK,
            ack: theirs.seq + 1,
            ..syn(64)
        };
        send(&mut place, &ours);
        assert_eq!(named(&place), [record(&ours), record(&theirs)]);
    }
}

#[test]
#[ignore = "root"]
fn in_ipv6_too() {
    let mut place = Place::new(|_| ());
    let v6 = |shape| Shape { v6: true, ..shape };
    let (first, second) = (v6(syn(64)), v6(answer(40_001)));
    place.send(&first);
    assert_eq!(named(&place), [record(&first), None]);
    place.send(&second);
    assert_eq!(named(&place), [record(&first), record(&second)]);
}

/// What nobody answers takes no room beside the flows, not even that of what nobody has
/// acknowledged yet.
#[test]
#[ignore = "root"]
fn a_flood_of_syns_takes_no_room() {
    let mut place = Place::new(|config| config.health.max_flows = Some(4));
    place.send(&syn(64));
    place.send(&answer(40_001));
    for port in 1..100 {
        let ports = (port, 80);
        place.send(&Shape { ports, ..syn(64) });
    }
    let tables = &place.lab.tables;
    let walk = tables.walk(FlowFilter::default(), Clock::stopped(place.now));
    let ids: Vec<_> = walk.map(|flow| flow.unwrap().fingerprint_ids).collect();
    assert_eq!(ids.len(), 100);
    assert!(ids.iter().all(|[opener, _]| *opener == ids[0][0]));
    assert_eq!(ids.iter().filter(|[_, answer]| *answer != 0).count(), 1);
}

#[test]
#[ignore = "root"]
fn without_fingerprints_or_room_beside_there_are_none() {
    let mut off = Place::new(|config| config.fingerprints.enabled = false);
    let mut beside = Place::new(|config| config.health.enabled = false);
    for place in [&mut off, &mut beside] {
        place.send(&syn(64));
        place.send(&answer(40_001));
        assert_eq!(flow(place).fingerprint_ids, [0, 0]);
    }
    assert_eq!(beside.signatures().len(), 2);
}
