//! The same frames through nf_conntrack and through us; after each step both
//! must say the same. `exceptions.md` lists what may differ, and why.
//!
//! `CONNTRACK_SEED=…` repeats the random walks of a run, `CONNTRACK_ONLY=…`
//! plays only the scenarios whose names contain it,
//! `CONNTRACK_TRACE=1` prints each step as it is played.

mod compare;
#[path = "../support/ctnetlink.rs"]
mod ctnetlink;
#[path = "../support/entry.rs"]
mod entry;
mod exceptions;
mod frame;
mod kernel;
mod lab;
#[path = "../support/netlink.rs"]
mod netlink;
mod ours;
mod profile;
#[path = "../support/random.rs"]
mod random;
mod run;
mod scenarios;
mod script;
mod tcp;
mod view;
mod walk_other;
mod walk_tcp;

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::exceptions::Exceptions;
use crate::kernel::Kernel;
use crate::lab::Lab;
use crate::ours::Ours;
use crate::profile::PROFILES;
use crate::profile::Profile;
use crate::random::Random;
use crate::run::Report;
use crate::run::Stage;
use crate::script::Catalogue;

/// Random walks of each kind under each profile.
const WALKS: u64 = 16;

/// Packets in a walk.
const WALK_STEPS: usize = 30;

#[test]
#[ignore = "root"]
fn agrees_with_nf_conntrack() {
    let seed = seed();
    println!("CONNTRACK_SEED={seed}");
    let mut total = Report::default();
    // At once, each in namespaces of its own: most of the time they wait.
    let reports = std::thread::scope(|scope| {
        let plays = PROFILES
            .each_ref()
            .map(|profile| scope.spawn(move || play(profile, seed)));
        plays.map(|play| play.join().expect("play the scenarios"))
    });
    for (profile, report) in PROFILES.iter().zip(reports) {
        for line in &report.lines {
            println!("{line}");
        }
        println!("{}: {}", profile.name, report.summary());
        total.add(report);
    }
    println!("all: {}", total.summary());
    assert!(
        total.scenarios >= 300 || only().is_some(),
        "{} scenarios",
        total.scenarios
    );
    assert_eq!(
        total.core, 0,
        "steps that differ in a core field (CONNTRACK_SEED={seed})"
    );
    assert!(
        total.unequal * 1000 <= total.steps * 5,
        "more than 0.5 % of the steps differ (CONNTRACK_SEED={seed})"
    );
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

fn only() -> Option<String> {
    std::env::var("CONNTRACK_ONLY").ok()
}

/// Plays everything under one profile: the walks, and the named scenarios it
/// makes a difference to.
fn play(profile: &Profile, seed: u64) -> Report {
    let lab = Lab::new(&profile.name[..2]);
    let mut kernel = Kernel::new(&lab);
    let ours = Ours::new(&lab, &profile.apply(&lab));
    kernel.flush();
    let mut catalogue = scenarios::all();
    catalogue.retain(|name| profile.plays(name));
    walks(&mut catalogue, seed);
    if let Some(only) = only() {
        catalogue.retain(|name| name.contains(&only));
    }
    let mut stage = Stage {
        lab: &lab,
        kernel,
        ours,
        exceptions: Exceptions::read(),
    };
    let mut report = stage.play(profile.name, &catalogue.scenarios(0));
    let first = catalogue.len();
    catalogue.retain(|name| report.failed.contains(name));
    if catalogue.len() > 0 {
        let again = stage.play(profile.name, &catalogue.scenarios(first));
        println!("{}: played again: {}", profile.name, again.summary());
        report.forgive(&again);
    }
    report
}

fn walks(catalogue: &mut Catalogue, seed: u64) {
    for walk in 0..WALKS {
        let random = Random::new(seed.wrapping_mul(1000) + walk);
        let (tcp, other, sctp) = (random.clone(), random.clone(), random);
        catalogue.both(&format!("walk/tcp/{seed}-{walk}"), move |s| {
            walk_tcp::walk(s, &mut tcp.clone(), WALK_STEPS);
        });
        catalogue.both(&format!("walk/other/{seed}-{walk}"), move |s| {
            walk_other::walk(s, &mut other.clone(), WALK_STEPS);
        });
        catalogue.v4(format!("walk/sctp/{seed}-{walk}"), move |s| {
            walk_other::walk_sctp(s, &mut sctp.clone(), WALK_STEPS);
        });
    }
}
