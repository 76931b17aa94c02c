//! Packets that end too early, at every byte of every header: they pass, are
//! counted by their reason, and make no flow that is not true.

mod common;

use std::net::SocketAddr;
use std::os::fd::AsFd;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_bpf::counters::Meter;
use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::datapath::LoadOptions;
use conntrack_bpf::table::Tables;
use conntrack_bpf::testrun;
use conntrack_core::Config;
use conntrack_core::Counters;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;

const XDP_PASS: u32 = 2;
const TC_ACT_UNSPEC: u32 = u32::MAX;

/// MSS, SACK permitted, timestamps, window scale 7.
const OPTIONS: [u8; 20] = [
    2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
];

/// In the names of those whose last extension header is an AH.
const AH: &str = " (AH)";

/// A frame.
#[derive(Clone)]
struct Case {
    name: String,
    frame: Vec<u8>,
    /// Where IP begins in it, and what is in IP.
    ip: usize,
    inside: usize,
    /// How much of that a flow cannot do without: of the packet, and of what is
    /// seen of it.
    needs: [usize; 2],
    /// The packet that it is an error about.
    about: Option<Vec<u8>>,
}

impl Case {
    /// Bytes of its last extension header that need not be there: of 8, or 16 of an AH, two
    /// are enough, as they are for nf_conntrack, but of a fragment's.
    fn spare(&self) -> usize {
        let fragment = format!("extension {FRAGMENT},");
        match &self.name {
            name if name.contains(AH) => 14,
            name if name.contains("extension ") && !name.contains(&fragment) => 6,
            _ => 0,
        }
    }

    fn new(name: String, packet: &Packet, needs: [usize; 2], about: Option<&Packet>) -> Self {
        let (frame, ip) = (packet.frame(), packet.ip_packet());
        Self {
            name,
            ip: frame.len() - ip.len(),
            inside: frame.len() - packet.layer4_len(),
            frame,
            needs,
            about: about.map(Packet::frame),
        }
    }

    fn is_ipv4(&self) -> bool {
        self.frame[self.ip] >> 4 == 4
    }

    /// A packet that says itself that it ends here, this far behind the beginning
    /// of the frame.
    fn shortened(&self, end: usize) -> Vec<u8> {
        let mut frame = self.frame[..end].to_vec();
        let len = end - self.ip;
        if self.is_ipv4() {
            frame[self.ip + 2..self.ip + 4].copy_from_slice(&(len as u16).to_be_bytes());
        } else {
            let len = (len - 40) as u16;
            frame[self.ip + 4..self.ip + 6].copy_from_slice(&len.to_be_bytes());
        }
        frame
    }
}

/// What can be inside IP, between two hosts: a name, the packet, what a flow needs
/// of it.
fn inside(a: &str, b: &str) -> Vec<(&'static str, Packet, [usize; 2])> {
    let (a, b) = (addr(a), addr(b));
    let (from, to) = (SocketAddr::new(a, 1000), SocketAddr::new(b, 2000));
    let echo = if a.is_ipv4() { 8 } else { 128 };
    let tcp = Packet::tcp(from, to).flags(SYN).ack(0);
    vec![
        ("TCP", tcp.clone().payload(5), [20; 2]),
        ("TCP with options", tcp.tcp_options(&OPTIONS), [40; 2]),
        ("UDP", Packet::udp(from, to), [8; 2]),
        ("UDP-Lite", Packet::udplite(from, to).payload(5), [8; 2]),
        ("SCTP", Packet::sctp(from, to, 1), [32; 2]),
        ("ICMP", Packet::icmp(a, b, [echo, 0], 77).payload(5), [8; 2]),
        // What is too short to tell is plain GRE.
        ("GRE", Packet::gre(a, b), [0, 4]),
        ("PPTP", Packet::pptp(a, b, 9), [0, 8]),
        ("other", Packet::other(a, b, 200, &[1, 2, 3, 4]), [0; 2]),
    ]
}

/// Errors about packets of these protocols; ports and ids of the inner packet are
/// what they cannot do without.
fn errors(a: &str, b: &str) -> Vec<(&'static str, Packet, [usize; 2], Packet)> {
    let unreachable = if addr(a).is_ipv4() { 3 } else { 1 };
    let inner = if addr(a).is_ipv4() { 20 } else { 40 };
    let about = inside(a, b).into_iter().filter_map(|(name, packet, _)| {
        let needs = match name {
            "TCP" | "UDP" | "SCTP" => [4; 2],
            "ICMP" => [8; 2],
            "GRE" => [0, 4],
            _ => return None,
        };
        let error = Packet::icmp_error(addr(b), addr(a), [unreachable, 1], &packet);
        Some((name, error, needs.map(|needs| 8 + inner + needs), packet))
    });
    about.collect()
}

/// All of them, plain and wrapped in all that may come before them.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (a, b) in [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")] {
        let plain = inside(a, b).into_iter();
        let plain = plain.map(|(name, packet, needs)| (name.to_owned(), packet, needs, None));
        let errors = errors(a, b)
            .into_iter()
            .map(|(name, packet, needs, about)| {
                (format!("error about {name}"), packet, needs, Some(about))
            });
        for (name, packet, needs, about) in plain.chain(errors) {
            for (before, packet) in wrapped(&packet) {
                let name = format!("{before}{name}");
                cases.push(Case::new(name, &packet, needs, about.as_ref()));
            }
        }
    }
    cases
}

/// A packet, and the same behind VLAN tags, options, extension headers.
fn wrapped(packet: &Packet) -> Vec<(String, Packet)> {
    if packet.is_ipv4() {
        let wrapped = packet.clone().ip_options(40).vlan(5);
        return vec![
            ("IPv4, ".to_owned(), packet.clone()),
            ("VLAN, IPv4 with options, ".to_owned(), wrapped),
        ];
    }
    let mut all = vec![("IPv6, ".to_owned(), packet.clone())];
    let mut chain = packet.clone().tag(0x88a8, 7).vlan(5);
    for extension in [HOP_BY_HOP, ROUTING, DESTINATION, FRAGMENT, AUTH] {
        let one = packet.clone().extension(extension);
        let ah = if extension == AUTH { AH } else { "" };
        all.push((format!("IPv6, extension {extension}{ah}, "), one));
        chain = chain.extension(extension);
    }
    all.push((format!("QinQ, IPv6, all extensions{AH}, "), chain));
    all
}

/// What a packet was counted as.
#[derive(Debug, Eq, PartialEq)]
struct Counted {
    /// Reasons why it passed without a flow.
    reasons: Vec<&'static str>,
    created: u64,
    related: u64,
}

fn counted(before: &Counters, after: &Counters) -> Counted {
    let mut reasons = Vec::new();
    for (&reason, &count) in &after.passed_untracked {
        let more = count - before.passed_untracked[reason];
        reasons.extend((0..more).map(|_| reason));
    }
    let related = |counters: &Counters| counters.ct_state.total().related;
    Counted {
        reasons,
        created: after.table.created - before.table.created,
        related: related(after) - related(before),
    }
}

/// A data path as it runs, fed through each of its programs.
struct Live {
    datapath: Datapath,
    tables: Tables,
    meter: Meter,
}

impl Live {
    fn new() -> Self {
        let mut config = Config::default();
        config.table.max_flows = 100;
        let datapath = Datapath::load(&LoadOptions::new(&config)).expect("load");
        Self {
            tables: Tables::map(&datapath).expect("map the tables"),
            meter: Meter::map(&datapath).expect("map the counters"),
            datapath,
        }
    }

    fn flows(&self) -> Vec<Flow> {
        let clock = Clock::live().expect("clocks");
        let walk = self.tables.walk(FlowFilter::default(), clock);
        walk.map(|flow| flow.expect("a flow")).collect()
    }

    /// Sends a frame through XDP, TC ingress and TC egress; it passes each. With
    /// less than an IP header in it, through XDP only: the kernel would refuse.
    fn send(&self, case: &Case, frame: &[u8], name: &str) -> Vec<Counted> {
        let all = [
            (Entry::Xdp, XDP_PASS),
            (Entry::TcIngress, TC_ACT_UNSPEC),
            (Entry::TcEgress, TC_ACT_UNSPEC),
        ];
        let header = if case.is_ipv4() { 20 } else { 40 };
        let all = if frame.len() < case.ip + header {
            &all[..1]
        } else {
            &all
        };
        let counted = all.iter().map(|&(entry, pass)| {
            let program = self.datapath.programs.entry(entry).expect("it is loaded");
            let before = self.meter.read();
            let verdict = testrun::run(program.as_fd(), frame).expect("test run");
            assert_eq!(verdict, pass, "{name}");
            counted(&before, &self.meter.read())
        });
        counted.collect()
    }
}

/// The wire, or a broken sender, has lost the end of the frame.
#[test]
#[ignore = "root"]
fn frames_that_are_cut_short() {
    let live = Live::new();
    let truncated = || Counted {
        reasons: vec!["truncated"],
        created: 0,
        related: 0,
    };
    let mut cuts = 0;
    for case in cases() {
        for cut in 14..case.frame.len() {
            let name = format!("{}, {cut} of {}", case.name, case.frame.len());
            for counted in live.send(&case, &case.frame[..cut], &name) {
                assert_eq!(counted, truncated(), "{name}");
            }
            cuts += 1;
        }
    }
    assert_eq!(live.flows(), [], "nothing was created");
    assert!(cuts > 5000, "{cuts} cuts only");
    // Whole, they are tracked.
    for case in cases().iter().filter(|case| case.about.is_none()) {
        for counted in live.send(case, &case.frame, &case.name) {
            assert_eq!(counted.reasons, [""; 0], "{}", case.name);
        }
    }
    assert_eq!(live.flows().len(), 2 * 8, "TCP with options is TCP");
}

/// Cases one after the other, so far apart that the flows of one are over when the
/// next comes.
struct Stage {
    lab: Lab,
    epoch: i64,
}

impl Stage {
    fn new() -> Self {
        Self {
            lab: Lab::new(100),
            epoch: TIME,
        }
    }

    /// Sends a frame of a case, of which so much is there; what it was counted as.
    fn send(&mut self, case: &Case, frame: &[u8], len: usize) -> (Counted, Vec<Flow>) {
        self.epoch += 3600 * SECOND;
        let (replayer, epoch) = (&mut self.lab.replayer, self.epoch);
        if let Some(about) = &case.about {
            let len = about.len() as u32;
            replayer.packet(epoch, about, len).expect("test run");
        }
        let before = self.lab.meter.read();
        replayer.packet(epoch, frame, len as u32).expect("test run");
        let counted = counted(&before, &self.lab.meter.read());
        (counted, self.lab.flows_at(epoch))
    }
}

/// What of flows a packet tells: all but its time.
fn told(flows: &[Flow]) -> Vec<String> {
    let told = |flow: &Flow| format!("{:?} {:?} {:?}", flow.original, flow.reply, flow.state);
    flows.iter().map(told).collect()
}

/// A frame made no flow, and nothing of the one it may be about; why.
fn assert_nothing(case: &Case, counted: &Counted, flows: &[Flow], name: &str) -> &'static str {
    assert_eq!((counted.created, counted.related), (0, 0), "{name}");
    assert_eq!(flows.len(), usize::from(case.about.is_some()), "{name}");
    let [reason] = counted.reasons[..] else {
        panic!("{name}: {counted:?}");
    };
    reason
}

/// A capture has the beginning of a frame that was whole. What is not there is not
/// guessed: the packet counts as the whole one does, or for no flow.
#[test]
#[ignore = "root"]
fn captures_that_are_cut_short() {
    let mut stage = Stage::new();
    for case in cases() {
        let len = case.frame.len();
        let (counted, flows) = stage.send(&case, &case.frame, len);
        let whole = (counted, told(&flows));
        assert_eq!(whole.0.reasons, [""; 0], "{}", case.name);
        for cut in 0..len {
            let name = format!("{}, {cut} of {len}", case.name);
            let (counted, flows) = stage.send(&case, &case.frame[..cut], len);
            if counted.reasons.is_empty() {
                assert_eq!((counted, told(&flows)), whole, "{name}");
                continue;
            }
            assert!(cut < case.inside + case.needs[1], "{name}: {counted:?}");
            let reason = assert_nothing(&case, &counted, &flows, &name);
            assert!(
                ["truncated", "invalid"].contains(&reason),
                "{name}: {reason}"
            );
        }
    }
}

/// The packet itself says that it ends in the middle of a header.
#[test]
#[ignore = "root"]
fn packets_that_are_too_short() {
    let keys = |flows: &[Flow]| flows.iter().map(Flow::key).collect::<Vec<_>>();
    let mut stage = Stage::new();
    for case in cases() {
        let len = case.frame.len();
        let whole = keys(&stage.send(&case, &case.frame, len).1);
        let header = if case.is_ipv4() { 20 } else { 40 };
        for end in case.ip + header..len {
            let name = format!("{}, ends at {end} of {len}", case.name);
            let (counted, flows) = stage.send(&case, &case.shortened(end), end);
            if counted.reasons.is_empty() {
                let inside = case.inside - case.spare();
                assert!(end >= inside + case.needs[0], "{name}: {flows:?}");
                assert_eq!(counted.created + counted.related, 1, "{name}");
                let short = case.name.ends_with("PPTP") && end < case.inside + 8;
                assert!(short || keys(&flows) == whole, "{name}: {flows:?}");
                continue;
            }
            let reason = assert_nothing(&case, &counted, &flows, &name);
            let reasons = ["truncated", "invalid", "bad_header"];
            assert!(reasons.contains(&reason), "{name}: {reason}");
        }
    }
}
