//! A tracker under test.

use std::process;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Instant;

use conntrack::Config;
use conntrack::Counters;
use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Tracker;
use conntrack::TrackerBuilder;

use super::eventually;
use super::kernel;
use super::netns::Netns;
use super::row;
use super::row::Row;

/// A tracker on interfaces of a namespace, its instance of a name of its own;
/// it detaches when dropped.
pub(crate) fn track(ns: &Netns, interfaces: &[&str], mode: Mode) -> Tracker {
    builder(ns, interfaces, mode)
        .attach()
        .unwrap_or_else(|error| panic!("attach to {interfaces:?} ({mode}): {error:#}"))
}

/// The same before it is attached.
pub(crate) fn builder(ns: &Netns, interfaces: &[&str], mode: Mode) -> TrackerBuilder {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut config = Config::default();
    config.state_dir = None;
    for name in kernel::SHORT {
        let set = config.conntrack.set(name, kernel::LONG.into());
        set.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    Tracker::builder()
        .config(config)
        .instance(format!("cttraffic-{}-{number}", process::id()))
        .netns(NetnsRef::Path(ns.path()))
        .interfaces(interfaces.iter().copied())
        .mode(mode)
        .max_flows(4096)
}

/// All flows it has, sorted.
pub(crate) fn rows(tracker: &Tracker) -> Vec<Row> {
    let flows = tracker
        .flows()
        .map(|flow| Row::from(&flow.expect("a flow")));
    let mut rows: Vec<Row> = flows.collect();
    rows.sort();
    rows
}

/// Its flows are these, when all packets have arrived. Returns them.
pub(crate) fn assert_same(tracker: &Tracker, expected: impl Fn() -> Vec<Row>) -> Vec<Row> {
    eventually("both trackers agree", || {
        let begin = Instant::now();
        let (ours, theirs) = (rows(tracker), expected());
        let said = |why| format!("{why}{}", noted(tracker));
        let same = row::same_after(&ours, &theirs, begin.elapsed());
        same.map_err(said).map(|()| ours)
    })
}

/// What its counters have to say, to explain a difference.
fn noted(tracker: &Tracker) -> String {
    let counters = counters(tracker);
    let mut passed = counters.passed_untracked;
    passed.retain(|_, count| *count != 0);
    let (classes, table) = (counters.ct_state, counters.table);
    format!("{classes:?}\npassed untracked: {passed:?}\n{table:?}")
}

/// Its counters now.
pub(crate) fn counters(tracker: &Tracker) -> Counters {
    tracker.stats().expect("counters")
}

/// Fails if anything was called INVALID, or passed for trouble of our own.
pub(crate) fn assert_clean(tracker: &Tracker) {
    let counters = counters(tracker);
    assert_eq!(
        counters.ct_state.total().invalid,
        0,
        "INVALID: {:?}",
        counters.ct_state
    );
    for reason in [
        "invalid",
        "checksum",
        "truncated",
        "bad_header",
        "table_full",
        "busy",
        "internal",
    ] {
        assert_eq!(counters.passed_untracked[reason], 0, "{reason}");
    }
}
