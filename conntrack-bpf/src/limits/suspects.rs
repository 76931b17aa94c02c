//! Sources that the sketch has pointed at.

use std::os::fd::AsFd;

use conntrack_core::Measure;
use conntrack_core::Protocol;
use conntrack_core::Suspect;
use conntrack_core::reference::sketch::Rate;

use super::Limits;
use crate::bans::net_of;
use crate::clock::Clock;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::hash;
use crate::hash::Hash;
use crate::wire::ct_ban_key;
use crate::wire::ct_limit_key;
use crate::wire::ct_limits;
use crate::wire::ct_measure;
use crate::wire::ct_suspect;

impl<'a> Limits<'a> {
    fn hash(&self) -> Hash<'a, ct_limit_key, ct_suspect> {
        Hash::new(self.maps.suspects.as_fd())
    }

    /// Takes out suspects of other windows, which packets do not find any more.
    pub(super) fn forget(&self, epoch: u32) -> Result<()> {
        hash::for_each(&self.hash(), |key, _| match is_of(&key, epoch) {
            true => Ok(()),
            false => self.hash().remove(&key).map(drop),
        })
        .context("forget suspects")
    }

    /// Sources that are counted exactly, in no order: those that began at least half of
    /// what a limit leaves, and what became of them in the window that ends now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn suspects(&self) -> Result<Vec<Suspect>> {
        let clock = Clock::live()?;
        let ct_limits { half_ns, epoch, .. } = self.raw();
        let half = clock.now().checked_div(half_ns).unwrap_or(0) as u32;
        let mut suspects = Vec::new();
        hash::for_each(&self.hash(), |key, value| {
            if !is_of(&key, epoch) {
                return Ok(());
            }
            suspects.push(suspect(&key, &value, half, &clock)?);
            Ok::<_, Error>(())
        })?;
        Ok(suspects)
    }
}

/// Whether a suspect is of the window that is counted in since limits had this number.
fn is_of(key: &ct_limit_key, epoch: u32) -> bool {
    key.epoch == epoch as u8
}

fn suspect(key: &ct_limit_key, value: &ct_suspect, half: u32, clock: &Clock) -> Result<Suspect> {
    let port = u16::from_be(key.port_be);
    let source = net_of(&ct_ban_key {
        family: key.family,
        prefix: key.prefix,
        addr: key.addr,
        ..ct_ban_key::default()
    })?;
    Ok(Suspect {
        source,
        port: (key.proto != 0).then_some((Protocol(key.proto), port)),
        measure: match ct_measure(key.measure.into()) {
            ct_measure::CT_MEASURE_HALF => Measure::HalfOpen,
            ct_measure::CT_MEASURE_DONE => Measure::Established,
            _ => Measure::New,
        },
        count: Rate::from_word(value.rate.word).at(half).sum(),
        over: value.over,
        last: clock.civil(value.last),
    })
}
