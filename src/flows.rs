//! The flows of a tracker: all of them, or one by its name.

use std::iter::FusedIterator;

use conntrack_bpf::Clock;
use conntrack_bpf::names::Names;
use conntrack_bpf::table::Tables;
use conntrack_bpf::table::Walk;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::FlowKey;

use crate::Error;
use crate::Result;
use crate::Tracker;

/// Flows, one after the other, as they are in the table at that moment; see
/// [`Tracker::flows`].
///
/// Each item may be an error: the first one if the table cannot be read at all,
/// any if a row makes no sense, in which case the next one may still be fine.
///
/// It holds on to the table, so it may outlive the tracker. It takes no memory
/// that grows with the number of flows.
#[derive(Debug)]
#[must_use = "flows are read as they are asked for"]
pub struct Flows {
    walk: Option<Walk>,
    /// `None`: the flows were seen on no interface.
    names: Option<Names>,
    failure: Option<Error>,
}

impl Flows {
    /// The flows of a walk, or the reason why there is none.
    pub(crate) fn new(made: Result<(Walk, Option<Names>)>) -> Self {
        match made {
            Ok((walk, names)) => Self {
                walk: Some(walk),
                names,
                failure: None,
            },
            Err(error) => Self {
                walk: None,
                names: None,
                failure: Some(error),
            },
        }
    }

    /// Only those that meet all conditions of the filter, which takes the place
    /// of an earlier one. Most conditions are looked at before a row is decoded.
    ///
    /// ```no_run
    /// use conntrack::{FlowFilter, Protocol, Tracker};
    ///
    /// # fn main() -> Result<(), conntrack::Error> {
    /// let tracker = Tracker::open("default")?;
    /// let filter = FlowFilter {
    ///     protocol: Some(Protocol::TCP),
    ///     dport: Some(443.into()),
    ///     ..FlowFilter::default()
    /// };
    /// for flow in tracker.flows().filter_flows(filter) {
    ///     println!("{}", flow?);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn filter_flows(mut self, filter: FlowFilter) -> Self {
        self.walk = self.walk.map(|walk| walk.with_filter(filter));
        self
    }

    /// Whether they come with what is known of a connection of TCP beside its slot in the
    /// table: [`Flow::health`] and [`Flow::fingerprint_ids`]. They do unless this says no,
    /// which leaves both empty and takes less time, since each such flow has 192 bytes
    /// there.
    pub fn with_health(mut self, health: bool) -> Self {
        self.walk = self.walk.map(|walk| walk.with_beside(health));
        self
    }
}

impl Iterator for Flows {
    type Item = Result<Flow>;

    fn next(&mut self) -> Option<Result<Flow>> {
        if let Some(error) = self.failure.take() {
            return Some(Err(error));
        }
        let mut flow = self.walk.as_mut()?.next()?;
        if let Ok(flow) = &mut flow {
            name_interface(flow, self.names.as_mut());
        }
        Some(flow)
    }
}

impl FusedIterator for Flows {}

/// Fills in the interface's name, or takes away the index of the device that
/// packets without an interface are lent.
pub(crate) fn name_interface(flow: &mut Flow, names: Option<&mut Names>) {
    match names {
        Some(names) => flow.interface = names.get(flow.ifindex),
        None => flow.ifindex = 0,
    }
}

impl Tracker {
    /// Every flow there is, in no order, read one by one while packets go on.
    /// It is no snapshot: flows may come and go meanwhile, but one that is there
    /// all the time comes exactly once. A flow whose time is up does not come.
    ///
    /// An error in reading is an item of the iteration.
    pub fn flows(&self) -> Flows {
        let made = || {
            let tables = self.reader().tables(self.instance())?;
            let walk = tables.walk(FlowFilter::default(), Clock::live()?);
            let instance = self.weak_instance();
            let renew = move || instance.upgrade().map(|it| it.tables_to_read()).transpose();
            let walk = walk.renewed(renew);
            Ok((walk, Some(Names::of(self.instance())?)))
        };
        Flows::new(made())
    }

    /// One flow by its name, whoever opened it; `None` if there is none, or its
    /// time is up. It does not look through the table.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tracker = conntrack::Tracker::open("default")?;
    /// let name = "tcp 10.0.0.1:40000 10.0.0.2:80".parse()?;
    /// if let Some(flow) = tracker.flow(&name)? {
    ///     println!("{} packets", flow.packets());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What the kernel says to reading the table; `Other` if the row makes no
    /// sense.
    pub fn flow(&self, name: &FlowKey) -> Result<Option<Flow>> {
        let clock = Clock::live()?;
        let find = |tables: &Tables| tables.find(name, &clock);
        let mut found = self.reader().whole(self.instance(), find)?;
        if let Some(flow) = &mut found {
            name_interface(flow, Some(&mut Names::of(self.instance())?));
        }
        Ok(found)
    }
}
