//! A data path, packets into it, and what it has recorded of them.

use std::net::IpAddr;

use conntrack_bpf::Clock;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::prints;
use conntrack_bpf::prints::Signatures;
use conntrack_bpf::prints::Sources;
use conntrack_bpf::testrun;
use conntrack_core::Config;
use conntrack_core::Fingerprint;
use conntrack_core::SourceFingerprint;
use conntrack_core::p0f::Kind;

use crate::common::Lab;
use crate::common::SECOND;
use crate::common::TIME;
use crate::shape::Shape;

/// Between packets, so that each may be new.
const STEP: i64 = SECOND / 200;

pub(crate) struct Place {
    pub(crate) lab: Lab,
    pub(crate) now: i64,
}

impl Place {
    pub(crate) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let lab = Lab::at(&[Entry::Xdp, Entry::TcIngress], |config| {
            config.table.max_flows = 10_000;
            change(config);
        });
        Self { lab, now: TIME }
    }

    /// Sends a packet by XDP, some time after the last.
    pub(crate) fn send(&mut self, shape: &Shape) {
        self.now += STEP;
        self.send_now(shape);
    }

    /// The same at the time of the last.
    pub(crate) fn send_now(&mut self, shape: &Shape) {
        let frame = frame(shape);
        let length = u32::try_from(frame.len()).unwrap();
        self.lab.replayer.packet(self.now, &frame, length).unwrap();
    }

    /// Sends a packet by TC, some time after the last.
    pub(crate) fn send_by_tc(&mut self, shape: &Shape) {
        self.now += STEP;
        let frame = frame(shape);
        self.lab.replayer.set(self.now, frame.len() as u32);
        testrun::run(self.lab.program(Entry::TcIngress), &frame).unwrap();
    }

    fn clock(&self) -> Clock {
        Clock::stopped(self.now)
    }

    /// The last record of whoever sends a packet like this.
    pub(crate) fn of(&self, shape: &Shape, kind: Kind) -> Option<SourceFingerprint> {
        prints::find(&self.lab.datapath.maps, source(shape), kind, &self.clock()).unwrap()
    }

    pub(crate) fn signatures(&self) -> Vec<Fingerprint> {
        let all = Signatures::new(&self.lab.datapath.maps, self.clock());
        all.map(Result::unwrap).collect()
    }

    pub(crate) fn sources(&self) -> Vec<SourceFingerprint> {
        let all = Sources::new(&self.lab.datapath.maps, self.clock());
        all.map(Result::unwrap).collect()
    }
}

pub(crate) fn frame(shape: &Shape) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    let kind: u16 = if shape.v6 { 0x86dd } else { 0x0800 };
    frame.extend(kind.to_be_bytes());
    frame.extend(shape.bytes());
    frame
}

pub(crate) fn source(shape: &Shape) -> IpAddr {
    let packet = shape.bytes();
    if shape.v6 {
        let bytes: [u8; 16] = packet[8..24].try_into().unwrap();
        bytes.into()
    } else {
        let bytes: [u8; 4] = packet[12..16].try_into().unwrap();
        bytes.into()
    }
}
