//! What reading the flow table costs, from its mapping: flows a second.

use std::fmt::Write;
use std::hint::black_box;
use std::process::ExitCode;

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
use conntrack_bench::traffic::Step;
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

/// Our text of a table, compared with conntrack-tools' of nf_conntrack's.
#[derive(Serialize)]
struct Compared {
    flows: u64,
    /// CPU time of a flow.
    ours_ns: f64,
    tools_ns: f64,
    ratio: f64,
    spread: f64,
    budget: f64,
}

/// As many as nf_conntrack has room for by default, and some to spare.
const COMPARED: u32 = 200_000;

/// Of conntrack-tools' time.
const BUDGET: f64 = 0.1;

#[derive(Serialize)]
struct Report {
    host: Host,
    quiet: Quiet,
    quick: bool,
    rows: Vec<Line>,
    compared: Option<Compared>,
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
    let compared = if "conntrack -L".contains(wanted) {
        eprintln!("{COMPARED} flows: conntrack -L …");
        Some(compare(repeats)?)
    } else {
        None
    };
    if rows.is_empty() && compared.is_none() {
        return Err(Error::NoSuchRow(wanted.to_owned()));
    }
    Ok(Report {
        host,
        quiet: watch.stop()?,
        quick: args.quick,
        rows,
        compared,
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

/// Both print as many flows, in turn.
fn compare(repeats: usize) -> Result<Compared> {
    let flows = Flows::in_order(0, COMPARED);
    let mut rig = Rig::load(COMPARED)?;
    rig.reset(Hook::Xdp, TRAFFIC.family, 1)?;
    establish(&mut rig, TRAFFIC, flows, &[Target::Product])?;
    let tables = Tables::map(rig.product())?;
    let kernel = Path::new(Kind::NfConntrack)?;
    for step in [Step::Open, Step::Answer, Step::Confirm] {
        kernel.send(&mut Talk::new(TRAFFIC.proto, step, flows), COMPARED)?;
    }
    let (mut ours, mut tools, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repeats {
        let before = thread_cpu()?;
        let came = Task::Text.run(&tables)?;
        let spent = (thread_cpu()? - before).as_nanos() as f64 / came as f64;
        let (shown, time) = kernel.list_by_tools()?;
        if (came, shown) != (COMPARED.into(), COMPARED.into()) {
            return Err(Error::Wrong {
                row: "conntrack -L".to_owned(),
                what: format!("{COMPARED} flows began; {came} of ours, {shown} of nf_conntrack's"),
            });
        }
        ours.push(spent);
        tools.push(time.as_nanos() as f64 / shown as f64);
        ratios.push(spent / (time.as_nanos() as f64 / shown as f64));
    }
    Ok(Compared {
        flows: COMPARED.into(),
        ours_ns: median(&ours),
        tools_ns: median(&tools),
        ratio: median(&ratios),
        spread: spread(&ratios),
        budget: BUDGET,
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
    if let Some(compared) = &report.compared {
        let Compared {
            flows,
            ours_ns,
            tools_ns,
            ratio,
            budget,
            ..
        } = compared;
        let sign = if ratio <= budget { "≤" } else { "**over**" };
        println!();
        println!(
            "{flows} flows to text: {ours_ns:.0} ns each, `conntrack -L` {tools_ns:.0} ns; {ratio:.3} of it, {sign} {budget:.2}"
        );
    }
}

impl Ratios for Report {
    fn ratios(&self) -> Vec<Ratio> {
        let compared = self.compared.iter().map(|compared| Ratio {
            name: "text, of conntrack -L's time".to_owned(),
            ratio: compared.ratio,
            spread: compared.spread,
        });
        compared.collect()
    }

    fn noisy(&self) -> bool {
        self.quiet.is_noisy()
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    conclude("dump", &args, measure(&args), print)
}
