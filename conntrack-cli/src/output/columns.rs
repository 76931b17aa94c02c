//! Short tables: all rows are known before the first is written.

use std::io;
use std::io::Write;

/// A heading, and whether what is below it stands to the right, as numbers do.
pub(crate) type Column = (&'static str, bool);

/// Writes rows below their headings, which may be left out.
pub(crate) fn columns<const N: usize>(
    columns: [Column; N],
    rows: &[[String; N]],
    header: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let headings = columns.map(|(heading, _)| heading.to_owned());
    let headings = header.then_some(&headings);
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = headings.into_iter().chain(rows).map(|row| &row[column]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    for row in headings.into_iter().chain(rows) {
        let cells = row.iter().zip(widths).zip(columns);
        let cells = cells.map(|((cell, width), (_, right))| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        let line: Vec<String> = cells.collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

/// A cell of what may not be there.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["a", "1000"], ["longer", "7"]].map(|row| row.map(str::to_owned));
        let write = |rows: &[[String; 2]], header| {
            let mut out = Vec::new();
            columns([("WHAT", false), ("N", true)], rows, header, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            write(&rows, true),
            "WHAT       N\na       1000\nlonger     7\n"
        );
        assert_eq!(write(&rows[1..], false), "longer  7\n");
        assert_eq!(write(&[], true), "WHAT  N\n");
        assert_eq!(or_dash(Some(5)) + &or_dash(None::<u8>), "5-");
    }
}
