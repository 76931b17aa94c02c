//! Markdown for people, JSON for programs.

use std::env;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use crate::error::Context;
use crate::error::Result;
use crate::machine::Host;
use crate::machine::Quiet;
use crate::program::ProgramSize;
use crate::row::Outcome;

/// Above these, figures say more of the neighbours than of the programs.
const NOISY_SPREAD: f64 = 0.10;
const NOISY_OTHERS: f64 = 0.10;
const NOISY_STOLEN: f64 = 0.01;

/// Everything a run found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it ran.
    pub host: Host,
    /// How quiet it was.
    pub quiet: Quiet,
    /// Whether it was a quick run.
    pub quick: bool,
    /// The rows, as they were measured.
    pub rows: Vec<Outcome>,
    /// The programs, each once.
    pub programs: Vec<ProgramSize>,
}

impl Report {
    /// Rows' ratios that moved too much for their figures to be trusted.
    #[must_use]
    pub fn unsteady(&self) -> Vec<&str> {
        self.rows
            .iter()
            .filter(|row| row.summary.spread > NOISY_SPREAD)
            .map(|row| row.name.as_str())
            .collect()
    }

    /// Whether the machine was too busy, or a row too unsteady.
    #[must_use]
    pub fn noisy(&self) -> bool {
        self.quiet.others_busy > NOISY_OTHERS
            || self.quiet.stolen > NOISY_STOLEN
            || !self.unsteady().is_empty()
    }

    /// The report as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.write_rows(&mut text);
        self.write_programs(&mut text);
        self.write_machine(&mut text);
        text
    }

    fn write_rows(&self, text: &mut String) {
        text.push_str("| ns a packet, net of an empty program | floor | conntrack | ratio | quartiles | budget | spread |\n");
        text.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
        for row in &self.rows {
            let summary = &row.summary;
            let budget = row.budget.map_or(String::from("–"), |budget| {
                let sign = if summary.ratio <= budget {
                    "≤"
                } else {
                    "**over**"
                };
                format!("{sign} {budget:.2}")
            });
            let line = format!(
                "| {} | {:.1} | {:.1} | {:.2} | {:.2}–{:.2} | {budget} | {:.0} % |\n",
                row.name,
                summary.floor_ns,
                summary.product_ns,
                summary.ratio,
                summary.ratio_low,
                summary.ratio_high,
                summary.spread * 100.0,
            );
            text.push_str(&line);
        }
        text.push('\n');
    }

    fn write_programs(&self, text: &mut String) {
        text.push_str("| program | instructions | machine code, bytes | verified instructions |\n");
        text.push_str("|---|---:|---:|---:|\n");
        for program in &self.programs {
            let ProgramSize {
                name,
                instructions,
                machine_bytes,
                verified,
            } = program;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {name} | {instructions} | {machine_bytes} | {verified} |"
            );
        }
        text.push('\n');
    }

    fn write_machine(&self, text: &mut String) {
        let Host {
            kernel,
            processor,
            cpus,
        } = &self.host;
        let Quiet {
            cpu,
            others_busy,
            stolen,
        } = &self.quiet;
        let line = format!(
            "Linux {kernel}, {processor}, {cpus} CPUs; ran on CPU {cpu}; the others were {:.0} % busy, {:.1} % stolen.\n",
            others_busy * 100.0,
            stolen * 100.0,
        );
        text.push_str(&line);
        if self.noisy() {
            let rows = self.unsteady().join(", ");
            let rows = if rows.is_empty() {
                String::new()
            } else {
                format!(" Unsteady: {rows}.")
            };
            text.push_str(
                "The machine was **noisy**: take the ratios for rough, the times for nothing.",
            );
            text.push_str(&rows);
            text.push('\n');
        }
    }
}

/// Writes `report` as target/bench/`name`.json; says where that is.
///
/// # Errors
/// If the folder cannot be made or the file not be written.
pub fn write_json(name: &str, report: &impl Serialize) -> Result<PathBuf> {
    let folder = target_folder()?.join("bench");
    let path = folder.join(name).with_extension("json");
    let what = format!("write {}", path.display());
    fs::create_dir_all(&folder).context(&what)?;
    let mut json = serde_json::to_string_pretty(report)
        .map_err(io::Error::from)
        .context(&what)?;
    json.push('\n');
    fs::write(&path, json).context(&what)?;
    Ok(path)
}

/// Cargo's target folder: this program is target/release/deps/NAME.
fn target_folder() -> Result<PathBuf> {
    let program = env::current_exe().context("find out where this program is")?;
    Ok(program
        .ancestors()
        .nth(3)
        .map_or_else(|| PathBuf::from("target"), PathBuf::from))
}
