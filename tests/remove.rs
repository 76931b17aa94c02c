//! Flows removed by command while real packets run: none is removed twice, none
//! goes untold, and every packet counts.

mod common;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::Name;
use common::builder;
use common::priority::go_first;
use common::programs;
use common::traffic::Sent;
use common::traffic::Traffic;
use common::traffic::Wire;
use conntrack::EventType;
use conntrack::Flow;
use conntrack::FlowFilter;
use conntrack::FlowKey;
use conntrack::GoneReason;
use conntrack::Keep;
use conntrack::Mode;
use conntrack::Protocol;
use conntrack::TableConfig;
use conntrack::Tracker;
use conntrack::What;

/// How often; less where the processor is emulated.
fn times(many: u64) -> u64 {
    match std::env::var_os("CONNTRACK_TEST_KERNEL_MATRIX") {
        Some(_) => many.min(5),
        None => many,
    }
}

/// What listeners were told.
#[derive(Default)]
struct Told {
    new: u64,
    ends: Vec<(Flow, GoneReason)>,
}

impl Told {
    fn count(&self, reason: GoneReason) -> u64 {
        let ends = self.ends.iter().filter(|(_, why)| *why == reason);
        ends.count() as u64
    }
}

/// Listens until it is done and the wire silent.
fn listen(tracker: &Tracker, listening: &AtomicBool, done: &AtomicBool) -> Told {
    let types = [EventType::New, EventType::Destroy];
    let events = tracker.events_builder().types(types);
    let mut events = events.buffer(64 << 20).listen().expect("listen");
    listening.store(true, Ordering::Release);
    let mut told = Told::default();
    loop {
        let last = done.load(Ordering::Acquire);
        let event = events.next_timeout(Duration::from_millis(100));
        match event.expect("an event").map(|event| event.what) {
            Some(What::New(_)) => told.new += 1,
            Some(What::Destroy(flow, reason)) => told.ends.push((flow, reason)),
            Some(other) => panic!("{other:?} was not asked for"),
            None if last => break,
            None => {}
        }
    }
    assert_eq!(events.lost().total(), 0);
    told
}

/// What commands said that they removed.
#[derive(Default, Debug)]
struct Removed {
    flushed: u64,
    deleted: u64,
    /// How often each of the two long flows was in reach of a command.
    chances: u64,
}

impl Removed {
    fn and(self, other: Self) -> Self {
        Self {
            flushed: self.flushed + other.flushed,
            deleted: self.deleted + other.deleted,
            chances: self.chances + other.chances,
        }
    }
}

/// Each kind of removal in turn.
fn remove_again_and_again(name: &Name, traffic: &Traffic, rounds: u64) -> Removed {
    let tracker = Tracker::open(&name.0).expect("open");
    let mut removed = Removed::default();
    let short = FlowFilter {
        protocol: Some(Protocol::UDP),
        sport: Some("10000-65535".parse().expect("ports")),
        ..FlowFilter::default()
    };
    for _ in 0..rounds {
        for key in [&traffic.udp, &traffic.tcp] {
            removed.deleted += u64::from(tracker.delete(key).expect("delete"));
        }
        removed.deleted += tracker.delete_matching(short.clone()).expect("delete");
        removed.flushed += tracker.flush().expect("flush");
        removed.chances += 3;
    }
    removed
}

/// By two threads at once.
fn remove_by_two(name: &Name, traffic: &Traffic) -> Removed {
    let both = thread::scope(|scope| {
        let remove = || remove_again_and_again(name, traffic, times(60));
        [(); 2]
            .map(|()| scope.spawn(remove))
            .map(|thread| thread.join().expect("remove"))
    });
    both.into_iter().fold(Removed::default(), Removed::and)
}

fn track(name: &Name, wire: &Wire, mode: Mode) -> Tracker {
    let builder = builder(name, &wire.here, &["wire"]).max_flows(100_000);
    let builder = builder.mode(mode).keep(Keep::Pinned);
    builder.attach().expect("attach")
}

/// Packets of one name, there and back, over all flows that bore it.
fn packets_of(key: &FlowKey, flows: &[&Flow]) -> u64 {
    let same = flows.iter().filter(|flow| flow.key() == *key);
    same.map(|flow| flow.packets()).sum()
}

fn assert_exact(tracker: &Tracker, traffic: &Traffic, sent: &Sent, told: &Told, done: &Removed) {
    let left: Vec<Flow> = tracker.flows().map(|flow| flow.expect("read")).collect();
    let counters = tracker.stats().expect("counters");
    println!(
        "{sent:?}, {done:?}, {} flows, {} left",
        told.new,
        left.len()
    );
    assert!(done.flushed > 0 && done.deleted > 0);
    assert_eq!(told.count(GoneReason::Flushed), done.flushed);
    assert_eq!(told.count(GoneReason::Deleted), done.deleted);
    assert_eq!(counters.table.gone(GoneReason::Flushed), done.flushed);
    assert_eq!(counters.table.gone(GoneReason::Deleted), done.deleted);
    assert_eq!(told.ends.len() as u64, done.flushed + done.deleted);
    assert_eq!(told.new, counters.table.created);
    assert_eq!(told.new, told.ends.len() as u64 + left.len() as u64);
    assert_eq!(counters.flows.active, left.len() as u64);
    assert_eq!(counters.ct_state.total().invalid, 0);
    let mut passed = counters.passed_untracked;
    passed.retain(|reason, count| *count != 0 && *reason != "not_ip");
    assert!(passed.is_empty(), "untracked: {passed:?}");

    // A packet that loses its flow after it was counted there is counted in the next
    // one, too: at most one each way for each time that somebody could take it out.
    let flows: Vec<&Flow> = told.ends.iter().map(|(flow, _)| flow).collect();
    let flows: Vec<&Flow> = flows.into_iter().chain(&left).collect();
    let udp = packets_of(&traffic.udp, &flows);
    let most = 2 * sent.datagrams + 2 * done.chances;
    assert!((2 * sent.datagrams..=most).contains(&udp), "{udp}");
    let all: u64 = flows.iter().map(|flow| flow.packets()).sum();
    let seen = counters.packets;
    let most = seen + 2 * (done.flushed + done.deleted);
    assert!((seen..=most).contains(&all), "{all} of {seen}");
}

/// Removes under traffic until `meanwhile` is done, and once more.
fn counts_and_events_stay_exact(mode: Mode, meanwhile: impl FnOnce(&Tracker) + Send) {
    let wire = Wire::new();
    let name = Name::new();
    let tracker = track(&name, &wire, mode);
    let (listening, silent) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let told = scope.spawn(|| listen(&tracker, &listening, &silent));
        while !listening.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let mut traffic = wire.start();
        let meanwhile = scope.spawn(|| meanwhile(&tracker));
        let mut removed = Removed::default();
        while !meanwhile.is_finished() {
            removed = removed.and(remove_by_two(&name, &traffic));
        }
        meanwhile.join().expect("what is done meanwhile");
        removed = removed.and(remove_by_two(&name, &traffic));
        let sent = traffic.finish(&tracker);
        silent.store(true, Ordering::Release);
        let told = told.join().expect("the listener");
        assert_exact(&tracker, &traffic, &sent, &told, &removed);
    });
}

#[test]
#[ignore = "root"]
fn under_traffic_counts_and_events_stay_exact() {
    for mode in [Mode::Auto, Mode::Tc] {
        counts_and_events_stay_exact(mode, |_| {});
    }
}

/// Flows are taken out of either table, on their way, and while they are swept.
#[test]
#[ignore = "root"]
fn while_tables_are_replaced_counts_and_events_stay_exact() {
    counts_and_events_stay_exact(Mode::Auto, |tracker| {
        go_first();
        for max_flows in [20_000, 70_000, 30_000].into_iter() {
            let table = TableConfig {
                max_flows,
                ..TableConfig::default()
            };
            let report = tracker.resize(&table).expect("resize");
            println!("{report:?}");
            tracker.sweep().expect("sweep");
        }
    });
}

#[test]
#[ignore = "root"]
fn a_removed_flow_begins_anew_with_its_next_packet() {
    let wire = Wire::new();
    let name = Name::new();
    let tracker = track(&name, &wire, Mode::Auto);
    let mut traffic = wire.start();
    // Longer than a tick of the clock by which flows begin.
    thread::sleep(Duration::from_millis(100));
    let before = tracker.flow(&traffic.tcp).expect("read").expect("a flow");
    assert!(tracker.delete(&traffic.tcp).expect("delete"));
    let again = loop {
        if let Some(flow) = tracker.flow(&traffic.tcp).expect("read") {
            break flow;
        }
    };
    assert!(again.start > before.start);
    // The connection stays open with it.
    let _sent = traffic.finish(&tracker);
    // In mid-stream, as nf_conntrack takes it up.
    let flow = tracker.flow(&traffic.tcp).expect("read").expect("a flow");
    assert_eq!(flow.state, before.state);
    assert!(tracker.flush().expect("flush") > 2);
    assert_eq!(tracker.flush().expect("flush"), 0);
    assert!(!tracker.delete(&traffic.tcp).expect("delete"));
    let any = tracker.delete_matching(FlowFilter::default());
    assert_eq!(any.expect("delete"), 0);
    assert_eq!(tracker.flows().count(), 0);
}

#[test]
#[ignore = "root"]
fn an_upgrade_brings_a_new_program_for_it() {
    let wire = Wire::new();
    let name = Name::new();
    let tracker = track(&name, &wire, Mode::Auto);
    let mut traffic = wire.start();
    while !tracker.delete(&traffic.udp).expect("delete") {
        // Its first packet is to come.
        thread::yield_now();
    }
    // By another tracker; this one takes the new program, and lets the old one go.
    conntrack::upgrade(&name.0).expect("upgrade");
    assert!(tracker.flush().expect("flush") > 0);
    programs::assert_no_others(&tracker);
    let _sent = traffic.finish(&tracker);
    assert!(tracker.flush().expect("flush") > 0);
}
