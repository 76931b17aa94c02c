//! What parsers of short texts share, and their error.

use std::fmt;
use std::str::FromStr;

/// A number of digits only: `str::parse` would also take a `+`.
pub(crate) fn decimal<T: FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

/// The first 64 characters of a text that goes into a message.
pub(crate) fn shorten(text: &str) -> String {
    let mut kept: String = text.chars().take(64).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    kept
}

/// A text that is not what it should be. `Display` quotes the text, cut to a
/// sane length, and says what was expected.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct ParseError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl ParseError {
    pub(crate) fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        Self {
            what,
            text: shorten(text),
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
