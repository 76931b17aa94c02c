//! How long a first fragment is remembered for the others, and what of them is
//! counted where.

mod common;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_core::stats::ClassCounts;

/// Whether the second fragment, so late, adds its bytes to those of the first.
fn counted(lab: &mut Lab, packet: Packet, id: u32, late: i64) -> bool {
    let bytes = |lab: &Lab| lab.flows().iter().map(|flow| flow.bytes()).sum::<u64>();
    let before = bytes(lab);
    let packet = packet.payload(1200);
    let whole = packet.ip_len();
    let [first, second] = packet.fragments(id, 1000).try_into().expect("two");
    for (frame, time) in [(first, TIME), (second, TIME + late)] {
        let len = u32::try_from(frame.len()).expect("a frame");
        lab.replayer.packet(time, &frame, len).expect("test run");
    }
    let counted = bytes(lab) - before;
    assert!(counted == whole || counted == whole - 208, "{counted}");
    counted == whole
}

#[test]
#[ignore = "root"]
fn as_long_as_frag6_timeout_says_or_half_a_minute() {
    let mut lab = Lab::with(|config| {
        config.conntrack.frag6_timeout = 5;
        config.conntrack.udp_timeout = 1000;
    });
    let v4 = Packet::udp(end("10.0.0.1:1"), end("10.0.0.2:2"));
    let v6 = Packet::udp(end("[fe80::1]:1"), end("[fe80::2]:2"));
    for (id, (packet, limit)) in (1..).zip([(v4, 30 * SECOND), (v6, 5 * SECOND)]) {
        assert!(counted(&mut lab, packet.clone(), id, limit - 1));
        assert!(!counted(&mut lab, packet, id + 10, limit));
    }
    assert_eq!(lab.counters().passed_untracked["fragment"], 2);
}

#[test]
#[ignore = "root"]
fn interfaces_count_the_wire_and_flows_the_packet() {
    let mut lab = Lab::new(100);
    let packet = Packet::udp(end("[fe80::1]:1"), end("[fe80::2]:2")).payload(3000);
    let frames = packet.fragments(1, 1000);
    let wire: u64 = frames.iter().map(|frame| frame.len() as u64 - 14).sum();
    // The second one overtakes, and comes once more.
    for number in [1, 0, 1, 2, 3] {
        let frame = &frames[number];
        lab.replayer
            .packet(TIME, frame, frame.len() as u32)
            .expect("test run");
    }
    let counters = lab.counters();
    assert_eq!(counters.packets, 5);
    assert_eq!(counters.bytes, wire + frames[1].len() as u64 - 14);
    assert_eq!(counters.passed_untracked["fragment"], 2);
    assert_eq!(
        counters.ct_state.total(),
        ClassCounts {
            new: 1,
            ..ClassCounts::default()
        }
    );
    let flows = lab.flows();
    assert_eq!((flows[0].packets(), flows[0].bytes()), (1, packet.ip_len()));
}

#[test]
#[ignore = "root"]
fn what_does_not_count_has_a_reason() {
    let mut lab = Lab::new(100);
    // SYN and FIN at once begin no connection.
    let bad = Packet::tcp(end("10.0.0.1:1"), end("10.0.0.2:2")).flags(0x03);
    let good = Packet::udp(end("10.0.0.1:1"), end("10.0.0.2:2"));
    for (id, packet, passed) in [(1, bad, 5), (2, good, 3)] {
        let before = lab.counters().passed_untracked["fragment"];
        // In three parts, each of them twice.
        for frame in packet.payload(2000).fragments(id, 1000) {
            for _ in 0..2 {
                let len = u32::try_from(frame.len()).expect("a frame");
                lab.replayer.packet(TIME, &frame, len).expect("test run");
            }
        }
        let now = lab.counters().passed_untracked["fragment"];
        assert_eq!(now - before, passed, "packet {id}");
    }
    let classes = lab.counters().ct_state.total();
    assert_eq!((classes.new, classes.invalid, classes.untracked), (1, 1, 0));
    assert_eq!((lab.flows().len(), lab.flows()[0].packets()), (1, 1));
}
