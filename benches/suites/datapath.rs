//! What a packet costs: product against floor, by `BPF_PROG_TEST_RUN`.

use std::process::ExitCode;

use clap::Parser;
use conntrack_bench::args::Args;
use conntrack_bench::error::Error;
use conntrack_bench::error::Result;
use conntrack_bench::machine::Host;
use conntrack_bench::machine::Watch;
use conntrack_bench::machine::need_root;
use conntrack_bench::machine::pin;
use conntrack_bench::program::ProgramSize;
use conntrack_bench::report::Report;
use conntrack_bench::report::conclude;
use conntrack_bench::rig::Rig;
use conntrack_bench::row::Beside;
use conntrack_bench::row::Effort;
use conntrack_bench::row::Row;
use conntrack_bench::row::Work;
use conntrack_bench::traffic::Family;
use conntrack_bench::traffic::Proto;
use conntrack_bench::traffic::Traffic;
use conntrack_core::Config;

const fn traffic(family: Family, proto: Proto) -> Traffic {
    Traffic { family, proto }
}

const TCP4: Traffic = traffic(Family::V4, Proto::Tcp);
const TCP6: Traffic = traffic(Family::V6, Proto::Tcp);
const UDP4: Traffic = traffic(Family::V4, Proto::Udp);
const UDP6: Traffic = traffic(Family::V6, Proto::Udp);
const ICMP4: Traffic = traffic(Family::V4, Proto::Icmp);

/// Those of one size stand together: programs are loaded once for all of them.
const ROWS: [Row; 28] = [
    Row::new(Work::Established, TCP4, 1).budget(1.35),
    Row::new(Work::Established, TCP6, 1),
    Row::new(Work::Established, UDP4, 1),
    Row::new(Work::Established, UDP6, 1),
    Row::new(Work::Established, ICMP4, 1),
    Row::new(Work::Established, TCP4, 1).at_tc(),
    Row::new(Work::Established, TCP4, 1).without_health(),
    Row::new(Work::Established, TCP6, 1).without_health(),
    Row::new(Work::Established, TCP4, 1)
        .without_health()
        .without_windows(),
    Row::new(Work::Established, UDP4, 1).checked(64),
    Row::new(Work::Established, UDP4, 1).checked(1400),
    Row::new(Work::Established, TCP4, 10_000),
    Row::new(Work::Established, TCP4, 100_000).budget(0.75),
    Row::new(Work::Established, TCP4, 100_000).without_health(),
    Row::new(Work::Established, TCP4, 100_000)
        .without_health()
        .without_windows(),
    Row::new(Work::Established, TCP6, 100_000),
    Row::new(Work::Established, UDP4, 100_000),
    Row::new(Work::NewEmpty, TCP4, 100_000).budget(1.05),
    Row::new(Work::NewEmpty, TCP6, 100_000),
    Row::new(Work::NewEmpty, UDP4, 100_000),
    Row::new(Work::NewLoaded, TCP4, 100_000),
    Row::new(Work::NewFull, TCP4, 100_000).budget(1.30),
    Row::new(Work::NewEmpty, TCP4, 100_000).without_fingerprints(),
    Row::new(Work::NewEmpty, TCP4, 100_000).without_ports(),
    Row::new(Work::NewEmpty, TCP4, 100_000).alone(),
    Row::new(Work::NewFull, TCP4, 100_000).alone(),
    Row::new(Work::Established, TCP4, 1_000_000).budget(0.75),
    Row::new(Work::NewEmpty, TCP4, 1_000_000).budget(1.05),
];

/// A round of a row with many flows is one lap or less: between two packets of
/// a flow, all the others' come, and the other programs' run.
fn effort(row: &Row, quick: bool) -> Effort {
    let (rounds, packets) = match (row.work(), row.capacity() >= 1_000_000, quick) {
        (Work::Established, _, true) => (15, 100_000),
        (Work::Established, _, false) => (100, 100_000),
        (_, false, true) => (5, 10_000),
        (_, false, false) => (25, 10_000),
        (_, true, true) => (2, 100_000),
        (_, true, false) => (9, 100_000),
    };
    Effort { rounds, packets }
}

fn measure(args: &Args) -> Result<Report> {
    need_root()?;
    let wanted = args.row.as_deref().unwrap_or_default();
    let rows = ROWS.iter().filter(|row| row.name().contains(wanted));
    let host = Host::read()?;
    let watch = Watch::start(pin()?)?;
    let mut outcomes = Vec::new();
    let mut programs: Vec<ProgramSize> = Vec::new();
    let mut loaded: Option<((u32, bool, Beside), Rig)> = None;
    for row in rows {
        eprintln!("{} …", row.name());
        let kind = (row.capacity(), row.is_checked(), row.beside());
        let mut rig = match loaded.take() {
            Some((of, rig)) if of == kind => rig,
            other => {
                drop(other);
                let mut config = Config::default();
                config.conntrack.checksum = kind.1;
                config.health.enabled = kind.2.health;
                config.fingerprints.enabled = kind.2.fingerprints;
                config.ports.enabled = kind.2.ports;
                let options = Rig::options(kind.0, config);
                Rig::of(match kind.2.windows {
                    true => options,
                    false => options.without_windows(),
                })?
            }
        };
        outcomes.push(row.run(&mut rig, effort(row, args.quick))?);
        for program in rig.sizes()? {
            if programs.iter().all(|known| known.name != program.name) {
                programs.push(program);
            }
        }
        loaded = Some((kind, rig));
    }
    if outcomes.is_empty() {
        return Err(Error::NoSuchRow(wanted.to_owned()));
    }
    Ok(Report {
        host,
        quiet: watch.stop()?,
        quick: args.quick,
        rows: outcomes,
        programs,
    })
}

fn main() -> ExitCode {
    let args = Args::parse();
    conclude("datapath", &args, measure(&args), |report| {
        println!("{}", report.markdown())
    })
}
