//! The same frames through nf_conntrack and through us; after each step both
//! must say the same. `exceptions.md` lists what may differ, and why,
//! `other_kernels.md` what is not asked of other kernels than the one we follow.
//!
//! Where no kernel can be asked, the reference of conntrack-core is: a second test
//! hands the same packets to the packet path without a network, in at each of its hooks.
//!
//! `CONNTRACK_SEED=…` repeats the random walks of a run, `CONNTRACK_ONLY=…`
//! plays only the scenarios whose names contain it, `CONNTRACK_WALKS=…` plays so
//! many random walks of each kind under each profile, and nothing else;
//! `CONNTRACK_TRACE=1` prints the settings, each step as it is played, and what both
//! tables say after it.

mod compare;
#[path = "../support/ctnetlink.rs"]
mod ctnetlink;
mod deadline;
#[path = "../support/entry.rs"]
mod entry;
mod exceptions;
mod frame;
mod kernel;
mod kernels;
mod lab;
#[path = "../support/netlink.rs"]
mod netlink;
mod ours;
mod profile;
#[path = "../support/random.rs"]
mod random;
mod replayed;
mod report;
mod run;
mod scenarios;
mod script;
mod tcp;
mod view;
mod walk_bytes;
mod walk_edge;
mod walk_fragment;
mod walk_other;
mod walk_sctp;
mod walk_small;
mod walk_tcp;

use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::exceptions::Exceptions;
use crate::kernel::Kernel;
use crate::kernels::Kernels;
use crate::lab::Lab;
use crate::ours::Ours;
use crate::profile::PROFILES;
use crate::profile::Profile;
use crate::random::Random;
use crate::replayed::Hook;
use crate::replayed::Played;
use crate::replayed::Replayed;
use crate::report::Report;
use crate::run::Stage;
use crate::script::Catalogue;

/// Random walks of each kind under each profile.
const WALKS: u64 = 12;

/// Packets in a walk.
const WALK_STEPS: usize = 30;

/// How often a scenario is played again in which a packet came as a flow's time was up.
const TRIES: u32 = 3;

/// By how much its waits are then longer each time: with the same ones it would come
/// just then again.
const LONGER: Duration = Duration::from_millis(250);

/// Walks of each kind that fit between two laboratories.
const BATCH: u64 = 100;

#[test]
#[ignore = "root"]
fn agrees_with_nf_conntrack() {
    let (seed, begin) = (seed(), Instant::now());
    println!("CONNTRACK_SEED={seed}");
    let kernels = Kernels::read();
    let mut total = Report::default();
    match long() {
        None => total = run(seed, &plan(seed, WALKS, true, kernels.clone())),
        Some(walks) => {
            for batch in 0..walks.div_ceil(BATCH) {
                // Each batch as if it were a run of its own, to be repeated alone.
                let (seed, walks) = (seed + batch, BATCH.min(walks - batch * BATCH));
                total.add(run(seed, &plan(seed, walks, false, kernels.clone())));
                println!("so far: {}", total.summary());
            }
        }
    }
    let time = begin.elapsed().as_secs_f64();
    println!("all: {}, in {time:.1} s", total.summary());
    assert_ne!(total.scenarios, 0, "nothing was played");
    assert_eq!(
        total.found.core, 0,
        "steps that differ in a core field (CONNTRACK_SEED={seed})"
    );
    assert_eq!(
        total.found.steps, 0,
        "steps that differ without an exception (CONNTRACK_SEED={seed})"
    );
    assert!(
        total.excepted * 1000 <= total.steps * 5,
        "more than 0.5 % of the steps differ (CONNTRACK_SEED={seed})"
    );
    if long().is_none() && only().is_none() {
        let unused = Exceptions::read().unused(&total.used);
        assert_eq!(unused, [""; 0], "exceptions that nothing needs any more");
    }
}

/// Those with names, without any walk.
#[test]
fn there_are_hundreds_of_scenarios() {
    let named = scenarios::all().len();
    assert!(named >= 300, "{named}");
}

/// What is played under which settings.
struct Plan {
    profiles: Vec<Profile>,
    walks: u64,
    /// The named scenarios, too.
    named: bool,
    /// What is left out.
    kernels: Kernels,
}

fn plan(seed: u64, walks: u64, named: bool, kernels: Kernels) -> Plan {
    let mut profiles = Vec::from(PROFILES);
    profiles.push(Profile::mixed(seed, &kernels.without()));
    Plan {
        profiles,
        walks,
        named,
        kernels,
    }
}

impl Plan {
    /// What is played under one profile: of the named scenarios, in all but the
    /// first, those it makes a difference to.
    fn catalogue(&self, profile: &Profile, seed: u64) -> Catalogue {
        let mut catalogue = if self.named {
            scenarios::all()
        } else {
            Catalogue::default()
        };
        catalogue.retain(|name| profile.plays(name));
        self.kernels.leave_out(profile.name, &mut catalogue);
        self.walks(&mut catalogue, profile, seed);
        if let Some(only) = only() {
            catalogue.retain(|name| name.contains(&only));
        }
        catalogue
    }

    fn walks(&self, catalogue: &mut Catalogue, profile: &Profile, seed: u64) {
        let settings = profile.config(1).conntrack;
        let without = self.kernels.without();
        let rst = !without.rst;
        for walk in 0..self.walks {
            let protocols = without.protocols.clone();
            let random = move || Random::new(seed.wrapping_mul(1000).wrapping_add(walk));
            catalogue.both(&format!("walk/tcp/{seed}-{walk}"), move |s| {
                walk_tcp::walk(s, &mut random(), rst, WALK_STEPS);
            });
            catalogue.both(&format!("walk/edge/{seed}-{walk}"), move |s| {
                walk_edge::walk(s, &mut random(), &settings, rst, WALK_STEPS);
            });
            catalogue.both(&format!("walk/other/{seed}-{walk}"), move |s| {
                walk_other::walk(s, &mut random(), &protocols, WALK_STEPS);
            });
            catalogue.both(&format!("walk/fragment/{seed}-{walk}"), move |s| {
                walk_fragment::walk(s, &mut random(), WALK_STEPS);
            });
            catalogue.both(&format!("walk/sctp/{seed}-{walk}"), move |s| {
                walk_sctp::walk(s, &mut random(), WALK_STEPS);
            });
            catalogue.both(&format!("walk/small/tcp/{seed}-{walk}"), move |s| {
                walk_small::walk(s, &mut random(), rst, WALK_STEPS);
            });
            catalogue.both(&format!("walk/bytes/{seed}-{walk}"), move |s| {
                walk_bytes::walk(s, &mut random(), WALK_STEPS);
            });
        }
    }
}

/// Plays under all profiles at once, each in namespaces of its own: most of the
/// time they wait.
fn run(seed: u64, plan: &Plan) -> Report {
    let reports = std::thread::scope(|scope| {
        let plays: Vec<_> = plan
            .profiles
            .iter()
            .map(|profile| scope.spawn(move || play(profile, plan.catalogue(profile, seed))))
            .collect();
        let reports = plays.into_iter().map(|play| play.join());
        reports
            .map(|report| report.expect("play the scenarios"))
            .collect::<Vec<_>>()
    });
    let mut total = Report::default();
    for (profile, report) in plan.profiles.iter().zip(reports) {
        for line in &report.found.lines {
            println!("{line}");
        }
        println!("{}: {}", profile.name, report.summary());
        total.add(report);
    }
    total
}

#[test]
#[ignore = "root"]
fn agrees_with_the_reference() {
    let seed = seed();
    println!("CONNTRACK_SEED={seed}");
    let plan = plan(
        seed,
        long().unwrap_or(WALKS),
        long().is_none(),
        Kernels::default(),
    );
    // Where the processor is emulated, under one profile, by chance, and each scenario at
    // one hook.
    let few = std::env::var_os("CONNTRACK_TEST_KERNEL_MATRIX").is_some();
    let one = seed as usize % plan.profiles.len();
    let profiles = match few {
        true => &plan.profiles[one..=one],
        false => &plan.profiles[..],
    };
    let played = std::thread::scope(|scope| {
        let replay = |profile| {
            let plan = &plan;
            scope.spawn(move || replay(profile, &plan.catalogue(profile, seed), few))
        };
        let replays: Vec<_> = profiles.iter().map(replay).collect();
        let mut played = Played::default();
        for replay in replays {
            played.add(replay.join().expect("replay the scenarios"));
        }
        played
    });
    for line in &played.lines {
        println!("{line}");
    }
    println!("{} scenarios, {} steps", played.scenarios, played.steps);
    assert_ne!(played.scenarios, 0, "nothing was played");
    assert_eq!(
        played.lines.len(),
        0,
        "differences to the reference (CONNTRACK_SEED={seed})"
    );
}

/// Replays a catalogue under one profile, at one hook after the other, or the hooks taking
/// turns.
fn replay(profile: &Profile, catalogue: &Catalogue, in_turn: bool) -> Played {
    let mut replayed = Replayed::new(&profile.config(128));
    let mut played = Played::default();
    let scenarios = catalogue.scenarios(0);
    for (turn, hook) in Hook::ALL.into_iter().enumerate() {
        replayed.go_to(hook);
        let label = format!("{hook:?} {}", profile.name);
        let (first, step) = if in_turn {
            (turn, Hook::ALL.len())
        } else {
            (0, 1)
        };
        for scenario in scenarios.iter().skip(first).step_by(step) {
            replayed.play(&label, scenario, &mut played);
        }
    }
    played
}

/// The seed asked for, or a new one.
fn seed() -> u64 {
    match std::env::var("CONNTRACK_SEED") {
        Ok(text) => text.parse().expect("CONNTRACK_SEED is a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.expect("a time after 1970").as_nanos() as u64 % 1_000_000_000
        }
    }
}

/// How many walks of each kind, if a long run is asked for.
fn long() -> Option<u64> {
    let text = std::env::var("CONNTRACK_WALKS").ok()?;
    Some(text.parse().expect("CONNTRACK_WALKS is a number"))
}

/// Whether each step is to be told.
fn is_traced() -> bool {
    std::env::var_os("CONNTRACK_TRACE").is_some()
}

fn only() -> Option<String> {
    std::env::var("CONNTRACK_ONLY").ok()
}

/// Plays a catalogue under one profile.
fn play(profile: &Profile, mut catalogue: Catalogue) -> Report {
    let lab = Lab::new(&profile.name[..2]);
    let mut kernel = Kernel::new(&lab);
    let ours = Ours::new(&lab, &profile.apply(&lab));
    kernel.flush();
    let mut stage = Stage {
        lab: &lab,
        kernel,
        ours,
        exceptions: Exceptions::read(),
    };
    let mut report = stage.play(profile.name, &catalogue.scenarios(0), Duration::ZERO);
    let mut first = catalogue.len();
    for again in 1..=TRIES {
        catalogue.retain(|name| report.doubtful.scenarios.contains(name));
        if catalogue.len() == 0 {
            break;
        }
        for line in &report.doubtful.lines {
            println!("as a flow's time was up: {line}");
        }
        let played = stage.play(profile.name, &catalogue.scenarios(first), LONGER * again);
        println!("{}: played again: {}", profile.name, played.summary());
        report.played_again(played);
        first += catalogue.len();
    }
    report.settle();
    report
}
