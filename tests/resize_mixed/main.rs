//! Tables of another size while traffic of all kinds runs in both families: connections
//! that open, close and are reset, streams, queries, pings, fragments, SCTP, and sources
//! that are banned. Afterwards each flow is what nf_conntrack says, which nobody resized:
//! every packet and byte of it, its state, flags and time left.

#[path = "../../conntrack-bpf/tests/common/packet.rs"]
mod packet;
mod sctp;
#[path = "../support/mod.rs"]
mod support;
mod talk;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

use conntrack::GoneReason;
use conntrack::Mode;
use conntrack::TableConfig;
use conntrack::Tracker;
use support::eventually;
use support::in_kernel_matrix;
use support::link::Offloads;
use support::pair::HOST4;
use support::pair::HOST6;
use support::pair::Pair;
use support::priority::go_first;
use talk::Banned;
use talk::Talk;

/// Flows of each family that the tables are sized for: more than come about before the
/// first of them is over (TIME_WAIT, 120 s).
const SIZES: [u32; 3] = [150_000, 80_000, 120_000];

/// One where the processor is emulated.
fn resizes() -> usize {
    if in_kernel_matrix() { 1 } else { SIZES.len() }
}

fn table(max_flows: u32) -> TableConfig {
    TableConfig {
        max_flows,
        max_flows_v6: Some(max_flows),
        ..TableConfig::default()
    }
}

/// Reads all the while; how often.
fn look(tracker: &Tracker, done: &AtomicBool) -> u64 {
    let mut looks = 0;
    while !done.load(Ordering::Relaxed) {
        let mut shown = HashSet::new();
        for flow in tracker.flows() {
            let flow = flow.expect("a flow");
            // A port may be in use again before the look has come to its end.
            let flow = (flow.key(), flow.start);
            assert!(shown.insert(flow), "{flow:?} is shown twice");
        }
        looks += 1;
    }
    looks
}

/// Sweeps all the while; how often.
fn sweep(tracker: &Tracker, done: &AtomicBool) -> u64 {
    let mut sweeps = 0;
    while !done.load(Ordering::Relaxed) {
        tracker.sweep().expect("sweep");
        sweeps += 1;
    }
    sweeps
}

/// Every flow there ever was is there, or has gone by its own end.
fn assert_none_lost(tracker: &Tracker) {
    eventually("flows are there or gone", || {
        tracker.sweep().expect("sweep");
        let there = tracker.flows().count() as u64;
        let table = tracker.stats().expect("counters").table;
        match table.created == there + table.gone_total() {
            true => Ok(()),
            false => Err(format!("{there} of {table:?}")),
        }
    });
    let table = tracker.stats().expect("counters").table;
    let by_command = [
        GoneReason::Evicted,
        GoneReason::Deleted,
        GoneReason::Flushed,
    ];
    for reason in by_command {
        assert_eq!(table.gone(reason), 0, "{table:?}");
    }
}

/// Resizes again and again; how many flows moved.
fn resize(tracker: &Tracker) -> u64 {
    go_first();
    let mut moved = 0;
    for size in SIZES.into_iter().take(resizes()) {
        let report = tracker.resize(&table(size)).expect("resize");
        println!("{report:?}");
        moved += report.moved;
    }
    moved
}

fn all_kinds_of_traffic(mode: Mode) {
    let pair = Pair::new(mode, Offloads::Off, 1500);
    let tracker = &pair.tracker;
    tracker.resize(&table(60_000)).expect("resize");
    let sent: [Arc<AtomicU64>; 2] = Default::default();
    let banned = [
        Banned::new(&pair, [HOST4, "10.7.0.3"]),
        Banned::new(&pair, [HOST6, "fd07::3"]),
    ];
    let addrs = banned.each_ref().map(|banned| banned.addr);
    let mut talk = Talk::start(&pair);
    for (banned, sent) in banned.into_iter().zip(&sent) {
        banned.send(&mut talk, Arc::clone(sent));
    }
    let done = AtomicBool::new(false);
    let [looks, sweeps, moved] = thread::scope(|scope| {
        let looks = scope.spawn(|| look(tracker, &done));
        let sweeps = scope.spawn(|| sweep(tracker, &done));
        let moved = scope.spawn(|| resize(tracker)).join();
        done.store(true, Ordering::Relaxed);
        [looks.join(), sweeps.join(), moved].map(|count| count.expect("all goes well"))
    });
    talk.finish();
    let rows = pair.assert_agreement();
    let flows = rows.len();
    println!("{flows} flows, {moved} moved, {looks} looks, {sweeps} sweeps");
    assert!(moved > 0 && looks > 0 && sweeps > 0);
    assert_none_lost(tracker);
    pair.assert_wire();
    pair.assert_clean();
    let drops = tracker.stats().expect("counters").drops;
    let sent = sent.map(|sent| sent.load(Ordering::Relaxed));
    assert_eq!(drops.values().sum::<u64>(), sent[0] + sent[1], "{drops:?}");
    for ban in tracker.bans() {
        let ban = ban.expect("a ban");
        let which = addrs
            .iter()
            .position(|addr| ban.target.net().addr() == *addr);
        assert_eq!(ban.hits, sent[which.expect("one of ours")], "{ban:?}");
    }
}

#[test]
#[ignore = "root"]
fn all_kinds_of_traffic_by_xdp() {
    all_kinds_of_traffic(Mode::Native);
}

#[test]
#[ignore = "root"]
fn all_kinds_of_traffic_by_tc() {
    all_kinds_of_traffic(Mode::Tc);
}
