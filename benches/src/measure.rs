//! Interleaved rounds: each gives one figure for every program, taken within
//! milliseconds of each other.

use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use crate::error::Result;
use crate::rig::Rig;
use crate::rig::Target;
use crate::series::median;
use crate::series::quantile;
use crate::series::spread;
use crate::traffic::Flows;
use crate::traffic::Step;
use crate::traffic::Traffic;

/// A UDP flow is a stream once it has been answered and is older than this.
const STREAM_AGE: Duration = Duration::from_millis(2100);

/// Packets that one test run sends while nobody measures.
const OPENING_BATCH: u32 = 1_000_000;

/// CPU time a packet, in ns, of one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    /// [`Target::Empty`], [`Target::Floor`], [`Target::Product`].
    pub ns: [f64; 3],
}

impl Round {
    fn net(&self, target: Target) -> f64 {
        self.ns[target as usize] - self.ns[Target::Empty as usize]
    }

    /// Product to floor, both net.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.net(Target::Product) / self.net(Target::Floor)
    }
}

/// What the rounds of a row come to. Times are ns a packet, net of the empty
/// program's.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// How many rounds there were.
    pub rounds: usize,
    /// Median of the empty program, driver included.
    pub empty_ns: f64,
    /// Median of the floor.
    pub floor_ns: f64,
    /// Median of the product.
    pub product_ns: f64,
    /// Median of the rounds' ratios.
    pub ratio: f64,
    /// A quarter of the rounds' ratios lie below.
    pub ratio_low: f64,
    /// A quarter of the rounds' ratios lie above.
    pub ratio_high: f64,
    /// How far medians of parts of the series lie apart, as a part of it.
    pub spread: f64,
}

impl Summary {
    /// Of all rounds of a row.
    #[must_use]
    pub fn of(rounds: &[Round]) -> Self {
        let all = |of: &dyn Fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
        let ratios = all(&Round::ratio);
        Self {
            rounds: rounds.len(),
            empty_ns: median(&all(&|round| round.ns[Target::Empty as usize])),
            floor_ns: median(&all(&|round| round.net(Target::Floor))),
            product_ns: median(&all(&|round| round.net(Target::Product))),
            ratio: median(&ratios),
            ratio_low: quantile(&ratios, 0.25),
            ratio_high: quantile(&ratios, 0.75),
            spread: spread(&ratios),
        }
    }
}

/// Runs every target once, `packets` packets each, beginning with another one
/// each round, so that none always follows the same.
///
/// # Errors
/// If a run fails.
pub fn round(rig: &Rig, frame: &[u8], packets: u32, number: usize) -> Result<Round> {
    let mut round = Round::default();
    for turn in 0..Target::ALL.len() {
        let target = Target::ALL[(number + turn) % Target::ALL.len()];
        let spent = rig.run(target, frame, packets)?;
        round.ns[target as usize] = spent.as_nanos() as f64 / f64::from(packets);
    }
    Ok(round)
}

/// Sends one step of all `flows` to each of `targets`, unmeasured.
///
/// # Errors
/// If a run fails.
pub fn send(
    rig: &mut Rig,
    traffic: Traffic,
    step: Step,
    flows: Flows,
    targets: &[Target],
) -> Result<()> {
    let frame = traffic.frame(step);
    rig.script(traffic, step, flows);
    for &target in targets {
        let mut left = flows.count;
        while left > 0 {
            let batch = left.min(OPENING_BATCH);
            rig.run(target, &frame, batch)?;
            left -= batch;
        }
    }
    Ok(())
}

/// Establishes all `flows` in each of `targets`.
///
/// # Errors
/// If a run fails.
pub fn establish(rig: &mut Rig, traffic: Traffic, flows: Flows, targets: &[Target]) -> Result<()> {
    for &step in traffic.opening() {
        if step == Step::Confirm && traffic.settles() {
            sleep(STREAM_AGE);
        }
        send(rig, traffic, step, flows, targets)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_program_is_taken_off_both() {
        let rounds = [Round {
            ns: [10.0, 50.0, 70.0],
        }; 4];
        let summary = Summary::of(&rounds);
        assert_eq!((summary.floor_ns, summary.product_ns), (40.0, 60.0));
        assert_eq!((summary.ratio, summary.spread), (1.5, 0.0));
    }
}
