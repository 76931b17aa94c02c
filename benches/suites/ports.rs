//! What it costs to keep who reaches which port: a new flow, of a source that is known, of
//! one that is entered, of one that goes into registers; and a packet of a flow that is
//! there, which must cost nothing more.

use std::process::ExitCode;

use clap::Parser;
use conntrack_bench::args::Args;
use conntrack_bench::baseline::Ratio;
use conntrack_bench::baseline::Ratios;
use conntrack_bench::error::Error;
use conntrack_bench::error::Result;
use conntrack_bench::machine::Host;
use conntrack_bench::machine::need_root;
use conntrack_bench::machine::pin;
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
use conntrack_core::Config;
use conntrack_core::PortsConfig;
use serde::Serialize;

const TRAFFIC: Traffic = Traffic {
    family: Family::V4,
    proto: Proto::Udp,
};

/// Flows that begin in one run.
const NEW: u32 = 20_000;
/// Flows of one client, as the driver numbers them.
const OF_A_CLIENT: u32 = 64;

#[derive(Clone, Copy)]
enum Work {
    Known,
    Entered,
    Noted,
    Goes,
}

impl Work {
    const ALL: [Self; 4] = [Self::Known, Self::Entered, Self::Noted, Self::Goes];

    fn name(self) -> &'static str {
        match self {
            Self::Known => "new flows, 63 of 64 of a known source",
            Self::Entered => "new flows, each of a source that is entered and pushes one out",
            Self::Noted => "new flows, each of a source that goes into registers",
            Self::Goes => "packets of flows that are there",
        }
    }

    /// How ports are kept for it.
    fn ports(self) -> PortsConfig {
        let mut ports = PortsConfig {
            per_source: PortsConfig::MAX_PER,
            ..PortsConfig::default()
        };
        match self {
            Self::Known | Self::Goes => ports.per_port = PortsConfig::MAX_PER,
            Self::Entered => (ports.per_port, ports.max_sources) = (PortsConfig::MAX_PER, 16_384),
            Self::Noted => ports.per_port = 1,
        }
        ports
    }

    /// The flows of a round.
    fn flows(self, number: u32) -> Flows {
        match self {
            Self::Known => Flows::in_order(number * NEW, NEW),
            Self::Goes => Flows::in_order(0, NEW),
            // One of each client, or nearly.
            Self::Entered | Self::Noted => Flows {
                first: number * NEW * OF_A_CLIENT,
                count: NEW * OF_A_CLIENT,
                in_order: false,
            },
        }
    }
}

fn rig(ports: PortsConfig) -> Result<Rig> {
    let mut config = Config::default();
    config.ports = ports;
    let mut rig = Rig::with(100_000, config)?;
    rig.reset(Hook::Xdp, TRAFFIC.family, 100_000)?;
    Ok(rig)
}

/// ns a packet, net of the empty program.
fn run(rig: &mut Rig, flows: Flows) -> Result<f64> {
    let frame = TRAFFIC.frame(Step::Open);
    let mut spent = |target| {
        rig.script(TRAFFIC, Step::Open, flows);
        let spent = rig.run(target, &frame, NEW)?;
        Ok::<_, Error>(spent.as_nanos() as f64 / f64::from(NEW))
    };
    Ok(spent(Target::Product)? - spent(Target::Empty)?)
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    off_ns: f64,
    on_ns: f64,
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
    pin()?;
    let wanted = args.row.as_deref().unwrap_or_default();
    let works = Work::ALL.into_iter();
    let works: Vec<_> = works.filter(|work| work.name().contains(wanted)).collect();
    if works.is_empty() {
        return Err(Error::NoSuchRow(wanted.to_owned()));
    }
    let rounds = if args.quick { 15 } else { 45 };
    let mut rows = Vec::new();
    for work in works {
        eprintln!("{} …", work.name());
        let off = PortsConfig {
            enabled: false,
            ..work.ports()
        };
        let (mut off, mut on) = (rig(off)?, rig(work.ports())?);
        let mut round = |number| {
            let flows = work.flows(number);
            Ok::<_, Error>([run(&mut off, flows)?, run(&mut on, flows)?])
        };
        // Unmeasured: tables fill, flows begin.
        round(0)?;
        round(1)?;
        let sides: Result<Vec<_>> = (2..rounds + 2).map(round).collect();
        let sides = sides?;
        let side = |at: usize| sides.iter().map(|it| it[at]).collect::<Vec<_>>();
        let ratios: Vec<_> = sides.iter().map(|[off, on]| on / off).collect();
        rows.push(Line {
            name: work.name(),
            off_ns: median(&side(0)),
            on_ns: median(&side(1)),
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
    println!("| ns a packet, XDP, UDP/IPv4 | off | on | ratio | spread |");
    println!("|---|---:|---:|---:|---:|");
    for row in &report.rows {
        let spread = row.spread * 100.0;
        println!(
            "| {} | {:.1} | {:.1} | {:.2} | {spread:.0} % |",
            row.name, row.off_ns, row.on_ns, row.ratio,
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

    fn noisy(&self) -> bool {
        false
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    conclude("ports", &args, measure(&args), print)
}
