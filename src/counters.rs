//! The counters of a tracker.

use conntrack_bpf::Clock;
use conntrack_bpf::counters;
use conntrack_bpf::icmp;
use conntrack_bpf::names::Names;
use conntrack_bpf::services;
use conntrack_bpf::sweep;
use conntrack_bpf::table::Tables;
use conntrack_core::Counters;
use conntrack_core::HealthConfig;
use conntrack_core::HealthStats;
use conntrack_core::stats::InterfaceCounts;

use crate::Result;
use crate::Tracker;

impl Tracker {
    /// What was counted since the tracker was set up, and how many flows of
    /// which kind there are now. [`Stats::from_counters`] makes rates of two
    /// readings.
    ///
    /// Packets go on meanwhile: each count is true, their sum may be off by what
    /// came in between.
    ///
    /// [`Stats::from_counters`]: crate::Stats::from_counters
    ///
    /// # Errors
    /// What the kernel says to reading the maps, or /proc is not mounted.
    pub fn stats(&self) -> Result<Counters> {
        let instance = self.instance();
        let datapath = instance.datapath_to_read()?;
        let meter = self.reader().meter(&datapath)?;
        let records = instance.records()?;
        let mut names = Names::of(instance)?;
        let interfaces = meter.interfaces().into_iter().map(|counts| {
            let record = records.iter().find(|it| it.ifindex == counts.ifindex);
            let name = names.get(counts.ifindex);
            InterfaceCounts {
                name: name.map_or_else(|| counts.ifindex.to_string(), |name| name.to_string()),
                hooks: record.map(|record| record.hooks).unwrap_or_default(),
                packets: counts.packets,
                bytes: counts.bytes,
            }
        });
        let (sweep, pressure) = match sweep::read(&datapath)? {
            Some((stats, levels)) => (Some(stats), levels),
            None => (None, Default::default()),
        };
        let count = |tables: &Tables| Ok(tables.count(&Clock::live()?));
        let flows = self.reader().whole(instance, count)?;
        Ok(Counters {
            sweep,
            pressure,
            interfaces: interfaces.collect(),
            flows,
            icmp: icmp::counts(&datapath.maps)?,
            memory_bytes: counters::memory_bytes(&datapath.maps)?,
            ..meter.read()
        })
    }

    /// How TCP connections are doing, by service and by interface: sums since the tracker
    /// was set up.
    ///
    /// # Errors
    /// What the kernel says to reading the maps, or /proc is not mounted.
    pub fn health(&self) -> Result<HealthStats> {
        let instance = self.instance();
        let datapath = instance.datapath_to_read()?;
        let mut names = Names::of(instance)?;
        services::read(&datapath, |ifindex| {
            let name = names.get(ifindex);
            name.map_or_else(|| ifindex.to_string(), |name| name.to_string())
        })
    }

    /// What is measured of TCP connections, which was fixed when the tracker was set up,
    /// and how many of them there is room for.
    pub fn health_config(&self) -> HealthConfig {
        self.instance().health_config()
    }
}
