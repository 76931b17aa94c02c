//! Processes killed at random moments, under traffic: while they attach, upgrade,
//! resize, flush, or hold a tracker that lives as long as they do. What was running runs on
//! and counts every packet; what was not leaves nothing; the next command works.
//!
//! `CONNTRACK_KILLS=…` says how many (`make soak`: 200), `CONNTRACK_SEED=…` repeats
//! the moments.

mod common;
#[allow(dead_code, reason = "others draw otherwise")]
#[path = "support/random.rs"]
mod random;

use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use common::Name;
use common::assert_gone;
use common::builder;
use common::hooks;
use common::native;
use common::netns::Netns;
use common::present;
use common::programs;
use common::traffic::Wire;
use conntrack::ErrorKind;
use conntrack::Hooks;
use conntrack::Keep;
use conntrack::NetnsRef;
use conntrack::TableConfig;
use conntrack::Tracker;
use libbpf_rs::query::ProgInfoIter;
use random::Random;

/// How a process is told to be the one that is killed.
const INSTANCE: &str = "CONNTRACK_TEST_KILLS_INSTANCE";
const NETNS: &str = "CONNTRACK_TEST_KILLS_NETNS";
const WORK: &str = "CONNTRACK_TEST_KILLS_WORK";

/// How many are killed in each test unless asked otherwise.
const SHORT: u64 = 6;

/// A foreground tracker is killed within this time after it has attached.
const HOLD: Duration = Duration::from_millis(200);

/// How long the kernel may take to let go of what a dead process had.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// How many to kill in one of the two tests.
fn kills() -> u64 {
    number("CONNTRACK_KILLS").map_or(SHORT, |all| all.div_ceil(2))
}

/// All that only grows: packets first.
fn counts(tracker: &Tracker) -> Vec<u64> {
    let stats = tracker.stats().expect("counters");
    let mut counts = vec![stats.packets, stats.bytes, stats.table.created];
    for reasons in [&stats.table.removed, &stats.drops, &stats.passed_untracked] {
        counts.extend(reasons.values());
    }
    counts
}

fn random() -> Random {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = number("CONNTRACK_SEED")
        .unwrap_or_else(|| u64::from(now().expect("a time after 1970").subsec_nanos()));
    println!("CONNTRACK_SEED={seed}");
    Random::new(seed)
}

/// Of either family.
fn wire(random: &mut Random) -> Wire {
    match random.below(2) {
        0 => Wire::new(),
        _ => Wire::v6(),
    }
}

#[test]
#[ignore = "root"]
fn works_until_it_is_killed() {
    let Some(instance) = env::var_os(INSTANCE) else {
        // Not called by another test: what it would do must work by itself.
        let wire = Wire::new();
        let name = Name::new();
        for work in ["attach", "upgrade", "flush"] {
            victim(&name, &wire.here, work).end();
        }
        let tracker = Tracker::open(&name.0).expect("open");
        assert_eq!(hooks(&tracker), attached());
        return;
    };
    let instance = instance.into_string().expect("a plain name");
    let netns = PathBuf::from(env::var_os(NETNS).expect("a namespace"));
    let attach = |keep| {
        let builder = Tracker::builder().interface("wire").instance(&instance);
        let builder = builder.netns(NetnsRef::Path(netns.clone())).max_flows(1000);
        builder.keep(keep).attach().expect("attach")
    };
    match env::var(WORK).as_deref().expect("a work") {
        "attach" => drop(attach(Keep::Pinned)),
        "upgrade" => drop(conntrack::upgrade(&instance).expect("upgrade")),
        "resize" => {
            let tracker = Tracker::open(&instance).expect("open");
            let now = tracker.status().expect("status").tables[0].max_flows;
            let table = TableConfig {
                max_flows: if now == 100_000 { 90_000 } else { 100_000 },
                ..TableConfig::default()
            };
            tracker.resize(&table).expect("resize");
        }
        "flush" => {
            let tracker = Tracker::open(&instance).expect("open");
            tracker.flush().expect("flush");
        }
        "hold" => {
            let tracker = attach(Keep::Visible);
            loop {
                tracker.status().expect("status");
                thread::sleep(Duration::from_millis(5));
            }
        }
        other => panic!("no work: {other}"),
    }
}

/// A process at work.
struct Victim(Child);

fn victim(name: &Name, ns: &Netns, work: &str) -> Victim {
    let child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "works_until_it_is_killed", "--ignored"])
        .env(INSTANCE, &name.0)
        .env(NETNS, ns.path())
        .env(WORK, work)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Victim(child.expect("start a process"))
}

impl Victim {
    /// Lets it come to its end.
    fn end(mut self) {
        let status = self.0.wait().expect("wait");
        assert!(status.success(), "{status}");
    }

    /// Kills it after this time. Whether it was still at work.
    fn kill(mut self, after: Duration) -> bool {
        thread::sleep(after);
        let ended = self.0.try_wait().expect("wait").is_some();
        if !ended {
            self.0.kill().expect("kill");
        }
        self.0.wait().expect("wait");
        !ended
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Unless it was killed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn attached() -> [(String, Hooks); 1] {
    [("wire".to_owned(), native())]
}

/// How long a work takes from beginning to end.
fn takes(name: &Name, ns: &Netns, work: &str) -> Duration {
    let begin = Instant::now();
    victim(name, ns, work).end();
    begin.elapsed()
}

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What sits on the interface, once nothing is just going.
fn sitting(ns: &Netns) -> Vec<String> {
    let named = |sits: &Vec<String>| sits.iter().all(|program| !program.ends_with(' '));
    let mut looks = std::iter::repeat_with(|| present(ns, "wire")).take(20);
    looks.find(named).expect("names of the programs")
}

/// Packet programs of any tracker on this machine.
fn loaded() -> BTreeSet<u32> {
    let packets = |name: &str| name.starts_with("ct_xdp") || name.starts_with("ct_tc");
    ProgInfoIter::default()
        .filter(|it| packets(&it.name.to_string_lossy()))
        .map(|it| it.id)
        .collect()
}

#[test]
#[ignore = "root"]
fn what_runs_runs_on_and_counts_every_packet() {
    let mut random = random();
    let wire = wire(&mut random);
    let name = Name::new();
    let builder = builder(&name, &wire.here, &["wire"]).max_flows(100_000);
    let tracker = builder.keep(Keep::Pinned).attach().expect("attach");
    let sits = sitting(&wire.here);
    let table = programs::table(&tracker);
    let mut traffic = wire.start();
    let mut works = vec!["upgrade", "flush"];
    // It takes seconds; tests/resize_killed.rs has a few in any case.
    works.extend(number("CONNTRACK_KILLS").map(|_| "resize"));
    let works: Vec<_> = works
        .into_iter()
        .map(|work| (work, takes(&name, &wire.here, work)))
        .collect();
    let (mut before, mut killed) = (vec![0], 0);
    for number in 0..kills() {
        let (work, takes) = works[number as usize % works.len()];
        let after = Duration::from_micros(random.below(takes.as_micros() as u64));
        let when = format!("{work}, killed after {after:?} of {takes:?}");
        killed += u64::from(victim(&name, &wire.here, work).kill(after));
        let opened = Tracker::open(&name.0).unwrap_or_else(|error| panic!("{when}: {error:#}"));
        assert_eq!(hooks(&opened), attached(), "{when}");
        assert_eq!(sitting(&wire.here), sits, "{when}");
        let now = counts(&opened);
        assert!(now[0] > before[0], "{when}: {now:?} after {before:?}");
        let backwards = now.iter().zip(&before).any(|(now, before)| now < before);
        assert!(!backwards, "{when}: {now:?} after {before:?}");
        before = now;
        match random.below(3) {
            0 => drop(conntrack::upgrade(&name.0).unwrap_or_else(|e| panic!("{when}: {e:#}"))),
            1 => drop(opened.flush().unwrap_or_else(|e| panic!("{when}: {e:#}"))),
            _ => {
                let error = pinned_again(&name, &wire).expect_err(&when);
                assert_eq!(error.kind(), ErrorKind::InUse, "{when}: {error:#}");
            }
        }
    }
    let packets = before[0];
    println!("{killed} killed, {packets} packets meanwhile");
    assert!(
        killed * 5 >= kills(),
        "{killed}: nearly all were done before they were killed"
    );
    conntrack::upgrade(&name.0).expect("upgrade");
    programs::assert_no_others(&tracker);
    // Every frame that crossed the wire was counted, once.
    let sent = traffic.finish(&tracker);
    println!("{sent:?}");
    drop(tracker);
    conntrack::detach(&name.0).expect("detach");
    assert_gone(&name, &wire.here, &["wire"], "detached");
    programs::assert_unused(table);
}

fn pinned_again(name: &Name, wire: &Wire) -> conntrack::Result<Tracker> {
    let builder = builder(name, &wire.here, &["wire"]);
    builder.keep(Keep::Pinned).attach()
}

/// What is left of a process that attached: a tracker with one program a hook, or
/// something that is told as no tracker.
fn assert_told(name: &Name, ns: &Netns, when: &str) -> bool {
    let sits = sitting(ns);
    let mut once = sits.clone();
    once.dedup();
    assert_eq!(sits, once, "{when}: attached twice");
    match Tracker::open(&name.0) {
        Ok(tracker) => tracker.status().expect("status").interfaces.len() == 1,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{when}: {error:#}");
            false
        }
    }
}

#[test]
#[ignore = "root"]
fn what_did_not_come_to_be_leaves_nothing() {
    let mut random = random();
    let wire = wire(&mut random);
    let name = Name::new();
    let before = loaded();
    let traffic = wire.start();
    let attach = takes(&name, &wire.here, "attach");
    conntrack::detach(&name.0).expect("detach");
    let mut killed = 0;
    for number in 0..kills() {
        let (work, least, spread) = match number % 2 {
            0 => ("attach", Duration::ZERO, attach),
            _ => ("hold", attach, HOLD),
        };
        let after = least + Duration::from_micros(random.below(spread.as_micros() as u64));
        let when = format!("{work}, killed after {after:?}, attaching takes {attach:?}");
        killed += u64::from(victim(&name, &wire.here, work).kill(after));
        if work == "hold" {
            wait_until(&when, || present(&wire.here, "wire").is_empty());
        }
        let runs = assert_told(&name, &wire.here, &when);
        if random.below(2) == 0 {
            match pinned_again(&name, &wire) {
                Ok(tracker) => assert_eq!(hooks(&tracker), attached(), "{when}"),
                Err(error) => {
                    assert!(runs, "{when}: {error:#}");
                    assert_eq!(error.kind(), ErrorKind::InUse, "{when}: {error:#}");
                }
            }
        }
        detach_all(&name, &wire.here, &when);
    }
    println!("{killed} killed");
    assert!(killed > 0, "all were done before they were killed");
    drop(traffic);
    // Other trackers of this machine may come and go.
    let new = &loaded() - &before;
    wait_until("programs stay loaded", || loaded().is_disjoint(&new));
}

fn detach_all(name: &Name, ns: &Netns, when: &str) {
    let there = Path::exists(&name.dir());
    if let Err(error) = conntrack::detach(&name.0) {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{when}: {error:#}");
        assert!(!there, "{when}: {error:#}");
    }
    wait_until(when, || present(ns, "wire").is_empty());
    assert_gone(name, ns, &["wire"], when);
}
