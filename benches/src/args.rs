//! The command line all benches share: `cargo bench -p conntrack-bench -- --quick`.

use clap::Parser;

/// Compares conntrack with a floor program; needs root. Prints a Markdown
/// table and writes the same as JSON below target/bench.
#[derive(Debug, Parser)]
pub struct Args {
    /// Fewer and shorter rounds: under a minute instead of some minutes
    #[arg(long)]
    pub quick: bool,

    /// Only rows whose name contains this; name the suite, too: --bench datapath
    #[arg(long, value_name = "TEXT")]
    pub row: Option<String>,

    /// Store this run's ratios in benches/baseline.json, which later runs are compared
    /// with: a row that costs a tenth more, on a quiet machine, makes them fail
    #[arg(long)]
    pub save: bool,

    /// What cargo hands to every bench
    #[arg(long, hide = true)]
    bench: bool,
}
