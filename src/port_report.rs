//! Who reaches which port.

use std::time::Duration;

use conntrack_bpf::Clock;
use conntrack_bpf::names::Names;
use conntrack_bpf::ports::Own;
use conntrack_bpf::ports::Reading;
use conntrack_core::ports::PortDst;
use conntrack_core::ports::PortQuery;
use conntrack_core::ports::PortSource;
use conntrack_core::ports::Ports;

use crate::Result;
use crate::Tracker;

impl Tracker {
    /// How many source addresses have reached which port with new connections within a
    /// window up to now, by family and protocol (TCP and UDP). From the first connection on:
    /// a window that is longer than the tracker has run is all of that.
    ///
    /// Up to `ports.per_port` sources of a port the count is exact; beyond it, it is an
    /// estimate, and the row says so. See [`Tracker::ports_of`] for conditions.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), conntrack::Error> {
    /// let tracker = conntrack::Tracker::open("default")?;
    /// for row in tracker.ports(Duration::from_secs(60))? {
    ///     println!("{} {}: {}", row.name.protocol, row.name.port, row.sources);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Unsupported` if the tracker does not keep ports; what the kernel says to reading
    /// the maps; `NotFound` if its network namespace is gone.
    pub fn ports(&self, window: Duration) -> Result<Ports> {
        self.ports_of(&PortQuery::new(window))
    }

    /// The same of some ports: see [`PortQuery`].
    ///
    /// # Errors
    /// As [`Tracker::ports`].
    pub fn ports_of(&self, query: &PortQuery) -> Result<Ports> {
        let datapath = self.instance().datapath_to_read()?;
        let own = self.own_for(query)?;
        Reading::new(&datapath, query, &own, Clock::live()?)?.rows()
    }

    /// Who has reached these ports, one by one, sorted by port, the latest first: as far as
    /// they were entered so; of a port whose count is estimated these are some of them.
    ///
    /// # Errors
    /// As [`Tracker::ports`].
    pub fn port_sources(&self, query: &PortQuery) -> Result<Vec<PortSource>> {
        let instance = self.instance();
        let datapath = instance.datapath_to_read()?;
        let own = self.own_for(query)?;
        let mut names = Names::of(instance)?;
        let mut sources = Reading::new(&datapath, query, &own, Clock::live()?)?.sources()?;
        for source in &mut sources {
            source.interface = names.get(source.ifindex);
        }
        Ok(sources)
    }

    /// This host's addresses, if they are asked for.
    fn own_for(&self, query: &PortQuery) -> Result<Own> {
        if query.with_local && query.dst != PortDst::Local {
            return Ok(Own::new());
        }
        Ok(self.instance().addresses()?.into_iter().collect())
    }
}
