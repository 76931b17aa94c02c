//! What the background sweep costs: its own time with a table full of flows, none
//! or all of them over, and what packets on its CPU notice of it.

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
use conntrack_bench::machine::Host;
use conntrack_bench::machine::Quiet;
use conntrack_bench::machine::Watch;
use conntrack_bench::machine::need_root;
use conntrack_bench::machine::pin;
use conntrack_bench::measure::establish;
use conntrack_bench::measure::send;
use conntrack_bench::report::conclude;
use conntrack_bench::rig::Hook;
use conntrack_bench::rig::Rig;
use conntrack_bench::rig::Target;
use conntrack_bench::series::median;
use conntrack_bench::series::quantile;
use conntrack_bench::traffic::Family;
use conntrack_bench::traffic::Flows;
use conntrack_bench::traffic::Proto;
use conntrack_bench::traffic::Step;
use conntrack_bench::traffic::Traffic;
use conntrack_bpf::events::Listener;
use conntrack_bpf::events::Wish;
use conntrack_bpf::sweep;
use conntrack_core::Config;
use conntrack_core::EventType;
use conntrack_core::stats::SweepStats;
use serde::Serialize;

const FLOWS: u32 = 1_000_000;

const fn traffic(proto: Proto) -> Traffic {
    Traffic {
        family: Family::V4,
        proto,
    }
}

/// Seconds that an unanswered UDP flow lives here, of which filling the table
/// and looking at it take one or two.
const LIFE: u32 = 6;

/// Time between two packets whose latency is taken.
const PACE: Duration = Duration::from_micros(20);

/// Sweeps of a full table, milliseconds each, and how long its slices were.
#[derive(Serialize)]
struct Sweeps {
    name: &'static str,
    flows: u64,
    budget_ms: f64,
    ms: f64,
    worst_slice_us: f64,
    events: Option<[u64; 2]>,
}

/// From the moment a packet was due until it was done, in microseconds.
#[derive(Serialize)]
struct Latency {
    name: &'static str,
    packets: usize,
    median: f64,
    p99: f64,
    p999: f64,
    worst: f64,
}

#[derive(Serialize)]
struct Report {
    host: Host,
    quiet: Quiet,
    quick: bool,
    sweeps: Vec<Sweeps>,
    latency: Vec<Latency>,
}

fn stats(rig: &Rig) -> Result<SweepStats> {
    let read = sweep::read(rig.product())?;
    let (stats, _) = read.ok_or_else(|| Error::Wrong {
        row: "sweep".to_owned(),
        what: "this kernel cannot sweep".to_owned(),
    })?;
    Ok(stats)
}

fn check(row: &str, what: &str, expected: u64, found: u64) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Wrong {
        row: row.to_owned(),
        what: format!("{expected} {what} expected, {found} found"),
    })
}

/// Milliseconds of the sweep's own time that a time round took, and its flows.
fn one(rig: &Rig) -> Result<(f64, u64)> {
    let before = stats(rig)?;
    let removed = sweep::now(rig.product())?;
    let after = stats(rig)?;
    let rounds = (after.runs - before.runs) as f64;
    let ms = (after.time_ns - before.time_ns) as f64 / 1e6;
    // Where flows go, one round does it all, and the other finds nothing.
    Ok((if removed > 0 { ms } else { ms / rounds }, removed))
}

/// Reads events until told to stop and none is left; how many came, and were lost.
fn drain(mut listener: Listener, stop: &AtomicBool) -> Result<[u64; 2]> {
    let mut came = 0;
    loop {
        let last = stop.load(Ordering::Relaxed);
        while let Some(event) = listener.next_event()? {
            came += u64::from(event.flow().is_some());
        }
        if last {
            return Ok([came, listener.lost().total()]);
        }
        listener.wait(Duration::from_millis(10))?;
    }
}

/// Fills the empty table; how many flows are there then.
fn fill(rig: &mut Rig) -> Result<u64> {
    rig.reset(Hook::Xdp, Family::V4, 1)?;
    let before = rig.counts();
    let flows = Flows::in_order(0, FLOWS);
    let udp = traffic(Proto::Udp);
    send(rig, udp, Step::Open, flows, &[Target::Product])?;
    let after = rig.counts();
    Ok(after.created - before.created - (after.evicted - before.evicted))
}

/// A sweep of flows that are over while somebody listens: its milliseconds, and the
/// events that came and that were lost.
fn heard(rig: &Rig) -> Result<(f64, [u64; 2])> {
    let wish = Wish {
        types: vec![EventType::Destroy],
        buffer: 256 << 20,
        ..Wish::default()
    };
    // A time round may be under way: what it takes out is told, too.
    let before = stats(rig)?.removed.total();
    let listener = Listener::new(rig.product(), &wish)?;
    let begun = stats(rig)?.removed.total();
    let stop = AtomicBool::new(false);
    let (swept, told) = thread::scope(|scope| {
        let told = scope.spawn(|| drain(listener, &stop));
        let swept = one(rig);
        stop.store(true, Ordering::Relaxed);
        (swept, told.join())
    });
    let (ms, _) = swept?;
    let told = told.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let after = stats(rig)?.removed.total();
    let sum = told
        .iter()
        .sum::<u64>()
        .clamp(after - begun, after - before);
    check("all over", "events", sum, told.iter().sum())?;
    Ok((ms, told))
}

/// Fills the table, sweeps it while no flow is over, and when all are.
fn sweeps(repeats: usize) -> Result<[Sweeps; 2]> {
    let mut config = Config::default();
    config.sweep.interval = 3600; // only when asked
    config.conntrack.udp_timeout = LIFE;
    let mut rig = Rig::with(FLOWS, config)?;
    sweep::start(&rig.product().programs)?;
    let mut times = [Vec::new(), Vec::new()];
    let (mut there, mut told, mut worst) = (0, [0; 2], [0.0; 2]);
    for _ in 0..repeats {
        let gone = stats(&rig)?.removed.total();
        there = fill(&mut rig)?;
        let over = Instant::now() + Duration::from_secs(u64::from(LIFE) + 1);
        let (ms, removed) = one(&rig)?;
        check("none over", "flows removed", 0, removed)?;
        times[0].push(ms);
        worst[0] = stats(&rig)?.worst_slice_ns as f64 / 1e3;

        thread::sleep(over.duration_since(Instant::now()));
        let (ms, events) = heard(&rig)?;
        // Some may have gone before, in the time round that never rests.
        let removed = stats(&rig)?.removed.total() - gone;
        check("all over", "flows removed", there, removed)?;
        times[1].push(ms);
        told = events;
        worst[1] = stats(&rig)?.worst_slice_ns as f64 / 1e3;
    }
    let row = |name, budget_ms, at: usize, events| Sweeps {
        name,
        flows: there,
        budget_ms,
        ms: median(&times[at]),
        worst_slice_us: worst[at],
        events,
    };
    Ok([
        row("no flow is over", 60.0, 0, None),
        row("all are, DESTROY to a listener", 300.0, 1, Some(told)),
    ])
}

/// Packets at a steady pace: one that is due while something else has the CPU
/// waits, and so do those after it.
fn latency(name: &'static str, interval: u32, packets: usize) -> Result<Latency> {
    let mut config = Config::default();
    config.sweep.interval = interval;
    let mut rig = Rig::with(FLOWS, config)?;
    sweep::start(&rig.product().programs)?;
    let tcp = traffic(Proto::Tcp);
    rig.reset(Hook::Xdp, Family::V4, 1)?;
    establish(&mut rig, tcp, Flows::in_order(0, FLOWS), &[Target::Product])?;
    let frame = tcp.frame(Step::Data);
    rig.script(tcp, Step::Data, Flows::strided(FLOWS));
    let mut times = Vec::with_capacity(packets);
    let mut due = Instant::now();
    for _ in 0..packets {
        due += PACE;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        rig.run(Target::Product, &frame, 1)?;
        times.push(due.elapsed().as_nanos() as f64 / 1e3);
    }
    Ok(Latency {
        name,
        packets,
        median: median(&times),
        p99: quantile(&times, 0.99),
        p999: quantile(&times, 0.999),
        worst: quantile(&times, 1.0),
    })
}

fn measure(args: &Args) -> Result<Report> {
    need_root()?;
    let (repeats, packets) = if args.quick {
        (2, 500_000)
    } else {
        (9, 2_000_000)
    };
    let host = Host::read()?;
    let watch = Watch::start(pin()?)?;
    eprintln!("{FLOWS} flows: sweeps …");
    let sweeps = sweeps(repeats)?.into();
    let mut rows = Vec::new();
    for (name, interval) in [
        ("no sweep", 0),
        ("a sweep every 10 s, as by default", 10),
        ("a sweep every second", 1),
    ] {
        eprintln!("{FLOWS} flows: latency, {name} …");
        rows.push(latency(name, interval, packets)?);
    }
    Ok(Report {
        host,
        quiet: watch.stop()?,
        quick: args.quick,
        sweeps,
        latency: rows,
    })
}

fn print(report: &Report) {
    println!("| a sweep, its own time | flows | ms | budget | longest slice, µs | events, lost |");
    println!("|---|---:|---:|---:|---:|---:|");
    for row in &report.sweeps {
        let events = row
            .events
            .map_or_else(|| "–".to_owned(), |[came, lost]| format!("{came}, {lost}"));
        println!(
            "| {} | {} | {:.1} | {:.0} | {:.0} | {events} |",
            row.name, row.flows, row.ms, row.budget_ms, row.worst_slice_us,
        );
    }
    println!();
    println!("| a packet in 20 µs, due until done, µs | median | 99 % | 99.9 % | worst |");
    println!("|---|---:|---:|---:|---:|");
    for row in &report.latency {
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.0} |",
            row.name, row.median, row.p99, row.p999, row.worst,
        );
    }
}

/// Its budgets are times: there is nothing to compare with in one run.
impl Ratios for Report {
    fn ratios(&self) -> Vec<Ratio> {
        Vec::new()
    }

    fn noisy(&self) -> bool {
        self.quiet.is_noisy()
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    conclude("sweep", &args, measure(&args), print)
}
