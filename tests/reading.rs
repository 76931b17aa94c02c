//! A tracker on `lo` of a namespace of its own: what it says of flows.

use std::net::SocketAddr;
use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use conntrack::Endpoint;
use conntrack::Flow;
use conntrack::FlowFilter;
use conntrack::FlowKey;
use conntrack::Protocol;
use conntrack::Tracker;
use nix::sched::CloneFlags;
use nix::sched::unshare;

/// Runs in a new network namespace, with `lo` up, that ends with it.
fn in_a_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("ip").success());
        test();
    };
    thread::spawn(run).join().expect("the test");
}

fn track() -> Tracker {
    let builder = Tracker::builder().interface("lo").max_flows(1000);
    builder.attach().expect("attach")
}

/// Sends this many datagrams of 100 bytes from a new socket to another one;
/// where from and where to.
fn talk(datagrams: u64) -> (SocketAddr, SocketAddr) {
    let [a, b] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    let (from, to) = (a.local_addr(), b.local_addr());
    let (from, to) = (from.expect("an address"), to.expect("an address"));
    let mut buffer = [0; 200];
    for _ in 0..datagrams {
        a.send_to(&[7; 72], to).expect("sent");
        b.recv(&mut buffer).expect("received");
    }
    (from, to)
}

fn name(from: SocketAddr, to: SocketAddr) -> FlowKey {
    let [a, b] = [from, to].map(|end| Endpoint::new(end.ip(), end.port()));
    FlowKey::new(a, b, Protocol::UDP)
}

fn flows(tracker: &Tracker) -> Vec<Flow> {
    tracker.flows().map(|flow| flow.expect("a flow")).collect()
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_nanos()).expect("before 2262")
}

#[test]
#[ignore = "root"]
fn live_flows_have_names_times_and_counts() {
    in_a_namespace(|| {
        // Ticks of the coarse clock, and clocks that are being set.
        const SLACK: i64 = 1_000_000_000;
        let tracker = track();
        let before = now();
        let talks = [5, 6, 7].map(|datagrams| (talk(datagrams), datagrams));
        let after = now();
        assert_eq!(flows(&tracker).len(), talks.len());
        for ((from, to), datagrams) in talks {
            let name = name(from, to);
            let flow = tracker.flow(&name).expect("read").expect("a flow");
            assert_eq!(flow.key(), name);
            assert_eq!(flow.original.tuple.ports(), Some((from.port(), to.port())));
            assert_eq!(flow.original.packets, datagrams);
            assert_eq!(flow.original.bytes, datagrams * 100);
            assert_eq!(flow.interface.as_deref(), Some("lo"));
            let bracket = before - SLACK..=after + SLACK;
            assert!(bracket.contains(&flow.start.0), "{:?}", flow.start);
            assert!(flow.last_seen.0 - flow.start.0 == flow.duration.as_nanos() as i64);
            assert!((1..=30).contains(&flow.timeout.as_secs()));

            let filter = FlowFilter {
                port: Some(from.port().into()),
                ..FlowFilter::default()
            };
            let same: Vec<Flow> = tracker
                .flows()
                .filter_flows(filter)
                .map(|flow| flow.expect("a flow"))
                .collect();
            let [same] = same.as_slice() else {
                panic!("{same:?}");
            };
            assert_eq!((same.key(), &same.original), (name, &flow.original));
            assert_eq!(same.interface.as_deref(), Some("lo"));
        }
        let absent = "tcp 127.0.0.1:1 127.0.0.1:2".parse().expect("a name");
        assert_eq!(tracker.flow(&absent).expect("read"), None);
    });
}

#[test]
#[ignore = "root"]
fn counters_know_the_interface() {
    in_a_namespace(|| {
        let tracker = track();
        talk(5);
        talk(6);
        let counters = tracker.stats().expect("counters");
        assert_eq!((counters.packets, counters.bytes), (11, 1100));
        let [lo] = counters.interfaces.as_slice() else {
            panic!("{:?}", counters.interfaces);
        };
        assert_eq!((lo.name.as_str(), lo.packets, lo.bytes), ("lo", 11, 1100));
        assert!(lo.hooks.ingress.is_some() && lo.hooks.egress.is_none());
        assert_eq!(counters.flows.active, 2);
        assert_eq!(counters.flows.max, 1500);
        // Unanswered, each of them is new, as in nf_conntrack.
        assert_eq!(counters.ct_state.total().new, 11);
        assert!(counters.memory_bytes > 1500 * 100);
    });
}

#[test]
#[ignore = "root"]
fn flows_outlive_interface_and_tracker() {
    in_a_namespace(|| {
        let tracker = track();
        let (from, to) = talk(3);
        tracker.remove_interface("lo").expect("detached");
        talk(4);
        // The record of the interface is gone; the namespace knows its name.
        let flow = tracker
            .flow(&name(from, to))
            .expect("read")
            .expect("a flow");
        assert_eq!(flow.interface.as_deref(), Some("lo"));
        let later = tracker.flows();
        drop(tracker);
        let names: Vec<FlowKey> = later.map(|flow| flow.expect("a flow").key()).collect();
        assert_eq!(names, [name(from, to)]);
    });
}

#[test]
fn trackers_and_flows_go_from_thread_to_thread() {
    fn anywhere<T: Send + Sync + 'static>() {}
    fn movable<T: Send + 'static>() {}
    anywhere::<Tracker>();
    movable::<conntrack::Flows>();
    movable::<conntrack::Replay>();
}
