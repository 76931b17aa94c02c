//! A capture through the packet path, at the capture's time.

use conntrack_bpf::Clock;
use conntrack_bpf::counters;
use conntrack_bpf::counters::Meter;
use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::datapath::LoadOptions;
use conntrack_bpf::prints::Signatures;
use conntrack_bpf::prints::Sources;
use conntrack_bpf::table::Tables;
use conntrack_bpf::testrun::Replayer;
use conntrack_core::Config;
use conntrack_core::Counters;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::FlowKey;

use crate::FingerprintNames;
use crate::FingerprintSources;
use crate::Fingerprints;
use crate::Flows;
use crate::Result;
use crate::flows::name_interface;

/// A private tracker that sees no interface: packets are handed to it, each with
/// the time it was captured at, and go through the very program that sees them
/// live.
///
/// What it says of flows is as of its latest packet: those whose time was up by
/// then are gone, and what is left of the others' lives is counted from there.
///
/// ```no_run
/// use conntrack::{Config, Replay};
///
/// # fn main() -> Result<(), conntrack::Error> {
/// # let capture: Vec<(i64, Vec<u8>, u32)> = Vec::new();
/// let mut replay = Replay::new(Config::default())?;
/// for (time_ns, frame, wire_len) in capture {
///     replay.packet(time_ns, &frame, wire_len)?;
/// }
/// for flow in replay.flows() {
///     println!("{}", flow?);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Replay {
    datapath: Datapath,
    replayer: Replayer,
    tables: Tables,
    meter: Meter,
    latest: i64,
}

impl Replay {
    /// A tracker with the sizes and settings of a configuration; its interfaces
    /// and instance name are ignored.
    ///
    /// # Errors
    /// `Invalid` for a configuration that makes no sense, `NotPermitted` without
    /// the privileges to load programs, `Unsupported` if this kernel refuses
    /// them.
    pub fn new(config: Config) -> Result<Self> {
        config.validate()?;
        let options = LoadOptions::new(&config).replay().every_print();
        let options = options.entries(&[Entry::Xdp]);
        let datapath = Datapath::load(&options)?;
        Ok(Self {
            replayer: Replayer::new(&datapath)?,
            tables: Tables::map(&datapath)?,
            meter: Meter::map(&datapath)?,
            datapath,
            latest: i64::MIN,
        })
    }

    /// Sends a packet, an Ethernet frame captured at `time_ns` nanoseconds since
    /// the Unix epoch. It may have been cut when it was captured: `wire_len` is
    /// its length on the wire in bytes, Ethernet header included.
    ///
    /// # Errors
    /// What the kernel says, such as `NotPermitted`.
    pub fn packet(&mut self, time_ns: i64, frame: &[u8], wire_len: u32) -> Result<()> {
        self.replayer.packet(time_ns, frame, wire_len)?;
        // Captures of several interfaces are not always in order.
        self.latest = self.latest.max(time_ns);
        Ok(())
    }

    /// Every flow there is, in no order; see
    /// [`Tracker::flows`](crate::Tracker::flows). They have no interface.
    pub fn flows(&self) -> Flows {
        let walk = self.tables.walk(FlowFilter::default(), self.clock());
        Flows::new(Ok((walk, None)))
    }

    /// One flow by its name; see [`Tracker::flow`](crate::Tracker::flow).
    ///
    /// # Errors
    /// `Other` if the row makes no sense.
    pub fn flow(&self, name: &FlowKey) -> Result<Option<Flow>> {
        let mut found = self.tables.find(name, &self.clock())?;
        if let Some(flow) = &mut found {
            name_interface(flow, None);
        }
        Ok(found)
    }

    /// The TCP signatures that were seen; see
    /// [`Tracker::fingerprints`](crate::Tracker::fingerprints).
    pub fn fingerprints(&self) -> Fingerprints {
        Fingerprints::new(Ok(Signatures::new(&self.datapath.maps, self.clock())))
    }

    /// What the ids of flows stand for; see
    /// [`Tracker::fingerprint_names`](crate::Tracker::fingerprint_names).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn fingerprint_names(&self) -> Result<FingerprintNames> {
        FingerprintNames::of(self.fingerprints())
    }

    /// The last signature of each source; see
    /// [`Tracker::fingerprint_sources`](crate::Tracker::fingerprint_sources).
    pub fn fingerprint_sources(&self) -> FingerprintSources {
        FingerprintSources::new(Ok(Sources::new(&self.datapath.maps, self.clock())))
    }

    /// What was counted; see [`Tracker::stats`](crate::Tracker::stats).
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn counters(&self) -> Result<Counters> {
        Ok(Counters {
            flows: self.tables.count(&self.clock()),
            memory_bytes: counters::memory_bytes(&self.datapath.maps)?,
            ..self.meter.read()
        })
    }

    fn clock(&self) -> Clock {
        Clock::stopped(self.latest)
    }
}
