//! How long a first fragment's ports are remembered for the others.

mod common;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;

/// Whether the second fragment, so late, adds its bytes to those of the first.
fn counted(lab: &mut Lab, packet: Packet, id: u32, late: i64) -> bool {
    let bytes = |lab: &Lab| lab.flows().iter().map(|flow| flow.bytes()).sum::<u64>();
    let before = bytes(lab);
    let packet = packet.payload(1200);
    let whole = u64::from(packet.ip_len());
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
