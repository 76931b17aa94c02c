//! What stdout and stderr are.

use std::env;
use std::io;
use std::io::IsTerminal;

/// Whether and how to dress up what goes to stdout.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Terminal {
    /// Columns; `None` if there is no end to a line.
    pub(crate) width: Option<usize>,
    /// Lines of the screen, if there is one.
    pub(crate) height: Option<usize>,
    /// Colours and redrawing are welcome.
    pub(crate) color: bool,
}

impl Terminal {
    /// Stdout, as it is now: a window may have changed its size.
    pub(crate) fn stdout() -> Self {
        if !io::stdout().is_terminal() {
            return Self {
                width: columns(env::var("COLUMNS").ok().as_deref()),
                height: None,
                color: false,
            };
        }
        let size = terminal_size::terminal_size_of(io::stdout());
        let named = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Self {
            width: Some(size.map_or(80, |(width, _)| usize::from(width.0))),
            height: Some(size.map_or(24, |(_, height)| usize::from(height.0))),
            color: !dumb && !named("NO_COLOR"),
        }
    }
}

/// What is exported as COLUMNS to who writes into a pipe.
fn columns(text: Option<&str>) -> Option<usize> {
    text?.trim().parse().ok().filter(|width| *width > 0)
}

/// Whether stderr can show a line that changes.
pub(crate) fn can_show_progress() -> bool {
    io::stderr().is_terminal()
}

/// A text without control characters: names of interfaces may have any.
pub(crate) fn clean(text: &str) -> String {
    let printable = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_where_there_is_no_terminal() {
        assert_eq!(columns(Some("80")), Some(80));
        for none in [None, Some(""), Some("0"), Some("-1"), Some("wide")] {
            assert_eq!(columns(none), None, "{none:?}");
        }
    }
}
