//! Flows taken out by command: the right ones, once, and with packets coming all
//! the while.

mod common;

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_bpf::counters::Meter;
use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::datapath::LoadOptions;
use conntrack_bpf::events::Listener;
use conntrack_bpf::events::Wish;
use conntrack_bpf::remove;
use conntrack_bpf::table::Spot;
use conntrack_bpf::table::Tables;
use conntrack_bpf::testrun;
use conntrack_core::Config;
use conntrack_core::EventType;
use conntrack_core::FlowFilter;
use conntrack_core::FlowKey;
use conntrack_core::GoneReason;
use conntrack_core::Protocol;
use conntrack_core::What;

impl Lab {
    fn delete(&self, name: &str) -> bool {
        let name: FlowKey = name.parse().expect(name);
        remove::named(&self.datapath, &self.tables, &name, &Clock::stopped(TIME)).expect("delete")
    }

    fn delete_matching(&self, filter: FlowFilter) -> u64 {
        remove::matching(&self.datapath, &self.tables, filter, Clock::stopped(TIME))
            .expect("delete")
    }

    /// Flushes at a time.
    fn flush_at(&mut self, epoch: i64) -> u64 {
        self.replayer.set(epoch, 0);
        {
            let moment = remove::now(&self.datapath).expect("the time");
            remove::all(&self.datapath, &self.tables, moment).expect("flush")
        }
    }

    fn spot(&self, epoch: i64, name: &str) -> Spot {
        let name = name.parse().expect(name);
        let found = self.tables.locate(&name, &Clock::stopped(epoch));
        found.expect("a sound slot").expect("the flow").1
    }

    fn gone(&self, reason: GoneReason) -> u64 {
        self.counters().table.gone(reason)
    }

    /// Flows of both families from these ports.
    fn open(&mut self, ports: impl Iterator<Item = u16>) {
        for port in ports {
            let (a, b) = (SocketAddr::new(addr("10.0.0.1"), port), end("10.0.0.2:53"));
            let (c, d) = (SocketAddr::new(addr("fe80::1"), port), end("[fe80::2]:53"));
            self.send(&Packet::udp(a, b));
            self.send(&Packet::udp(c, d));
        }
    }
}

#[test]
#[ignore = "root"]
fn one_by_its_name() {
    let mut lab = Lab::new(1000);
    let mut listener = Listener::new(&lab.datapath, &Wish::default()).expect("listen");
    lab.open(1..=3);
    let ping = Packet::icmp(addr("10.0.0.1"), addr("10.0.0.2"), [8, 0], 77);
    lab.send(&ping);
    let names = [
        "udp 10.0.0.1:2 10.0.0.2:53",
        // As the answer goes.
        "udp [fe80::2]:53 [fe80::1]:3",
        "icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=77",
    ];
    for (deleted, name) in (1..).zip(names) {
        assert!(lab.delete(name), "{name}");
        assert!(!lab.delete(name), "{name} a second time");
        assert_eq!(lab.flow(&name.parse().expect(name)), None);
        assert_eq!(lab.flows().len(), 7 - deleted);
        assert_eq!(lab.gone(GoneReason::Deleted), deleted as u64);
    }
    for name in ["udp 10.0.0.1:2 10.0.0.2:54", "tcp 10.0.0.1:1 10.0.0.2:53"] {
        assert!(!lab.delete(name), "{name}");
    }
    // Told with what was counted, once each.
    let events = std::iter::from_fn(|| listener.next_event().expect("an event"));
    let destroyed: Vec<_> = events
        .filter_map(|event| match event.what {
            What::Destroy(flow, reason) => Some((flow.key(), flow.packets(), reason)),
            _ => None,
        })
        .collect();
    let want = names.map(|name| (name.parse().expect(name), 1, GoneReason::Deleted));
    assert_eq!(destroyed, want);
    // The next packet begins it anew.
    lab.send(&ping);
    assert_eq!(lab.flows().len(), 5);
}

#[test]
#[ignore = "root"]
fn those_that_meet_a_filter() {
    let mut lab = Lab::new(1000);
    lab.open(1..=20);
    for port in 1..=10 {
        let client = SocketAddr::new(addr("10.0.0.1"), port);
        lab.send(&Packet::tcp(client, end("10.0.0.2:80")).flags(SYN));
    }
    let tcp = FlowFilter {
        protocol: Some(Protocol::TCP),
        ..FlowFilter::default()
    };
    assert_eq!(lab.delete_matching(tcp.clone()), 10);
    assert_eq!(lab.delete_matching(tcp), 0);
    let of_v6 = FlowFilter {
        src: Some("fe80::/64".parse().expect("a network")),
        sport: Some("6-15".parse().expect("ports")),
        ..FlowFilter::default()
    };
    assert_eq!(lab.delete_matching(of_v6), 10);
    assert_eq!(lab.flows().len(), 30);
    assert_eq!(lab.delete_matching(FlowFilter::default()), 30);
    assert_eq!(lab.flows(), []);
    assert_eq!(lab.gone(GoneReason::Deleted), 50);
}

#[test]
#[ignore = "root"]
fn a_slot_that_was_given_to_another_flow_is_not_touched() {
    let mut lab = Lab::new(1000);
    for (v4, v6) in [(true, false), (false, true)] {
        let (packet, name) = match v4 {
            true => (
                Packet::udp(end("10.0.0.1:1"), end("10.0.0.2:2")),
                "udp 10.0.0.1:1 10.0.0.2:2",
            ),
            false => (
                Packet::udp(end("[fe80::1]:1"), end("[fe80::2]:2")),
                "udp [fe80::1]:1 [fe80::2]:2",
            ),
        };
        assert_ne!(v4, v6);
        lab.send(&packet);
        let spot = lab.spot(TIME, name);
        // A packet that changes nothing of its identity.
        lab.send_at(TIME + SECOND, &packet);
        assert!(remove::one(&lab.datapath, &spot).expect("remove"));
        assert!(!remove::one(&lab.datapath, &spot).expect("remove"), "empty");
        // The same key in the same slot, which has rested.
        let later = TIME + 10 * SECOND;
        lab.send_at(later, &packet);
        let new = lab.spot(later, name);
        assert!(new.same_slot(&spot), "{new:?} {spot:?}");
        assert!(
            !remove::one(&lab.datapath, &spot).expect("remove"),
            "reused"
        );
        assert!(remove::one(&lab.datapath, &new).expect("remove"));
    }
}

#[test]
#[ignore = "root"]
fn all_that_began_before() {
    let mut lab = Lab::new(1000);
    lab.open(1..=200);
    let (a, b) = (end("10.0.0.9:1"), end("10.0.0.2:53"));
    lab.send_at(TIME + 1, &Packet::udp(a, b));
    // That it is alive is no matter of when it began.
    lab.send_at(TIME + SECOND, &Packet::udp(end("10.0.0.1:7"), b));
    assert_eq!(lab.flush_at(TIME), 400);
    assert_eq!(lab.gone(GoneReason::Flushed), 400);
    let left: Vec<_> = lab
        .flows_at(TIME + 1)
        .iter()
        .map(|flow| flow.key())
        .collect();
    assert_eq!(
        left,
        ["udp 10.0.0.9:1 10.0.0.2:53".parse().expect("a name")]
    );
    assert_eq!(lab.flush_at(TIME + 1), 1);
    assert_eq!(lab.flush_at(TIME + 1), 0);

    // Those whose time is up go, and are not counted.
    lab.open(1..=5);
    lab.send_at(TIME + 100 * SECOND, &Packet::udp(a, b));
    assert_eq!(lab.flush_at(TIME + 100 * SECOND), 1);
    assert_eq!(lab.gone(GoneReason::Timeout), 10);
    assert_eq!(lab.tables.count(&Clock::stopped(TIME)).expired_pending, 0);
    assert_eq!(lab.flows(), []);
}

/// A data path by the real clock, that several threads send to.
struct Busy {
    datapath: Datapath,
    tables: Tables,
    meter: Meter,
}

impl Busy {
    fn new() -> Self {
        let mut config = Config::default();
        config.table.max_flows = 60_000;
        let options = LoadOptions::new(&config).entries(&[Entry::TcIngress]);
        let datapath = Datapath::load(&options).expect("load");
        Self {
            tables: Tables::map(&datapath).expect("map the tables"),
            meter: Meter::map(&datapath).expect("map the counters"),
            datapath,
        }
    }

    fn send(&self, packet: &Packet) {
        let program = self.datapath.programs.entry(Entry::TcIngress);
        let program = program.expect("it is loaded").as_fd();
        testrun::run(program, &packet.frame()).expect("test run");
    }

    fn flush(&self) -> u64 {
        {
            let moment = remove::now(&self.datapath).expect("the time");
            remove::all(&self.datapath, &self.tables, moment).expect("flush")
        }
    }
}

/// One thread's packets of one flow over and over, and of new ones (which are
/// stamped by the precise clock, so that they may begin during a flush and stay);
/// how many packets that were.
fn send_until(busy: &Busy, stop: &AtomicBool, client: &str) -> u64 {
    let hot = Packet::udp(
        SocketAddr::new(addr(client), 1),
        SocketAddr::new(addr(client), 53),
    );
    let mut sent = 0;
    for port in (2..=u16::MAX).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        busy.send(&hot);
        let from = SocketAddr::new(addr(client), port);
        let syn = Packet::tcp(from, SocketAddr::new(addr(client), 9)).flags(SYN);
        busy.send(&syn);
        sent += 2;
    }
    sent
}

/// Every packet counts in a flow that was there then or is there now, and each
/// flow that went is told and counted once.
#[test]
#[ignore = "root"]
fn while_two_threads_send() {
    // Less where the processor is emulated.
    let flushes = match std::env::var_os("CONNTRACK_TEST_KERNEL_MATRIX") {
        Some(_) => 10,
        None => 300,
    };
    let busy = Busy::new();
    let wish = Wish {
        types: vec![EventType::New, EventType::Destroy],
        buffer: 64 << 20,
        ..Wish::default()
    };
    let mut listener = Listener::new(&busy.datapath, &wish).expect("listen");
    let stop = AtomicBool::new(false);
    let (mut flushed, mut created, mut destroyed, mut counted) = (0, 0, 0, 0);
    let sent: u64 = thread::scope(|scope| {
        let (busy, stop) = (&busy, &stop);
        let threads = ["10.0.0.1", "fe80::1"]
            .map(|client| scope.spawn(move || send_until(busy, stop, client)));
        let mut drain = || {
            while let Some(event) = listener.next_event().expect("an event") {
                match event.what {
                    What::Destroy(flow, GoneReason::Flushed) => {
                        destroyed += 1;
                        counted += flow.packets();
                    }
                    What::New(_) => created += 1,
                    other => panic!("{other:?}"),
                }
            }
        };
        for _ in 0..flushes {
            flushed += busy.flush();
            drain();
        }
        stop.store(true, Ordering::Relaxed);
        let sent = threads.map(|thread| thread.join().expect("send"));
        drain();
        sent.iter().sum()
    });
    let clock = Clock::live().expect("a clock");
    let left = busy.tables.walk(FlowFilter::default(), clock);
    let left: Vec<_> = left.map(|flow| flow.expect("a flow")).collect();
    let counters = busy.meter.read();
    println!(
        "{sent} packets, {created} flows, {flushed} flushed, {} left",
        left.len()
    );
    assert_eq!(counters.packets, sent);
    assert_eq!(counters.ct_state.total().new, sent, "{counters:?}");
    assert_eq!(counters.table.created, created);
    assert_eq!(counters.table.gone(GoneReason::Flushed), flushed);
    assert_eq!((destroyed, created), (flushed, flushed + left.len() as u64));
    assert_eq!(busy.meter.live().iter().sum::<u64>(), left.len() as u64);
    assert!(flushed > flushes, "hardly anything to flush");
    // A packet that lost its flow between two steps counts in it, and in the next:
    // one of each thread at the most in each flush.
    let counted = counted + left.iter().map(|flow| flow.packets()).sum::<u64>();
    assert!(
        (sent..=sent + 2 * flushes).contains(&counted),
        "{counted} of {sent}"
    );
    drop(listener);
    assert_eq!(busy.flush(), left.len() as u64);
}
