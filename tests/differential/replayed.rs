//! The packet path without a network, under a clock of our own, and the
//! reference beside it. Each of the three entries takes the same frames.

use std::os::fd::AsFd;

use conntrack_bpf::Clock;
use conntrack_bpf::counters::Meter;
use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::datapath::LoadOptions;
use conntrack_bpf::table::Tables;
use conntrack_bpf::testrun;
use conntrack_bpf::testrun::Replayer;
use conntrack_core::Config;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::reference::Tracker;
use conntrack_core::stats::CtState;

use crate::compare;
use crate::compare::Memory;
use crate::ours::counted;
use crate::script::Scenario;
use crate::script::Step;
use crate::view::Class;
use crate::view::Table;
use crate::view::table;

/// Nanoseconds between two packets.
const STEP: i64 = 5_000_000;

/// Where frames come in, to TC; no interface of the tracker's.
const INTERFACE: u32 = 77;

/// Longer than any flow lives.
const AGES: i64 = 500_000_000_000_000;

/// Where a frame comes in.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Hook {
    Xdp,
    TcIngress,
    TcEgress,
}

impl Hook {
    pub(crate) const ALL: [Self; 3] = [Self::Xdp, Self::TcIngress, Self::TcEgress];
}

/// Both, at one time.
pub(crate) struct Replayed {
    hook: Hook,
    tables: Tables,
    meter: Meter,
    last: CtState,
    replayer: Replayer,
    reference: Tracker,
    now: i64,
    datapath: Datapath,
}

/// What came of playing some scenarios.
#[derive(Default)]
pub(crate) struct Played {
    pub(crate) scenarios: usize,
    pub(crate) steps: usize,
    pub(crate) lines: Vec<String>,
}

impl Played {
    /// Adds another run's.
    pub(crate) fn add(&mut self, other: Self) {
        self.scenarios += other.scenarios;
        self.steps += other.steps;
        self.lines.extend(other.lines);
    }
}

impl Replayed {
    /// Loads the programs under these settings.
    pub(crate) fn new(config: &Config) -> Self {
        let options = LoadOptions::new(config).replay();
        let datapath = Datapath::load(&options).expect("load the data path");
        let meter = Meter::map(&datapath).expect("map the counters");
        Self {
            hook: Hook::Xdp,
            tables: Tables::map(&datapath).expect("map the tables"),
            last: meter.read().ct_state,
            meter,
            replayer: Replayer::new(&datapath).expect("map the clock"),
            reference: Tracker::new(config.conntrack),
            now: AGES,
            datapath,
        }
    }

    /// From now on frames come in there.
    pub(crate) fn go_to(&mut self, hook: Hook) {
        self.hook = hook;
    }

    /// Plays a scenario when all flows of those before it are gone.
    pub(crate) fn play(&mut self, label: &str, scenario: &Scenario, played: &mut Played) {
        self.now += AGES;
        played.scenarios += 1;
        let mut memory = Memory::default();
        for (number, step) in scenario.steps.iter().enumerate() {
            if crate::is_traced() {
                println!("{} step {}: {step:?}", scenario.name, number + 1);
            }
            let (classes, what) = match step {
                Step::Send(end, frames, what) => (self.send(frames), format!("{end:?}: {what}")),
                Step::Wait(time) => {
                    self.now += time.as_nanos() as i64;
                    continue;
                }
            };
            played.steps += 1;
            let (reference, ours) = self.tables();
            let classes = Some((classes.0.as_slice(), classes.1.as_slice()));
            let found = compare::step(&reference, &ours, 0, classes, &mut memory);
            for difference in found {
                played.lines.push(format!(
                    "{label} {} step {} ({what})\n    {}: {}",
                    scenario.name,
                    number + 1,
                    difference.field.name(),
                    difference.text
                ));
            }
        }
    }

    fn send(&mut self, frames: &[Vec<u8>]) -> (Vec<Class>, Vec<Class>) {
        let program = self.datapath.programs.entry(match self.hook {
            Hook::Xdp => Entry::Xdp,
            Hook::TcIngress => Entry::TcIngress,
            Hook::TcEgress => Entry::TcEgress,
        });
        let program = program.expect("it is loaded");
        let mut classes = Vec::new();
        for frame in frames {
            self.now += STEP;
            let class = self.reference.packet(self.now as u64, &frame[14..]);
            classes.extend(class.map(Class::from));
            self.replayer.set(self.now, frame.len() as u32);
            let ran = match self.hook {
                Hook::Xdp => testrun::run(program.as_fd(), frame),
                _ => testrun::run_received(program.as_fd(), frame, INTERFACE),
            };
            ran.expect("hand over a frame");
        }
        let now = self.meter.read().ct_state;
        let ours = counted(&self.last, &now);
        self.last = now;
        (classes, ours)
    }

    fn tables(&self) -> (Table, Table) {
        let clock = Clock::stopped(self.now);
        let walk = self.tables.walk(FlowFilter::default(), clock);
        let ours: Vec<Flow> = walk.map(|flow| flow.expect("read a flow")).collect();
        let flows = self.reference.flows(self.now as u64);
        (table(&flows), table(&ours))
    }
}
