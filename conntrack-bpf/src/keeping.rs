//! Bans over a restart: the files in which an instance keeps them. One has the single
//! bans and what is allowed, one those of fingerprints, one each list; so a ban does not
//! cost writing a million.
//! Whoever reads or writes holds the lock on the instance's bans.

use std::fs;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;

use conntrack_core::FingerprintBan;
use conntrack_core::Timestamp;
use conntrack_core::banstate::AllowKind;
use conntrack_core::banstate::BanFile;
use conntrack_core::banstate::BanState;
use conntrack_core::banstate::Outcome;
use conntrack_core::banstate::SavedAllow;

use crate::allow::Allow;
use crate::allow::AllowedBy;
use crate::bans::Bans;
use crate::bans::to_load;
use crate::clock::Civil;
use crate::datapath::Maps;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::prints;
use crate::prints::PrintBans;

const SINGLE: &str = "bans";
const FINGERPRINTS: &str = "fingerprints";
const LIST: &str = "list-";
/// Before what went wrong in writing.
const NOT_KEPT: &str = "it is in force, but not over a restart";

/// The folder of an instance.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Below the folder that its record names; `None` if it keeps nothing.
    pub(crate) fn of(state: &str, instance: &str) -> Option<Self> {
        let path = Path::new(state).join(instance);
        (!state.is_empty()).then_some(Self { path })
    }

    fn file(&self, name: &str) -> BanFile {
        BanFile::new(self.path.join(name))
    }

    fn save(&self, name: &str, state: &BanState) -> Result<()> {
        let folder = self.path.display();
        let mut make = DirBuilder::new();
        let made = make.recursive(true).mode(0o700).create(&self.path);
        made.with_context(|| format!("{NOT_KEPT}: make {folder}"))?;
        let now = Civil::now()?.civil;
        self.file(name)
            .save(state, now)
            .map_err(|error| Error::new(ErrorKind::Other, format!("{NOT_KEPT}: {error}")))
    }

    /// Keeps the single bans and what is allowed, as they are.
    pub(crate) fn save_single(&self, maps: &Maps) -> Result<()> {
        let now = Civil::now()?.civil;
        let allowed = Allow::of(maps)?.all()?.into_iter();
        let kinds = allowed.flat_map(|it| {
            let kinds = [
                (it.listed, AllowKind::Allow),
                (it.exception, AllowKind::Except),
            ];
            kinds.map(|(is, kind)| is.then(|| saved(it.net, kind, now)))
        });
        let state = BanState {
            bans: Bans::of(maps)?.to_save()?,
            allow: kinds.flatten().collect(),
            ..BanState::default()
        };
        // Nothing was ever kept, and there is nothing to keep.
        if state.is_empty() && !self.path.join(SINGLE).exists() {
            return Ok(());
        }
        self.save(SINGLE, &state)
    }

    /// Keeps a list as it is; of none, removes the file.
    pub(crate) fn save_list(&self, maps: &Maps, name: &str) -> Result<()> {
        let file = format!("{LIST}{name}");
        match Bans::of(maps)?.list_to_save(name)? {
            Some(list) => self.save(
                &file,
                &BanState {
                    lists: vec![list],
                    ..BanState::default()
                },
            ),
            None => self.remove(&file),
        }
    }

    /// Keeps the bans of fingerprints as they are; of none, removes the file. Where there
    /// can be none, what is kept waits for a tracker in which there can.
    pub(crate) fn save_prints(&self, maps: &Maps) -> Result<()> {
        if !prints::are_kept(maps) {
            return Ok(());
        }
        let state = BanState {
            fingerprints: PrintBans::of(maps)?.list()?,
            ..BanState::default()
        };
        match state.is_empty() {
            true => self.remove(FINGERPRINTS),
            false => self.save(FINGERPRINTS, &state),
        }
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("remove {}", path.display())),
        }
    }

    /// Removes the files of all lists.
    pub(crate) fn forget_lists(&self) -> Result<()> {
        let mut lists = self.lists().into_iter();
        lists.try_for_each(|name| self.remove(&format!("{LIST}{name}")))
    }

    /// Names of the lists that there are files of, sorted.
    fn lists(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let names = names.filter_map(|name| name.strip_prefix(LIST).map(str::to_owned));
        // What was put aside, or is being written, bears the name and something more.
        let mut names: Vec<_> = names.filter(|name| is_list_name(name)).collect();
        names.sort_unstable();
        names
    }

    /// Puts in what is kept. A file that is damaged, or cannot be read, is told, and
    /// keeps nothing else from being put in.
    pub(crate) fn restore(&self, maps: &Maps) -> Result<()> {
        let now = Civil::now()?.civil;
        let bans = Bans::of(maps)?;
        if let Some(state) = self.load(SINGLE, now) {
            for ban in &state.bans {
                bans.restore(ban)?;
            }
            let allow = Allow::of(maps)?;
            for it in &state.allow {
                let by = match it.kind {
                    AllowKind::Allow => AllowedBy::List,
                    AllowKind::Except => AllowedBy::Exception,
                };
                allow.put(it.net, by)?;
            }
        }
        if let Some(state) = self.load(FINGERPRINTS, now) {
            self.restore_prints(maps, &state.fingerprints)?;
        }
        let there: Vec<_> = bans.lists()?.into_iter().map(|list| list.name).collect();
        for name in self.lists() {
            let state = self.load(&format!("{LIST}{name}"), now).unwrap_or_default();
            for list in state
                .lists
                .into_iter()
                .filter(|list| !there.contains(&list.name))
            {
                if !list.complete {
                    tracing::warn!("the list {name} is not complete: load it anew");
                }
                let updated = list.updated;
                let (spec, entries) =
                    to_load(list, |entry| entry.until.map(|until| until.since(now)));
                bans.load_as_of(updated, &spec, &entries, |_| false, |_| ())?;
            }
        }
        Ok(())
    }

    /// One that cannot be put in is told, and keeps no other from it.
    fn restore_prints(&self, maps: &Maps, bans: &[FingerprintBan]) -> Result<()> {
        if bans.is_empty() {
            return Ok(());
        }
        let path = self.path.join(FINGERPRINTS);
        let path = path.display();
        if !prints::are_kept(maps) {
            let wait = "wait, for fingerprints are switched off";
            tracing::warn!("{path}: {} bans of fingerprints {wait}", bans.len());
            return Ok(());
        }
        let prints = PrintBans::of(maps)?;
        for ban in bans {
            if let Err(error) = prints.restore(ban) {
                tracing::warn!("{path}: {}: {error}", ban.pattern);
            }
        }
        Ok(())
    }

    /// What a file has that is not over.
    fn load(&self, name: &str, now: Timestamp) -> Option<BanState> {
        match self.file(name).load(now) {
            Ok(mut loaded) => {
                if !matches!(loaded.outcome, Outcome::Missing | Outcome::Sound) {
                    tracing::warn!("{}: {}", self.path.join(name).display(), loaded.outcome);
                }
                loaded.state.resume(now);
                Some(loaded.state)
            }
            Err(error) => {
                tracing::warn!("bans are not restored: {error}");
                None
            }
        }
    }
}

fn saved(net: ipnet::IpNet, kind: AllowKind, since: Timestamp) -> SavedAllow {
    SavedAllow {
        net,
        kind,
        since,
        until: None,
        reason: String::new(),
    }
}

/// Letters, digits, `-` and `_`: a name that no other file in the folder has.
pub(crate) fn is_list_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&name.len()) && name.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lists_are_files_of_their_own() {
        assert!(is_list_name("spamhaus-drop_v4"));
        for bad in ["", "a.damaged-1", "../x", "a b", &"x".repeat(64)] {
            assert!(!is_list_name(bad), "{bad}");
        }
    }
}
