//! What this kernel does otherwise than the one we follow, and is therefore not
//! asked: the Markdown that people read is what the test obeys.

use crate::script::Catalogue;

const TABLE: &str = include_str!("other_kernels.md");

/// Major, minor and patch number.
type Version = [u32; 3];

/// A row: what some kernels do otherwise.
#[derive(Clone, Debug)]
struct Difference {
    scenarios: Vec<String>,
    walks: Without,
    why: String,
}

/// What is not sent in walks.
#[derive(Clone, Default, Debug)]
pub(crate) struct Without {
    pub(crate) protocols: Vec<u8>,
    pub(crate) rst: bool,
}

/// The differences of this kernel.
#[derive(Clone, Default, Debug)]
pub(crate) struct Kernels {
    release: String,
    differences: Vec<Difference>,
}

impl Kernels {
    /// The rows of the table that concern the running kernel.
    pub(crate) fn read() -> Self {
        let names = nix::sys::utsname::uname().expect("ask for the kernel's version");
        let release = names.release().to_str().expect("a version in ASCII");
        let running = version(release);
        let rows = TABLE.lines().filter_map(|line| line.strip_prefix("| "));
        let rows = rows.filter(|row| row.starts_with("before ") || row.starts_with("from "));
        Self {
            release: release.to_owned(),
            differences: rows.filter_map(|row| difference(row, running)).collect(),
        }
    }

    /// What is not sent in walks.
    pub(crate) fn without(&self) -> Without {
        let mut all = Without::default();
        for difference in &self.differences {
            all.protocols.extend(&difference.walks.protocols);
            all.rst |= difference.walks.rst;
        }
        all
    }

    /// Leaves scenarios out, and says so.
    pub(crate) fn leave_out(&self, label: &str, catalogue: &mut Catalogue) {
        for difference in &self.differences {
            let before = catalogue.len();
            let mut begins = difference.scenarios.iter();
            catalogue.retain(|name| !begins.clone().any(|begin| name.starts_with(begin)));
            println!(
                "{label}: Linux {}: left out {} scenarios ({}, …), and of walks {:?}: {}",
                self.release,
                before - catalogue.len(),
                begins.next().map_or("", String::as_str),
                difference.walks,
                difference.why
            );
        }
    }
}

/// The first numbers of "6.1.0-56-amd64"; those that are missing are 0.
fn version(release: &str) -> Version {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    let mut numbers = release[..end.unwrap_or(release.len())].split('.');
    let mut next = || numbers.next().map_or(Ok(0), str::parse);
    let version = [next(), next(), next()].map(|number| number.expect("a kernel's version"));
    assert_ne!(version[0], 0, "a kernel's version: {release}");
    version
}

/// `from 6.12.96 before 6.13, from 7.3`: one of the ranges has it.
fn within(ranges: &str, running: Version) -> bool {
    ranges.split(", ").any(|range| {
        let words: Vec<&str> = range.split(' ').collect();
        words.chunks(2).all(|pair| match pair {
            ["from", from] => version(from) <= running,
            ["before", before] => running < version(before),
            _ => panic!("a range of kernels: {range}"),
        })
    })
}

/// The parts of a cell, which may be empty.
fn list(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(", ").filter(|name| !name.is_empty())
}

/// `kernels | scenarios in backticks | not in walks | reason |`, if it concerns
/// the running kernel.
fn difference(row: &str, running: Version) -> Option<Difference> {
    let cells = row.trim_end_matches('|').split('|').map(str::trim);
    let cells: Vec<&str> = cells.collect();
    let [kernels, scenarios, walks, why] = cells[..] else {
        panic!("four cells in a row of the kernels: {row}");
    };
    assert!(why.len() > 20, "a difference without a reason: {row}");
    let numbers = list(walks).filter(|word| *word != "RST");
    within(kernels, running).then(|| Difference {
        scenarios: list(scenarios)
            .map(|name| name.trim_matches('`').to_owned())
            .collect(),
        walks: Without {
            protocols: numbers
                .map(|number| number.parse().expect("a protocol"))
                .collect(),
            rst: list(walks).any(|word| word == "RST"),
        },
        why: why.to_owned(),
    })
}

#[test]
fn ranges_of_kernels() {
    for (release, ranges, inside) in [
        ("6.1.0-56-amd64", "before 6.10", true),
        ("6.10", "before 6.10", false),
        ("6.18.44-fc", "from 6.12.96 before 6.13, from 7.3", false),
        ("6.12.95+deb12", "from 6.12.96 before 6.13, from 7.3", false),
        ("6.12.117+deb12", "from 6.12.96 before 6.13, from 7.3", true),
        ("7.3.4+deb13", "from 6.12.96 before 6.13, from 7.3", true),
        ("7.3-rc1", "from 7.3", true),
    ] {
        assert_eq!(
            within(ranges, version(release)),
            inside,
            "{release}: {ranges}"
        );
    }
}
