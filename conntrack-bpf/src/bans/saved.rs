//! Bans as they are kept over a restart: without their counts, and without those that
//! wait to be confirmed, for they end by themselves.

use std::time::Duration;

use conntrack_core::Ban;
use conntrack_core::BanDirection;
use conntrack_core::BanOrigin;
use conntrack_core::banstate::SavedEntry;
use conntrack_core::banstate::SavedList;

use super::Bans;
use super::ListSpec;
use super::Listed;
use super::claims;
use super::codec::decode;
use super::codec::key_of;
use super::codec::number_of;
use super::codec::target_of;
use super::lists::Names;
use crate::defines::BAN_BOTH;
use crate::defines::BAN_DRY_RUN;
use crate::defines::BAN_UNCONFIRMED;
use crate::error::Error;
use crate::error::Result;
use crate::hash;
use crate::limits::Limits;
use crate::notes::Notes;
use crate::wire::ct_ban;

impl Bans<'_> {
    /// Those that are of no list, as they would be without lists.
    pub(crate) fn to_save(&self) -> Result<Vec<Ban>> {
        let (mut bans, names) = (Vec::new(), Names::read(self.maps)?);
        let mut note = (0, String::new());
        hash::for_each(&self.hash(), |key, value| {
            let waits = value.flags & BAN_UNCONFIRMED != 0;
            if waits || self.is_over(&value) || !claims::is_own(&value, self.civil.boot) {
                return Ok(());
            }
            let own = match value.lists {
                0 => Some(value),
                lists => claims::part_with(value, lists, self.civil.boot, &names),
            };
            if let Some(own) = own {
                if note.0 != own.note {
                    note = (own.note, Notes::of(self.maps).get(own.note)?);
                }
                bans.push(decode(&key, &own, note.1.clone(), &names, &self.civil)?);
            }
            Ok::<_, Error>(())
        })?;
        Ok(bans)
    }

    /// A list with all that it has; `None` if there is none of this name.
    pub(crate) fn list_to_save(&self, name: &str) -> Result<Option<SavedList>> {
        let names = Names::read(self.maps)?;
        let Some((bit, list)) = names.get(name) else {
            return Ok(None);
        };
        let (mut entries, mut note) = (Vec::new(), (0, String::new()));
        hash::for_each(&self.hash(), |key, value| {
            if value.lists & bit == 0 || self.is_over(&value) {
                return Ok(());
            }
            if note.0 != value.note {
                note = (value.note, Notes::of(self.maps).get(value.note)?);
            }
            let mut entry = SavedEntry::new(target_of(&key)?);
            entry.until = (value.until != 0).then(|| self.civil.of_boot(value.until));
            (entry.direction, entry.dry_run) = (list.direction, list.dry_run);
            entry.reason.clone_from(&note.1);
            entries.push(entry);
            Ok::<_, Error>(())
        })?;
        Ok(Some(SavedList {
            name: list.name,
            source: list.source,
            updated: list.updated,
            entries,
            complete: true,
        }))
    }

    /// Puts in what was saved, unless there is a ban of the same target by now.
    pub(crate) fn restore(&self, ban: &Ban) -> Result<()> {
        let key = key_of(&ban.target);
        let there = self.get(&key)?;
        let live = there.filter(|there| !self.is_over(there));
        if live.is_some_and(|live| claims::is_own(&live, self.civil.boot)) {
            return Ok(());
        }
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        let own = ct_ban {
            until: ban.ttl.map_or(0, |ttl| self.after(ttl)),
            since: ban.since.0.cast_unsigned(),
            note: Notes::of(self.maps).put(&ban.reason)?,
            flags: flag(ban.dry_run, BAN_DRY_RUN)
                | flag(ban.direction == BanDirection::Both, BAN_BOTH),
            origin: number_of(match &ban.origin {
                BanOrigin::List(_) => &BanOrigin::Manual,
                origin => origin,
            }),
            ..live.unwrap_or_default()
        };
        let value = match live {
            Some(lists) => claims::beside(&lists, &own, &Names::read(self.maps)?),
            None => own,
        };
        self.enter(&key, &ban.target, there.as_ref(), &value)?;
        self.policy.bump(&ban.target.net());
        if let (BanOrigin::Threshold, Some(left)) = (&ban.origin, ban.ttl) {
            let long = self.civil.civil.since(ban.since).saturating_add(left);
            Limits::of(self.maps)?.struck(&key, own.until, long)?;
        }
        Ok(())
    }
}

/// A saved list as it is loaded, with what is left of its entries' time.
pub(crate) fn to_load(
    list: SavedList,
    left: impl Fn(&SavedEntry) -> Option<Duration>,
) -> (ListSpec, Vec<Listed>) {
    let first = list.entries.first();
    let spec = ListSpec {
        dry_run: first.is_some_and(|entry| entry.dry_run),
        direction: first.map(|entry| entry.direction).unwrap_or_default(),
        name: list.name,
        source: list.source,
        replace: true,
    };
    let entries = list.entries.into_iter().filter(|entry| !entry.except);
    let entries = entries.map(|entry| Listed {
        target: entry.target,
        ttl: left(&entry),
        reason: entry.reason.into(),
    });
    (spec, entries.collect())
}
