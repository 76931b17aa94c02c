//! Programs that change while it runs: this process's in the place of those that
//! are there, and those that another process has put there.

use std::sync::Arc;
use std::sync::PoisonError;

use libbpf_rs::ProgramHandle;

use super::Instance;
use super::State;
use crate::datapath::Datapath;
use crate::datapath::Entry;
use crate::datapath::VERSION;
use crate::error::Context;
use crate::error::Result;
use crate::load;
use crate::load::Creates;
use crate::pins::Condition;
use crate::pins::PinDir;
use crate::records::Meta;
use crate::records::Phase;
use crate::sweep;
use crate::teardown;

/// What an upgrade has done.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct UpgradeReport {
    /// Version of the crate whose programs ran before.
    pub from: String,
    /// Version of the crate whose programs run now: this one's.
    pub to: String,
}

impl Instance {
    /// Puts this crate's programs in the place of those that run, upon the same
    /// maps: no packet passes in between, and flows, counters, settings and
    /// listeners stay. All of them, or none.
    ///
    /// # Errors
    /// `InUse` if another process keeps it in the foreground or works on it;
    /// `NotFound` if it was detached or is dead; `AbiMismatch` if one of its links holds a
    /// program of somebody else; as [`Datapath::load`]; what the kernel refuses:
    /// then the programs are those of before.
    pub fn upgrade(&self) -> Result<UpgradeReport> {
        let mut state = self.state();
        let _lock = self.lock(&state, "upgrading")?;
        if self.is_dead_in(&state) {
            return Err(teardown::nothing_attached(&self.name));
        }
        let from = self.current(&state).meta.version.clone();
        self.recover(&mut state)?;
        let old = self.current(&state);
        let meta = Meta {
            version: VERSION.to_owned(),
            ..old.meta.clone()
        };
        let new = Datapath {
            maps: Arc::clone(&old.maps),
            programs: load::upon(&old.maps, &meta, &old.programs.loaded())?,
            meta,
        };
        self.put(&mut state, &old, new)?;
        Ok(UpgradeReport {
            from,
            to: VERSION.to_owned(),
        })
    }

    /// The program of an entry, loaded now if nothing has needed it so far. It has its
    /// pin before it sits on a hook. It is this crate's, whatever the others are of:
    /// they agree on what is in the maps. While tables are replaced it knows those that
    /// the others know.
    pub(super) fn program(&self, state: &State, entry: Entry) -> Result<ProgramHandle> {
        let now = self.current(state);
        let own = |program| ProgramHandle::try_from(program).context("keep a program");
        if let Ok(program) = now.programs.entry(entry) {
            return own(program);
        }
        let (maps, meta, name) = (&now.maps, &now.meta, entry.program());
        tracing::info!("{name} is loaded: an interface needs it");
        if meta.version != VERSION {
            let theirs = &meta.version;
            tracing::warn!("{name} is of version {VERSION}, the others are of {theirs}");
        }
        let more = match meta.phase {
            Phase::None => load::upon(maps, meta, &[entry]),
            Phase::Prepare => load::upon_both(maps, meta, &[entry], Creates::InOld),
            Phase::Move => load::upon_both(maps, meta, &[entry], Creates::InNew),
            Phase::Finish => load::upon_next(maps, meta, &[entry]),
        }?;
        if let Some(dir) = state.dir.as_ref().filter(|dir| dir.exists()) {
            dir.pin_programs(&more)?;
        }
        let program = own(more.entry(entry)?)?;
        let programs = now.programs.again().context("keep the programs")?;
        self.take_over(Arc::new(Datapath {
            maps: Arc::clone(&now.maps),
            programs: programs.with(more),
            meta: now.meta.clone(),
        }));
        Ok(program)
    }

    /// Goes round the tables at once, as [`sweep::now`] does.
    ///
    /// # Errors
    /// As [`sweep::now`].
    pub fn sweep(&self) -> Result<u64> {
        sweep::now(&self.datapath_now())
    }

    /// Its maps, and its programs as they are now: another process may have put
    /// newer ones there.
    pub fn datapath_now(&self) -> Arc<Datapath> {
        self.current(&self.state())
    }

    /// Its maps and programs as they are pinned now. What was known before stays
    /// where nothing is pinned, or not any more.
    pub(super) fn current(&self, state: &State) -> Arc<Datapath> {
        let pinned = state.dir.as_ref().map(|dir| self.pinned_in(dir));
        match pinned {
            Some(Ok(Some(now))) => now,
            _ => self.datapath(),
        }
    }

    /// The ids of all programs that may sit on a hook of it: two on each while
    /// they are being replaced.
    pub(super) fn program_ids(&self, state: &State) -> Vec<u32> {
        let mut ids = self.current(state).programs.packet_ids();
        if let Some(dir) = &state.dir
            && self.is_pinned_in(dir).unwrap_or(false)
        {
            ids.extend(dir.program_ids());
        }
        ids
    }

    /// What is pinned, if it is still this one. Programs that it has no more are
    /// let go.
    pub(super) fn pinned_in(&self, dir: &PinDir) -> Result<Option<Arc<Datapath>>> {
        let seed = self.datapath().meta.hash_seed;
        Ok(match dir.inspect()? {
            Condition::Ready(now) if now.meta.hash_seed == seed => {
                Some(self.take_over(Arc::new(*now)))
            }
            _ => None,
        })
    }

    pub(super) fn take_over(&self, datapath: Arc<Datapath>) -> Arc<Datapath> {
        let mut known = self
            .datapath
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Arc::clone(&datapath);
        datapath
    }
}
