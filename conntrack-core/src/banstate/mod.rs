//! The file that keeps bans, also of fingerprints, named lists and allowed addresses over
//! a restart.
//!
//! It is text: a record a line, each with its number and a CRC-32 of the line, and
//! at the end how many there are, with a CRC-32 of all. So what is damaged is known
//! by its place, and everything else is read. Ends of bans are instants of civil
//! time, so that time goes on while the machine is off.
//!
//! ```
//! use conntrack_core::banstate::{BanState, decode, encode};
//! use conntrack_core::{Ban, Timestamp};
//!
//! let mut state = BanState::default();
//! state.bans.push(Ban::new("203.0.113.7".parse()?, Timestamp(0)));
//! let mut file = Vec::new();
//! encode(&state, Timestamp(0), &mut file)?;
//!
//! let read = decode(file.as_slice())?;
//! assert_eq!((read.state, read.damage), (state.clone(), None));
//!
//! file.truncate(file.len() - 1);
//! let read = decode(file.as_slice())?;
//! assert_eq!(read.state, state);
//! assert!(read.damage.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod damage;
mod decode;
mod encode;
mod file;
mod record;

use ipnet::IpNet;

pub use damage::Damage;
pub use damage::DamagedPlace;
pub use decode::Decoded;
pub use decode::NewerVersion;
pub use decode::decode;
pub use encode::encode;
pub use file::BanFile;
pub use file::BanFileError;
pub use file::Loaded;
pub use file::Outcome;

use crate::ban::Ban;
use crate::ban::BanDirection;
use crate::ban::BanTarget;
use crate::fingerprint::FingerprintBan;
use crate::time::Timestamp;

/// The version of the file that is written. One that is newer is not read.
pub const VERSION: u64 = 1;

/// What the file keeps.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct BanState {
    /// Bans that are not of a list. What is left of them, [`Ban::ttl`], is not kept
    /// but follows from their end: [`BanState::resume`].
    pub bans: Vec<Ban>,
    /// Named lists.
    pub lists: Vec<SavedList>,
    /// Addresses that are not banned.
    pub allow: Vec<SavedAllow>,
    /// Bans of fingerprints. What they dropped is not kept.
    pub fingerprints: Vec<FingerprintBan>,
}

/// A named list.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct SavedList {
    /// Its name.
    pub name: String,
    /// Where it came from, such as the name of a file; may be empty.
    pub source: String,
    /// When it was loaded, or added to.
    pub updated: Timestamp,
    /// What it holds.
    pub entries: Vec<SavedEntry>,
    /// All that it held are there; false if some were in a damaged place.
    pub complete: bool,
}

/// An entry of a named list.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct SavedEntry {
    /// Whom it concerns.
    pub target: BanTarget,
    /// The opposite: these addresses are not banned.
    pub except: bool,
    /// When it ends; `None` never.
    pub until: Option<Timestamp>,
    /// Which way packets are dropped.
    pub direction: BanDirection,
    /// Packets are counted, not dropped.
    pub dry_run: bool,
    /// Why; may be empty.
    pub reason: String,
}

impl SavedEntry {
    /// A ban of these, for ever.
    pub fn new(target: BanTarget) -> Self {
        Self {
            target,
            except: false,
            until: None,
            direction: BanDirection::default(),
            dry_run: false,
            reason: String::new(),
        }
    }
}

/// Why an address is not banned.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllowKind {
    /// The operator allows it.
    Allow,
    /// It is an exception from a ban of a network around it.
    Except,
}

/// Addresses that are not banned.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct SavedAllow {
    /// The addresses.
    pub net: IpNet,
    /// Why.
    pub kind: AllowKind,
    /// Since when.
    pub since: Timestamp,
    /// When it ends; `None` never.
    pub until: Option<Timestamp>,
    /// What the operator said; may be empty.
    pub reason: String,
}

impl BanState {
    /// Goes on at an instant: what has ended is removed, and what is left of each
    /// ban is set. How many things were removed.
    pub fn resume(&mut self, now: Timestamp) -> usize {
        let lasts = |until: Option<Timestamp>| until.is_none_or(|until| until > now);
        let before = self.len();
        self.bans.retain(|ban| lasts(ban.until));
        for ban in &mut self.bans {
            ban.ttl = ban.until.map(|until| until.since(now));
        }
        for list in &mut self.lists {
            list.entries.retain(|entry| lasts(entry.until));
        }
        self.allow.retain(|allow| lasts(allow.until));
        self.fingerprints.retain(|ban| lasts(ban.until));
        before - self.len()
    }

    /// How many bans, also of fingerprints, entries of lists and allowed networks there are.
    pub fn len(&self) -> usize {
        let entries: usize = self.lists.iter().map(|list| list.entries.len()).sum();
        self.bans.len() + entries + self.allow.len() + self.fingerprints.len()
    }

    /// Whether there is nothing, not even an empty list.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.lists.is_empty()
    }
}
