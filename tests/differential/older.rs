//! What an older kernel does otherwise, and is therefore not asked: the Markdown
//! that people read is what the test obeys.

use crate::script::Catalogue;

const TABLE: &str = include_str!("older_kernels.md");

/// Major and minor number.
type Version = (u32, u32);

/// A row: a change of nf_conntrack.
#[derive(Clone, Debug)]
struct Change {
    /// The first kernel that has it.
    since: Version,
    scenarios: Vec<String>,
    protocols: Vec<u8>,
    why: String,
}

/// The changes that this kernel lacks.
#[derive(Clone, Default, Debug)]
pub(crate) struct Older {
    release: String,
    changes: Vec<Change>,
}

impl Older {
    /// The rows of the table that concern the running kernel.
    pub(crate) fn read() -> Self {
        let names = nix::sys::utsname::uname().expect("ask for the kernel's version");
        let release = names.release().to_str().expect("a version in ASCII");
        let running = version(release);
        let rows = TABLE.lines().filter_map(|line| line.strip_prefix("| "));
        let changes = rows.filter(|row| row.starts_with(|c: char| c.is_ascii_digit()));
        Self {
            release: release.to_owned(),
            changes: changes
                .map(change)
                .filter(|change| running < change.since)
                .collect(),
        }
    }

    /// Protocols that are not sent at random.
    pub(crate) fn protocols(&self) -> Vec<u8> {
        let changes = self.changes.iter();
        changes
            .flat_map(|change| change.protocols.clone())
            .collect()
    }

    /// Leaves scenarios out, and says so.
    pub(crate) fn leave_out(&self, label: &str, catalogue: &mut Catalogue) {
        for change in &self.changes {
            let before = catalogue.len();
            let begins = |name: &str| change.scenarios.iter().any(|begin| name.starts_with(begin));
            catalogue.retain(|name| !begins(name));
            println!(
                "{label}: Linux {}: left out {} scenarios, protocols {:?} in walks: {}",
                self.release,
                before - catalogue.len(),
                change.protocols,
                change.why
            );
        }
    }
}

/// The first two numbers of "6.1.0-56-amd64".
fn version(release: &str) -> Version {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|text| text.parse().ok());
    let numbers = next().zip(next());
    numbers.unwrap_or_else(|| panic!("a kernel's version: {release}"))
}

/// The parts of a cell, which may be empty.
fn list(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(", ").filter(|name| !name.is_empty())
}

/// `before | scenarios in backticks | protocols | reason |`
fn change(row: &str) -> Change {
    let cells: Vec<&str> = row
        .trim_end_matches('|')
        .split('|')
        .map(str::trim)
        .collect();
    let [before, scenarios, protocols, why] = cells[..] else {
        panic!("four cells in a row of the older kernels: {row}");
    };
    assert!(why.len() > 20, "a change without a reason: {row}");
    Change {
        since: version(before),
        scenarios: list(scenarios)
            .map(|name| name.trim_matches('`').to_owned())
            .collect(),
        protocols: list(protocols)
            .map(|number| number.parse().expect("a protocol"))
            .collect(),
        why: why.to_owned(),
    }
}
