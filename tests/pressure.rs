//! Tables that fill up say so, and empty again by themselves.

mod support;

use std::net::SocketAddr;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;
use std::time::Instant;

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
    let any = match to.is_ipv4() {
        true => "0.0.0.0",
        false => "::",
    };
    from.run(|| {
        for port in ports {
            let socket = UdpSocket::bind((any, port)).expect("a socket");
            socket.send_to(b"?", to).expect("send");
        }
    });
}

/// The next event. Those of flows that were pushed out are counted instead: by chance
/// both buckets of a flow are full before a table this small is.
fn next(events: &mut Events, patience: Duration, evicted: &mut u64) -> Event {
    loop {
        let event = events.next_timeout(patience).expect("an event");
        let event = event.expect("no event came");
        match event.what {
            What::Destroy(_, GoneReason::Evicted) => *evicted += 1,
            _ => return event,
        }
    }
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
    // For ever is a time, too.
    let mut evicted = 0;
    let event = next(&mut events, Duration::MAX, &mut evicted);
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
    let event = next(&mut events, PATIENCE, &mut evicted);
    let What::Pressure(pressure) = event.what else {
        panic!("{event:?}");
    };
    assert_eq!(pressure.level, PressureLevel::Critical);
    let stats = tracker.stats().expect("counters");
    assert_eq!(
        stats.pressure,
        [PressureLevel::Critical, PressureLevel::None]
    );

    // All their time is up at once, and nobody sends anything.
    let mut sysctls = tracker.sysctls().expect("settings");
    sysctls.set("udp_timeout", 1).expect("a setting");
    tracker.set_sysctls(&sysctls).expect("settings");
    let (mut gone, mut levels) = (0, Vec::new());
    while gone + evicted < 500 || levels.last() != Some(&PressureLevel::None) {
        match next(&mut events, PATIENCE, &mut evicted).what {
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
    assert_eq!((sweep.removed.timeout, sweep.removed.total()), (gone, gone));
    assert!(sweep.runs > 0, "{sweep:?}");
    assert_eq!((gone + evicted, stats.table.evicted()), (500, evicted));
    assert!(evicted <= 5, "{evicted} of 500: there is room for more");

    // New flows fit.
    send(&peer, to, 30_000..30_010);
    support::eventually("new flows", || match tracker.flows().count() {
        10 => Ok(()),
        count => Err(format!("{count} flows")),
    });
    tracker.detach().expect("detach");
}

/// The longest delay of a DESTROY that is promised: a time round of the sweep.
const INTERVAL: Duration = Duration::from_secs(2);

/// Of each family. With as many as it is sized for, in a table this small, one or two
/// find no place near and push others out.
const FLOWS: u32 = ROOM * 4 / 5;

/// Attaches, and lets go of it.
fn attach(host: &Netns, name: &str) {
    let mut config = Config::default();
    config.sweep.interval = INTERVAL.as_secs() as u32;
    config.table.max_flows_v6 = Some(ROOM);
    let builder = Tracker::builder().config(config).instance(name);
    let builder = builder.netns(NetnsRef::Path(host.path()));
    let builder = builder.interface("inner").max_flows(ROOM);
    drop(builder.keep(Keep::Pinned).attach().expect("attach"));
}

/// An instance that is detached on the way out, however the test ends.
struct Instance(String);

impl Drop for Instance {
    fn drop(&mut self) {
        // Unless the test has done it.
        let _ = conntrack::detach(&self.0);
    }
}

/// Somebody listens, and does nothing else: no process holds the tracker.
#[test]
#[ignore = "root"]
fn destroy_comes_within_the_interval_without_a_process() {
    let (host, peer) = (Netns::new(), Netns::new());
    let (inner, outer) = veth((&host, "inner"), (&peer, "outer"));
    inner.addr("10.7.0.1/24").addr("fd07::1/64");
    outer.addr("10.7.0.2/24").addr("fd07::2/64");
    let name = format!("ctexpiry-{}", std::process::id());
    let _instance = Instance(name.clone());
    attach(&host, &name);
    let to = ["10.7.0.1:9", "[fd07::1]:9"].map(|to| to.parse().expect("an address"));
    let fill = |first: u16| to.map(|to| send(&peer, to, first..first + FLOWS as u16));
    let began = Instant::now();
    fill(10_000);

    let tracker = Tracker::open(&name).expect("open");
    let events = tracker.events_builder().types([EventType::Destroy]);
    let mut events = events.listen().expect("listen");
    // The first is over in some seconds, the others as long after it as they came.
    let timeout = began.elapsed() + Duration::from_secs(3);
    let set = tracker.update_sysctls(|sysctls| sysctls.udp_timeout = timeout.as_secs() as u32);
    set.expect("set the timeout");
    drop(tracker);
    let mut worst = 0;
    for _ in 0..2 * FLOWS {
        let event = events.next_timeout(PATIENCE).expect("an event");
        let event = event.expect("no event came");
        let What::Destroy(flow, GoneReason::Timeout) = event.what else {
            panic!("{event:?}");
        };
        let over = flow.last_seen.0 + timeout.as_secs() as i64 * 1_000_000_000;
        let late = event.time.0 - over;
        assert!(late >= 0, "{flow:?} ended {late} ns late");
        worst = worst.max(late);
    }
    println!("{} flows, each {worst} ns late at the most", 2 * FLOWS);
    // A little more for a machine that has other things to do, and for one that is emulated
    // as long again.
    let slack = match support::in_kernel_matrix() {
        true => INTERVAL,
        false => INTERVAL / 4,
    };
    let most = (INTERVAL + slack).as_nanos() as i64;
    assert!(worst < most, "{worst} ns late");
    assert_eq!(events.lost().total(), 0);
    assert_eq!(events.try_next().expect("no event"), None);

    // A slot that was given back rests before it is used again.
    thread::sleep(Duration::from_millis(500));
    fill(30_000);
    let tracker = Tracker::open(&name).expect("open");
    support::eventually("new flows fit", || {
        let stats = tracker.stats().expect("counters");
        assert_eq!(stats.table.evicted(), 0);
        match stats.flows.active == u64::from(2 * FLOWS) {
            true => Ok(()),
            false => Err(format!("{:?}", stats.flows)),
        }
    });
    tracker.detach().expect("detach");
}
