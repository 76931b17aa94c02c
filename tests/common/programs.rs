//! What the kernel has loaded, whoever holds it.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use conntrack::Tracker;
use libbpf_rs::query::ProgInfoIter;
use libbpf_rs::query::ProgInfoQueryOptions;

/// The ids of a tracker's programs, by `status`.
pub(crate) fn ids(tracker: &Tracker) -> BTreeSet<u32> {
    let programs = tracker.status().expect("status").programs;
    programs.iter().map(|program| program.id).collect()
}

/// The id of a tracker's flow table, which all its programs use.
pub(crate) fn table(tracker: &Tracker) -> u32 {
    let maps = tracker.status().expect("status").maps;
    let table = maps.iter().find(|map| map.name == "ct_table4");
    table.expect("a table").id
}

/// A tracker's programs are the only ones that use its flow table.
pub(crate) fn assert_no_others(tracker: &Tracker) {
    assert_users(table(tracker), &ids(tracker));
}

/// No program uses a flow table any more.
pub(crate) fn assert_unused(table: u32) {
    assert_users(table, &BTreeSet::new());
}

/// The kernel lets go of programs when it has time.
fn assert_users(table: u32, users: &BTreeSet<u32>) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let opts = ProgInfoQueryOptions::default().include_map_ids(true);
        let loaded = ProgInfoIter::with_query_opts(opts);
        let loaded = loaded.filter(|it| it.map_ids.contains(&table));
        let loaded: BTreeSet<u32> = loaded.map(|it| it.id).collect();
        if loaded == *users {
            return;
        }
        assert!(Instant::now() < end, "{loaded:?}, not {users:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
