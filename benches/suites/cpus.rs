//! What a packet costs while another CPU is at work: on another flow, and on the
//! other direction of the same one.

use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;

use clap::Parser;
use conntrack_bench::args::Args;
use conntrack_bench::baseline::Ratio;
use conntrack_bench::baseline::Ratios;
use conntrack_bench::error::Error;
use conntrack_bench::error::Result;
use conntrack_bench::forward::Talk;
use conntrack_bench::machine::Host;
use conntrack_bench::machine::cpus;
use conntrack_bench::machine::need_root;
use conntrack_bench::machine::pin_to;
use conntrack_bench::machine::thread_cpu;
use conntrack_bench::measure::establish;
use conntrack_bench::report::conclude;
use conntrack_bench::rig::Hook;
use conntrack_bench::rig::Rig;
use conntrack_bench::rig::Target;
use conntrack_bench::series::median;
use conntrack_bench::series::spread;
use conntrack_bench::traffic::Family;
use conntrack_bench::traffic::Flows;
use conntrack_bench::traffic::Proto;
use conntrack_bench::traffic::Traffic;
use conntrack_bpf::testrun;
use serde::Serialize;

/// Datagrams, which need not fit to one another.
const TRAFFIC: Traffic = Traffic {
    family: Family::V4,
    proto: Proto::Udp,
};

/// Packets of one run.
const PACKETS: u32 = 200_000;

/// Who is at work.
#[derive(Clone, Copy)]
enum Work {
    Alone,
    Apart,
    Together,
}

impl Work {
    const ALL: [Self; 3] = [Self::Alone, Self::Apart, Self::Together];

    fn name(self) -> &'static str {
        match self {
            Self::Alone => "one CPU, one flow",
            Self::Apart => "two CPUs, a flow each",
            Self::Together => "two CPUs, the two directions of one flow",
        }
    }

    /// What each CPU sends: a direction of a flow.
    fn frames(self) -> Vec<Vec<u8>> {
        let [there, back] = Talk::both_ways(TRAFFIC.proto, 0);
        let [_, elsewhere] = Talk::both_ways(TRAFFIC.proto, 1);
        match self {
            Self::Alone => vec![there],
            Self::Apart => vec![there, elsewhere],
            Self::Together => vec![there, back],
        }
    }
}

/// CPU time of a packet, ns, net of an empty program under the same conditions.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    floor_ns: f64,
    product_ns: f64,
    ratio: f64,
    spread: f64,
}

#[derive(Serialize)]
struct Report {
    host: Host,
    quick: bool,
    rows: Vec<Line>,
}

/// Each CPU sends its frame, all at once; the mean time of a packet.
fn run(program: BorrowedFd<'_>, frames: &[Vec<u8>], on: &[usize]) -> Result<f64> {
    let start = Barrier::new(frames.len());
    let send = |frame: &[u8], cpu: usize| -> Result<f64> {
        let pinned = pin_to(cpu);
        // Everybody comes here, or the others would wait for ever.
        start.wait();
        pinned?;
        let before = thread_cpu()?;
        testrun::repeat(program, frame, PACKETS)?;
        let spent = thread_cpu()? - before;
        Ok(spent.as_nanos() as f64 / f64::from(PACKETS))
    };
    let times: Vec<f64> = thread::scope(|scope| {
        let threads: Vec<_> = frames
            .iter()
            .zip(on)
            .map(|(frame, cpu)| scope.spawn(|| send(frame, *cpu)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(gone())))
            .collect::<Result<_>>()
    })?;
    Ok(times.iter().sum::<f64>() / times.len() as f64)
}

fn gone() -> Error {
    Error::Wrong {
        row: "two CPUs".to_owned(),
        what: "a thread is gone".to_owned(),
    }
}

fn line(rig: &Rig, work: Work, on: &[usize], rounds: usize) -> Result<Line> {
    let frames = work.frames();
    let mut net = [Vec::new(), Vec::new()];
    let before = rig.counts().established;
    for round in 0..rounds {
        let mut ns = [0.0; 3];
        for turn in 0..Target::ALL.len() {
            let target = Target::ALL[(round + turn) % Target::ALL.len()];
            ns[target as usize] = run(rig.program(target), &frames, on)?;
        }
        let [empty, floor, product] = ns;
        net[0].push(floor - empty);
        net[1].push(product - empty);
    }
    let sent = rounds as u64 * frames.len() as u64 * u64::from(PACKETS);
    let counted = rig.counts().established - before;
    if counted != sent {
        return Err(Error::Wrong {
            row: work.name().to_owned(),
            what: format!("{sent} packets were sent, {counted} counted"),
        });
    }
    let ratios: Vec<f64> = net[1].iter().zip(&net[0]).map(|(a, b)| a / b).collect();
    Ok(Line {
        name: work.name(),
        floor_ns: median(&net[0]),
        product_ns: median(&net[1]),
        ratio: median(&ratios),
        spread: spread(&ratios),
    })
}

fn measure(args: &Args) -> Result<Report> {
    need_root()?;
    let on = cpus()?;
    let wanted = args.row.as_deref().unwrap_or_default();
    let works = Work::ALL
        .into_iter()
        .filter(|work| work.name().contains(wanted));
    let works: Vec<Work> = works.collect();
    if works.is_empty() {
        return Err(Error::NoSuchRow(wanted.to_owned()));
    }
    let mut rig = Rig::load(10_000)?;
    rig.reset(Hook::Tc, TRAFFIC.family, 10_000)?;
    let both = [Target::Floor, Target::Product];
    establish(&mut rig, TRAFFIC, Flows::in_order(0, 2), &both)?;
    let rounds = if args.quick { 9 } else { 51 };
    let mut rows = Vec::new();
    for work in works {
        if work.frames().len() > on.len() {
            eprintln!("{}: there is one CPU only", work.name());
            continue;
        }
        eprintln!("{} …", work.name());
        rows.push(line(&rig, work, &on, rounds)?);
    }
    Ok(Report {
        host: Host::read()?,
        quick: args.quick,
        rows,
    })
}

fn print(report: &Report) {
    println!("| ns a packet of each CPU, TC, UDP/IPv4 | floor | conntrack | ratio | spread |");
    println!("|---|---:|---:|---:|---:|");
    for row in &report.rows {
        println!(
            "| {} | {:.1} | {:.1} | {:.2} | {:.0} % |",
            row.name,
            row.floor_ns,
            row.product_ns,
            row.ratio,
            row.spread * 100.0,
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

    /// No CPU is left to be watched; a busy one shows in the spread.
    fn noisy(&self) -> bool {
        false
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    conclude("cpus", &args, measure(&args), print)
}
