//! Who reaches which port: exact, then estimated, within any window.

mod common;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::ports::Own;
use conntrack_bpf::ports::Reading;
use conntrack_bpf::testrun;
use conntrack_core::PortsConfig;
use conntrack_core::Protocol;
use conntrack_core::ports::PortDst;
use conntrack_core::ports::PortQuery;
use conntrack_core::ports::PortSource;
use conntrack_core::ports::Ports;
use conntrack_core::ports::Precision;

fn lab(change: impl FnOnce(&mut PortsConfig)) -> Lab {
    Lab::with(|config| {
        (config.table.max_flows, config.table.max_flows_v6) = (20_000, Some(1000));
        change(&mut config.ports);
    })
}

fn query(seconds: u64) -> PortQuery {
    PortQuery::new(Duration::from_secs(seconds))
}

fn read(lab: &Lab, query: &PortQuery, time: i64) -> Ports {
    let own = Own::from([addr("10.0.0.1"), addr("fd00::1")]);
    let reading = Reading::new(&lab.datapath, query, &own, Clock::stopped(time));
    reading.expect("ports are kept").rows().expect("rows")
}

fn sources(lab: &Lab, query: &PortQuery, time: i64) -> Vec<PortSource> {
    let own = Own::new();
    let reading = Reading::new(&lab.datapath, query, &own, Clock::stopped(time));
    reading.expect("ports are kept").sources().expect("sources")
}

/// `tcp4/80 3 exact`, a row each.
fn shown(ports: &Ports) -> Vec<String> {
    let rows = ports.rows.iter().map(|row| {
        let (name, sources, precision) = (row.name, row.sources, row.precision.name());
        let (family, protocol, port) = (name.family, name.protocol, name.port);
        format!("{protocol} {family} {port} {sources} {precision}")
    });
    rows.collect()
}

fn syn(from: &str, to: &str) -> Packet {
    Packet::tcp(end(from), end(to)).flags(SYN).seq(9).ack(0)
}

/// SYNs of many sources to one port, each a byte string written over.
struct Sources {
    frame: Vec<u8>,
    mix: u32,
}

impl Sources {
    fn to(port: u16, seed: u32) -> Self {
        let to = SocketAddr::new(addr("10.0.0.1"), port);
        let packet = Packet::tcp(end("0.0.0.0:1"), to).flags(SYN).seq(9).ack(0);
        Self {
            frame: packet.frame(),
            mix: seed.wrapping_mul(0x9e37_79b9),
        }
    }

    /// Of the n-th source of this seed; no two are alike, and none is loopback's.
    fn of(&mut self, n: u32) -> &[u8] {
        // Odd multipliers keep them apart; the top bit keeps them out of 127.0.0.0/8.
        let bits = n.wrapping_mul(0x85eb_ca6b).wrapping_add(self.mix) | 1 << 31;
        self.frame[26..30].copy_from_slice(&Ipv4Addr::from_bits(bits).octets());
        self.frame[34..36].copy_from_slice(&(n as u16).to_be_bytes());
        &self.frame
    }

    /// How many of the first so many there are.
    fn distinct(&mut self, count: u32) -> u64 {
        let mut all: Vec<[u8; 4]> = (0..count)
            .map(|n| {
                let frame = self.of(n);
                [frame[26], frame[27], frame[28], frame[29]]
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all.len() as u64
    }
}

#[test]
#[ignore = "root"]
fn a_client_counts_on_every_port_it_reaches() {
    let mut lab = lab(|_| ());
    for (n, port) in [22, 80, 443].into_iter().enumerate() {
        let to = format!("10.0.0.1:{port}");
        lab.send_at(TIME + n as i64 * SECOND / 3, &syn("203.0.113.7:5000", &to));
    }
    // Again from another port, and the other of two clients; both families; UDP.
    lab.send(&syn("203.0.113.7:5001", "10.0.0.1:80"));
    lab.send(&syn("203.0.113.8:5000", "10.0.0.1:80"));
    lab.send(&syn("[2001:db8::7]:5000", "[fd00::1]:80"));
    lab.send(&Packet::udp(end("203.0.113.7:5000"), end("10.0.0.1:53")));
    let one = query(1);
    let all = [
        "tcp ipv4 22 1 exact",
        "tcp ipv4 80 2 exact",
        "tcp ipv4 443 1 exact",
        "udp ipv4 53 1 exact",
        "tcp ipv6 80 1 exact",
    ];
    assert_eq!(shown(&read(&lab, &one, TIME + SECOND)), all);

    let mut some = query(1);
    some.ports = vec![443.into(), 50.into(), 53.into()];
    assert_eq!(shown(&read(&lab, &some, TIME + SECOND)), [all[2], all[3]]);
    some.protocol = Some(Protocol::TCP);
    assert_eq!(shown(&read(&lab, &some, TIME + SECOND)), [all[2]]);
    let mut web = query(5);
    web.ports = vec![80.into()];
    web.family = Some(conntrack_core::Family::Ipv4);
    let found = sources(&lab, &web, TIME + SECOND);
    let found: Vec<_> = found.iter().map(|it| (it.addr, it.connections)).collect();
    assert_eq!(found, [(addr("203.0.113.7"), 2), (addr("203.0.113.8"), 1)]);
}

#[test]
#[ignore = "root"]
fn only_connections_that_come_in_anew() {
    let mut lab = Lab::at(&Entry::ALL, |config| config.table.max_flows = 1000);
    // What goes on is none, nor what was begun before, nor what answers nothing.
    lab.send(&Packet::tcp(end("203.0.113.7:1"), end("10.0.0.1:80")).payload(9));
    lab.send(&Packet::tcp(end("203.0.113.7:2"), end("10.0.0.1:80")).flags(SYN | ACK));
    lab.send(&Packet::icmp(
        addr("203.0.113.7"),
        addr("10.0.0.1"),
        [8, 0],
        80,
    ));
    let out = Packet::udp(end("10.0.0.1:4000"), end("203.0.113.7:53")).frame();
    lab.replayer.set(TIME, out.len() as u32);
    testrun::run(lab.program(Entry::TcEgress), &out).expect("test run");
    lab.send(&Packet::udp(end("203.0.113.7:53"), end("10.0.0.1:4000")));
    assert_eq!(shown(&read(&lab, &query(9), TIME)), [""; 0]);
    // By TC as by XDP, once.
    let first = syn("203.0.113.7:3", "10.0.0.1:80");
    let frame = first.frame();
    lab.replayer.set(TIME, frame.len() as u32);
    testrun::run(lab.program(Entry::TcIngress), &frame).expect("test run");
    lab.send(&first);
    let rows = read(&lab, &query(9), TIME);
    assert_eq!(shown(&rows), ["tcp ipv4 80 1 exact"]);
    assert_eq!(sources(&lab, &query(9), TIME)[0].connections, 1);
}

#[test]
#[ignore = "root"]
fn whose_port_and_whose_address() {
    let mut lab = lab(|_| ());
    lab.send(&syn("203.0.113.7:1", "10.0.0.1:80"));
    lab.send(&syn("203.0.113.7:2", "10.0.0.2:80")); // routed
    lab.send(&syn("203.0.113.8:1", "10.0.0.2:80"));
    lab.send(&syn("10.0.0.1:9", "10.0.0.2:80")); // ours
    lab.send(&syn("127.0.0.1:9", "127.0.0.1:80"));
    let count = |change: &dyn Fn(&mut PortQuery)| {
        let mut query = query(9);
        change(&mut query);
        let rows = read(&lab, &query, TIME).rows;
        rows.iter().map(|row| row.sources).sum::<u64>()
    };
    assert_eq!(count(&|_| ()), 2);
    assert_eq!(count(&|q| q.with_local = true), 4);
    assert_eq!(count(&|q| q.dst = PortDst::Local), 1);
    let other = |q: &mut PortQuery| q.dst = PortDst::Net("10.0.0.2/32".parse().expect("a net"));
    assert_eq!(count(&other), 2);
}

/// The same packets where sources are known one by one, and where they are not.
#[test]
#[ignore = "root"]
fn windows_slide_in_both_stages() {
    for (per_port, precision) in [(4096, "exact"), (1, "estimated")] {
        let mut lab = lab(|config| config.per_port = per_port);
        // With one entered, all later ones go into registers.
        for (n, ago) in [(1, 300), (2, 90), (3, 90), (4, 30)] {
            let from = format!("203.0.113.{n}:1");
            lab.send_at(TIME - ago * SECOND, &syn(&from, "10.0.0.1:80"));
        }
        let seen = |seconds| shown(&read(&lab, &query(seconds), TIME));
        let row = |count| vec![format!("tcp ipv4 80 {count} {precision}")];
        assert_eq!(seen(20), [""; 0], "{precision}");
        assert_eq!(seen(60), row(1));
        assert_eq!(seen(89), row(1));
        assert_eq!(seen(91), row(3));
        assert_eq!(seen(120), row(3));
        assert_eq!(seen(301), row(4));
        // It comes again: from now on it is within every window.
        lab.send_at(TIME, &syn("203.0.113.2:2", "10.0.0.1:80"));
        assert_eq!(shown(&read(&lab, &query(60), TIME)), row(2), "{precision}");
        assert_eq!(shown(&read(&lab, &query(1000), TIME)), row(4));
    }
}

/// A million sources of one port, from the first on, with other sources each time.
#[test]
#[ignore = "root"]
fn a_million_sources_are_counted_as_stated() {
    const STEPS: [u32; 4] = [4000, 20_000, 150_000, 1_000_000];
    let mut squares = [0.0; STEPS.len()];
    let seeds = 3;
    for seed in 1..=seeds {
        let mut lab = lab(|_| ());
        let stated = PortsConfig::default().standard_error();
        let mut all = Sources::to(443, seed);
        let (mut sent, mut time) = (0, TIME);
        lab.replayer.set(time, 54);
        for (step, count) in STEPS.into_iter().enumerate() {
            while sent < count {
                // Flows end soon, or there would be no room for more.
                if sent % 10_000 == 0 {
                    time += 200 * SECOND;
                    lab.replayer.set(time, 54);
                }
                lab.run(all.of(sent));
                sent += 1;
            }
            let want = all.distinct(count) as f64;
            let ports = read(&lab, &query(1_000_000), time);
            let [row] = &ports.rows[..] else {
                panic!("{ports:?}");
            };
            let error = row.sources as f64 / want - 1.0;
            println!(
                "seed {seed}: {} of {want}: {:.2} %",
                row.sources,
                error * 100.0
            );
            if step == 0 {
                assert_eq!((row.precision, error), (Precision::Exact, 0.0));
            } else {
                assert_eq!(row.precision, Precision::Estimated(stated));
                assert!(error.abs() < 3.5 * stated, "{error}");
            }
            squares[step] += (error / stated).powi(2);
            assert_eq!((ports.without_registers, ports.evicted), (0, 0));
        }
    }
    for sum in squares {
        assert!((sum / f64::from(seeds)).sqrt() < 2.5, "{squares:?}");
    }
}

#[test]
#[ignore = "root"]
fn a_scan_leaves_services_alone() {
    let mut lab = lab(|config| config.max_sources = 2000);
    for n in 1..=100 {
        lab.send(&syn(&format!("203.0.113.{n}:1"), "10.0.0.1:443"));
    }
    for port in 1..=u16::MAX {
        // Flows are few here; those of the scan push each other out.
        lab.send_at(
            TIME + SECOND,
            &syn("198.51.100.9:1", &format!("10.0.0.1:{port}")),
        );
    }
    let ports = read(&lab, &query(60), TIME + 2 * SECOND);
    let web = ports.rows.iter().find(|row| row.name.port == 443);
    let web = web.expect("a row");
    assert_eq!((web.sources, web.precision), (100, Precision::AtLeast));
    assert_eq!(ports.rows.len(), 64 + 1);
    assert_eq!(ports.scans, 65_535 - 64);
    assert_eq!(ports.evicted, 0);
    // A minute later it is somebody like others.
    lab.send_at(TIME + 62 * SECOND, &syn("198.51.100.9:2", "10.0.0.1:443"));
    let later = read(&lab, &query(30), TIME + 63 * SECOND);
    assert_eq!(shown(&later), ["tcp ipv4 443 1 exact"]);
}

#[test]
#[ignore = "root"]
fn what_has_to_give_way_is_told() {
    let mut lab = lab(|config| {
        config.max_sources = 1000;
        config.per_source = 65_535;
    });
    for port in 1..=20_000_u16 {
        let time = TIME + i64::from(port) * SECOND;
        lab.send_at(time, &syn("198.51.100.9:1", &format!("10.0.0.1:{port}")));
    }
    let now = TIME + 20_000 * SECOND;
    let all = read(&lab, &query(100_000), now);
    assert!(all.evicted > 18_000, "{}", all.evicted);
    let at_least = |ports: &Ports| {
        ports
            .rows
            .iter()
            .all(|it| it.precision == Precision::AtLeast)
    };
    assert!(at_least(&all));
    let few = read(&lab, &query(10), now);
    assert_eq!(few.rows.len(), 11);
    assert!(few.rows.iter().all(|it| it.precision == Precision::Exact));
}

#[test]
#[ignore = "root"]
fn registers_go_to_those_who_need_them() {
    let mut lab = lab(|config| {
        (config.per_port, config.estimated_ports) = (10, 2);
        config.per_source = 65_535;
    });
    let fill = |lab: &mut Lab, port: u16, time: i64| {
        for n in 1..=100 {
            lab.send_at(
                time,
                &syn(&format!("203.0.113.{n}:1"), &format!("10.0.0.1:{port}")),
            );
        }
    };
    for port in [1, 2, 3] {
        fill(&mut lab, port, TIME);
    }
    let ports = read(&lab, &query(60), TIME);
    let precision: Vec<_> = ports.rows.iter().map(|row| row.precision.name()).collect();
    assert_eq!(precision, ["estimated", "estimated", "at_least"]);
    assert_eq!((ports.rows[2].sources, ports.without_registers), (10, 90));
    for row in &ports.rows[..2] {
        assert!((95..=105).contains(&row.sources), "{row:?}");
    }
    // Of a port that nobody new has reached for an hour they are taken; with what was in
    // them, which no window of the next one shows.
    let later = TIME + 3700 * SECOND;
    fill(&mut lab, 2, later - SECOND);
    fill(&mut lab, 4, later);
    let ports = read(&lab, &query(100_000), later);
    let four = ports.rows.iter().find(|row| row.name.port == 4);
    let four = four.expect("a row");
    assert_eq!(four.precision.name(), "estimated");
    assert!((95..=105).contains(&four.sources), "{four:?}");
    let one = ports.rows.iter().find(|row| row.name.port == 1);
    assert_eq!(
        one.expect("a row").sources,
        10,
        "what was entered one by one"
    );
}

#[test]
#[ignore = "root"]
fn off_is_off() {
    let mut lab = lab(|config| config.enabled = false);
    lab.send(&syn("203.0.113.7:1", "10.0.0.1:80"));
    let (query, own) = (query(60), Own::new());
    let reading = Reading::new(&lab.datapath, &query, &own, Clock::stopped(TIME));
    let error = reading.expect_err("nothing is kept");
    assert!(error.to_string().contains("ports.enabled"), "{error}");
    let addr: IpAddr = addr("203.0.113.7");
    assert_eq!(lab.flows()[0].original.tuple.src, addr);
}
