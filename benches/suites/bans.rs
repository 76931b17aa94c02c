//! What bans cost: a packet that is dropped, beside one ban and beside a million; a packet
//! of a flow that nobody bans, with a million bans and while others are being banned; and
//! a new flow, which has to be looked for among them.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use clap::Parser;
use conntrack_bench::args::Args;
use conntrack_bench::baseline::Ratio;
use conntrack_bench::baseline::Ratios;
use conntrack_bench::error::Error;
use conntrack_bench::error::Result;
use conntrack_bench::forward::Talk;
use conntrack_bench::forward::checksum;
use conntrack_bench::machine::Host;
use conntrack_bench::machine::need_root;
use conntrack_bench::machine::pin;
use conntrack_bench::machine::thread_cpu;
use conntrack_bench::report::conclude;
use conntrack_bench::rig::Hook;
use conntrack_bench::rig::Rig;
use conntrack_bench::rig::Target;
use conntrack_bench::series::median;
use conntrack_bench::series::spread;
use conntrack_bench::traffic::Family;
use conntrack_bench::traffic::Flows;
use conntrack_bench::traffic::Proto;
use conntrack_bench::traffic::Step;
use conntrack_bench::traffic::Traffic;
use conntrack_bpf::ListSpec;
use conntrack_bpf::Listed;
use conntrack_bpf::bans::Bans;
use conntrack_bpf::testrun;
use conntrack_core::BanSpec;
use conntrack_core::BanTarget;
use conntrack_core::Config;
use ipnet::IpNet;
use serde::Serialize;

const TRAFFIC: Traffic = Traffic {
    family: Family::V4,
    proto: Proto::Udp,
};

/// Packets of one run.
const PACKETS: u32 = 100_000;
/// Flows that begin in one run.
const NEW: u32 = 20_000;
const ADDRESSES: u32 = 1_000_000;
const NETWORKS: u32 = 10_000;
/// Bans that come in a second.
const RATE: u32 = 1000;

/// What is compared with what.
#[derive(Clone, Copy)]
enum Work {
    DropOne,
    DropMany,
    PassMany,
    PassWhileBanned,
    NewMany,
}

impl Work {
    const ALL: [Self; 5] = [
        Self::DropOne,
        Self::DropMany,
        Self::PassMany,
        Self::PassWhileBanned,
        Self::NewMany,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::DropOne => "dropped, one ban; of the floor's",
            Self::DropMany => "dropped, 1,000,000 bans and 10,000 networks; of the floor's",
            Self::PassMany => "one flow, the same bans; of the same without",
            Self::PassWhileBanned => "one flow, 1,000 others banned a second; of the same without",
            Self::NewMany => "new flows, the same bans; of the same without",
        }
    }
}

/// Trackers with no ban, with one, and with very many.
struct Rigs {
    none: Rig,
    one: Rig,
    many: Rig,
}

impl Rigs {
    fn load() -> Result<Self> {
        let rig = || {
            let mut config = Config::default();
            config.bans.max = ADDRESSES + NETWORKS + 200_000;
            let mut rig = Rig::with(100_000, config)?;
            rig.reset(Hook::Xdp, TRAFFIC.family, 100_000)?;
            Ok::<_, Error>(rig)
        };
        let rigs = Self {
            none: rig()?,
            one: rig()?,
            many: rig()?,
        };
        let banned = Ipv4Addr::from(source(0)).into();
        for rig in [&rigs.one, &rigs.many] {
            let target = BanTarget::of(banned);
            Bans::of(&rig.product().maps)?.put(&BanSpec::new(target))?;
        }
        // 11.0.0.0 and on, every other one; networks of 30 to 20 bits in 100.0.0.0/8.
        let addresses = (0..ADDRESSES).map(|n| (0x0b00_0000 + 2 * n, 32));
        let networks = (0..NETWORKS).map(|n| (0x6400_0000 + (n << 10), 20 + (n % 11) as u8));
        let entries: Vec<_> = addresses
            .chain(networks)
            .filter_map(|(bits, prefix)| {
                let net = IpNet::new(Ipv4Addr::from_bits(bits).into(), prefix).ok()?;
                Some(Listed::new(BanTarget::new(net.trunc())))
            })
            .collect();
        let bans = Bans::of(&rigs.many.product().maps)?;
        bans.load(&ListSpec::new("many"), &entries, |_| false, |_| ())?;
        Ok(rigs)
    }
}

/// Of the n-th source; the first one is banned.
fn source(n: u8) -> [u8; 4] {
    [10, 200, 0, n]
}

/// A datagram of the n-th source.
fn frame(n: u8) -> Vec<u8> {
    let [mut frame, _] = Talk::both_ways(TRAFFIC.proto, 0);
    if let Some(ip) = frame.get_mut(14..34) {
        ip[12..16].copy_from_slice(&source(n));
        ip[10..12].fill(0);
        let sum = checksum(ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// ns a packet of a frame at a time.
fn hot(rig: &Rig, target: Target, frame: &[u8], verdict: u32) -> Result<f64> {
    let before = thread_cpu()?;
    let found = testrun::repeat(rig.program(target), frame, PACKETS)?;
    let spent = thread_cpu()? - before;
    if found != verdict {
        return Err(Error::Wrong {
            row: format!("{target:?}"),
            what: format!("it returned {found}, not {verdict}"),
        });
    }
    Ok(spent.as_nanos() as f64 / f64::from(PACKETS))
}

const DROP: u32 = 1;
const PASS: u32 = 2;

/// ns a flow that begins.
fn new(rig: &mut Rig, target: Target, first: u32) -> Result<f64> {
    let step = TRAFFIC.frame(Step::Open);
    rig.script(TRAFFIC, Step::Open, Flows::in_order(first, NEW));
    let spent = rig.run(target, &step, NEW)?;
    Ok(spent.as_nanos() as f64 / f64::from(NEW))
}

/// Both sides of a comparison, ns, net of the empty program.
fn round(rigs: &mut Rigs, work: Work, number: u32) -> Result<[f64; 2]> {
    let (banned, other) = (frame(0), frame(1));
    let empty = hot(&rigs.none, Target::Empty, &other, PASS)?;
    let floor = |rigs: &Rigs| hot(&rigs.none, Target::Floor, &other, PASS);
    let alone = |rigs: &Rigs| hot(&rigs.none, Target::Product, &other, PASS);
    let [before, after] = match work {
        Work::DropOne => {
            let floor = floor(rigs)?;
            [floor, hot(&rigs.one, Target::Product, &banned, DROP)?]
        }
        Work::DropMany => {
            let floor = floor(rigs)?;
            [floor, hot(&rigs.many, Target::Product, &banned, DROP)?]
        }
        Work::PassMany => {
            let alone = alone(rigs)?;
            [alone, hot(&rigs.many, Target::Product, &other, PASS)?]
        }
        Work::PassWhileBanned => {
            let alone = hot(&rigs.one, Target::Product, &other, PASS)?;
            let busy = while_banning(&rigs.one, number, || {
                hot(&rigs.one, Target::Product, &other, PASS)
            })?;
            [alone, busy]
        }
        Work::NewMany => {
            let first = number * NEW;
            let alone = new(&mut rigs.none, Target::Product, first)?;
            [alone, new(&mut rigs.many, Target::Product, first)?]
        }
    };
    Ok([before - empty, after - empty])
}

/// Does something while others are banned, on another CPU if there is one.
fn while_banning(rig: &Rig, number: u32, mut work: impl FnMut() -> Result<f64>) -> Result<f64> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let banning = scope.spawn(|| -> Result<u32> {
            let bans = Bans::of(&rig.product().maps)?;
            let (begin, mut count) = (Instant::now(), 0);
            while !done.load(Ordering::Relaxed) {
                let due = begin.elapsed().as_secs_f64() * f64::from(RATE);
                while f64::from(count) < due {
                    let bits = 0xc600_0000 + number % 64 * 65_536 + count % 65_536;
                    let addr = Ipv4Addr::from_bits(bits).into();
                    let spec = BanSpec::new(BanTarget::of(addr)).ttl(Duration::from_secs(1));
                    bans.put(&spec)?;
                    count += 1;
                }
                thread::sleep(Duration::from_micros(200));
            }
            Ok(count)
        });
        // Long enough for many of them.
        let until = Instant::now() + Duration::from_millis(50);
        let mut times = Vec::new();
        while times.is_empty() || Instant::now() < until {
            times.push(work()?);
        }
        done.store(true, Ordering::Relaxed);
        let count = banning.join().unwrap_or(Ok(0))?;
        if count == 0 {
            return Err(Error::Wrong {
                row: "banned".to_owned(),
                what: "nobody was".to_owned(),
            });
        }
        Ok(median(&times))
    })
}

/// ns a packet, net of an empty program.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    before_ns: f64,
    after_ns: f64,
    ratio: f64,
    spread: f64,
}

#[derive(Serialize)]
struct Report {
    host: Host,
    quick: bool,
    rows: Vec<Line>,
}

fn measure(args: &Args) -> Result<Report> {
    need_root()?;
    let wanted = args.row.as_deref().unwrap_or_default();
    let works = Work::ALL.into_iter();
    let works: Vec<_> = works.filter(|work| work.name().contains(wanted)).collect();
    if works.is_empty() {
        return Err(Error::NoSuchRow(wanted.to_owned()));
    }
    let mut rigs = Rigs::load()?;
    pin()?;
    let rounds = if args.quick { 15 } else { 101 };
    let mut rows = Vec::new();
    for work in works {
        eprintln!("{} …", work.name());
        // Once unmeasured: flows begin.
        round(&mut rigs, work, 0)?;
        let sides: Result<Vec<_>> = (1..=rounds).map(|n| round(&mut rigs, work, n)).collect();
        let sides = sides?;
        let side = |at: usize| sides.iter().map(|it| it[at]).collect::<Vec<_>>();
        let ratios: Vec<_> = sides.iter().map(|[a, b]| b / a).collect();
        rows.push(Line {
            name: work.name(),
            before_ns: median(&side(0)),
            after_ns: median(&side(1)),
            ratio: median(&ratios),
            spread: spread(&ratios),
        });
    }
    Ok(Report {
        host: Host::read()?,
        quick: args.quick,
        rows,
    })
}

fn print(report: &Report) {
    println!("| ns a packet, XDP, UDP/IPv4 | of | is | ratio | spread |");
    println!("|---|---:|---:|---:|---:|");
    for row in &report.rows {
        let spread = row.spread * 100.0;
        println!(
            "| {} | {:.1} | {:.1} | {:.2} | {spread:.0} % |",
            row.name, row.before_ns, row.after_ns, row.ratio,
        );
    }
    println!();
}

impl Ratios for Report {
    fn ratios(&self) -> Vec<Ratio> {
        let rows = self.rows.iter().map(|row| Ratio {
            name: row.name.to_owned(),
            ratio: row.ratio,
            spread: row.spread,
        });
        rows.collect()
    }

    /// Another CPU may be at work for it; a busy one shows in the spread.
    fn noisy(&self) -> bool {
        false
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    conclude("bans", &args, measure(&args), print)
}
