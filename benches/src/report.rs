//! Markdown for people, JSON for programs.

use std::env;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::args::Args;
use crate::baseline;
use crate::baseline::Ratio;
use crate::baseline::Ratios;
use crate::error::Context;
use crate::error::Result;
use crate::machine::Host;
use crate::machine::Quiet;
use crate::program::ProgramSize;
use crate::row::Outcome;

/// Above this, a figure says more of the neighbours than of the program.
const NOISY_SPREAD: f64 = 0.10;

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
        self.quiet.is_noisy() || !self.unsteady().is_empty()
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
fn write_json(name: &str, report: &impl Serialize) -> Result<PathBuf> {
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

impl Ratios for Report {
    fn ratios(&self) -> Vec<Ratio> {
        let rows = self.rows.iter().map(|row| Ratio {
            name: row.name.clone(),
            ratio: row.summary.ratio,
            spread: row.summary.spread,
        });
        rows.collect()
    }

    fn noisy(&self) -> bool {
        self.quiet.is_noisy()
    }
}

/// A suite's end: prints what it found, writes it down and compares it with the
/// baseline, or says what went wrong. Fails with 1 if something costs more than it did.
pub fn conclude<R: Serialize + Ratios>(
    name: &str,
    args: &Args,
    report: Result<R>,
    print: fn(&R),
) -> ExitCode {
    let judged = report.and_then(|report| {
        let path = write_json(name, &report)?;
        print(&report);
        eprintln!("written to {}", path.display());
        against_baseline(name, args, &report)
    });
    match judged {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::from(3)
        }
    }
}

/// Whether nothing costs more than it did; says what it was compared with.
fn against_baseline(name: &str, args: &Args, report: &impl Ratios) -> Result<bool> {
    let ratios = report.ratios();
    if ratios.is_empty() {
        return Ok(true);
    }
    if args.save {
        let path = baseline::save(name, &ratios)?;
        eprintln!("baseline: stored in {}", path.display());
        return Ok(true);
    }
    if report.noisy() {
        eprintln!("baseline: not compared, the machine was too busy");
        return Ok(true);
    }
    let verdict = baseline::compare(name, &ratios)?;
    eprintln!(
        "baseline: {} rows compared, {} not (unsteady or new), {} cost more",
        verdict.judged,
        verdict.skipped,
        verdict.worse.len(),
    );
    for worse in &verdict.worse {
        eprintln!("  {worse}");
    }
    Ok(verdict.worse.is_empty())
}

/// Cargo's target folder: this program is target/release/deps/NAME.
fn target_folder() -> Result<PathBuf> {
    let program = env::current_exe().context("find out where this program is")?;
    Ok(program
        .ancestors()
        .nth(3)
        .map_or_else(|| PathBuf::from("target"), PathBuf::from))
}
