//! Floods of ten times the table's size from two CPUs at once, while real connections
//! go on, open and close.

#[path = "../common/mod.rs"]
mod common;
mod forged;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Barrier;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::cpus::on_two_cpus;
use common::in_kernel_matrix;
use common::packet::*;
use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::datapath::LoadOptions;
use conntrack_bpf::events::Listener;
use conntrack_bpf::events::Wish;
use conntrack_bpf::sweep;
use conntrack_bpf::testrun;
use conntrack_core::Config;
use conntrack_core::EventType;
use conntrack_core::Family;
use conntrack_core::Flow;
use conntrack_core::FlowKey;
use conntrack_core::PressureLevel;
use conntrack_core::What;
use forged::Choice;
use forged::Kind;
use forged::Places;

/// Flows the tables are sized for, real connections that stay, and those that
/// open and close meanwhile.
const ROOM: u32 = 20_000;
const LASTING: u32 = 10_000;
const PASSING: u32 = 1_000;

/// Flood packets before each passing connection opens, a millisecond after the
/// one before: ten times the table in a second.
const BETWEEN: u32 = 10 * ROOM / PASSING;
const MILLI: i64 = SECOND / 1000;

/// From packet to packet of a real connection.
const RTT: i64 = 5 * MILLI;

/// Real clients are in 10.0.0.0/8 and fd00::/16, forged ones are anybody.
fn client(v6: bool, number: u32) -> SocketAddr {
    let [_, b, c, d] = number.to_be_bytes();
    let addr: IpAddr = match v6 {
        false => Ipv4Addr::new(10, b, c, d).into(),
        true => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, b.into(), u16::from_be_bytes([c, d])).into(),
    };
    SocketAddr::new(addr, 40_000)
}

fn server(v6: bool) -> SocketAddr {
    match v6 {
        false => end("192.0.2.1:443"),
        true => end("[2001:db8::1]:443"),
    }
}

/// The packets of a short connection, in order; three of them open it, the last
/// three close it.
fn conversation(v6: bool, number: u32) -> Vec<Packet> {
    let (a, b) = (client(v6, number), server(v6));
    let out = |flags, seq, ack| Packet::tcp(a, b).flags(flags).seq(seq).ack(ack);
    let back = |flags, seq, ack| Packet::tcp(b, a).flags(flags).seq(seq).ack(ack);
    vec![
        out(SYN, 100, 0),
        back(SYN | ACK, 500, 101),
        out(ACK, 101, 501),
        out(ACK, 101, 501).payload(100),
        back(ACK, 501, 201).payload(1000),
        out(FIN | ACK, 201, 1501),
        back(FIN | ACK, 1501, 202),
        out(ACK, 202, 1502),
    ]
}

/// The flow of a real client.
fn flow(lab: &Lab, v6: bool, number: u32, epoch: i64) -> Option<Flow> {
    let name = format!("tcp {} {}", client(v6, number), server(v6));
    let name: FlowKey = name.parse().expect("a name");
    let clock = conntrack_bpf::Clock::stopped(epoch);
    lab.tables.find(&name, &clock).expect("a sound slot")
}

/// Sends a packet, which must pass.
fn pass(lab: &mut Lab, epoch: i64, packet: &Packet) {
    const XDP_PASS: u32 = 2;
    let frame = packet.frame();
    lab.replayer.set(epoch, frame.len() as u32);
    let verdict = testrun::run(lab.program(Entry::Xdp), &frame).expect("test run");
    assert_eq!(verdict, XDP_PASS);
}

/// Sends a packet by TC, which many may do at once; it must pass.
fn pass_at_once(datapath: &Datapath, frame: &[u8]) {
    const TC_ACT_UNSPEC: u32 = u32::MAX;
    let program = datapath.programs.entry(Entry::TcIngress);
    let program = program.expect("it is loaded").as_fd();
    let verdict = testrun::run(program, frame).expect("test run");
    assert_eq!(verdict, TC_ACT_UNSPEC);
}

/// Real clients that come while it is flooded.
struct Clients {
    /// Those that share nothing with the flood but the table.
    others: Vec<u32>,
    /// Those whose flows may live in flooded buckets only.
    within: Vec<u32>,
}

impl Clients {
    fn new(choice: Choice, v6: bool, places: Places) -> Self {
        let are_within = |number: &u32| places.are_flooded(client(v6, *number), server(v6), TCP);
        let numbers = LASTING..;
        let within = match choice {
            Choice::Known => PASSING / 10,
            Choice::Random | Choice::Guessed => 0,
        };
        let others = numbers.clone().filter(|number| !are_within(number));
        Self {
            others: others.take((PASSING - within) as usize).collect(),
            within: numbers.filter(are_within).take(within as usize).collect(),
        }
    }

    /// All of them, in the order in which they come.
    fn in_turn(&self) -> Vec<u32> {
        let (mut others, mut within) = (self.others.iter(), self.within.iter());
        let next = |turn| match turn % 10 {
            9 => within.next().or_else(|| others.next()),
            _ => others.next(),
        };
        (0..PASSING).filter_map(next).copied().collect()
    }
}

/// Real packets that are to come, at their times.
fn to_come(v6: bool, clients: &Clients) -> VecDeque<(i64, Vec<u8>)> {
    let mut packets = Vec::new();
    for (begin, number) in (0..).zip(clients.in_turn()) {
        let begin = TIME + SECOND + begin * MILLI;
        let conversation = (0..).zip(conversation(v6, number));
        packets.extend(conversation.map(|(step, packet)| (begin + step * RTT, packet.frame())));
    }
    // And the lasting ones go on, each once.
    for number in 0..LASTING {
        let (a, b) = (client(v6, number), server(v6));
        let data = Packet::tcp(a, b).flags(ACK).seq(201).ack(1501);
        let answer = Packet::tcp(b, a).flags(ACK).seq(1501).ack(251);
        let begin = TIME + SECOND + i64::from(number % PASSING) * MILLI;
        packets.push((begin, data.payload(50).frame()));
        packets.push((begin + RTT, answer.frame()));
    }
    packets.sort_by_key(|(time, _)| *time);
    packets.into()
}

/// A second of flood by two CPUs; real packets come on one of them.
fn flood(lab: &mut Lab, frames: &[Vec<u8>], real: VecDeque<(i64, Vec<u8>)>) {
    let Lab {
        datapath, replayer, ..
    } = lab;
    let clock = Mutex::new((replayer, real));
    let tick = Barrier::new(2);
    on_two_cpus(|thread| {
        let mut forged = frames.iter().cycle().skip(thread).step_by(2);
        for passing in 0..i64::from(PASSING) {
            let now = TIME + SECOND + passing * MILLI;
            tick.wait();
            let mut due = Vec::new();
            if thread == 0 {
                let (replayer, real) = &mut *clock.lock().expect("the clock");
                replayer.set(now, 0);
                let ripe = real.iter().take_while(|(time, _)| *time <= now).count();
                due.extend(real.drain(..ripe).map(|(_, frame)| frame));
            }
            tick.wait();
            for _ in 0..BETWEEN / 2 {
                pass_at_once(datapath, forged.next().expect("one"));
                if let Some(frame) = due.pop() {
                    pass_at_once(datapath, &frame);
                }
            }
            assert!(due.is_empty(), "fewer than it is flooded with");
        }
    });
    let (replayer, real) = clock.into_inner().expect("the clock");
    for (time, frame) in real {
        replayer.set(time, 0);
        pass_at_once(datapath, &frame);
    }
}

/// How many of these clients' connections are told from first packet to last.
fn whole(lab: &Lab, v6: bool, clients: &[u32], end: i64) -> u32 {
    let whole = clients.iter().filter(|number| {
        flow(lab, v6, **number, end).is_some_and(|flow| {
            flow.state.name() == Some("TIME_WAIT")
                && (flow.original.packets, flow.reply.packets) == (5, 3)
        })
    });
    whole.count() as u32
}

fn assert_lasting(lab: &Lab, v6: bool, end: i64) {
    for number in 0..LASTING {
        let flow = flow(lab, v6, number, end).expect("an assured flow was lost");
        let state = flow.state.name();
        assert!(flow.assured && state == Some("ESTABLISHED"), "{flow:?}");
        let packets = (flow.original.packets, flow.reply.packets);
        assert_eq!(packets, (4, 3), "{flow:?}");
    }
}

/// How many clients there were, and how many of their connections were not told whole.
fn real_connections_live_through_this(kind: Kind, choice: Choice, v6: bool) -> [usize; 2] {
    let mut lab = Lab::at(&[Entry::Xdp, Entry::TcIngress], |config| {
        config.table.max_flows = ROOM;
        config.table.max_flows_v6 = Some(ROOM);
    });
    for number in 0..LASTING {
        for packet in conversation(v6, number).iter().take(5) {
            pass(&mut lab, TIME, packet);
        }
    }
    let places = Places::new(&lab.datapath.meta, v6);
    let frames = forged::frames(kind, choice, server(v6), places, 10 * ROOM);
    let clients = Clients::new(choice, v6, places);
    flood(&mut lab, &frames, to_come(v6, &clients));
    let end = TIME + 3 * SECOND;
    assert_lasting(&lab, v6, end);
    let counters = lab.counters();
    let [others, within] = [&clients.others, &clients.within].map(|c| whole(&lab, v6, c, end));
    println!(
        "{kind:?} {choice:?}: of {} {others}, of {} within {within}; {:?}",
        clients.others.len(),
        clients.within.len(),
        counters.table
    );
    // Of those within all packets pass. But what is not assured in their buckets is
    // pushed out within 3 ms: a handshake that takes longer is not told from its beginning,
    // and the connection perhaps not at all.
    assert!(
        counters.table.evicted() > u64::from(8 * ROOM),
        "it was no flood"
    );
    assert_eq!(counters.passed_untracked["table_full"], 0);
    assert!(counters.drops.values().all(|count| *count == 0));
    [clients.others.len(), clients.others.len() - others as usize]
}

fn real_connections_live_through(kind: Kind, v6: bool) {
    let choices = match in_kernel_matrix() {
        true => &[Choice::Known][..],
        false => &[Choice::Random, Choice::Guessed, Choice::Known],
    };
    let mut all = [0, 0];
    for choice in choices {
        let [clients, lost] = real_connections_live_through_this(kind, *choice, v6);
        all = [all[0] + clients, all[1] + lost];
    }
    // 99.9 % of them; of fewer than a thousand that is one.
    let [clients, lost] = all;
    assert!(lost <= (clients / 1000).max(1), "{lost} of {clients}");
}

#[test]
#[ignore = "root"]
fn real_connections_live_through_a_syn_flood_v4() {
    real_connections_live_through(Kind::Syn, false);
}

#[test]
#[ignore = "root"]
fn real_connections_live_through_a_syn_flood_v6() {
    real_connections_live_through(Kind::Syn, true);
}

#[test]
#[ignore = "root"]
fn real_connections_live_through_a_udp_flood_v4() {
    real_connections_live_through(Kind::Udp, false);
}

#[test]
#[ignore = "root"]
fn real_connections_live_through_a_udp_flood_v6() {
    real_connections_live_through(Kind::Udp, true);
}

#[test]
#[ignore = "root"]
fn real_connections_live_through_a_ping_flood_v4() {
    real_connections_live_through(Kind::Ping, false);
}

#[test]
#[ignore = "root"]
fn real_connections_live_through_a_ping_flood_v6() {
    real_connections_live_through(Kind::Ping, true);
}

/// By the real clock, for the kernel's own timer tells.
#[test]
#[ignore = "root"]
fn pressure_is_reported() {
    const ROOM: u32 = 2_000;
    let mut config = Config::default();
    config.table.max_flows = ROOM;
    config.table.max_flows_v6 = Some(ROOM);
    let options = LoadOptions::new(&config).entries(&[Entry::TcIngress]);
    let datapath = Datapath::load(&options).expect("load");
    let wish = Wish {
        types: vec![EventType::Pressure],
        ..Wish::default()
    };
    let mut listener = Listener::new(&datapath, &wish).expect("listen");
    sweep::start(&datapath.programs).expect("start the sweep");
    let levels = || sweep::read(&datapath).expect("read").expect("a sweep").1;
    assert_eq!(levels(), [PressureLevel::None; 2]);
    for v6 in [false, true] {
        let places = Places::new(&datapath.meta, v6);
        let frames = forged::frames(Kind::Syn, Choice::Random, server(v6), places, 10 * ROOM);
        on_two_cpus(|thread| {
            let half = frames.iter().skip(thread).step_by(2);
            half.for_each(|frame| pass_at_once(&datapath, frame));
        });
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while levels() != [PressureLevel::Critical; 2] {
        assert!(Instant::now() < deadline, "{:?}", levels());
        thread::sleep(Duration::from_millis(20));
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        let told = std::iter::from_fn(|| listener.next_event().expect("an event"));
        let mut told = told.map(|event| match event.what {
            What::Pressure(pressure) => pressure,
            other => panic!("{other:?}"),
        });
        let last = told.find(|told| told.level == PressureLevel::Critical);
        let last = last.expect("it is told");
        assert_eq!((last.family, last.max), (family, u64::from(ROOM)));
        assert!(last.flows * 100 >= last.max * 95, "{last:?}");
    }
}

/// Where nothing can be pushed out, new connections pass untracked, and are
/// counted; nobody's packet is dropped, no assured flow is touched.
#[test]
#[ignore = "root"]
fn where_all_is_assured_new_ones_pass_untracked() {
    const ROOM: u32 = 192;
    let mut lab = Lab::new(ROOM);
    let mut opened = 0;
    while lab.counters().passed_untracked["table_full"] == 0 {
        for packet in conversation(false, opened).iter().take(5) {
            pass(&mut lab, TIME, packet);
        }
        opened += 1;
        assert!(opened < 4 * ROOM, "the table is never full");
    }
    let counters = lab.counters();
    let there = (0..opened).filter_map(|number| flow(&lab, false, number, TIME));
    assert!(there.clone().all(|flow| flow.assured));
    assert_eq!(there.count() as u64, counters.table.created);
    assert_eq!(counters.table.gone_total(), 0);
    // It has more places than it is asked for, so that chance, which hands out two
    // buckets of 15 to each flow, seldom leaves one of fewer flows without any.
    assert!(
        counters.table.created * 10 > u64::from(ROOM) * 9,
        "{} of {ROOM}",
        counters.table.created
    );
}
