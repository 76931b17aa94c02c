//! Real traffic between real stacks, for as long as one likes, over wires that
//! lose, double and reorder packets.
//!
//! | module | what is shown |
//! |---|---|
//! | [`agreement`] | nf_conntrack and we tell the same of every flow |
//!
//! What else is to be shown under such traffic is a module beside it, with a test
//! of its own on the same [`place`] and [`traffic`]: `make soak` runs them all,
//! `make test` a short form of each.
//!
//! `CONNTRACK_SOAK_SECONDS=…` says how long each goes on, `CONNTRACK_SEED=…`
//! repeats the wires' decisions and the clients' choices; the stacks' own timing
//! nobody repeats.

mod agreement;
mod compare;
mod place;
mod report;
mod sample;
#[path = "../support/mod.rs"]
mod support;
mod traffic;

use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// How long each goes on unless asked otherwise.
const SHORT: Duration = Duration::from_secs(20);

/// The seed asked for, or a new one.
fn seed() -> u64 {
    let now = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("a time after 1970").as_nanos() as u64 % 1_000_000_000
    };
    number("CONNTRACK_SEED").unwrap_or_else(now)
}

/// How long to go on.
fn time() -> Duration {
    number("CONNTRACK_SOAK_SECONDS").map_or(SHORT, Duration::from_secs)
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}
