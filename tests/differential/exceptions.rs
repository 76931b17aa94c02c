//! The table of exceptions: the Markdown that people read is what the test
//! obeys.

use crate::compare::Field;

const TABLE: &str = include_str!("exceptions.md");

/// A row: in scenarios whose name begins so, these fields may differ.
#[derive(Debug)]
struct Exception {
    scenarios: Vec<String>,
    fields: Vec<String>,
}

/// The rows of the table.
#[derive(Debug)]
pub(crate) struct Exceptions(Vec<Exception>);

impl Exceptions {
    /// Reads the table.
    pub(crate) fn read() -> Self {
        let rows = TABLE.lines().filter(|line| line.starts_with("| `"));
        Self(rows.map(row).collect())
    }

    /// Whether a difference in this field is known of this scenario.
    pub(crate) fn allow(&self, scenario: &str, field: Field) -> bool {
        self.0.iter().any(|exception| {
            exception
                .scenarios
                .iter()
                .any(|name| scenario.starts_with(name.as_str()))
                && exception.fields.iter().any(|name| name == field.name())
        })
    }
}

/// `| scenarios in backticks | fields | reason |`
fn row(line: &str) -> Exception {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [scenarios, fields, reason] = cells[..] else {
        panic!("three cells in a row of the exceptions: {line}");
    };
    assert!(reason.len() > 20, "an exception without a reason: {line}");
    let list = |cell: &str| -> Vec<String> {
        cell.split(',')
            .map(|name| name.trim().trim_matches('`').to_owned())
            .collect()
    };
    Exception {
        scenarios: list(scenarios),
        fields: list(fields),
    }
}
