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
use conntrack_bench::report::Report;
use conntrack_bench::report::write_json;
use conntrack_bench::rig::Hook;
use conntrack_bench::rig::ProgramSize;
use conntrack_bench::row::Row;
use conntrack_bench::row::Work;
use conntrack_bench::traffic::Family;
use conntrack_bench::traffic::Proto;
use conntrack_bench::traffic::Traffic;

const fn traffic(family: Family, proto: Proto) -> Traffic {
    Traffic { family, proto }
}

const TCP4: Traffic = traffic(Family::V4, Proto::Tcp);
const TCP6: Traffic = traffic(Family::V6, Proto::Tcp);
const UDP4: Traffic = traffic(Family::V4, Proto::Udp);
const UDP6: Traffic = traffic(Family::V6, Proto::Udp);
const ICMP4: Traffic = traffic(Family::V4, Proto::Icmp);

/// Rounds and packets a round: for one flow, for many, and for new ones.
struct Effort {
    hot: (usize, u32),
    cold: (usize, u32),
    new: (usize, u32),
    new_million: (usize, u32),
}

const QUICK: Effort = Effort {
    hot: (15, 100_000),
    cold: (15, 100_000),
    new: (5, 10_000),
    new_million: (2, 100_000),
};
const FULL: Effort = Effort {
    hot: (100, 200_000),
    cold: (60, 200_000),
    new: (25, 10_000),
    new_million: (9, 100_000),
};

fn rows(effort: &Effort) -> Vec<Row> {
    let row = |name, work, hook, traffic, flows, budget, (rounds, packets)| Row {
        name,
        work,
        hook,
        traffic,
        flows,
        budget,
        rounds,
        packets,
    };
    let Effort {
        hot,
        cold,
        new,
        new_million,
    } = *effort;
    let (xdp, tc, old) = (Hook::Xdp, Hook::Tc, Work::Established);
    vec![
        row(
            "established TCP/IPv4, 1 flow",
            old,
            xdp,
            TCP4,
            1,
            Some(1.35),
            hot,
        ),
        row("established TCP/IPv6, 1 flow", old, xdp, TCP6, 1, None, hot),
        row("established UDP/IPv4, 1 flow", old, xdp, UDP4, 1, None, hot),
        row("established UDP/IPv6, 1 flow", old, xdp, UDP6, 1, None, hot),
        row("ICMP/IPv4, 1 flow", old, xdp, ICMP4, 1, None, hot),
        row(
            "established TCP/IPv4, 1 flow, TC",
            old,
            tc,
            TCP4,
            1,
            None,
            hot,
        ),
        row(
            "established TCP/IPv4, 10k flows",
            old,
            xdp,
            TCP4,
            10_000,
            None,
            cold,
        ),
        row(
            "established TCP/IPv4, 100k flows",
            old,
            xdp,
            TCP4,
            100_000,
            Some(0.75),
            cold,
        ),
        row(
            "established TCP/IPv6, 100k flows",
            old,
            xdp,
            TCP6,
            100_000,
            None,
            cold,
        ),
        row(
            "established UDP/IPv4, 100k flows",
            old,
            xdp,
            UDP4,
            100_000,
            None,
            cold,
        ),
        row(
            "established TCP/IPv4, 1M flows",
            old,
            xdp,
            TCP4,
            1_000_000,
            Some(0.75),
            cold,
        ),
        row(
            "new TCP/IPv4, 100k into empty",
            Work::NewEmpty,
            xdp,
            TCP4,
            100_000,
            Some(1.05),
            new,
        ),
        row(
            "new TCP/IPv6, 100k into empty",
            Work::NewEmpty,
            xdp,
            TCP6,
            100_000,
            None,
            new,
        ),
        row(
            "new UDP/IPv4, 100k into empty",
            Work::NewEmpty,
            xdp,
            UDP4,
            100_000,
            None,
            new,
        ),
        row(
            "new TCP/IPv4, 1M into empty",
            Work::NewEmpty,
            xdp,
            TCP4,
            1_000_000,
            Some(1.05),
            new_million,
        ),
        row(
            "new TCP/IPv4, 100k table at 80 %",
            Work::NewLoaded,
            xdp,
            TCP4,
            100_000,
            None,
            (new.0, 1_000),
        ),
        row(
            "new TCP/IPv4, 100k table full, evicting",
            Work::NewFull,
            xdp,
            TCP4,
            100_000,
            Some(1.3),
            new,
        ),
    ]
}

fn measure(args: &Args) -> Result<Report> {
    need_root()?;
    let effort = if args.quick { &QUICK } else { &FULL };
    let mut rows = rows(effort);
    if let Some(part) = &args.row {
        rows.retain(|row| row.name.contains(part));
        if rows.is_empty() {
            return Err(Error::NoSuchRow(part.clone()));
        }
    }
    let host = Host::read()?;
    let watch = Watch::start(pin()?)?;
    let mut outcomes = Vec::new();
    let mut programs: Vec<ProgramSize> = Vec::new();
    for row in rows {
        eprintln!("{} …", row.name);
        let outcome = row.run()?;
        for program in &outcome.programs {
            if programs.iter().all(|known| known.name != program.name) {
                programs.push(program.clone());
            }
        }
        outcomes.push(outcome);
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
    let report = measure(&Args::parse())
        .and_then(|report| write_json("datapath", &report).map(|path| (report, path)));
    match report {
        Ok((report, path)) => {
            println!("{}", report.markdown());
            eprintln!("written to {}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("datapath: {error}");
            ExitCode::from(3)
        }
    }
}
