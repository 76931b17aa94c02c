//! The flow tables, read from their mappings: every flow, one flow by its
//! name, or how many there are.
//!
//! Reading takes no lock and no system call, allocates nothing per flow, and
//! does not slow packets down. It is no snapshot: flows may come and go
//! meanwhile; but a flow that is there all the time comes out exactly once,
//! for a flow never moves to another slot.

use std::iter::FusedIterator;
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
use crate::wire::Word;
use crate::wire::ct_flow;
use crate::wire::ct_flow6;
use crate::wire::data_settings;

/// Both flow tables of a data path, mapped for reading. Cheap to clone.
///
/// It keeps the tables' memory alive, also after the data path is gone.
#[derive(Clone, Debug)]
pub struct Tables {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    v4: Table<ct_flow>,
    v6: Table<ct_flow6>,
    settings: Mapped<data_settings>,
    seed: Seed,
    max: u64,
}

#[derive(Debug)]
struct Table<S: Slot> {
    buckets: Mapped<S::Bucket>,
}

impl<S: Slot> Table<S> {
    fn bucket(&self, index: u32) -> Option<Bucket<'_>> {
        self.buckets.words(index as usize).map(Bucket::new)
    }
}

impl Inner {
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

    /// The flow in a slot, if there is one that meets the filter.
    #[inline]
    fn read<S: Slot>(
        &self,
        place: Place<'_>,
        filter: &FlowFilter,
        clock: &Clock,
    ) -> Option<Result<Found>> {
        let Place { bucket, slot, .. } = place;
        if !bucket.glance::<S>(slot)?.meets(filter) {
            return None;
        }
        let row: Row<S> = bucket.read(slot)?;
        let left = self.left(row.glance(), clock)?;
        let flow = row.decode(filter, clock, left);
        flow.map_err(|BadRow| place.senseless(S::FAMILY))
            .map(|flow| Some((flow?, place.spot(&row))))
            .transpose()
    }

    fn find<S: Slot>(
        &self,
        table: &Table<S>,
        key: &RawKey,
        clock: &Clock,
    ) -> Result<Option<Found>> {
        let buckets = u32::try_from(table.buckets.len()).unwrap_or(u32::MAX);
        let places = key.places(&self.seed, buckets);
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
                    index,
                    slot,
                };
                let flow = row.decode(&FlowFilter::default(), clock, left);
                return flow
                    .map_err(|BadRow| place.senseless(S::FAMILY))
                    .map(|flow| Some((flow?, place.spot(&row))));
            }
        }
        Ok(None)
    }

    fn count<S: Slot>(&self, table: &Table<S>, clock: &Clock, census: &mut Census) {
        for index in 0..table.buckets.len() as u32 {
            let Some(bucket) = table.bucket(index) else {
                break;
            };
            for slot in Bits(bucket.used()) {
                let Some(glance) = bucket.glance::<S>(slot) else {
                    continue;
                };
                if self.left(glance, clock).is_some() {
                    census.add(glance.protocol(), glance.word);
                } else {
                    census.expired += 1;
                }
            }
        }
    }
}

/// Where a flow was read, and what tells it from the slot's other flows.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Spot {
    pub(crate) family: Family,
    pub(crate) bucket: u32,
    pub(crate) slot: u32,
    pub(crate) word: u64,
    pub(crate) start: u64,
}

impl Spot {
    /// Whether it is the same slot, whatever flow is in it.
    pub fn same_slot(&self, other: &Self) -> bool {
        let slot = |spot: &Self| (spot.family, spot.bucket, spot.slot);
        slot(self) == slot(other)
    }
}

/// A flow, and where it is.
type Found = (Flow, Spot);

/// A slot, and where it is.
#[derive(Copy, Clone)]
struct Place<'a> {
    bucket: Bucket<'a>,
    index: u32,
    slot: usize,
}

impl Place<'_> {
    fn spot<S: Slot>(self, row: &Row<S>) -> Spot {
        let (word, start) = row.life();
        Spot {
            family: S::FAMILY,
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
struct Bits(u32);

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
        let v4 = Mapped::read_only(&maps.table4, meta.buckets4 as usize)
            .context("map the IPv4 flow table")?;
        let v6 = Mapped::read_only(&maps.table6, meta.buckets6 as usize)
            .context("map the IPv6 flow table")?;
        let settings = Mapped::read_only(&maps.settings, 1).context("map the settings")?;
        Ok(Self {
            inner: Arc::new(Inner {
                v4: Table { buckets: v4 },
                v6: Table { buckets: v6 },
                settings,
                seed: meta.hash_seed,
                max: meta.max_flows4 + meta.max_flows6,
            }),
        })
    }

    /// Every flow that meets the filter, as of `clock`, IPv4 first.
    pub fn walk(&self, filter: FlowFilter, clock: Clock) -> Walk {
        Walk {
            tables: self.clone(),
            filter,
            clock,
            family: Family::Ipv4,
            bucket: 0,
            pending: None,
        }
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
            Family::Ipv4 => inner.find(&inner.v4, &key, clock),
            Family::Ipv6 => inner.find(&inner.v6, &key, clock),
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

    /// Buckets of a family's table.
    pub(crate) fn buckets(&self, family: Family) -> u32 {
        let buckets = match family {
            Family::Ipv4 => self.inner.v4.buckets.len(),
            Family::Ipv6 => self.inner.v6.buckets.len(),
        };
        u32::try_from(buckets).unwrap_or(u32::MAX)
    }

    /// Slots of a family's table.
    pub fn slots(&self, family: Family) -> u64 {
        u64::from(self.buckets(family)) * u64::from(SLOTS)
    }
}

/// Flows of both tables, one after the other; see [`Tables::walk`].
///
/// A flow that is over when its turn comes is left out.
#[derive(Debug)]
#[must_use = "a walk is lazy"]
pub struct Walk {
    tables: Tables,
    filter: FlowFilter,
    clock: Clock,
    family: Family,
    bucket: u32,
    /// Slots of `bucket` still to be read; `None` before it was looked at.
    pending: Option<u32>,
}

impl Walk {
    /// The same walk; what is still to come has to meet this filter instead.
    pub fn with_filter(self, filter: FlowFilter) -> Self {
        Self { filter, ..self }
    }

    /// The next flow of one table; `None` at its end.
    fn advance<S: Slot>(&mut self, table: fn(&Inner) -> &Table<S>) -> Option<Result<Found>> {
        let inner = &*self.tables.inner;
        loop {
            let bucket = table(inner).bucket(self.bucket)?;
            let mut pending = Bits(self.pending.unwrap_or_else(|| bucket.used()));
            while let Some(slot) = pending.next() {
                let place = Place {
                    bucket,
                    index: self.bucket,
                    slot,
                };
                if let Some(found) = inner.read::<S>(place, &self.filter, &self.clock) {
                    self.pending = Some(pending.0);
                    return Some(found);
                }
            }
            self.pending = None;
            self.bucket += 1;
        }
    }
}

impl FusedIterator for Walk {}

impl Iterator for Walk {
    type Item = Result<Flow>;

    #[inline]
    fn next(&mut self) -> Option<Result<Flow>> {
        Some(self.next_found()?.map(|(flow, _)| flow))
    }
}

impl Walk {
    /// The next flow, and where it is.
    #[inline]
    pub(crate) fn next_found(&mut self) -> Option<Result<(Flow, Spot)>> {
        if self.family == Family::Ipv4 {
            if self.filter.matches_family(Family::Ipv4)
                && let Some(found) = self.advance(|inner| &inner.v4)
            {
                return Some(found);
            }
            self.family = Family::Ipv6;
            self.bucket = 0;
            self.pending = None;
        }
        if !self.filter.matches_family(Family::Ipv6) {
            return None;
        }
        self.advance(|inner| &inner.v6)
    }
}
