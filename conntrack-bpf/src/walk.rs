//! Flow by flow through the tables.

use std::fmt;
use std::iter::FusedIterator;
use std::mem;
use std::sync::Arc;

use conntrack_core::Family;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;

use crate::clock::Clock;
use crate::error::Result;
use crate::row::Row;
use crate::row::Slot;
use crate::table::Asked;
use crate::table::Bits;
use crate::table::Inner;
use crate::table::Place;
use crate::table::Spot;
use crate::table::Table;
use crate::table::Tables;
use crate::wire::ct_flow;
use crate::wire::ct_flow6;

/// Flows of all tables, one after the other; see [`Tables::walk`].
///
/// A flow that is over when its turn comes is left out.
#[derive(Debug)]
#[must_use = "a walk is lazy"]
pub struct Walk {
    tables: Tables,
    renew: Option<Renew>,
    filter: FlowFilter,
    /// Whether flows come with what is known of them beside their slots.
    beside: bool,
    clock: Clock,
    v4: Pass<ct_flow>,
    v6: Pass<ct_flow6>,
    /// The family that it is at; `None` at the end.
    family: Option<Family>,
    /// Where the last one was.
    spot: Option<Spot>,
}

/// Who knows the tables that there are by now; `None`: nobody any more.
struct Renew(Box<dyn Fn() -> Result<Option<Tables>> + Send + Sync>);

impl fmt::Debug for Renew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renew")
    }
}

/// A walk through the tables of one family, in the order in which they took each
/// other's place.
#[derive(Debug)]
struct Pass<S: Slot> {
    /// Those that it began with.
    first: Tables,
    of_family: fn(&Inner) -> &[Arc<Table<S>>],
    /// Those that came later.
    more: Vec<Arc<Table<S>>>,
    /// Those that it is through.
    before: Vec<(Arc<Table<S>>, Shown)>,
    /// What it has shown of the one that it is at; the bucket of it, and what it has
    /// shown of that.
    shown: Shown,
    bucket: u32,
    slots: u16,
    /// Slots of `bucket` still to be read; `None` before it was looked at.
    pending: Option<u32>,
}

/// The slots of a table that flows were shown of.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Buckets before this one were left behind before any flow moved: all that was there
    /// was shown.
    from: u32,
    /// The slots of the buckets from there on, a bit each.
    slots: Vec<u16>,
}

impl Shown {
    /// Before anything is kept in mind.
    pub(crate) const fn all() -> Self {
        let slots = Vec::new();
        Self {
            from: u32::MAX,
            slots,
        }
    }

    /// From the beginning.
    pub(crate) const fn none() -> Self {
        let slots = Vec::new();
        Self { from: 0, slots }
    }

    /// Whether slots are kept in mind.
    #[inline]
    pub(crate) fn is_kept(&self) -> bool {
        self.from != u32::MAX
    }

    /// Keeps these slots of a bucket in mind, which comes after the last one, if there
    /// was one.
    pub(crate) fn keep(&mut self, bucket: u32, slots: u16) {
        if !self.is_kept() {
            self.from = bucket;
        }
        self.slots.push(slots);
    }

    fn of(&self, bucket: u32) -> u16 {
        match bucket.checked_sub(self.from) {
            None => u16::MAX,
            Some(index) => self.slots.get(index as usize).copied().unwrap_or(0),
        }
    }
}

impl Inner {
    /// Whether this flow was shown of one of the tables before, which it has left
    /// since. What it left there stays as it was.
    pub(crate) fn was_shown<S: Slot>(
        &self,
        before: &[(Arc<Table<S>>, Shown)],
        row: &Row<S>,
    ) -> bool {
        if before.is_empty() {
            return false;
        }
        let (key, (_, start)) = (row.key(), row.life());
        before.iter().any(|(table, shown)| {
            let places = key.places(&self.seed, table.len());
            places.buckets.into_iter().any(|index| {
                let Some(bucket) = table.bucket(index) else {
                    return false;
                };
                let shown = u32::from(shown.of(index));
                Bits(bucket.tagged(places.tag) & shown).any(|slot| {
                    let left = bucket.remains::<S>(slot);
                    left.is(&key) && left.life().1 == start
                })
            })
        })
    }
}

impl<S: Slot> Pass<S> {
    fn new(first: Tables, of_family: fn(&Inner) -> &[Arc<Table<S>>]) -> Self {
        Self {
            first,
            of_family,
            more: Vec::new(),
            before: Vec::new(),
            shown: Shown::all(),
            bucket: 0,
            slots: 0,
            pending: None,
        }
    }

    /// All tables that it knows of.
    fn tables(&self) -> impl Iterator<Item = &Arc<Table<S>>> {
        (self.of_family)(&self.first.inner).iter().chain(&self.more)
    }

    /// Adds what is not among its tables yet; whether there was anything.
    fn add(&mut self, tables: &Inner) -> bool {
        let known = self.more.len();
        for table in (self.of_family)(tables) {
            if self.tables().all(|known| known.id != table.id) {
                self.more.push(Arc::clone(table));
            }
        }
        self.more.len() > known
    }

    /// Goes on to the next table, if there is one.
    fn next_table(&mut self) -> bool {
        let at = self.before.len();
        let Some(table) = self.tables().nth(at).map(Arc::clone) else {
            return false;
        };
        if self.tables().nth(at + 1).is_none() {
            return false;
        }
        let shown = mem::replace(&mut self.shown, Shown::all());
        self.before.push((table, shown));
        self.bucket = 0;
        true
    }

    /// The end of a bucket. What is shown is kept in mind from where flows may have
    /// moved, be it that they may have since the bucket was begun.
    #[inline]
    fn next_bucket(&mut self, inner: &Inner) {
        let is_last = || self.tables().nth(self.before.len() + 1).is_none();
        if self.shown.is_kept() || inner.is_outdated() || !is_last() {
            self.shown.keep(self.bucket, self.slots);
        }
        self.pending = None;
        self.slots = 0;
        self.bucket += 1;
    }

    /// The next flow; `None` at the end of the last table.
    #[inline]
    fn next(
        &mut self,
        inner: &Inner,
        asked: Asked<'_>,
        spot: &mut Option<Spot>,
    ) -> Option<Result<Flow>> {
        loop {
            let table = self.tables().nth(self.before.len())?;
            let Some(bucket) = table.bucket(self.bucket) else {
                if self.next_table() {
                    continue;
                }
                return None;
            };
            let mut pending = Bits(self.pending.unwrap_or_else(|| bucket.used()));
            while let Some(slot) = pending.next() {
                let place = Place {
                    bucket,
                    table: table.len(),
                    index: self.bucket,
                    slot,
                };
                let again = |row: &_| inner.was_shown(&self.before, row);
                let flow = inner.read::<S>(place, asked, again, spot);
                if flow.is_some() {
                    self.slots |= 1 << slot;
                    self.pending = Some(pending.0);
                    return flow;
                }
            }
            self.next_bucket(inner);
        }
    }
}

impl Walk {
    pub(crate) fn new(tables: Tables, filter: FlowFilter, clock: Clock) -> Self {
        Self {
            v4: Pass::new(tables.clone(), |inner| &inner.v4),
            v6: Pass::new(tables.clone(), |inner| &inner.v6),
            tables,
            renew: None,
            filter,
            beside: true,
            clock,
            family: Some(Family::Ipv4),
            spot: None,
        }
    }

    /// The same walk; what is still to come has to meet this filter instead.
    pub fn with_filter(self, filter: FlowFilter) -> Self {
        Self { filter, ..self }
    }

    /// The same walk; what is still to come has `health` and `fingerprint_ids` only if
    /// this is so.
    pub fn with_beside(self, beside: bool) -> Self {
        Self { beside, ..self }
    }

    /// The same walk, which asks at the end of a table for those that have taken its
    /// place by then, and goes on through them.
    pub fn renewed(
        self,
        renew: impl Fn() -> Result<Option<Tables>> + Send + Sync + 'static,
    ) -> Self {
        let renew = Some(Renew(Box::new(renew)));
        Self { renew, ..self }
    }

    /// The next flow, and where it is.
    pub(crate) fn next_found(&mut self) -> Option<Result<(Flow, Spot)>> {
        match self.next()? {
            Ok(flow) => Some(Ok((flow, self.spot?))),
            Err(error) => Some(Err(error)),
        }
    }

    /// At the end of what is known of a family: whether there is more by now.
    fn add_tables(&mut self, family: Family) -> Result<bool> {
        let Some(Renew(renew)) = self.renew.as_ref().filter(|_| self.tables.are_outdated()) else {
            return Ok(false);
        };
        let Some(tables) = renew()? else {
            return Ok(false);
        };
        self.tables = tables;
        // Of the other family, too: it is known once.
        let more4 = self.v4.add(&self.tables.inner);
        let more6 = self.v6.add(&self.tables.inner);
        Ok(match family {
            Family::Ipv4 => more4,
            Family::Ipv6 => more6,
        })
    }
}

impl FusedIterator for Walk {}

impl Iterator for Walk {
    type Item = Result<Flow>;

    #[inline]
    fn next(&mut self) -> Option<Result<Flow>> {
        loop {
            let family = self.family?;
            if self.filter.matches_family(family) {
                let (inner, spot) = (&*self.tables.inner, &mut self.spot);
                let asked = Asked {
                    filter: &self.filter,
                    clock: &self.clock,
                    beside: self.beside,
                };
                let flow = match family {
                    Family::Ipv4 => self.v4.next(inner, asked, spot),
                    Family::Ipv6 => self.v6.next(inner, asked, spot),
                };
                if flow.is_some() {
                    return flow;
                }
                match self.add_tables(family) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => {
                        self.family = None;
                        return Some(Err(error));
                    }
                }
            }
            self.family = match family {
                Family::Ipv4 => Some(Family::Ipv6),
                Family::Ipv6 => None,
            };
        }
    }
}
