//! Reading the state, whatever happened to it.

use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;

use super::BanState;
use super::Damage;
use super::SavedList;
use super::VERSION;
use super::record::EndRecord;
use super::record::EntryRecord;
use super::record::Header;
use super::record::ListRecord;
use super::record::Record;
use crate::lines::Line;
use crate::lines::Lines;
use crate::parse::decimal;
use crate::time::Timestamp;

/// What was read.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Decoded {
    /// All that is sound.
    pub state: BanState,
    /// When it was written, if that is sound.
    pub saved: Option<Timestamp>,
    /// What is not; `None` if all is.
    pub damage: Option<Damage>,
}

/// The file is of a version that this program does not know: it is sound, but was
/// written by a newer one.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct NewerVersion(
    /// The version it has.
    pub u64,
);

impl fmt::Display for NewerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it is of version {}, this program knows {VERSION}",
            self.0
        )
    }
}

impl std::error::Error for NewerVersion {}

/// Reads a state. Damage is no error: the sound lines before and after it are read.
///
/// # Errors
/// It is of a newer version.
pub fn decode(input: impl BufRead) -> Result<Decoded, NewerVersion> {
    let mut lines = Lines::new(input);
    let mut reader = Reader::default();
    loop {
        let (count, offset) = (lines.count(), lines.offset());
        match lines.next() {
            Ok(Some(line)) => {
                reader.line(&line);
                if let Some(newer) = reader.newer {
                    return Err(newer);
                }
            }
            Ok(None) => return Ok(reader.end(count + 1, offset)),
            Err(error) => {
                let why = format!("it cannot be read: {error}");
                reader.damage.add(count + 1, offset, why);
                return Ok(reader.end(count + 1, offset));
            }
        }
    }
}

#[derive(Default)]
struct Reader {
    state: BanState,
    saved: Option<Timestamp>,
    damage: Damage,
    /// Where lists are in the state, and how many entries each should have.
    lists: HashMap<String, (usize, u64)>,
    /// The number the next record has; the header is 0.
    next: u64,
    recovered: u64,
    /// How many there are by the last line.
    total: Option<u64>,
    all: crc32fast::Hasher,
    newer: Option<NewerVersion>,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        if let Err(why) = self.try_line(line) {
            self.damage.add(line.number, line.offset, why);
        }
        self.all.update(line.bytes);
        self.all.update(b"\n");
    }

    fn try_line(&mut self, line: &Line<'_>) -> Result<(), String> {
        if self.total.is_some() {
            return Err("something follows the end".to_owned());
        }
        if line.cut {
            return Err("the line is too long to be one of ours".to_owned());
        }
        let (number, json) = sound(line.bytes).ok_or("its checksum does not fit")?;
        if number == 0 && self.next == 0 {
            self.header(json)?;
        } else {
            let record = serde_json::from_slice(json).map_err(|error| error.to_string())?;
            if number < self.next.max(1) {
                return Err(format!("record {number} is not in its place"));
            }
            let before = self.next.max(1);
            self.record(record, number)?;
            if number > before && self.damage.count == 0 {
                let missing = number - before;
                self.damage.add(
                    line.number,
                    line.offset,
                    format!("{missing} are missing before"),
                );
            }
        }
        self.next = number + 1;
        match line.ended {
            true => Ok(()),
            false => Err("the end of the line is missing".to_owned()),
        }
    }

    fn header(&mut self, json: &[u8]) -> Result<(), String> {
        let header: Header = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match header.conntrack_bans {
            VERSION => self.saved = header.saved,
            0 => return Err("version 0 does not exist".to_owned()),
            newer => self.newer = Some(NewerVersion(newer)),
        }
        Ok(())
    }

    fn record(&mut self, record: Record, number: u64) -> Result<(), String> {
        match record {
            Record::Ban(ban) => self.state.bans.push(ban.into()),
            Record::Allow(allow) => self.state.allow.push(allow.into()),
            Record::Fingerprint(ban) => self.state.fingerprints.push(ban.into()),
            Record::List(list) => self.list(list),
            Record::In(entry) => self.entry(entry),
            Record::End(end) => return self.last(&end, number),
        }
        self.recovered += 1;
        Ok(())
    }

    fn list(&mut self, list: ListRecord) {
        let declared = if list.incomplete {
            u64::MAX
        } else {
            list.entries
        };
        let index = self.state.lists.len();
        self.lists.insert(list.name.clone(), (index, declared));
        self.state.lists.push(SavedList {
            name: list.name,
            source: list.source,
            updated: list.updated,
            entries: Vec::new(),
            complete: true,
        });
    }

    fn entry(&mut self, entry: EntryRecord) {
        if !self.lists.contains_key(&entry.list) {
            // The record of its list is in a damaged place.
            self.list(ListRecord {
                name: entry.list.clone(),
                source: String::new(),
                updated: self.saved.unwrap_or_default(),
                entries: 0,
                incomplete: true,
            });
        }
        if let Some((index, _)) = self.lists.get(&entry.list) {
            self.state.lists[*index].entries.push(entry.into());
        }
    }

    fn last(&mut self, end: &EndRecord, number: u64) -> Result<(), String> {
        if number != end.records.saturating_add(1) {
            return Err("the last line has a number that does not fit".to_owned());
        }
        self.total = Some(end.records);
        let whole = self.all.clone().finalize() == end.crc;
        match whole || self.damage.count != 0 {
            true => Ok(()),
            false => Err("the checksum of the whole does not fit".to_owned()),
        }
    }

    /// The file ends, at this line and byte.
    fn end(mut self, line: u64, offset: u64) -> Decoded {
        if offset == 0 && self.damage.count == 0 {
            self.damage.add(line, offset, "the file is empty");
        } else if self.total.is_none() && self.damage.count == 0 {
            self.damage.add(line, offset, "the end is missing");
        }
        for (index, declared) in self.lists.values() {
            let list = &mut self.state.lists[*index];
            list.complete = list.entries.len() as u64 == *declared;
        }
        // Without the last line, the numbers of lines tell of those before them.
        let seen = self.total.unwrap_or(self.next.saturating_sub(1));
        self.damage.recovered = self.recovered;
        self.damage.lost = seen.saturating_sub(self.recovered);
        self.damage.lost_at_least = self.total.is_none();
        Decoded {
            state: self.state,
            saved: self.saved,
            damage: Some(self.damage).filter(|damage| damage.count != 0),
        }
    }
}

/// The number and the JSON of a line whose checksum fits.
fn sound(line: &[u8]) -> Option<(u64, &[u8])> {
    let (crc, rest) = line.split_at_checked(8)?;
    let rest = rest.strip_prefix(b" ")?;
    let wanted = crc32fast::hash(rest);
    let digit = |index: usize| b"0123456789abcdef"[(wanted >> (28 - 4 * index) & 15) as usize];
    if (0..8).any(|index| crc[index] != digit(index)) {
        return None;
    }
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let number = decimal(std::str::from_utf8(&rest[..space]).ok()?)?;
    Some((number, &rest[space + 1..]))
}
