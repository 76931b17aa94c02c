//! A data path with bans, packets through it, and what it says of each.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use conntrack_bpf::allow::Allow;
use conntrack_bpf::allow::AllowedBy;
use conntrack_bpf::bans::Bans;
use conntrack_bpf::bans::Unbanned;
use conntrack_bpf::bans::Walk;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::limits::Limits;
use conntrack_bpf::testrun;
use conntrack_core::Ban;
use conntrack_core::BanSpec;
use conntrack_core::Config;
use conntrack_core::Flow;
use conntrack_core::Threshold;
use ipnet::IpNet;
use nix::time::ClockId;
use nix::time::clock_gettime;

use super::Lab;
use super::SECOND;
use super::packet::ACK;
use super::packet::Packet;
use super::packet::SYN;
use super::packet::addr;
use super::packet::end;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_UNSPEC: u32 = u32::MAX;

/// Which program sees a packet.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Via {
    Xdp,
    TcIngress,
    TcEgress,
}

/// A data path whose time is that of the bans, and stands still.
pub(crate) struct Host {
    pub(crate) lab: Lab,
    /// Nanoseconds since the host was started.
    pub(crate) now: i64,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::at(&[Entry::Xdp], 1000)
    }

    /// With TC as well.
    pub(crate) fn with_tc() -> Self {
        Self::at(&Entry::ALL, 1000)
    }

    /// Room for so many bans.
    pub(crate) fn with_room(bans: u32) -> Self {
        Self::at(&[Entry::Xdp], bans)
    }

    fn at(entries: &[Entry], bans: u32) -> Self {
        Self::with(entries, |config| {
            (config.table.max_flows, config.table.max_flows_v6) = (1000, Some(1000));
            config.bans.max = bans;
        })
    }

    /// As configured.
    pub(crate) fn with(entries: &[Entry], change: impl FnOnce(&mut Config)) -> Self {
        let lab = Lab::at(entries, change);
        let mut host = Self { lab, now: 0 };
        host.catch_up();
        host
    }

    /// It is now for packets, too.
    pub(crate) fn catch_up(&mut self) {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("a clock");
        self.now = now.tv_sec() * SECOND + now.tv_nsec();
    }

    /// Lets time go by for packets.
    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now += seconds * SECOND;
    }

    pub(crate) fn ban(&self, spec: BanSpec) -> Ban {
        self.bans().put(&spec).expect("ban")
    }

    /// Bans as a text says, for ever.
    pub(crate) fn ban_text(&self, text: &str) -> Ban {
        self.ban(spec(text))
    }

    pub(crate) fn unban(&self, net: &str) -> Unbanned {
        let net: IpNet = net.parse().expect(net);
        self.bans().remove(net, None).expect("unban")
    }

    pub(crate) fn bans(&self) -> Bans<'_> {
        Bans::of(&self.lab.datapath.maps).expect("bans")
    }

    pub(crate) fn allow(&self, net: &str) -> bool {
        let net = net.parse().expect(net);
        self.allowed().put(net, AllowedBy::List).expect("allow")
    }

    pub(crate) fn allowed(&self) -> Allow<'_> {
        Allow::of(&self.lab.datapath.maps).expect("what is allowed")
    }

    /// All bans, sorted by target.
    pub(crate) fn all(&self) -> Vec<Ban> {
        let walk = Walk::new(&self.lab.datapath.maps).expect("walk");
        let mut all: Vec<_> = walk.map(|ban| ban.expect("a ban")).collect();
        all.sort_by_key(|ban| ban.target);
        all
    }

    /// The ban of a target.
    pub(crate) fn banned(&self, target: &str) -> Ban {
        let mut all = self.all().into_iter();
        let found = all.find(|ban| ban.target.to_string() == target);
        found.unwrap_or_else(|| panic!("{target} is not banned"))
    }

    fn program(&self, via: Via) -> BorrowedFd<'_> {
        self.lab.program(match via {
            Via::Xdp => Entry::Xdp,
            Via::TcIngress => Entry::TcIngress,
            Via::TcEgress => Entry::TcEgress,
        })
    }

    /// Whether a frame is dropped.
    pub(crate) fn drops_frame(&mut self, via: Via, frame: &[u8]) -> bool {
        let len = u32::try_from(frame.len()).expect("a frame");
        self.lab.replayer.set(self.now, len);
        let verdict = testrun::run(self.program(via), frame).expect("test run");
        match (via, verdict) {
            (Via::Xdp, XDP_DROP) | (Via::TcIngress | Via::TcEgress, TC_ACT_SHOT) => true,
            (Via::Xdp, XDP_PASS) | (Via::TcIngress | Via::TcEgress, TC_ACT_UNSPEC) => false,
            _ => panic!("{via:?} returned {verdict}"),
        }
    }

    pub(crate) fn drops_via(&mut self, via: Via, packet: &Packet) -> bool {
        self.drops_frame(via, &packet.frame())
    }

    /// Whether a packet that comes in is dropped.
    pub(crate) fn drops(&mut self, packet: &Packet) -> bool {
        self.drops_via(Via::Xdp, packet)
    }

    /// The flows there are, by now.
    pub(crate) fn flows(&self) -> Vec<Flow> {
        self.lab.flows_at(self.now)
    }

    pub(crate) fn limits(&self) -> Limits<'_> {
        Limits::of(&self.lab.datapath.maps).expect("limits")
    }

    /// Puts limits in force, as settings say.
    pub(crate) fn limit(&self, settings: &[(&str, &str)]) {
        let mut threshold = Threshold::default();
        for (key, value) in settings {
            threshold.set(key, value).expect("a setting");
        }
        self.limits().set(Some(&threshold)).expect("limit");
    }

    /// Packets that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.lab.counters().drops["ban"]
    }
}

/// The addresses that tests about limits have for this host.
pub(crate) const US: &str = "10.0.0.1:80";

/// A SYN to this host.
pub(crate) fn syn(source: &str, port: u16) -> Packet {
    syn_to(source, port, US)
}

/// A SYN to an end.
pub(crate) fn syn_to(source: &str, port: u16, dst: &str) -> Packet {
    let source = SocketAddr::new(addr(source), port);
    Packet::tcp(source, end(dst)).flags(SYN).seq(99).ack(0)
}

/// Sends so many SYNs from ports of their own at this moment; how many pass.
pub(crate) fn begin(host: &mut Host, source: &str, first: u16, count: u16) -> u16 {
    (0..count)
        .map(|n| u16::from(!host.drops(&syn(source, first + n))))
        .sum()
}

/// A handshake of a client with us, each packet at this moment; whether all passed. The
/// host has TC.
pub(crate) fn shake(host: &mut Host, source: &str, port: u16) -> bool {
    let [first, answer, last] = handshake(source, port);
    // All of it, also where a packet is dropped: whoever floods does not wait.
    let dropped = [
        host.drops(&first),
        host.drops_via(Via::TcEgress, &answer),
        host.drops(&last),
    ];
    dropped == [false; 3]
}

/// The three packets of a handshake.
pub(crate) fn handshake(source: &str, port: u16) -> [Packet; 3] {
    let (client, us) = (SocketAddr::new(addr(source), port), end(US));
    let answer = Packet::tcp(us, client).flags(SYN | ACK).seq(499).ack(100);
    let last = Packet::tcp(client, us).seq(100).ack(500);
    [syn(source, port), answer, last]
}

/// A wish of a text, for ever.
pub(crate) fn spec(text: &str) -> BanSpec {
    text.parse().expect(text)
}

/// A SYN whose source, and its port, are written over.
pub(crate) struct Spoofed(Vec<u8>);

impl Spoofed {
    const SOURCE: usize = 14 + 12;
    const PORT: usize = 14 + 20;

    pub(crate) fn new() -> Self {
        let packet = Packet::tcp(end("0.0.0.0:1"), end("10.0.0.1:80"));
        Self(packet.flags(SYN).seq(99).ack(0).frame())
    }

    pub(crate) fn of(&mut self, source: u32, port: u16) -> &[u8] {
        self.0[Self::SOURCE..][..4].copy_from_slice(&source.to_be_bytes());
        self.0[Self::PORT..][..2].copy_from_slice(&port.to_be_bytes());
        &self.0
    }
}
