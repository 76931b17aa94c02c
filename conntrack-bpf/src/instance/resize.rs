//! Tables of another size while packets run. The programs on the hooks are replaced
//! three times: by those that know the tables to come as well, by those that create
//! flows there, and, when all flows have moved, by those that know nothing else.
//!
//! What the record says of it is written before the first program sits on a hook that
//! needs it, so whatever a process leaves that is killed can be gone on with, or taken
//! back. ARCHITECTURE.md has the whole.

use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use conntrack_core::Config;
use conntrack_core::Family;
use conntrack_core::TableConfig;

use super::Instance;
use super::State;
use crate::clock::Clock;
use crate::datapath;
use crate::datapath::Datapath;
use crate::datapath::Maps;
use crate::datapath::Programs;
use crate::datapath::VERSION;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::evacuate;
use crate::load;
use crate::load::Creates;
use crate::ports;
use crate::prints;
use crate::records::Meta;
use crate::records::Phase;
use crate::settings;
use crate::sizing;
use crate::swap;
use crate::swap::Site;
use crate::table::Tables;
use crate::teardown;

/// What a resize has done.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct ResizeReport {
    /// IPv4 and IPv6 flows that the tables were sized for.
    pub from: [u64; 2],
    /// IPv4 and IPv6 flows that they are sized for now.
    pub to: [u64; 2],
    /// Flows that have moved to a new table.
    pub moved: u64,
    /// How long it took.
    pub took: Duration,
}

/// Percent of the flows that tables are sized for and that may be there: above it `status`
/// tells of pressure, and single flows might find both of their buckets full.
const ROOMY: u64 = 80;

/// How often it is tried to move what finds no room, and how long in between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

impl Instance {
    /// Gives it tables of the size that `table` says, while packets run: no flow is
    /// lost, no packet passes unseen. What a resize has left that was cut short is
    /// ended first. The programs are those of this crate then.
    ///
    /// # Errors
    /// `Invalid` for a size that makes no sense, that is too small for the flows there
    /// are, or that this host has not the memory for; as [`Instance::upgrade`]. Nothing
    /// is changed then. `Other` if single flows find no place in the new tables: all of
    /// them stay in use, and another call goes on.
    pub fn resize(&self, table: &TableConfig) -> Result<ResizeReport> {
        let began = Instant::now();
        let mut config = Config::default();
        config.table = *table;
        config.validate()?;
        let datapath = self.datapath();
        let fingerprints = prints::config(&datapath.maps);
        let ports = ports::config(&datapath.maps)?;
        let (sketch, health) = (self.sketch()?, self.health_config());
        let flows = sizing::table_flows(table, sketch, health, fingerprints, ports)?;
        let mut state = self.state();
        let _lock = self.lock(&state, "resizing")?;
        if self.is_dead_in(&state) {
            return Err(teardown::nothing_attached(&self.name));
        }
        let before = self.current(&state).meta.clone();
        let mut moved = self.recover(&mut state)?;
        let old = self.current(&state);
        let meta = plan(&old.meta, flows);
        check_flows(&old, &meta)?;
        if meta.next_buckets4 != 0 || meta.next_buckets6 != 0 {
            sizing::check_room_for_next(&meta)?;
            moved += self.replace_tables(&mut state, &old, meta)?;
        } else if meta.resized() != old.meta {
            // The same tables, by another number.
            let meta = meta.resized();
            let programs = load::upon(&old.maps, &meta, &old.programs.loaded())?;
            let maps = Arc::clone(&old.maps);
            self.put(
                &mut state,
                &old,
                Datapath {
                    maps,
                    programs,
                    meta,
                },
            )?;
        }
        let after = self.current(&state).meta.clone();
        Ok(ResizeReport {
            from: [before.max_flows4, before.max_flows6],
            to: [after.max_flows4, after.max_flows6],
            moved,
            took: began.elapsed(),
        })
    }

    /// Ends a resize that was cut short, if there is one: takes it back before any flow
    /// can be in a new table, goes on with it after that. How many flows have moved.
    ///
    /// # Errors
    /// As [`Instance::resize`].
    pub(super) fn recover(&self, state: &mut State) -> Result<u64> {
        let now = self.current(state);
        // As it is written: what this process knows may be of before a failure.
        let mut meta = Meta::read(&now.maps.meta)?;
        let entries = now.programs.loaded();
        if meta.phase != Phase::None {
            tracing::info!("a resize was cut short: it is ended first");
            VERSION.clone_into(&mut meta.version);
        }
        match meta.phase {
            Phase::None => {
                settle(state, &meta)?;
                Ok(0)
            }
            Phase::Prepare => {
                let meta = meta.unchanged();
                let maps = with_tables(&now.maps, [&now.maps.table4, &now.maps.table6])?;
                let programs = load::upon(&maps, &meta, &entries)?;
                let meta = Meta {
                    version: VERSION.to_owned(),
                    ..meta
                };
                self.put(
                    state,
                    &now,
                    Datapath {
                        maps,
                        programs,
                        meta: meta.clone(),
                    },
                )?;
                evacuate::wait_for_packets()?;
                settle(state, &meta)?;
                settings::announce_tables(&now.maps)?;
                Ok(0)
            }
            Phase::Move => {
                let maps = Arc::clone(&now.maps);
                let programs = load::upon_both(&maps, &meta, &entries, Creates::InNew)?;
                let last = load::upon_next(&maps, &meta, &entries)?;
                settings::announce_tables(&maps)?;
                let moving = self.put(
                    state,
                    &now,
                    Datapath {
                        maps,
                        programs,
                        meta,
                    },
                )?;
                self.move_all(state, &moving, last)
            }
            Phase::Finish => {
                let last = load::upon_next(&now.maps, &meta, &entries)?;
                self.finish(state, &now, meta, last)?;
                Ok(0)
            }
        }
    }

    /// The whole way, from programs that know the tables of `old` on all hooks. How
    /// many flows have moved.
    fn replace_tables(&self, state: &mut State, old: &Datapath, mut meta: Meta) -> Result<u64> {
        // All that can be refused, before anything is changed.
        let entries = old.programs.loaded();
        let (last, maps) = load::next_anew(&old.maps, &meta, &entries)?;
        let maps = Arc::new(maps);
        let first = load::upon_both(&maps, &meta, &entries, Creates::InOld)?;
        let second = load::upon_both(&maps, &meta, &entries, Creates::InNew)?;
        let preparing = self.prepare(state, old, &maps, meta.clone(), first);
        let preparing = preparing.inspect_err(|_| take_back(state, old))?;
        settings::announce_tables(&maps)?;
        evacuate::wait_for_packets()?;
        meta.phase = Phase::Move;
        meta.write(&maps.meta)?;
        let programs = second;
        let moving = self.put(
            state,
            &preparing,
            Datapath {
                maps,
                programs,
                meta,
            },
        );
        let moved = moving.and_then(|moving| self.move_all(state, &moving, last));
        moved.context("the old and the new tables stay in use, until `resize` goes on")
    }

    fn prepare(
        &self,
        state: &mut State,
        old: &Datapath,
        maps: &Arc<Maps>,
        meta: Meta,
        programs: Programs,
    ) -> Result<Arc<Datapath>> {
        settings::set_moving(maps, false)?;
        if let Some(dir) = &state.dir {
            dir.pin_next(maps)?;
        }
        meta.write(&maps.meta)?;
        let maps = Arc::clone(maps);
        self.put(
            state,
            old,
            Datapath {
                maps,
                programs,
                meta,
            },
        )
    }

    /// From programs that create flows in the new tables on all hooks: moves what is in
    /// the old ones. How many flows have moved.
    fn move_all(&self, state: &mut State, now: &Datapath, last: Programs) -> Result<u64> {
        evacuate::wait_for_packets()?;
        settings::set_moving(&now.maps, true)?;
        empty(now)?;
        // Packets that had found their flow before it left.
        evacuate::wait_for_packets()?;
        empty(now)?;
        let moved = Tables::map(now)?.left();
        let mut meta = now.meta.clone();
        meta.phase = Phase::Finish;
        meta.write(&now.maps.meta)?;
        self.finish(state, now, meta, last)?;
        Ok(moved)
    }

    /// From nothing left in the old tables: lets go of them.
    fn finish(&self, state: &mut State, now: &Datapath, meta: Meta, last: Programs) -> Result<()> {
        let settled = meta.resized();
        let maps = Arc::clone(&now.maps);
        let programs = last;
        let last = self.put(
            state,
            now,
            Datapath {
                maps,
                programs,
                meta,
            },
        )?;
        evacuate::wait_for_packets()?;
        settings::set_moving(&now.maps, false)?;
        let maps = with_tables(&now.maps, now.maps.next_tables())?;
        settled.write(&maps.meta)?;
        settle(state, &settled)?;
        let programs = last.programs.again().context("keep the programs")?;
        let meta = settled;
        let datapath = self.take_over(Arc::new(Datapath {
            maps,
            programs,
            meta,
        }));
        settings::announce_tables(&datapath.maps)
    }

    /// Puts programs in the place of those that run, with what stands beside them.
    pub(super) fn put(
        &self,
        state: &mut State,
        old: &Datapath,
        new: Datapath,
    ) -> Result<Arc<Datapath>> {
        let known = self.program_ids(state);
        let site = Site {
            netns: self.netns.as_deref(),
            dir: state.dir.as_ref(),
            attachments: &mut state.attachments,
            known,
        };
        swap::swap(site, old, &new)?;
        Ok(self.take_over(Arc::new(new)))
    }

    /// Its maps as they are now. It waits for what this process itself is doing with it, as
    /// [`Instance::datapath_now`] does, only while it is putting other tables in place.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn datapath_to_read(&self) -> Result<Arc<Datapath>> {
        let known = self.datapath();
        match has_its_tables(&known)? {
            true => Ok(known),
            false => Ok(self.datapath_now()),
        }
    }

    /// Its tables as they are now, mapped for reading.
    ///
    /// # Errors
    /// The kernel refuses to map them.
    pub fn tables_to_read(&self) -> Result<Tables> {
        loop {
            let datapath = self.datapath_to_read()?;
            let tables = Tables::map(&datapath)?;
            // The record changes before it is announced: what was announced before
            // they were mapped is known to them. Of a tracker that was detached after
            // a resize this process has not seen, there is nothing newer to be had.
            if has_its_tables(&datapath)? || Arc::ptr_eq(&datapath, &self.datapath_to_read()?) {
                return Ok(tables);
            }
        }
    }
}

/// Whether a data path has the tables that the record tells of now.
fn has_its_tables(datapath: &Datapath) -> Result<bool> {
    let tables = |meta: &Meta| {
        let now = [meta.buckets4, meta.buckets6];
        (now, [meta.next_buckets4, meta.next_buckets6])
    };
    let now = Meta::read(&datapath.maps.meta)?;
    Ok(tables(&now) == tables(&datapath.meta))
}

/// What the record says when tables for so many flows are to come.
fn plan(now: &Meta, flows: [u32; 2]) -> Meta {
    let [v4, v6] = flows;
    let other = |flows, now| Some(datapath::buckets(flows)).filter(|it| *it != now);
    Meta {
        phase: Phase::Prepare,
        next_buckets4: other(v4, now.buckets4).unwrap_or(0),
        next_buckets6: other(v6, now.buckets6).unwrap_or(0),
        next_flows4: v4.into(),
        next_flows6: v6.into(),
        version: VERSION.to_owned(),
        ..now.clone()
    }
}

/// Whether there is room for the flows there are.
fn check_flows(now: &Datapath, meta: &Meta) -> Result<()> {
    let living = Tables::map(now)?.living(&Clock::live()?);
    let room = [meta.next_flows4, meta.next_flows6];
    let families = [Family::Ipv4, Family::Ipv6].into_iter();
    for ((family, living), room) in families.zip(living).zip(room) {
        let least = (living * 100).div_ceil(ROOMY);
        if least > room {
            let message = format!(
                "the {family} table holds {living} flows, and is to have room for {room}: \
                 {least} are needed; nothing is changed"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(())
}

/// Moves everything out of the old tables.
fn empty(now: &Datapath) -> Result<()> {
    let Some(program) = &now.programs.evacuate else {
        return Err(Error::new(ErrorKind::Other, "no program that moves flows"));
    };
    let or_none = |next, buckets| if next == 0 { 0 } else { buckets };
    let Meta {
        buckets4,
        buckets6,
        next_buckets4,
        next_buckets6,
        ..
    } = now.meta;
    let buckets = [
        or_none(next_buckets4, buckets4),
        or_none(next_buckets6, buckets6),
    ];
    let mut tries = 0;
    loop {
        let done = evacuate::once(program, buckets)?;
        tracing::debug!("the old tables: {done:?}");
        if done.is_nothing() {
            return Ok(());
        }
        if done.stay == 0 {
            continue;
        }
        tries += 1;
        if tries == TRIES {
            let stay = done.stay;
            let message = format!("{stay} flows find no place in the new tables");
            return Err(Error::new(ErrorKind::Other, message));
        }
        thread::sleep(PAUSE);
    }
}

/// The pins of tables as the record has them, which knows of none to come.
fn settle(state: &State, meta: &Meta) -> Result<()> {
    let dir = state.dir.as_ref();
    dir.map_or(Ok(()), |dir| dir.settle_tables(meta))
}

/// After a failure before a flow was anywhere but in the old tables.
fn take_back(state: &State, old: &Datapath) {
    let written = old.meta.write(&old.maps.meta);
    if let Err(error) = written.and_then(|()| settle(state, &old.meta)) {
        tracing::warn!("clean up: {error:#}");
    }
}

fn with_tables(maps: &Maps, tables: [&libbpf_rs::MapHandle; 2]) -> Result<Arc<Maps>> {
    let maps = maps.with_tables(tables, [None; 2]);
    Ok(Arc::new(maps.context("keep the maps")?))
}
