//! The flow tables, read from their mappings: every flow, one flow by its
//! name, or how many there are.
//!
//! Reading takes no lock and no system call, allocates nothing per flow, and
//! does not slow packets down. It is no snapshot: flows may come and go
//! meanwhile; but a flow that is there all the time comes out exactly once.
//!
//! A flow moves only while other tables take the place of those there are, and then
//! from the old table to the new one. So the old one is read first, and what was
//! shown of it is not shown again.

use std::fmt;
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use conntrack_core::Family;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::FlowKey;
use conntrack_core::FlowState;
use conntrack_core::Protocol;
use conntrack_core::stats::FlowCounts;
use libbpf_rs::MapCore;
use libbpf_rs::MapHandle;

use crate::clock::Clock;
use crate::clock::age;
use crate::datapath::Datapath;
use crate::defines::SLOTS;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::key::RawKey;
use crate::key::Seed;
use crate::mapped::Mapped;
use crate::row::BadRow;
use crate::row::Bucket;
use crate::row::Glance;
use crate::row::Row;
use crate::row::Slot;
use crate::row::state;
use crate::side::Sides;
use crate::skel::types::ct_settings;
use crate::walk::Shown;
pub use crate::walk::Walk;
use crate::wire::Word;
use crate::wire::ct_flow;
use crate::wire::ct_flow6;
use crate::wire::data_settings;

/// The flow tables of a data path, mapped for reading. Cheap to clone.
///
/// It keeps the tables' memory alive, also after the data path is gone.
#[derive(Clone, Debug)]
pub struct Tables {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    /// One, or two while the second one takes the place of the first.
    pub(crate) v4: Vec<Arc<Table<ct_flow>>>,
    pub(crate) v6: Vec<Arc<Table<ct_flow6>>>,
    settings: Mapped<data_settings>,
    sides: Sides,
    pub(crate) seed: Seed,
    max: u64,
    /// `ct_settings.tables` when they were mapped.
    version: u32,
}

/// What is asked of each row.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) filter: &'a FlowFilter,
    pub(crate) clock: &'a Clock,
    /// What is known of it beside its slot: another cache line or three.
    pub(crate) beside: bool,
}

pub(crate) struct Table<S: Slot> {
    buckets: Mapped<S::Bucket>,
    /// The kernel's id of the map.
    pub(crate) id: u32,
}

impl<S: Slot> fmt::Debug for Table<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({}: {:?})", self.id, self.buckets)
    }
}

impl<S: Slot> Table<S> {
    fn map(map: &MapHandle) -> Result<Arc<Self>> {
        let family = S::FAMILY;
        let buckets = Mapped::read_only(map, map.max_entries() as usize)
            .with_context(|| format!("map the {family} flow table"))?;
        let info = map.info().context("look at a map")?;
        Ok(Arc::new(Self {
            buckets,
            id: info.info.id,
        }))
    }

    #[inline]
    pub(crate) fn bucket(&self, index: u32) -> Option<Bucket<'_>> {
        self.buckets.words(index as usize).map(Bucket::new)
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.buckets.len()).unwrap_or(u32::MAX)
    }
}

impl Inner {
    /// Whether tables were put in place since they were mapped.
    #[inline]
    pub(crate) fn is_outdated(&self) -> bool {
        version(&self.settings) != self.version
    }

    /// The timeout in force, in nanoseconds: `ct_timeout_of()`.
    fn timeout(&self, word: Word) -> u64 {
        let timeouts: &[AtomicU64] = self.settings.words(0).unwrap_or_default();
        timeouts
            .get(word.timeout())
            .map_or(0, |timeout| timeout.load(Ordering::Relaxed))
    }

    /// What is left of a flow's life; `None` if its time is up:
    /// `ct_expired()`.
    fn left(&self, flow: Glance, clock: &Clock) -> Option<Duration> {
        let timeout = self.timeout(flow.word);
        let age = age(clock.now(), flow.seen);
        (age < timeout).then(|| Duration::from_nanos(timeout - age))
    }

    /// The flow in a slot, if there is one that meets the filter and is not to be
    /// skipped, and its spot.
    #[inline]
    pub(crate) fn read<S: Slot>(
        &self,
        place: Place<'_>,
        asked: Asked<'_>,
        skip: impl FnOnce(&Row<S>) -> bool,
        spot: &mut Option<Spot>,
    ) -> Option<Result<Flow>> {
        let Place { bucket, slot, .. } = place;
        let Asked { filter, clock, .. } = asked;
        if !bucket.glance::<S>(slot)?.meets(filter) {
            return None;
        }
        let row: Row<S> = bucket.read(slot)?;
        let left = self.left(row.glance(), clock)?;
        if skip(&row) {
            return None;
        }
        *spot = Some(place.spot(&row));
        // A flow is large: not to be moved more often than it must.
        match row.decode(filter, clock, left) {
            Ok(Some(mut flow)) => {
                if asked.beside {
                    self.sides.look(&row, &self.seed, clock, &mut flow);
                }
                Some(Ok(flow))
            }
            Ok(None) => None,
            Err(BadRow) => Some(Err(place.senseless(S::FAMILY))),
        }
    }

    fn find<S: Slot>(
        &self,
        table: &Table<S>,
        key: &RawKey,
        clock: &Clock,
    ) -> Result<Option<Found>> {
        let places = key.places(&self.seed, table.len());
        for index in places.buckets {
            let Some(bucket) = table.bucket(index) else {
                continue;
            };
            for slot in Bits(bucket.tagged(places.tag)) {
                let Some(row) = bucket.read::<S>(slot).filter(|row| row.is(key)) else {
                    continue;
                };
                let Some(left) = self.left(row.glance(), clock) else {
                    continue;
                };
                let place = Place {
                    bucket,
                    table: table.len(),
                    index,
                    slot,
                };
                let flow = row.decode(&FlowFilter::default(), clock, left);
                let mut flow = flow.map_err(|BadRow| place.senseless(S::FAMILY))?;
                if let Some(flow) = &mut flow {
                    self.sides.look(&row, &self.seed, clock, flow);
                }
                return Ok(flow.map(|flow| (flow, place.spot(&row))));
            }
        }
        Ok(None)
    }

    /// Of all tables but the last.
    fn left_of<S: Slot>(tables: &[Arc<Table<S>>]) -> u64 {
        let Some((_, before)) = tables.split_last() else {
            return 0;
        };
        let buckets = before
            .iter()
            .flat_map(|table| (0..table.len()).filter_map(|index| table.bucket(index)));
        let left = |bucket: Bucket<'_>| {
            let words = Bits(bucket.used()).map(|slot| Word(bucket.remains::<S>(slot).life().0));
            words.filter(|word| word.has_left()).count() as u64
        };
        buckets.map(left).sum()
    }

    /// The flow of a key, in the first of the tables that has it.
    fn find_in<S: Slot>(
        &self,
        tables: &[Arc<Table<S>>],
        key: &RawKey,
        clock: &Clock,
    ) -> Result<Option<Found>> {
        let mut found = tables.iter().map(|table| self.find(table, key, clock));
        found
            .find(|found| !matches!(found, Ok(None)))
            .unwrap_or(Ok(None))
    }

    fn count<S: Slot>(&self, tables: &[Arc<Table<S>>], clock: &Clock, census: &mut Census) {
        let mut before = Vec::new();
        for (at, table) in tables.iter().enumerate() {
            let mut shown = Shown::none();
            for index in 0..table.len() {
                let Some(bucket) = table.bucket(index) else {
                    break;
                };
                let mut slots = 0;
                for slot in Bits(bucket.used()) {
                    let Some(glance) = bucket.glance::<S>(slot) else {
                        continue;
                    };
                    let again = at > 0
                        && bucket
                            .read::<S>(slot)
                            .is_none_or(|row| self.was_shown(&before, &row));
                    if again {
                        continue;
                    }
                    slots |= 1 << slot;
                    if self.left(glance, clock).is_some() {
                        census.add(glance.protocol(), glance.word);
                    } else {
                        census.expired += 1;
                    }
                }
                if at + 1 < tables.len() {
                    shown.keep(index, slots);
                }
            }
            before.push((Arc::clone(table), shown));
        }
    }
}

/// Where a flow was read, and what tells it from the slot's other flows.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Spot {
    pub(crate) family: Family,
    /// Buckets of its table, which tells it from the one that replaces it.
    pub(crate) table: u32,
    pub(crate) bucket: u32,
    pub(crate) slot: u32,
    pub(crate) word: u64,
    pub(crate) start: u64,
}

impl Spot {
    /// Whether it is the same slot, whatever flow is in it.
    pub fn same_slot(&self, other: &Self) -> bool {
        let slot = |spot: &Self| (spot.family, spot.table, spot.bucket, spot.slot);
        slot(self) == slot(other)
    }
}

/// A flow, and where it is.
pub(crate) type Found = (Flow, Spot);

/// A slot, and where it is.
#[derive(Copy, Clone)]
pub(crate) struct Place<'a> {
    pub(crate) bucket: Bucket<'a>,
    /// Buckets of the table.
    pub(crate) table: u32,
    pub(crate) index: u32,
    pub(crate) slot: usize,
}

impl Place<'_> {
    fn spot<S: Slot>(self, row: &Row<S>) -> Spot {
        let (word, start) = row.life();
        Spot {
            family: S::FAMILY,
            table: self.table,
            bucket: self.index,
            slot: self.slot as u32,
            word,
            start,
        }
    }

    fn senseless(self, family: Family) -> Error {
        let Self { index, slot, .. } = self;
        let message = format!("slot {slot} of bucket {index} of the {family} table makes no sense");
        Error::new(ErrorKind::Other, message)
    }
}

/// The indices of the bits that are set, lowest first.
pub(crate) struct Bits(pub(crate) u32);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let lowest = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (lowest < u32::BITS).then_some(lowest as usize)
    }
}

/// Flows by what can be told from the first look at a slot.
struct Census {
    kinds: Vec<u64>,
    expired: u64,
}

impl Census {
    const STATES: usize = 16;
    const PROTOCOLS: usize = 256;

    fn new() -> Self {
        Self {
            kinds: vec![0; Self::PROTOCOLS * Self::STATES * 2],
            expired: 0,
        }
    }

    fn add(&mut self, protocol: Protocol, word: Word) {
        let kind = (usize::from(protocol.0) * Self::STATES + usize::from(word.state())) * 2
            + usize::from(word.assured());
        self.kinds[kind] += 1;
    }

    fn counts(&self, max: u64) -> FlowCounts {
        let mut counts = FlowCounts {
            max,
            expired_pending: self.expired,
            ..FlowCounts::default()
        };
        let kinds = self.kinds.chunks(Self::STATES * 2);
        for (protocol, kinds) in (0..=255).map(Protocol).zip(kinds) {
            for (number, flows) in (0..).zip(kinds.chunks(2)) {
                let state = state(protocol, number).unwrap_or(FlowState::None);
                counts.add_many(protocol, state, false, flows[0]);
                counts.add_many(protocol, state, true, flows[1]);
            }
        }
        counts
    }
}

impl Tables {
    /// Maps the tables of a data path.
    ///
    /// # Errors
    /// The kernel refuses to map them.
    pub fn map(datapath: &Datapath) -> Result<Self> {
        let Datapath { maps, meta, .. } = datapath;
        let settings = Mapped::read_only(&maps.settings, 1).context("map the settings")?;
        // Before the tables: if it moves on now, they are out of date sooner.
        let version = version(&settings);
        let v4 = [Some(&maps.table4), maps.next4.as_ref()];
        let v6 = [Some(&maps.table6), maps.next6.as_ref()];
        Ok(Self {
            inner: Arc::new(Inner {
                v4: v4
                    .into_iter()
                    .flatten()
                    .map(Table::map)
                    .collect::<Result<_>>()?,
                v6: v6
                    .into_iter()
                    .flatten()
                    .map(Table::map)
                    .collect::<Result<_>>()?,
                settings,
                sides: Sides::map(datapath)?,
                seed: meta.hash_seed,
                max: meta.max_flows4 + meta.max_flows6,
                version,
            }),
        })
    }

    /// Whether others may have taken the place of these tables since they were
    /// mapped: then there is more to read elsewhere.
    #[inline]
    pub fn are_outdated(&self) -> bool {
        self.inner.is_outdated()
    }

    /// Every flow that meets the filter, as of `clock`, IPv4 first.
    pub fn walk(&self, filter: FlowFilter, clock: Clock) -> Walk {
        Walk::new(self.clone(), filter, clock)
    }

    /// The flow with this name, if it is there as of `clock`. Looks into two
    /// buckets only.
    ///
    /// # Errors
    /// Its slot holds what the packet path never writes.
    pub fn find(&self, name: &FlowKey, clock: &Clock) -> Result<Option<Flow>> {
        Ok(self.locate(name, clock)?.map(|(flow, _)| flow))
    }

    /// The same, and where it is.
    ///
    /// # Errors
    /// As [`Tables::find`].
    pub fn locate(&self, name: &FlowKey, clock: &Clock) -> Result<Option<(Flow, Spot)>> {
        let Some(key) = RawKey::new(name) else {
            return Ok(None);
        };
        let inner = &*self.inner;
        match key.family {
            Family::Ipv4 => inner.find_in(&inner.v4, &key, clock),
            Family::Ipv6 => inner.find_in(&inner.v6, &key, clock),
        }
    }

    /// How many flows there are of which kind as of `clock`, and how many
    /// slots still hold flows whose time is up.
    pub fn count(&self, clock: &Clock) -> FlowCounts {
        let inner = &*self.inner;
        let mut census = Census::new();
        inner.count(&inner.v4, clock, &mut census);
        inner.count(&inner.v6, clock, &mut census);
        census.counts(inner.max)
    }

    /// How many IPv4 and IPv6 flows there are as of `clock`.
    pub(crate) fn living(&self, clock: &Clock) -> [u64; 2] {
        let inner = &*self.inner;
        let (mut v4, mut v6) = (Census::new(), Census::new());
        inner.count(&inner.v4, clock, &mut v4);
        inner.count(&inner.v6, clock, &mut v6);
        [v4, v6].map(|census| census.kinds.iter().sum())
    }

    /// How many flows have left tables for those that take their place.
    pub(crate) fn left(&self) -> u64 {
        let inner = &*self.inner;
        Inner::left_of(&inner.v4) + Inner::left_of(&inner.v6)
    }

    /// Buckets of each of a family's tables, the old one's first.
    pub(crate) fn buckets(&self, family: Family) -> Vec<u32> {
        match family {
            Family::Ipv4 => self.inner.v4.iter().map(|table| table.len()).collect(),
            Family::Ipv6 => self.inner.v6.iter().map(|table| table.len()).collect(),
        }
    }

    /// Slots of a family's tables.
    pub fn slots(&self, family: Family) -> u64 {
        let buckets = self.buckets(family).into_iter();
        buckets.map(|it| u64::from(it) * u64::from(SLOTS)).sum()
    }
}

/// `ct_settings.tables`, which moves on whenever tables are put in place.
#[inline]
fn version(settings: &Mapped<data_settings>) -> u32 {
    const AT: usize = offset_of!(ct_settings, tables);
    let word = settings.words(0).and_then(|words| words.get(AT / 8));
    let bytes = word.map_or([0; 8], |word| word.load(Ordering::Acquire).to_ne_bytes());
    let (words, _) = bytes.as_chunks::<4>();
    u32::from_ne_bytes(words[AT % 8 / 4])
}
