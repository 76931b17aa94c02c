//! What a forwarded packet costs end to end, over veth through a router.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use conntrack_bench::args::Args;
use conntrack_bench::baseline::Ratio;
use conntrack_bench::baseline::Ratios;
use conntrack_bench::error::Error;
use conntrack_bench::error::Result;
use conntrack_bench::forward::Kind;
use conntrack_bench::forward::Path;
use conntrack_bench::forward::Talk;
use conntrack_bench::machine::Host;
use conntrack_bench::machine::Quiet;
use conntrack_bench::machine::Watch;
use conntrack_bench::machine::need_root;
use conntrack_bench::machine::pin;
use conntrack_bench::report::conclude;
use conntrack_bench::series::median;
use conntrack_bench::series::spread;
use conntrack_bench::traffic::Flows;
use conntrack_bench::traffic::Proto;
use conntrack_bench::traffic::Step;
use serde::Serialize;

/// What it may add to a packet, of what nf_conntrack adds.
const BUDGET: f64 = 0.4;

/// A UDP flow is a stream once it has been answered and is older than this.
const STREAM_AGE: Duration = Duration::from_millis(2100);

/// What is sent in a row.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    proto: Proto,
    /// Those that talk; or as many as begin in one round.
    flows: u32,
    new: bool,
}

impl Row {
    /// The number of its first flow: those of a protocol's rows have none in common.
    fn first(self) -> u32 {
        match (self.flows, self.new) {
            (1, _) => 0,
            (_, false) => 1_000_000,
            (_, true) => 2_000_000,
        }
    }
}

const fn row(name: &'static str, proto: Proto, flows: u32, new: bool) -> Row {
    Row {
        name,
        proto,
        flows,
        new,
    }
}

/// One protocol after the other, with routers of its own: all flows of one fit into
/// the 262,144 that nf_conntrack has room for by default. New flows come last.
const ROWS: [Row; 6] = [
    row("TCP/IPv4, 1 flow", Proto::Tcp, 1, false),
    row("TCP/IPv4, 100k flows", Proto::Tcp, 100_000, false),
    row("TCP/IPv4, new flows", Proto::Tcp, 5_000, true),
    row("UDP/IPv4, 1 flow", Proto::Udp, 1, false),
    row("UDP/IPv4, 100k flows", Proto::Udp, 100_000, false),
    row("UDP/IPv4, new flows", Proto::Udp, 5_000, true),
];

/// Wall-clock ns of a forwarded packet, medians of the rounds.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    /// The whole way, in the order of [`Kind::ALL`].
    whole: [f64; 4],
    /// What ours adds to a way with empty XDP programs.
    product: f64,
    /// What nf_conntrack adds to a way without any.
    nf_conntrack: f64,
    ratio: f64,
    spread: f64,
    budget: f64,
}

#[derive(Serialize)]
struct Report {
    host: Host,
    quiet: Quiet,
    quick: bool,
    rows: Vec<Line>,
}

/// Establishes flows on every path.
fn establish(paths: &[Path], row: Row, flows: Flows) -> Result<()> {
    for step in [Step::Open, Step::Answer, Step::Confirm] {
        if step == Step::Confirm && row.proto == Proto::Udp {
            sleep(STREAM_AGE);
        }
        for path in paths {
            path.send(&mut Talk::new(row.proto, step, flows), flows.count)?;
        }
    }
    Ok(())
}

/// Each path's packets after the other's, in a round; beginning with another path
/// each time.
fn measure_row(paths: &[Path], row: Row, rounds: u32) -> Result<Line> {
    let established = Flows {
        first: row.first(),
        count: row.flows,
        in_order: false,
    };
    let before = counts(paths)?;
    let mut talks: Vec<Talk> = Vec::new();
    if !row.new {
        establish(paths, row, established)?;
        talks.extend(
            paths
                .iter()
                .map(|_| Talk::new(row.proto, Step::Data, established)),
        );
    }
    let packets = if row.new { row.flows } else { 20_000 };
    let mut times: Vec<[f64; 4]> = Vec::new();
    for round in 0..rounds {
        let mut spent = [0.0; 4];
        for turn in 0..paths.len() {
            let at = (round as usize + turn) % paths.len();
            let time = if row.new {
                let flows = Flows::in_order(row.first() + round * row.flows, row.flows);
                paths[at].send(&mut Talk::new(row.proto, Step::Open, flows), packets)?
            } else {
                paths[at].send(&mut talks[at], packets)?
            };
            spent[at] = time.as_nanos() as f64 / f64::from(packets);
        }
        times.push(spent);
    }
    let begun = if row.new {
        rounds * row.flows
    } else {
        row.flows
    };
    for (path, (before, after)) in paths.iter().zip(before.iter().zip(counts(paths)?)) {
        check(path.kind(), *before, after, u64::from(begun))?;
    }
    Ok(line(row, &times))
}

fn counts(paths: &[Path]) -> Result<Vec<Option<u64>>> {
    paths.iter().map(Path::flows).collect()
}

/// Fails unless a tracker knows so many flows more than before.
fn check(kind: Kind, before: Option<u64>, after: Option<u64>, begun: u64) -> Result<()> {
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(());
    };
    if (after - before).abs_diff(begun) <= begun / 100 {
        return Ok(());
    }
    Err(Error::Wrong {
        row: format!("{kind:?}"),
        what: format!("{begun} flows began, it has {} more", after - before),
    })
}

fn line(row: Row, times: &[[f64; 4]]) -> Line {
    let of = |kind: Kind| times.iter().map(move |spent| spent[kind as usize]);
    let added = |with: Kind, without: Kind| -> Vec<f64> {
        of(with).zip(of(without)).map(|(a, b)| a - b).collect()
    };
    let product = added(Kind::Product, Kind::EmptyXdp);
    let kernel = added(Kind::NfConntrack, Kind::Plain);
    let ratios: Vec<f64> = product.iter().zip(&kernel).map(|(a, b)| a / b).collect();
    let whole = Kind::ALL.map(|kind| median(&of(kind).collect::<Vec<_>>()));
    Line {
        name: row.name,
        whole,
        product: median(&product),
        nf_conntrack: median(&kernel),
        ratio: median(&ratios),
        spread: spread(&ratios),
        budget: BUDGET,
    }
}

fn measure(args: &Args) -> Result<Report> {
    need_root()?;
    let wanted = args.row.as_deref().unwrap_or_default();
    let rounds = if args.quick { 9 } else { 15 };
    let host = Host::read()?;
    let watch = Watch::start(pin()?)?;
    let mut rows = Vec::new();
    for proto in [Proto::Tcp, Proto::Udp] {
        let is_wanted = |row: &&Row| row.proto == proto && row.name.contains(wanted);
        let wanted: Vec<&Row> = ROWS.iter().filter(is_wanted).collect();
        if wanted.is_empty() {
            continue;
        }
        let paths = Kind::ALL.into_iter().map(Path::new);
        let paths: Vec<Path> = paths.collect::<Result<_>>()?;
        for row in wanted {
            eprintln!("forwarded: {} …", row.name);
            rows.push(measure_row(&paths, *row, rounds)?);
        }
    }
    if rows.is_empty() {
        return Err(Error::NoSuchRow(wanted.to_owned()));
    }
    Ok(Report {
        host,
        quiet: watch.stop()?,
        quick: args.quick,
        rows,
    })
}

fn print(report: &Report) {
    println!(
        "| ns a forwarded packet | plain | empty XDP | conntrack | nf_conntrack | conntrack adds | nf_conntrack adds | ratio | budget | spread |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for row in &report.rows {
        let [plain, empty, product, kernel] = row.whole;
        let sign = if row.ratio <= row.budget {
            "≤"
        } else {
            "**over**"
        };
        println!(
            "| {} | {plain:.0} | {empty:.0} | {product:.0} | {kernel:.0} | {:.0} | {:.0} | {:.2} | {sign} {:.2} | {:.0} % |",
            row.name,
            row.product,
            row.nf_conntrack,
            row.ratio,
            row.budget,
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

    fn noisy(&self) -> bool {
        self.quiet.is_noisy()
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    conclude("forward", &args, measure(&args), print)
}
