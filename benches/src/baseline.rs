//! A stored run to compare with, by ratios: `benches/baseline.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::error::Context;
use crate::error::Result;

/// A ratio may exceed the stored one by this part: two quiet runs differ by less.
const TOLERANCE: f64 = 0.10;

/// A ratio that moved more than this within its run is not judged.
const STEADY: f64 = 0.10;

/// Of one row, that one more of something costs compared with something else.
#[derive(Clone, Debug)]
pub struct Ratio {
    /// The row's.
    pub name: String,
    /// The less, the better.
    pub ratio: f64,
    /// How far it moved within the run, as a part of it.
    pub spread: f64,
}

/// What a run of a suite says of ratios.
pub trait Ratios {
    /// One for each row that has one.
    fn ratios(&self) -> Vec<Ratio>;

    /// Whether the machine was too busy to judge by them.
    fn noisy(&self) -> bool;
}

/// By suite, then by row.
type Stored = BTreeMap<String, BTreeMap<String, f64>>;

/// A row that costs more than it did.
#[derive(Clone, Debug)]
pub struct Regression {
    name: String,
    stored: f64,
    found: f64,
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            stored,
            found,
        } = self;
        write!(f, "{name}: {found:.2}, was {stored:.2}")
    }
}

/// What comparing came to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Rows that were judged.
    pub judged: usize,
    /// Rows that were not: unsteady ones, or unknown to the baseline.
    pub skipped: usize,
    /// Those of the judged ones that cost more.
    pub worse: Vec<Regression>,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}

fn read() -> Result<Stored> {
    let path = path();
    let what = format!("read {}", path.display());
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::new()),
        other => other.context(&what)?,
    };
    serde_json::from_str(&text)
        .map_err(io::Error::from)
        .context(&what)
}

/// Compares a run of a suite with what is stored of it.
///
/// # Errors
/// If the file cannot be read.
pub fn compare(suite: &str, ratios: &[Ratio]) -> Result<Verdict> {
    let stored = read()?.remove(suite).unwrap_or_default();
    Ok(judge(&stored, ratios))
}

fn judge(stored: &BTreeMap<String, f64>, ratios: &[Ratio]) -> Verdict {
    let mut verdict = Verdict::default();
    for found in ratios {
        let Some(stored) = stored.get(&found.name).filter(|_| found.spread <= STEADY) else {
            verdict.skipped += 1;
            continue;
        };
        verdict.judged += 1;
        if found.ratio > stored * (1.0 + TOLERANCE) {
            verdict.worse.push(Regression {
                name: found.name.clone(),
                stored: *stored,
                found: found.ratio,
            });
        }
    }
    verdict
}

/// Stores a run's ratios in place of the same rows' older ones; where.
///
/// # Errors
/// If the file cannot be read or written.
pub fn save(suite: &str, ratios: &[Ratio]) -> Result<PathBuf> {
    let mut stored = read()?;
    let rows = stored.entry(suite.to_owned()).or_default();
    for found in ratios {
        let rounded = (found.ratio * 1000.0).round() / 1000.0;
        rows.insert(found.name.clone(), rounded);
    }
    let path = path();
    let what = format!("write {}", path.display());
    let mut text = serde_json::to_string_pretty(&stored)
        .map_err(io::Error::from)
        .context(&what)?;
    text.push('\n');
    fs::write(&path, text).context(&what)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(name: &str, ratio: f64, spread: f64) -> Ratio {
        Ratio {
            name: name.to_owned(),
            ratio,
            spread,
        }
    }

    #[test]
    fn more_than_a_tenth_is_worse_and_an_unsteady_row_is_not_judged() {
        let stored = BTreeMap::from([("a".to_owned(), 1.0), ("b".to_owned(), 2.0)]);
        let verdict = judge(
            &stored,
            &[
                ratio("a", 1.11, 0.01),
                ratio("b", 2.19, 0.01),
                ratio("b", 9.0, 0.5),
                ratio("new", 9.0, 0.0),
            ],
        );
        assert_eq!((verdict.judged, verdict.skipped), (2, 2));
        let worse: Vec<String> = verdict.worse.iter().map(ToString::to_string).collect();
        assert_eq!(worse, ["a: 1.11, was 1.00"]);
    }
}
