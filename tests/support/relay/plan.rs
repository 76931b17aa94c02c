//! What becomes of each packet: a function of the seed, the way and how many
//! packets went that way before, and of nothing else.

use std::time::Duration;

use super::super::random::Random;

/// The two ways through a relay.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Way {
    /// From its first end to its second.
    There,
    /// From its second end to its first.
    Back,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::There, Self::Back];
}

/// How a relay treats the packets of both ways. Each packet meets one fate at
/// most; the shares are between 0 and 1 and together not above 1.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Impairment {
    pub(crate) seed: u64,
    /// The share that never arrives.
    pub(crate) loss: f64,
    /// The share that arrives twice.
    pub(crate) duplicate: f64,
    /// The share that is held back, for others to overtake it.
    pub(crate) reorder: f64,
    /// Every packet takes so long,
    pub(crate) delay: Duration,
    /// and up to so much longer; packets that are not held back keep their order.
    pub(crate) jitter: Duration,
    /// A packet held back takes up to so much longer than the others, but at
    /// least half as much; a copy comes up to so much after its original.
    pub(crate) hold: Duration,
}

/// What is done to a packet.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Action {
    Pass,
    Lose,
    Duplicate,
    HoldBack,
}

/// What is done to a packet, and when it leaves.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Decision {
    pub(crate) action: Action,
    /// From its arrival; longer where it may not overtake.
    pub(crate) delay: Duration,
    /// From then to its copy's leaving; used if it is duplicated.
    pub(crate) copy: Duration,
}

impl Impairment {
    /// Passes everything on as it comes.
    pub(crate) fn none(seed: u64) -> Self {
        Self {
            seed,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            hold: Duration::ZERO,
        }
    }

    /// What becomes of the packet that comes after `index` others.
    pub(crate) fn decide(&self, way: Way, index: u64) -> Decision {
        let lane = Random::new(self.seed).next() ^ way as u64;
        let mut random = Random::new(Random::new(lane).next() ^ index);
        // Always as many draws, so that one share does not shift the others' packets.
        let [fate, jitter, hold] = [(); 3].map(|()| fraction(&mut random));
        let action = if fate < self.loss {
            Action::Lose
        } else if fate < self.loss + self.duplicate {
            Action::Duplicate
        } else if fate < self.loss + self.duplicate + self.reorder {
            Action::HoldBack
        } else {
            Action::Pass
        };
        let mut delay = self.delay + self.jitter.mul_f64(jitter);
        if action == Action::HoldBack {
            delay += self.hold.mul_f64(0.5 + hold / 2.0);
        }
        Decision {
            action,
            delay,
            copy: self.hold.mul_f64(hold),
        }
    }
}

/// From 0 to 1, without 1.
fn fraction(random: &mut Random) -> f64 {
    (random.next() >> 11) as f64 / (1_u64 << 53) as f64
}
