//! Named lists of bans: put in, replaced, taken out.
//!
//! A list is a bit in the entries that it has, and a record with its name. While it is
//! filled or emptied the record says so, so whoever comes after a process that was
//! killed there takes the bit out of whatever has it: a list is there as a whole or not
//! at all. One that takes another's place is filled beside it, then a single write of
//! its record makes it the list of that name, and the other one is emptied: at every
//! moment one of the two drops what both do.

use std::collections::HashMap;
use std::time::Duration;

use conntrack_core::BanDirection;
use conntrack_core::BanTarget;
use conntrack_core::Timestamp;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;

use super::Bans;
use super::claims;
use super::claims::Part;
use super::claims::Rules;
use super::codec::key_of;
use crate::datapath::Maps;
use crate::defines::BAN_BOTH;
use crate::defines::BAN_DRY_RUN;
use crate::defines::LISTS;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::hash;
use crate::keeping::is_list_name;
use crate::notes::Notes;
use crate::records::from_chars;
use crate::records::to_chars;
use crate::wire::bytes_of;
use crate::wire::ct_ban_key;
use crate::wire::ct_list;
use crate::wire::ct_list_state;
use crate::wire::from_bytes;

const USED: u32 = ct_list_state::CT_LIST_USED.0;
const HALF: u32 = ct_list_state::CT_LIST_HALF.0;
/// Entries between two words of progress.
const STEP: u64 = 16_384;

/// A list of bans that is in force.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct BanList {
    /// Its name.
    pub name: String,
    /// Where it came from; may be empty. Of one that was added to, with commas between
    /// them, as far as there is room.
    pub source: String,
    /// When it was loaded, or added to.
    pub updated: Timestamp,
    /// Bans that it has.
    pub entries: u64,
    /// They count, and drop nothing.
    pub dry_run: bool,
    /// Which way they drop.
    pub direction: BanDirection,
}

/// How a list is loaded.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct ListSpec {
    /// Its name: letters, digits, `-` and `_`, at most 63.
    pub name: String,
    /// Where it comes from, such as a file's name; at most 127 bytes are kept.
    pub source: String,
    /// Take the place of the list of this name, instead of adding to it.
    pub replace: bool,
    /// Count, and drop nothing; of a list that is added to, both as it is.
    pub dry_run: bool,
    /// Which way to drop.
    pub direction: BanDirection,
}

impl ListSpec {
    /// A list of this name, which is made or added to.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// What is to be on a list.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Listed {
    /// Whom it concerns.
    pub target: BanTarget,
    /// How long it lasts; `None` for ever.
    pub ttl: Option<Duration>,
    /// Why; may be empty.
    pub reason: Box<str>,
}

impl Listed {
    /// For ever, and without a reason.
    pub fn new(target: BanTarget) -> Self {
        Self {
            target,
            ttl: None,
            reason: "".into(),
        }
    }
}

/// What became of a list.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct ListReport {
    /// Bans that it has now.
    pub entries: u64,
    /// Bans that it had before.
    pub before: u64,
    /// Entries that touch what is never dropped: that passes all the same.
    pub guarded: u64,
}

/// The records of all lists, by their bits.
#[derive(Default)]
pub(super) struct Names {
    records: Vec<ct_list>,
}

impl Names {
    /// Reads them.
    pub(super) fn read(maps: &Maps) -> Result<Self> {
        let read = |index: u32| {
            let value = maps.lists.lookup(&index.to_ne_bytes(), MapFlags::ANY);
            let value = value.context("read the lists of bans")?.unwrap_or_default();
            Ok(match value.len() == size_of::<ct_list>() {
                true => from_bytes(&value),
                false => ct_list::default(),
            })
        };
        let records = (0..LISTS).map(read).collect::<Result<_>>()?;
        Ok(Self { records })
    }

    fn find(&self, name: &str) -> Option<u32> {
        let is = |list: &ct_list| list.state == USED && from_chars(&list.name) == name;
        let index = self.records.iter().position(is)?;
        u32::try_from(index).ok()
    }

    fn free(&self) -> Option<u32> {
        let index = self.records.iter().position(|list| list.state == 0)?;
        u32::try_from(index).ok()
    }

    /// The bit of a list, and what it is.
    pub(super) fn get(&self, name: &str) -> Option<(u32, BanList)> {
        let index = self.find(name)?;
        Some((1 << index, decode(&self.records[index as usize])))
    }

    /// The names of lists, by their bits.
    pub(super) fn of(&self, lists: u32) -> Vec<String> {
        let bits = self.records.iter().enumerate();
        let has = bits.filter(|(bit, _)| lists & (1 << bit) != 0);
        has.map(|(_, list)| from_chars(&list.name)).collect()
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.of(u32::MAX)).finish()
    }
}

impl Rules for Names {
    fn flags(&self, lists: u32) -> u16 {
        let bits = self.records.iter().enumerate();
        let has = bits.filter(|(bit, _)| lists & (1 << bit) != 0);
        let flags: Vec<u32> = has.map(|(_, list)| list.flags).collect();
        let dry_run = flags
            .iter()
            .all(|flags| flags & u32::from(BAN_DRY_RUN) != 0);
        let both = flags.iter().any(|flags| flags & u32::from(BAN_BOTH) != 0);
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        flag(dry_run, BAN_DRY_RUN) | flag(both, BAN_BOTH)
    }
}

impl Bans<'_> {
    /// The lists in force, by name.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lists(&self) -> Result<Vec<BanList>> {
        let names = Names::read(self.maps)?;
        let used = names.records.iter().filter(|list| list.state == USED);
        let mut lists: Vec<_> = used.map(decode).collect();
        lists.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(lists)
    }

    /// Loads a list: all of it, or nothing. What it has twice counts once.
    /// `progress` is told now and then how many entries are in.
    ///
    /// # Errors
    /// `Invalid` for a name that cannot be one, and for what would not be so of the list
    /// that is there; `Other` if there is no room for so many bans, or lists: nothing is
    /// changed then.
    pub fn load(
        &self,
        spec: &ListSpec,
        entries: &[Listed],
        touches: impl Fn(&BanTarget) -> bool,
        progress: impl FnMut(u64),
    ) -> Result<ListReport> {
        self.load_as_of(self.civil.civil, spec, entries, touches, progress)
    }

    /// The same of one that was loaded, or added to, at another instant.
    pub(crate) fn load_as_of(
        &self,
        updated: Timestamp,
        spec: &ListSpec,
        entries: &[Listed],
        touches: impl Fn(&BanTarget) -> bool,
        mut progress: impl FnMut(u64),
    ) -> Result<ListReport> {
        if !is_list_name(&spec.name) {
            let message = format!(
                "{:?} is no name of a list: expected 1 to 63 letters, digits, `-` and `_`",
                spec.name
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.mend()?;
        let mut names = Names::read(self.maps)?;
        let old = names.find(&spec.name);
        if let Some(index) = old {
            check(spec, &decode(&names.records[index as usize]))?;
        }
        let adds = old.filter(|_| !spec.replace);
        let index = match adds {
            Some(index) => index,
            None => names.free().ok_or_else(|| {
                let message = format!("there are {LISTS} lists, and room for no more");
                Error::new(ErrorKind::Other, message)
            })?,
        };
        let mut record = match adds {
            Some(index) => names.records[index as usize],
            None => record(spec),
        };
        let before = old.map_or(0, |index| names.records[index as usize].entries);
        if adds.is_none() {
            record.state = HALF;
            self.write_list(index, &record)?;
        }
        names.records[index as usize] = record;
        let mut report = ListReport {
            before,
            entries: record.entries,
            guarded: 0,
        };
        let mut filled = Filling::new(self, &names, 1 << index);
        for (done, entry) in (1..).zip(entries) {
            report.guarded += u64::from(touches(&entry.target));
            match filled.put(entry) {
                Ok(new) => report.entries += u64::from(new),
                Err(error) if adds.is_none() => {
                    self.empty(index, &names)?;
                    return Err(error);
                }
                Err(error) => return Err(error.context("part of the list was added")),
            }
            if done % STEP == 0 {
                progress(done);
            }
        }
        record.entries = report.entries;
        record.updated = updated.0.cast_unsigned();
        if adds.is_some() {
            let source = joined(&from_chars(&record.source), &spec.source);
            to_chars(&source, &mut record.source);
        }
        record.replaces = old.filter(|_| spec.replace).map_or(0, |old| old + 1);
        record.state = USED;
        self.write_list(index, &record)?;
        self.policy.bump_all();
        self.mend()?;
        Ok(report)
    }

    /// Takes a list out; how many bans it had, or `None` if there is none of this name.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unload(&self, name: &str) -> Result<Option<u64>> {
        self.mend()?;
        let names = Names::read(self.maps)?;
        let Some(index) = names.find(name) else {
            return Ok(None);
        };
        let entries = names.records[index as usize].entries;
        self.empty(index, &names)?;
        Ok(Some(entries))
    }

    /// Forgets all records of lists, whose entries are gone.
    pub(super) fn forget_lists(&self) -> Result<()> {
        (0..LISTS).try_for_each(|index| self.write_list(index, &ct_list::default()))
    }

    /// Ends what a process that died has left half done, and what `load` leaves to it.
    pub(super) fn mend(&self) -> Result<()> {
        let names = Names::read(self.maps)?;
        for (index, list) in (0..).zip(&names.records) {
            match list.state {
                HALF => self.empty(index, &names)?,
                USED if list.replaces != 0 => {
                    self.empty(list.replaces - 1, &names)?;
                    let done = ct_list {
                        replaces: 0,
                        ..*list
                    };
                    self.write_list(index, &done)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a list's part out of every entry, and frees its place.
    fn empty(&self, index: u32, names: &Names) -> Result<()> {
        let mut record = names.records[index as usize];
        record.state = HALF;
        record.replaces = 0;
        self.write_list(index, &record)?;
        let bit = 1 << index;
        hash::for_each(&self.hash(), |key, value| match value.lists & bit {
            0 => Ok(()),
            _ => self.take_part(&key, bit, names),
        })?;
        self.write_list(index, &ct_list::default())
    }

    /// Takes a list's part out of an entry, as it is now.
    fn take_part(&self, key: &ct_ban_key, bit: u32, names: &Names) -> Result<()> {
        let value = self.get(key)?.filter(|value| value.lists & bit != 0);
        let Some(value) = value else {
            return Ok(());
        };
        match claims::part_with(value, bit, self.civil.boot, names) {
            Some(left) => Ok(self.hash().put(key, &left)?),
            None => self.take(key).map(drop),
        }
    }

    fn write_list(&self, index: u32, record: &ct_list) -> Result<()> {
        let written =
            (self.maps.lists).update(&index.to_ne_bytes(), bytes_of(record), MapFlags::ANY);
        written.context("write the lists of bans")
    }
}

/// A list that is being filled.
struct Filling<'a> {
    bans: &'a Bans<'a>,
    names: &'a Names,
    bit: u32,
    /// Reasons have numbers; many entries have the same.
    notes: HashMap<Box<str>, u32>,
}

impl<'a> Filling<'a> {
    fn new(bans: &'a Bans<'a>, names: &'a Names, bit: u32) -> Self {
        Self {
            bans,
            names,
            bit,
            notes: HashMap::new(),
        }
    }

    /// Puts an entry in; whether the list did not have it yet.
    fn put(&mut self, entry: &Listed) -> Result<bool> {
        let (bans, key) = (self.bans, key_of(&entry.target));
        let there = bans.get(&key)?;
        let live = there.filter(|ban| !bans.is_over(ban));
        let part = Part {
            until: entry.ttl.map_or(0, |ttl| bans.after(ttl)),
            note: self.note(&entry.reason),
            since: bans.civil.civil.0.cast_unsigned(),
            boot: bans.civil.boot,
        };
        let value = claims::join(live, self.bit, &part, self.names);
        bans.enter(&key, &entry.target, there.as_ref(), &value)?;
        // What has expired may have been this list's as well.
        Ok(there.is_none_or(|there| there.lists & self.bit == 0))
    }

    /// The number of a reason; none if there are too many different ones.
    fn note(&mut self, reason: &str) -> u32 {
        if let Some(note) = self.notes.get(reason) {
            return *note;
        }
        let note = Notes::of(self.bans.maps).put(reason).unwrap_or(0);
        self.notes.insert(reason.into(), note);
        note
    }
}

fn record(spec: &ListSpec) -> ct_list {
    let flag = |on: bool, bit: u16| if on { u32::from(bit) } else { 0 };
    let mut record = ct_list {
        flags: flag(spec.dry_run, BAN_DRY_RUN)
            | flag(spec.direction == BanDirection::Both, BAN_BOTH),
        ..ct_list::default()
    };
    to_chars(&spec.name, &mut record.name);
    to_chars(&spec.source, &mut record.source);
    record
}

/// Whether what is asked for is what would become of the list that is there: one that drops
/// does not stop for a dry run, and what is added to one is as that one is.
fn check(spec: &ListSpec, there: &BanList) -> Result<()> {
    let why = match (spec.replace, spec.dry_run, there.dry_run) {
        (true, true, false) => "drops, and would not any more: a dry run needs another name",
        (false, true, false) => {
            "drops, and so would what is added to it: a dry run needs another name"
        }
        (false, false, true) => {
            "is a dry run, and so would be what is added to it: add to it as a dry run, or replace \
             it, which puts it in force"
        }
        (false, ..) if spec.direction != there.direction && spec.direction != BanDirection::In => {
            "drops what comes in only, and so would what is added to it: replacing it changes that"
        }
        _ => return Ok(()),
    };
    let message = format!("the list {} {why}", spec.name);
    Err(Error::new(ErrorKind::Invalid, message))
}

/// Where a list comes from that was added to.
fn joined(source: &str, more: &str) -> String {
    match (source, more) {
        (known, "") => known.to_owned(),
        ("", new) => new.to_owned(),
        _ if source.split(", ").any(|known| known == more) => source.to_owned(),
        _ => format!("{source}, {more}"),
    }
}

fn decode(list: &ct_list) -> BanList {
    let both = list.flags & u32::from(BAN_BOTH) != 0;
    BanList {
        name: from_chars(&list.name),
        source: from_chars(&list.source),
        updated: Timestamp(list.updated.cast_signed()),
        entries: list.entries,
        dry_run: list.flags & u32::from(BAN_DRY_RUN) != 0,
        direction: if both {
            BanDirection::Both
        } else {
            BanDirection::In
        },
    }
}
