//! Why a text did not parse.

use std::fmt;

/// A text that is not what it should be. `Display` quotes the text, cut to a
/// sane length, and says what was expected.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct ParseError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl ParseError {
    /// Characters of the offending text that are kept.
    const KEEP: usize = 64;

    pub(crate) fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        let mut kept: String = text.chars().take(Self::KEEP).collect();
        if kept.len() < text.len() {
            kept.push('…');
        }
        Self {
            what,
            text: kept,
            expected,
        }
    }

    /// What the text should have been, such as `protocol`.
    pub fn what(&self) -> &'static str {
        self.what
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            text,
            expected,
        } = self;
        write!(f, "{text:?} is not a valid {what}: expected {expected}")
    }
}

impl std::error::Error for ParseError {}
