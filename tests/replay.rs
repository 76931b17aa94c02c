//! Captures through the packet path: as of their own time, cut or whole.

#[path = "../conntrack-bpf/tests/common/packet.rs"]
mod packet;

use std::net::SocketAddr;
use std::time::Duration;

use conntrack::Config;
use conntrack::Flow;
use conntrack::FlowFilter;
use conntrack::FlowState;
use conntrack::Replay;
use conntrack::TcpState;
use conntrack::Timestamp;
use packet::*;

const SECOND: i64 = 1_000_000_000;
const TIME: i64 = 1_300_000_000 * SECOND; // 2011

fn replay() -> Replay {
    let mut config = Config::default();
    config.table.max_flows = 1000;
    Replay::new(config).expect("a replay")
}

fn send(replay: &mut Replay, epoch: i64, packet: &Packet) {
    let frame = packet.frame();
    let wire_len = u32::try_from(frame.len()).expect("a frame");
    replay.packet(epoch, &frame, wire_len).expect("sent");
}

fn flows(replay: &Replay) -> Vec<Flow> {
    let mut flows: Vec<Flow> = replay.flows().map(|flow| flow.expect("a flow")).collect();
    flows.sort_by_key(Flow::key);
    flows
}

/// The same, less what each instance calls by numbers of its own.
fn alike(replay: &Replay) -> Vec<Flow> {
    let mut flows = flows(replay);
    for flow in &mut flows {
        flow.fingerprint_ids = [0; 2];
    }
    flows
}

/// A web request in each family, with tags, options and extension headers, a
/// datagram and a ping.
fn capture() -> Vec<(i64, Packet)> {
    let mut packets = Vec::new();
    for (client, server) in [
        (end("10.0.0.1:40000"), end("10.0.0.2:80")),
        (end("[2001:db8::1]:40000"), end("[2001:db8::2]:80")),
    ] {
        let v4 = client.is_ipv4();
        let dress = |packet: Packet| match v4 {
            true => packet.vlan(5).ip_options(8),
            false => packet.vlan(6).vlan(7).extension(HOP_BY_HOP),
        };
        let there = Packet::tcp(client, server);
        let back = Packet::tcp(server, client);
        let echo = if v4 { 8 } else { 128 };
        packets.extend(
            [
                there.clone().flags(SYN).seq(1000).ack(0),
                back.clone().flags(SYN | ACK).seq(5000).ack(1001),
                there.clone().seq(1001).ack(5001).payload(300),
                back.clone().seq(5001).ack(1301).payload(1400),
                there.clone().seq(1301).ack(6401),
                Packet::udp(client, server).payload(900),
                Packet::icmp(client.ip(), server.ip(), [echo, 0], 7).payload(1000),
            ]
            .map(dress),
        );
    }
    let times = (0..).map(|number| TIME + number * 1_000_000);
    times.zip(packets).collect()
}

#[test]
#[ignore = "root"]
fn a_capture_gives_its_flows() {
    let mut replay = replay();
    let capture = capture();
    for (epoch, packet) in &capture {
        send(&mut replay, *epoch, packet);
    }
    let flows = flows(&replay);
    assert_eq!(flows.len(), 6);
    for flow in &flows {
        assert_eq!((flow.ifindex, flow.interface.as_deref()), (0, None));
        let packets = capture
            .iter()
            .map(|(epoch, packet)| (Timestamp(*epoch), packet));
        assert!(packets.clone().any(|(time, _)| time == flow.start));
        assert!(packets.clone().any(|(time, _)| time == flow.last_seen));
        assert_eq!(
            replay.flow(&flow.key()).expect("found").as_ref(),
            Some(flow)
        );
    }
    let tcp = flows.iter().filter(|flow| flow.state != FlowState::None);
    for flow in tcp {
        assert_eq!(flow.state, FlowState::Tcp(TcpState::Established));
        assert_eq!((flow.original.packets, flow.reply.packets), (3, 2));
        assert_eq!(flow.duration, Duration::from_millis(4));
    }
    let filter = FlowFilter {
        dport: Some(80.into()),
        ..FlowFilter::default()
    };
    assert_eq!(replay.flows().filter_flows(filter).count(), 4);

    let counters = replay.counters().expect("counters");
    assert_eq!(counters.packets, capture.len() as u64);
    let bytes: u64 = capture.iter().map(|(_, packet)| packet.ip_len()).sum();
    assert_eq!(counters.bytes, bytes);
    assert_eq!(counters.flows.active, 6);
    assert!(counters.interfaces.is_empty() && counters.memory_bytes > 0);
}

#[test]
#[ignore = "root"]
fn a_cut_capture_gives_the_same_flows() {
    const CUT: usize = 96; // as tcpdump -s 96
    let [mut whole, mut cut] = [replay(), replay()];
    for (epoch, packet) in capture() {
        let frame = packet.frame();
        let wire_len = u32::try_from(frame.len()).expect("a frame");
        whole.packet(epoch, &frame, wire_len).expect("sent");
        let frame = &frame[..frame.len().min(CUT)];
        cut.packet(epoch, frame, wire_len).expect("sent");
    }
    assert_eq!(alike(&whole), alike(&cut));
    assert_eq!(flows(&cut).len(), 6);
}

#[test]
#[ignore = "root"]
fn frames_of_any_length_pass() {
    let mut replay = replay();
    let (a, b) = (end("10.0.0.1:1"), end("10.0.0.2:2"));
    let frame = Packet::udp(a, b).payload(8000).frame();
    for cut in (0..=60).chain([1500, 2047, 2048, 2049, 4096, frame.len()]) {
        replay
            .packet(TIME, &frame[..cut], frame.len() as u32)
            .expect("sent");
    }
    let counters = replay.counters().expect("counters");
    // Up to the ports; what is shorter is counted as cut.
    assert_eq!(counters.passed_untracked["truncated"], 14 + 20 + 4);
    let flow = flows(&replay).remove(0);
    assert_eq!(flow.original.packets, 61 + 6 - 38);
    assert_eq!(flow.original.bytes, flow.original.packets * 8028);
}

#[test]
#[ignore = "root"]
fn time_is_that_of_the_latest_packet() {
    let mut replay = replay();
    let udp = |port: u16| {
        let client = SocketAddr::new(addr("10.0.0.1"), port);
        Packet::udp(client, end("10.0.0.2:53"))
    };
    send(&mut replay, TIME, &udp(1));
    send(&mut replay, TIME + 29 * SECOND, &udp(2));
    assert_eq!(flows(&replay).len(), 2);
    assert_eq!(flows(&replay)[0].timeout, Duration::from_secs(1));

    // One that comes late does not turn the time back.
    send(&mut replay, TIME + 10 * SECOND, &udp(3));
    let left: Vec<u64> = flows(&replay)
        .iter()
        .map(|flow| flow.timeout.as_secs())
        .collect();
    assert_eq!(left, [1, 30, 11]);

    send(&mut replay, TIME + 30 * SECOND, &udp(2));
    assert_eq!(flows(&replay).len(), 2);
    let counts = replay.counters().expect("counters").flows;
    assert_eq!((counts.active, counts.expired_pending), (2, 1));

    // Its tuple opens a new flow then.
    send(&mut replay, TIME + 31 * SECOND, &udp(1));
    let renewed = &flows(&replay)[0];
    assert_eq!(renewed.start, Timestamp(TIME + 31 * SECOND));
    assert_eq!(renewed.original.packets, 1);
}

#[test]
#[ignore = "root"]
fn an_empty_replay_has_no_flows() {
    let replay = replay();
    assert_eq!(flows(&replay), []);
    assert_eq!(replay.counters().expect("counters").flows.active, 0);
}
