//! One flow, two CPUs: nothing is lost, doubled or called INVALID.
//!
//! Tried: with a load and a store instead of the atomic add of packets (`ct_add()` of
//! `flow.h`) all three tests fail. Of 1,000,001 UDP packets of the original direction
//! 996,054 were counted, of 1,000,002 TCP packets 996,196, and of 200,002 of two threads
//! in one direction 199,958; the two CPUs met 35,197, 30,913 and 79,256 times.

mod common;

use std::hint;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use common::cpus::on_two_cpus;
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

/// Packets that a thread sends in one go.
const BATCH: u32 = 50;
/// What an end of a connection may send ahead of acknowledgment.
const WINDOW: u32 = 50_000;
const PAYLOAD: u32 = 1000;

const ENDS: [[&str; 2]; 2] = [
    ["10.0.0.1:1000", "10.0.0.2:2000"],
    ["[2001:db8::2]:1000", "[2001:db8::1]:2000"],
];

/// A data path by the real clock.
struct Hot {
    datapath: Datapath,
    tables: Tables,
    meter: Meter,
}

impl Hot {
    fn new() -> Self {
        let mut config = Config::default();
        config.table.max_flows = 1000;
        let datapath = Datapath::load(&LoadOptions::new(&config)).expect("load");
        Self {
            tables: Tables::map(&datapath).expect("map the tables"),
            meter: Meter::map(&datapath).expect("map the counters"),
            datapath,
        }
    }

    /// In by XDP.
    fn come(&self, frame: &[u8]) {
        testrun::run(self.program(Entry::Xdp), frame).expect("test run");
    }

    /// In by TC, or out, so many times. (Of XDP the kernel does that, too, but takes
    /// a lock that all wait for.)
    fn pass(&self, out: bool, packet: &Packet, times: u32) {
        let program = self.program(match out {
            true => Entry::TcEgress,
            false => Entry::TcIngress,
        });
        testrun::repeat(program, &packet.frame(), times).expect("test run");
    }

    fn program(&self, entry: Entry) -> BorrowedFd<'_> {
        let program = self.datapath.programs.entry(entry);
        program.expect("it is loaded").as_fd()
    }

    /// The only flow.
    fn flow(&self) -> Flow {
        let clock = Clock::live().expect("clocks");
        let flows = self.tables.walk(FlowFilter::default(), clock);
        let mut flows: Vec<_> = flows.map(|flow| flow.expect("a flow")).collect();
        assert_eq!(flows.len(), 1, "one flow: {flows:?}");
        flows.remove(0)
    }

    /// Nothing but packets of a flow; each thread's on its own CPU.
    fn assert_clean(&self, packets: u64) -> Counters {
        let counters = self.meter.read();
        assert_eq!(counters.packets, packets);
        assert_eq!(counters.ct_state.total().invalid, 0, "{counters:?}");
        let passed: u64 = counters.passed_untracked.values().sum();
        assert_eq!(passed, 0, "{counters:?}");
        assert_eq!(counters.table.created, 1, "{counters:?}");
        counters
    }
}

/// How often both threads were at work at once.
#[derive(Default)]
struct Overlap {
    inside: AtomicU32,
    met: AtomicU64,
}

impl Overlap {
    fn around(&self, work: impl FnOnce()) {
        let others = self.inside.fetch_add(1, Ordering::SeqCst);
        self.met.fetch_add(u64::from(others), Ordering::SeqCst);
        work();
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    /// Of so many times that each of them was.
    fn assert_often(&self, times: u64) {
        let met = self.met.load(Ordering::SeqCst);
        println!("they met {met} times in {times} of each");
        assert!(met > times / 20, "the threads met {met} times in {times}");
    }
}

/// Batches of each thread; fewer where the processor is emulated.
fn batches() -> u64 {
    if common::in_kernel_matrix() {
        1000
    } else {
        20_000
    }
}

fn ends([a, b]: [&str; 2]) -> [SocketAddr; 2] {
    [end(a), end(b)]
}

/// The direction of a batch: both threads send in both, and every pair of them
/// comes together.
fn direction(thread: usize, batch: u64) -> usize {
    (batch >> thread & 1) as usize
}

#[test]
#[ignore = "root"]
fn udp_in_both_directions() {
    for texts in ENDS {
        let [a, b] = ends(texts);
        let hot = Hot::new();
        let packets = [
            Packet::udp(a, b).payload(72),
            Packet::udp(b, a).payload(1000),
        ];
        hot.come(&packets[0].frame());
        let overlap = Overlap::default();
        on_two_cpus(|thread| {
            for batch in 0..batches() {
                let dir = direction(thread, batch);
                overlap.around(|| hot.pass(dir == 1, &packets[dir], BATCH));
            }
        });
        overlap.assert_often(batches());
        let sent = batches() * u64::from(BATCH);
        let flow = hot.flow();
        assert_eq!(flow.original.packets, sent + 1);
        assert_eq!(flow.original.bytes, (sent + 1) * packets[0].ip_len());
        assert_eq!(flow.reply.packets, sent);
        assert_eq!(flow.reply.bytes, sent * packets[1].ip_len());
        let counters = hot.assert_clean(2 * sent + 1);
        let busy = counters.per_cpu.iter().filter(|cpu| cpu.packets >= sent);
        assert_eq!(busy.count(), 2, "each on its own CPU: {counters:?}");
    }
}

/// Opens a connection; both ends then send from sequence number 1 on.
fn open(hot: &Hot, a: SocketAddr, b: SocketAddr) {
    let syn = |from, to| Packet::tcp(from, to).seq(0).window(u16::MAX);
    hot.come(&syn(a, b).flags(SYN).ack(0).frame());
    hot.come(&syn(b, a).flags(SYN | ACK).ack(1).frame());
    hot.come(&segment(a, b, 1, 1).frame());
}

fn segment(from: SocketAddr, to: SocketAddr, seq: u32, ack: u32) -> Packet {
    let segment = Packet::tcp(from, to).window(u16::MAX);
    segment.seq(seq).ack(ack)
}

/// A connection whose ends both threads play: what the flow has seen sent and
/// acknowledged in each direction, and how far back each thread is.
struct Talk {
    sent: [AtomicU32; 2],
    acked: [AtomicU32; 2],
    at: [[AtomicU32; 2]; 2],
}

impl Talk {
    fn new() -> Self {
        let ones = || [AtomicU32::new(1), AtomicU32::new(1)];
        Self {
            sent: ones(),
            acked: ones(),
            at: [ones(), ones()],
        }
    }

    /// The next segment a thread sends in a direction: sequence number and
    /// acknowledgment. Where the window is full, or the other thread far behind,
    /// the last one comes again.
    fn next(&self, me: usize, dir: usize) -> (u32, u32) {
        let seq = self.sent[dir].load(Ordering::SeqCst);
        let ack = self.sent[1 - dir].load(Ordering::SeqCst);
        let again = seq.saturating_sub(PAYLOAD).max(1);
        self.at[me][dir].store(again, Ordering::SeqCst);
        self.at[me][1 - dir].store(ack, Ordering::SeqCst);
        let acked = self.acked[dir].load(Ordering::SeqCst);
        let behind = self.at[1 - me][dir].load(Ordering::SeqCst);
        let new = seq + PAYLOAD <= acked.min(behind) + WINDOW;
        (if new { seq } else { again }, ack)
    }

    /// The flow has seen it.
    fn seen(&self, dir: usize, (seq, ack): (u32, u32)) {
        self.sent[dir].fetch_max(seq + PAYLOAD, Ordering::SeqCst);
        self.acked[1 - dir].fetch_max(ack, Ordering::SeqCst);
    }
}

#[test]
#[ignore = "root"]
fn tcp_in_both_directions() {
    for texts in ENDS {
        let ends = ends(texts);
        let hot = Hot::new();
        open(&hot, ends[0], ends[1]);
        let (talk, overlap) = (Talk::new(), Overlap::default());
        on_two_cpus(|me| {
            for batch in 0..batches() {
                let dir = direction(me, batch);
                let (seq, ack) = talk.next(me, dir);
                let packet = segment(ends[dir], ends[1 - dir], seq, ack);
                let packet = packet.payload(PAYLOAD as usize);
                overlap.around(|| hot.pass(dir == 1, &packet, BATCH));
                talk.seen(dir, (seq, ack));
            }
        });
        overlap.assert_often(batches());
        let flow = hot.flow();
        let sent = batches() * u64::from(BATCH);
        let opening = segment(ends[0], ends[1], 1, 1);
        let size = opening.clone().payload(PAYLOAD as usize).ip_len();
        let opening = opening.ip_len();
        assert_eq!(flow.original.packets, sent + 2);
        assert_eq!(flow.original.bytes, sent * size + 2 * opening);
        assert_eq!(flow.reply.packets, sent + 1);
        assert_eq!(flow.reply.bytes, sent * size + opening);
        assert_eq!(flow.state.name(), Some("ESTABLISHED"));
        hot.assert_clean(2 * sent + 3);
        // Not the same segment again and again: at least a twentieth were new.
        let advanced = talk.sent.map(|end| u64::from(end.into_inner()));
        let least = batches() / 20 * u64::from(PAYLOAD);
        assert!(advanced.iter().all(|&end| end > least), "{advanced:?}");
    }
}

/// Segments of one direction that two CPUs send in turns, each acknowledged by the
/// other end as soon as it has passed.
struct Stream {
    next: AtomicU32,
    /// What each thread is about to send: the other must not run ahead of it.
    at: [AtomicU32; 2],
    header: usize,
}

impl Stream {
    fn new(a: SocketAddr) -> Self {
        Self {
            next: AtomicU32::new(1),
            at: [AtomicU32::new(1), AtomicU32::new(1)],
            header: if a.is_ipv4() { 14 + 20 } else { 14 + 40 },
        }
    }

    /// The next segment to send, once it is within the window of the other thread's.
    fn take(&self, me: usize) -> u32 {
        self.at[me].store(self.next.load(Ordering::SeqCst), Ordering::SeqCst);
        let seq = self.next.fetch_add(PAYLOAD, Ordering::SeqCst);
        self.at[me].store(seq, Ordering::SeqCst);
        while self.at[1 - me].load(Ordering::SeqCst) + WINDOW < seq + PAYLOAD {
            hint::spin_loop();
        }
        seq
    }

    fn done(&self, me: usize) {
        self.at[me].store(u32::MAX / 2, Ordering::SeqCst);
    }

    /// A number in the TCP header of a frame; nobody looks at the checksum.
    fn put(&self, frame: &mut [u8], at: usize, number: u32) {
        let at = self.header + at;
        frame[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
}

#[test]
#[ignore = "root"]
fn tcp_in_one_direction() {
    const SEQ: usize = 4;
    const ACKNOWLEDGED: usize = 8;
    let segments = if common::in_kernel_matrix() {
        20_000
    } else {
        100_000
    };
    for texts in ENDS {
        let [a, b] = ends(texts);
        let hot = Hot::new();
        open(&hot, a, b);
        let (stream, overlap) = (Stream::new(a), Overlap::default());
        let data = segment(a, b, 1, 1).payload(PAYLOAD as usize);
        let ack = segment(b, a, 1, 1);
        on_two_cpus(|me| {
            let (mut there, mut back) = (data.frame(), ack.frame());
            for _ in 0..segments {
                let seq = stream.take(me);
                stream.put(&mut there, SEQ, seq);
                stream.put(&mut back, ACKNOWLEDGED, seq + PAYLOAD);
                overlap.around(|| hot.come(&there));
                hot.come(&back);
            }
            stream.done(me);
        });
        overlap.assert_often(segments);
        let flow = hot.flow();
        let opening = ack.ip_len();
        assert_eq!(flow.original.packets, 2 * segments + 2);
        assert_eq!(
            flow.original.bytes,
            2 * segments * data.ip_len() + 2 * opening
        );
        assert_eq!(flow.reply.packets, 2 * segments + 1);
        assert_eq!(flow.reply.bytes, (2 * segments + 1) * opening);
        hot.assert_clean(4 * segments + 3);
    }
}
