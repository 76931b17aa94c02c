//! What the tests of the data path share.

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod banned;
pub(crate) mod cpus;
pub(crate) mod packet;

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use conntrack_bpf::Clock;
use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::datapath::LoadOptions;
use conntrack_bpf::table::Tables;
use conntrack_bpf::testrun;
use conntrack_bpf::testrun::Replayer;
use conntrack_core::Config;
use conntrack_core::Counters;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::FlowKey;

use packet::Packet;

pub(crate) const SECOND: i64 = 1_000_000_000;

/// When the packets of tests come, unless they say otherwise: 2026-11-20.
pub(crate) const TIME: i64 = 1_795_197_157 * SECOND;

/// Are we in a guest of `make test-kernels`? There a processor is emulated.
pub(crate) fn in_kernel_matrix() -> bool {
    std::env::var_os("CONNTRACK_TEST_KERNEL_MATRIX").is_some()
}

/// A data path of our own, without a network: packets go in by test run, at
/// the time we say.
pub(crate) struct Lab {
    pub(crate) datapath: Datapath,
    pub(crate) replayer: Replayer,
    pub(crate) tables: Tables,
    pub(crate) meter: conntrack_bpf::counters::Meter,
}

impl Lab {
    /// Tables for this many flows each.
    pub(crate) fn new(max_flows: u32) -> Self {
        Self::with(|config| {
            config.table.max_flows = max_flows;
            config.table.max_flows_v6 = Some(max_flows);
        })
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::at(&[Entry::Xdp], change)
    }

    /// The same with programs for these entries.
    pub(crate) fn at(entries: &[Entry], change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let options = LoadOptions::new(&config).replay().entries(entries);
        let datapath = Datapath::load(&options).expect("load");
        Self {
            replayer: Replayer::new(&datapath).expect("replayer"),
            tables: Tables::map(&datapath).expect("map the tables"),
            meter: conntrack_bpf::counters::Meter::map(&datapath).expect("map the counters"),
            datapath,
        }
    }

    /// Sends a packet at a time.
    pub(crate) fn send_at(&mut self, epoch: i64, packet: &Packet) {
        let frame = packet.frame();
        let len = u32::try_from(frame.len()).expect("a frame");
        self.replayer.packet(epoch, &frame, len).expect("test run");
    }

    /// Sends a packet at [`TIME`].
    pub(crate) fn send(&mut self, packet: &Packet) {
        self.send_at(TIME, packet);
    }

    /// Runs the program on a frame of at most 2 KiB; time and length stay as
    /// they were last set. For threads that send at once.
    pub(crate) fn run(&self, frame: &[u8]) {
        testrun::run(self.program(Entry::Xdp), frame).expect("test run");
    }

    /// The program of an entry.
    pub(crate) fn program(&self, entry: Entry) -> BorrowedFd<'_> {
        let program = self.datapath.programs.entry(entry);
        program.expect("it is loaded").as_fd()
    }

    /// The flows at a time.
    pub(crate) fn flows_at(&self, epoch: i64) -> Vec<Flow> {
        let walk = self
            .tables
            .walk(FlowFilter::default(), Clock::stopped(epoch));
        walk.map(|flow| flow.expect("a flow")).collect()
    }

    /// The flows at [`TIME`].
    pub(crate) fn flows(&self) -> Vec<Flow> {
        self.flows_at(TIME)
    }

    /// The flow with this name at [`TIME`].
    pub(crate) fn flow(&self, name: &FlowKey) -> Option<Flow> {
        let found = self.tables.find(name, &Clock::stopped(TIME));
        found.expect("a sound slot")
    }

    /// The counters of packets and slots.
    pub(crate) fn counters(&self) -> Counters {
        self.meter.read()
    }
}
