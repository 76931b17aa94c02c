//! Why somebody banned: each text once, by a hash of it.

use std::collections::HashSet;
use std::os::fd::AsFd;

use conntrack_core::ban::REASON_MAX;
use nix::errno::Errno;

use crate::datapath::Maps;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::hash;
use crate::hash::Hash;
use crate::limits::Limits;
use crate::wire::ct_ban;
use crate::wire::ct_ban_key;
use crate::wire::ct_note;

/// The texts of a data path, for whoever holds the lock on its bans.
#[derive(Debug)]
pub(crate) struct Notes<'a> {
    maps: &'a Maps,
}

impl<'a> Notes<'a> {
    pub(crate) fn of(maps: &'a Maps) -> Self {
        Self { maps }
    }

    fn hash(&self) -> Hash<'a, u64, ct_note> {
        Hash::new(self.maps.notes.as_fd())
    }

    /// The number of a text, which is kept from now on; 0 of none.
    ///
    /// # Errors
    /// `Invalid` if it is too long or has a NUL in it; `Other` if there is no room.
    pub(crate) fn put(&self, text: &str) -> Result<u32> {
        if text.is_empty() {
            return Ok(0);
        }
        if text.len() > REASON_MAX || text.contains('\0') {
            let message = format!("a reason has at most {REASON_MAX} bytes, and no NUL");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let note = encode(text);
        let mut number = number(text);
        while let Some(there) = self
            .hash()
            .get(&number.into())
            .context("look at a reason")?
        {
            if there.text == note.text {
                return Ok(number);
            }
            number = number.checked_add(1).unwrap_or(1);
        }
        let put = || self.hash().put(&number.into(), &note);
        match put() {
            Err(Errno::E2BIG) => {
                self.purge()?;
                put().context("keep a reason: there are too many different ones")?;
            }
            other => other.context("keep a reason")?,
        }
        Ok(number)
    }

    /// A text by its number.
    pub(crate) fn get(&self, number: u32) -> Result<String> {
        if number == 0 {
            return Ok(String::new());
        }
        let note = self.hash().get(&number.into()).context("read a reason")?;
        Ok(note.map_or_else(String::new, |note| decode(&note)))
    }

    /// Takes out what no ban has any more, nor is going to have.
    fn purge(&self) -> Result<()> {
        // Packets may be about to ban for this one.
        let mut used = HashSet::from([Limits::of(self.maps)?.note().into()]);
        let bans: Hash<'_, ct_ban_key, ct_ban> = Hash::new(self.maps.bans.as_fd());
        hash::for_each(&bans, |_, ban| {
            used.insert(u64::from(ban.note));
            Ok::<_, Errno>(())
        })
        .context("read the bans")?;
        hash::for_each(&self.hash(), |number, _| match used.contains(&number) {
            true => Ok::<_, Errno>(()),
            false => self.hash().remove(&number).map(drop),
        })
        .context("take out a reason")
    }
}

/// FNV-1a, its halves folded, and never 0.
fn number(text: &str) -> u32 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ((hash >> 32) as u32 ^ hash as u32).max(1)
}

fn encode(text: &str) -> ct_note {
    let mut note = ct_note::default();
    for (to, from) in note.text.iter_mut().zip(text.bytes()) {
        *to = from.cast_signed();
    }
    note
}

fn decode(note: &ct_note) -> String {
    let bytes: Vec<u8> = note.text.iter().map(|byte| byte.cast_unsigned()).collect();
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for text in ["a", "Größe", &"x".repeat(REASON_MAX)] {
            assert_eq!(decode(&encode(text)), *text);
        }
        assert_ne!(number("a"), number("b"));
        assert_ne!(number(""), 0);
    }
}
