//! Our side: the tracker on both of the router's interfaces.

use std::os::fd::AsFd;

use conntrack_bpf::Clock;
use conntrack_bpf::counters::Meter;
use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::datapath::LoadOptions;
use conntrack_bpf::table::Tables;
use conntrack_core::Config;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::stats::ClassCounts;
use conntrack_core::stats::CtState;

use crate::lab::Lab;
use crate::lab::in_netns;
use crate::view::Class;

/// A tracker, and what its counters said last.
pub(crate) struct Ours {
    tables: Tables,
    meter: Meter,
    last: CtState,
    _datapath: Datapath,
}

impl Ours {
    /// Loads it and attaches it to the router's interfaces.
    pub(crate) fn new(lab: &Lab, config: &Config) -> Self {
        let options = LoadOptions::new(config).entries(&[Entry::Xdp]);
        let datapath = Datapath::load(&options).expect("load the data path");
        let program = datapath.programs.entry(Entry::Xdp).expect("it is loaded");
        in_netns(lab.router(), || {
            for device in ["r0", "r1"] {
                let index = nix::net::if_::if_nametoindex(device).expect("find the device");
                libbpf_rs::Xdp::new(program.as_fd())
                    .attach(index as i32, libbpf_rs::XdpFlags::DRV_MODE)
                    .expect("attach to the device");
            }
        });
        let meter = Meter::map(&datapath).expect("map the counters");
        Self {
            tables: Tables::map(&datapath).expect("map the tables"),
            last: meter.read().ct_state,
            meter,
            _datapath: datapath,
        }
    }

    /// Classes of the packets since the last call, in no order. One of them is
    /// the marker, a NEW.
    pub(crate) fn classes(&mut self) -> Vec<Class> {
        let now = self.meter.read().ct_state;
        let mut classes = counted(&self.last, &now);
        self.last = now;
        let marker = classes.iter().position(|class| *class == Class::New);
        let marker = marker.unwrap_or_else(|| {
            panic!("the marker was not counted as new: {:?}", self.meter.read())
        });
        classes.remove(marker);
        classes
    }

    /// All flows.
    pub(crate) fn flows(&self) -> Vec<Flow> {
        let clock = Clock::live().expect("read the clock");
        let walk = self.tables.walk(FlowFilter::default(), clock);
        walk.map(|flow| flow.expect("read a flow")).collect()
    }
}

/// The classes of the packets between two readings of the counters.
pub(crate) fn counted(last: &CtState, now: &CtState) -> Vec<Class> {
    let mut classes = Vec::new();
    for (reply, now, last) in [
        (false, now.original, last.original),
        (true, now.reply, last.reply),
    ] {
        let mut add = |class, of: fn(&ClassCounts) -> u64| {
            classes.extend((of(&last)..of(&now)).map(|_| class));
        };
        add(Class::New, |counts| counts.new);
        add(Class::Established(reply), |counts| counts.established);
        add(Class::Related(reply), |counts| counts.related);
        add(Class::Invalid, |counts| counts.invalid);
        add(Class::Untracked, |counts| counts.untracked);
    }
    classes
}
