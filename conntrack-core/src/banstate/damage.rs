//! What is wrong with a file.

use std::fmt;

/// The most places that are kept; more are only counted.
const PLACES: usize = 32;

/// A place of a file that cannot be read.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct DamagedPlace {
    /// The line, from 1.
    pub line: u64,
    /// Where it begins, in bytes from 0.
    pub offset: u64,
    /// What is wrong there.
    pub why: String,
}

impl fmt::Display for DamagedPlace {
    /// `line 7 (byte 512): its checksum does not fit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, offset, why } = self;
        write!(f, "line {line} (byte {offset}): {why}")
    }
}

/// The damage of a file. What it does not name was read.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Damage {
    /// Where it is, the first 32 places.
    pub places: Vec<DamagedPlace>,
    /// How many places there are.
    pub count: u64,
    /// Records that were read: bans, lists, their entries, allowed addresses.
    pub recovered: u64,
    /// Records that are missing, as far as the file tells.
    pub lost: u64,
    /// There may be more of them: the end of the file is missing.
    pub lost_at_least: bool,
}

impl Damage {
    pub(super) fn add(&mut self, line: u64, offset: u64, why: impl fmt::Display) {
        self.count += 1;
        if self.places.len() < PLACES {
            let why = why.to_string();
            self.places.push(DamagedPlace { line, offset, why });
        }
    }
}

impl fmt::Display for Damage {
    /// `line 7 (byte 512): …; 1 more place; 41 records are read, 2 are lost`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.places.iter().take(1) {
            write!(f, "{place}; ")?;
        }
        match self.count {
            0 | 1 => {}
            2 => f.write_str("1 more place; ")?,
            count => write!(f, "{} more places; ", count - 1)?,
        }
        let Self {
            recovered, lost, ..
        } = self;
        write!(f, "{recovered} records are read, ")?;
        match (self.lost_at_least, lost) {
            (true, 0) => f.write_str("how many are lost is not known"),
            (true, lost) => write!(f, "at least {lost} are lost"),
            (false, lost) => write!(f, "{lost} are lost"),
        }
    }
}
