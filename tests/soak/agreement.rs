//! Both trackers on one router: they tell the same of every flow, in every field,
//! at every sample.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use conntrack::Counters;

use crate::place::Place;
use crate::report::Report;
use crate::sample::Sampler;
use crate::support::PATIENCE;
use crate::support::in_kernel_matrix;
use crate::support::kernel;
use crate::support::tracked;
use crate::traffic::Tally;
use crate::traffic::Traffic;

/// How often it says how far it is.
const MINUTE: Duration = Duration::from_secs(60);

/// From one sample to the next.
const INTERVAL: Duration = Duration::from_millis(800);

#[test]
#[ignore = "root"]
fn both_trackers_tell_the_same_of_real_traffic() {
    let (seed, time) = (crate::seed(), crate::time());
    println!("CONNTRACK_SEED={seed}, for {} s", time.as_secs());
    let place = Place::new(seed);
    let mut report = Report::new(seed);
    let tallies = compare_under_traffic(&place, time, &mut report);
    let counters = tracked::counters(&place.tracker);
    let invalid = kernel::invalid(&place.router);
    report.print(&tallies, &place.relayed(), &counters, invalid);
    judge(&report, &tallies, &counters, invalid);
}

/// Lets traffic run and samples both tables meanwhile, and once more when nothing
/// moves any longer. Says what was done.
fn compare_under_traffic(place: &Place, time: Duration, report: &mut Report) -> Vec<Tally> {
    let mut sampler = Sampler::new(&place.router, &place.tracker);
    let traffic = Traffic::start(place, report.seed);
    let begin = Instant::now();
    let mut told = begin;
    // On a machine with much else to do, until everything has happened once.
    let patience = PATIENCE * if in_kernel_matrix() { 5 } else { 1 };
    while begin.elapsed() < time || begin.elapsed() < time + patience && !traffic.all_done() {
        sampler.sample(report);
        thread::sleep(INTERVAL);
        if told.elapsed() > MINUTE {
            println!("{}", report.progress());
            told = Instant::now();
        }
    }
    let tallies = traffic.stop();
    place.drain();
    report.rest();
    sampler.sample(report);
    tallies
}

fn judge(report: &Report, tallies: &[Tally], counters: &Counters, invalid: u64) {
    let seed = report.seed;
    assert_eq!(
        report.lasting.len(),
        0,
        "flows the two differ about (CONNTRACK_SEED={seed})"
    );
    let beyond = report.beyond(counters.table.created);
    assert_eq!(
        beyond, [""; 0],
        "more transient differences than that (CONNTRACK_SEED={seed})"
    );
    assert_eq!(
        counters.ct_state.total().invalid,
        invalid,
        "INVALID packets, ours and nf_conntrack's (CONNTRACK_SEED={seed})"
    );
    assert_eq!(counters.table.evicted(), 0, "there is room for all flows");
    for reason in ["table_full", "internal", "busy"] {
        assert_eq!(counters.passed_untracked[reason], 0, "{reason}");
    }
    for tally in tallies {
        assert!(tally.done > 0, "none of {}", tally.name);
    }
}
