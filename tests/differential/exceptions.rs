//! The table of exceptions: the Markdown that people read is what the test
//! obeys.

use std::collections::BTreeSet;

use crate::compare::Field;

const TABLE: &str = include_str!("exceptions.md");

/// A row: under these profiles, in scenarios whose name begins so, these fields
/// may differ.
#[derive(Debug)]
struct Exception {
    scenarios: Vec<&'static str>,
    profiles: Vec<&'static str>,
    fields: Vec<&'static str>,
}

/// A row that was needed, by its number, and what was needed of it.
pub(crate) type Use = (usize, &'static str);

/// The rows of the table.
#[derive(Debug)]
pub(crate) struct Exceptions(Vec<Exception>);

impl Exceptions {
    /// Reads the table.
    pub(crate) fn read() -> Self {
        let rows = TABLE.lines().filter(|line| line.starts_with("| `"));
        Self(rows.map(row).collect())
    }

    /// Whether a difference in this field is known of this scenario under this
    /// profile; if so, takes down by what.
    pub(crate) fn allow(
        &self,
        profile: &str,
        scenario: &str,
        field: Field,
        used: &mut BTreeSet<Use>,
    ) -> bool {
        let mut allowed = false;
        for (number, row) in self.0.iter().enumerate() {
            let words = [
                row.profiles.iter().find(|name| **name == profile),
                row.scenarios
                    .iter()
                    .find(|begin| scenario.starts_with(**begin)),
                row.fields.iter().find(|name| **name == field.name()),
            ];
            if let [Some(profile), Some(scenario), Some(field)] = words {
                allowed = true;
                used.extend([profile, scenario, field].map(|word| (number, *word)));
            }
        }
        allowed
    }

    /// What no difference has needed: scenarios and profiles of each row. Which fields
    /// differ is decided by how fast the steps follow each other, too, and whether a flow
    /// still lives where settings are by chance, by these.
    pub(crate) fn unused(&self, used: &BTreeSet<Use>) -> Vec<String> {
        let rows = self.0.iter().enumerate();
        let words = rows.flat_map(|(number, row)| {
            let words = [&row.profiles, &row.scenarios];
            words.into_iter().flatten().map(move |word| (number, *word))
        });
        words
            .filter(|word| word.1 != "mixed" && !used.contains(word))
            .map(|(number, word)| format!("row {}: {word}", number + 1))
            .collect()
    }
}

/// `| scenarios in backticks | profiles | fields | reason |`
fn row(line: &'static str) -> Exception {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [scenarios, profiles, fields, reason] = cells[..] else {
        panic!("four cells in a row of the exceptions: {line}");
    };
    assert!(reason.len() > 20, "an exception without a reason: {line}");
    let list = |cell: &'static str| -> Vec<&'static str> {
        cell.split(',')
            .map(|name| name.trim().trim_matches('`'))
            .collect()
    };
    Exception {
        scenarios: list(scenarios),
        profiles: list(profiles),
        fields: list(fields),
    }
}

#[test]
fn a_row_holds_under_its_profiles_and_is_used_word_by_word() {
    let table = Exceptions(vec![row(
        "| `v4/a/`, `v6/a/` | strict | flows | because of something else |",
    )]);
    let mut used = BTreeSet::new();
    assert!(!table.allow("liberal", "v4/a/1", Field::Flows, &mut used));
    assert!(!table.allow("strict", "v4/a/1", Field::State, &mut used));
    assert!(!table.allow("strict", "v4/b/1", Field::Flows, &mut used));
    assert_eq!(table.unused(&used).len(), 3);
    assert!(table.allow("strict", "v4/a/1", Field::Flows, &mut used));
    assert_eq!(table.unused(&used), ["row 1: v6/a/"]);
}
