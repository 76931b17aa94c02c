//! What reading the flow table costs, from its mapping: flows a second.

use std::fmt::Write;
use std::hint::black_box;
use std::process::ExitCode;

use clap::Parser;
use conntrack_bench::args::Args;
use conntrack_bench::error::Error;
use conntrack_bench::error::Result;
use conntrack_bench::machine::Host;
use conntrack_bench::machine::Quiet;
use conntrack_bench::machine::Watch;
use conntrack_bench::machine::need_root;
use conntrack_bench::machine::pin;
use conntrack_bench::machine::thread_cpu;
use conntrack_bench::measure::establish;
use conntrack_bench::report::write_json;
use conntrack_bench::rig::Hook;
use conntrack_bench::rig::Rig;
use conntrack_bench::rig::Target;
use conntrack_bench::series::median;
use conntrack_bench::series::spread;
use conntrack_bench::traffic::Family;
use conntrack_bench::traffic::Flows;
use conntrack_bench::traffic::Proto;
use conntrack_bench::traffic::Traffic;
use conntrack_bpf::Clock;
use conntrack_bpf::table::Tables;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::Protocol;
use conntrack_core::format::conntrack_line;
use serde::Serialize;

const TRAFFIC: Traffic = Traffic {
    family: Family::V4,
    proto: Proto::Tcp,
};

/// What is done with the flows of a table.
#[derive(Clone, Copy)]
enum Task {
    Walk,
    Reject,
    Text,
    Json,
}

impl Task {
    const ALL: [Self; 4] = [Self::Walk, Self::Reject, Self::Text, Self::Json];

    fn name(self) -> &'static str {
        match self {
            Self::Walk => "walk",
            Self::Reject => "walk, a filter rejects all",
            Self::Text => "to conntrack-tools' text",
            Self::Json => "to JSON lines",
        }
    }

    /// Does it once; how many flows came out.
    fn run(self, tables: &Tables) -> Result<u64> {
        let filter = FlowFilter {
            protocol: matches!(self, Self::Reject).then_some(Protocol::UDP),
            ..FlowFilter::default()
        };
        let mut text = String::new();
        let mut flows = 0;
        for flow in tables.walk(filter, Clock::live()?) {
            let flow = flow?;
            text.clear();
            match self {
                Self::Walk | Self::Reject => {}
                // Writing to a String cannot fail.
                Self::Text => drop(writeln!(text, "{}", conntrack_line(&flow))),
                Self::Json => text.push_str(&json(&flow)?),
            }
            black_box((&flow, &text));
            flows += 1;
        }
        Ok(flows)
    }
}

fn json(flow: &Flow) -> Result<String> {
    serde_json::to_string(flow).map_err(|error| Error::Io {
        what: "turn a flow into JSON".to_owned(),
        source: error.into(),
    })
}

/// One line of the report.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    flows: u64,
    ns_a_flow: f64,
    flows_a_second: f64,
    spread: f64,
}

#[derive(Serialize)]
struct Report {
    host: Host,
    quiet: Quiet,
    quick: bool,
    rows: Vec<Line>,
}

fn measure(args: &Args) -> Result<Report> {
    need_root()?;
    let (repeats, counts): (usize, &[u32]) = if args.quick {
        (3, &[10_000, 1_000_000])
    } else {
        (25, &[10_000, 100_000, 1_000_000])
    };
    let wanted = args.row.as_deref().unwrap_or_default();
    let host = Host::read()?;
    let watch = Watch::start(pin()?)?;
    let mut rows = Vec::new();
    for &count in counts {
        let mut rig = Rig::load(count)?;
        rig.reset(Hook::Xdp, TRAFFIC.family, 1)?;
        let flows = Flows::in_order(0, count);
        establish(&mut rig, TRAFFIC, flows, &[Target::Product])?;
        let tables = Tables::map(rig.product())?;
        let there = tables.count(&Clock::live()?).active;
        for task in Task::ALL {
            if task.name().contains(wanted) {
                eprintln!("{there} flows: {} …", task.name());
                rows.push(line(task, &tables, there, repeats)?);
            }
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

fn line(task: Task, tables: &Tables, there: u64, repeats: usize) -> Result<Line> {
    let expected = if matches!(task, Task::Reject) {
        0
    } else {
        there
    };
    let mut times = Vec::new();
    for _ in 0..repeats {
        let before = thread_cpu()?;
        let came = task.run(tables)?;
        let spent = thread_cpu()? - before;
        if came != expected {
            return Err(Error::Wrong {
                row: task.name().to_owned(),
                what: format!("{expected} flows expected, {came} came"),
            });
        }
        times.push(spent.as_nanos() as f64 / there as f64);
    }
    let ns = median(&times);
    Ok(Line {
        name: task.name(),
        flows: there,
        ns_a_flow: ns,
        flows_a_second: 1e9 / ns,
        spread: spread(&times),
    })
}

fn print(report: &Report) {
    println!("| dump of a table, CPU time | flows | ns a flow | flows a second | spread |");
    println!("|---|---:|---:|---:|---:|");
    for row in &report.rows {
        println!(
            "| {} | {} | {:.1} | {:.1} M | {:.0} % |",
            row.name,
            row.flows,
            row.ns_a_flow,
            row.flows_a_second / 1e6,
            row.spread * 100.0,
        );
    }
}

fn main() -> ExitCode {
    let report = measure(&Args::parse())
        .and_then(|report| write_json("dump", &report).map(|path| (report, path)));
    match report {
        Ok((report, path)) => {
            print(&report);
            eprintln!("written to {}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("dump: {error}");
            ExitCode::from(3)
        }
    }
}
