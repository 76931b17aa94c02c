//! Tables that fill up say so, and empty again by themselves.

mod support;

use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;

use conntrack::Config;
use conntrack::Event;
use conntrack::EventType;
use conntrack::Events;
use conntrack::Family;
use conntrack::GoneReason;
use conntrack::Keep;
use conntrack::NetnsRef;
use conntrack::PressureLevel;
use conntrack::Tracker;
use conntrack::What;
use support::PATIENCE;
use support::link::veth;
use support::netns::Netns;

const ROOM: u32 = 500;

/// From this many ports; nobody answers.
fn send(from: &Netns, to: SocketAddr, ports: std::ops::Range<u16>) {
    from.run(|| {
        for port in ports {
            let socket = UdpSocket::bind(("0.0.0.0", port)).expect("a socket");
            socket.send_to(b"?", to).expect("send");
        }
    });
}

fn next(events: &mut Events) -> Event {
    let event = events.next_timeout(PATIENCE).expect("an event");
    event.expect("no event came")
}

#[test]
#[ignore = "root"]
fn a_table_that_fills_up_says_so() {
    let (host, peer) = (Netns::new(), Netns::new());
    let (inner, outer) = veth((&host, "inner"), (&peer, "outer"));
    inner.addr("10.7.0.1/24");
    outer.addr("10.7.0.2/24");
    // No port-unreachable answers: they would be RELATED, and are no matter here.
    let mut config = Config::default();
    config.sweep.interval = 1;
    config.conntrack.set("udp_timeout", 20).expect("a setting");
    let name = format!("ctpressure-{}", std::process::id());
    let attached = Tracker::builder()
        .config(config)
        .instance(&name)
        .netns(NetnsRef::Path(host.path()))
        .interface("inner")
        .max_flows(ROOM)
        .keep(Keep::Pinned)
        .attach()
        .expect("attach");
    // What follows needs nothing of the value that attached.
    drop(attached);
    let tracker = Tracker::open(&name).expect("open");
    let types = [EventType::Pressure, EventType::Destroy];
    let mut events = tracker
        .events_builder()
        .types(types)
        .listen()
        .expect("listen");

    let to = "10.7.0.1:9".parse().expect("an address");
    send(&peer, to, 10_000..10_000 + 420);
    let event = next(&mut events);
    let What::Pressure(pressure) = event.what else {
        panic!("{event:?}");
    };
    assert_eq!(
        (pressure.family, pressure.level),
        (Family::Ipv4, PressureLevel::High)
    );
    assert!((400..=420).contains(&pressure.flows), "{pressure:?}");
    assert_eq!(pressure.max, u64::from(ROOM));
    send(&peer, to, 20_000..20_000 + 80);
    let event = next(&mut events);
    let What::Pressure(pressure) = event.what else {
        panic!("{event:?}");
    };
    assert_eq!(pressure.level, PressureLevel::Critical);
    let stats = tracker.stats().expect("counters");
    assert_eq!(
        stats.pressure,
        [PressureLevel::Critical, PressureLevel::None]
    );
    assert_eq!(
        stats.table.evicted(),
        0,
        "there is room for more than it is sized for"
    );

    // All their time is up at once, and nobody sends anything.
    let mut sysctls = tracker.sysctls().expect("settings");
    sysctls.set("udp_timeout", 1).expect("a setting");
    tracker.set_sysctls(&sysctls).expect("settings");
    let (mut gone, mut levels) = (0, Vec::new());
    while gone < 500 || levels.last() != Some(&PressureLevel::None) {
        match next(&mut events).what {
            What::Destroy(flow, GoneReason::Timeout) => {
                assert_eq!(flow.original.packets, 1, "{flow:?}");
                gone += 1;
            }
            What::Pressure(pressure) => levels.push(pressure.level),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(events.lost().total(), 0);
    assert_eq!(events.try_next().expect("no event"), None);
    let stats = tracker.stats().expect("counters");
    assert_eq!((stats.flows.active, stats.flows.expired_pending), (0, 0));
    assert_eq!(stats.pressure, [PressureLevel::None; 2]);
    let sweep = stats.sweep.expect("a sweep");
    assert!(sweep.removed == 500 && sweep.runs > 0, "{sweep:?}");

    // New flows fit.
    send(&peer, to, 30_000..30_010);
    support::eventually("new flows", || match tracker.flows().count() {
        10 => Ok(()),
        count => Err(format!("{count} flows")),
    });
    assert!(events.next_timeout(Duration::ZERO).is_ok());
    tracker.detach().expect("detach");
}
