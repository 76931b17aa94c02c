//! Reading bans, one after the other.

use std::sync::Arc;

use conntrack_core::Ban;

use super::codec::decode;
use super::codec::hash_of;
use super::codec::is_over;
use super::lists::Names;
use crate::clock::Civil;
use crate::datapath::Maps;
use crate::error::Context;
use crate::error::Result;
use crate::hash::Cursor;
use crate::notes::Notes;
use crate::wire::ct_ban;
use crate::wire::ct_ban_key;

/// Bans, one after the other, as they are at that moment; what has expired is left
/// out. One that is there all the time comes exactly once.
#[derive(Debug)]
pub struct Walk {
    maps: Arc<Maps>,
    civil: Civil,
    cursor: Cursor,
    entries: Vec<(ct_ban_key, ct_ban)>,
    /// The note that was read last, which the next ban may have, too.
    note: (u32, String),
    names: Names,
    failed: bool,
}

impl Walk {
    /// All bans of a data path.
    ///
    /// # Errors
    /// The clocks cannot be read.
    pub fn new(maps: &Arc<Maps>) -> Result<Self> {
        Ok(Self {
            maps: Arc::clone(maps),
            civil: Civil::now()?,
            cursor: Cursor::default(),
            entries: Vec::new(),
            note: (0, String::new()),
            names: Names::read(maps)?,
            failed: false,
        })
    }

    fn fill(&mut self) -> Result<()> {
        let hash = hash_of(&self.maps);
        let next = self.cursor.next(&hash, &mut self.entries);
        next.context("read the bans")
    }

    fn decode(&mut self, key: &ct_ban_key, value: &ct_ban) -> Result<Ban> {
        if self.note.0 != value.note {
            self.note = (value.note, Notes::of(&self.maps).get(value.note)?);
        }
        decode(key, value, self.note.1.clone(), &self.names, &self.civil)
    }
}

impl Iterator for Walk {
    type Item = Result<Ban>;

    fn next(&mut self) -> Option<Result<Ban>> {
        loop {
            if self.entries.is_empty()
                && !self.failed
                && let Err(error) = self.fill()
            {
                self.failed = true;
                return Some(Err(error));
            }
            let (key, value) = self.entries.pop()?;
            if !is_over(&value, &self.civil) {
                return Some(self.decode(&key, &value));
            }
        }
    }
}
