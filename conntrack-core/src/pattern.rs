//! Interfaces by name or by pattern, as a shell would match them.

use std::fmt;
use std::str::FromStr;

use crate::parse::shorten;

/// The longest pattern in bytes; a name has at most 15.
const MAX_BYTES: usize = 64;

/// The name of an interface, or a pattern of names: `*` stands for any text, `?`
/// for one character, `[a-c]` for one of these, `[!a-c]` for one that is none of
/// these.
///
/// ```
/// use conntrack_core::InterfacePattern;
///
/// let pattern: InterfacePattern = "eth[0-3]*".parse().unwrap();
/// assert!(pattern.is_glob());
/// assert!(pattern.matches("eth0.100"));
/// assert!(!pattern.matches("eth7"));
/// ```
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct InterfacePattern {
    text: String,
    /// Nothing for a plain name.
    pieces: Vec<Piece>,
}

/// What one character, or any text, of a name must be.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
enum Piece {
    Any,
    One,
    Char(char),
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Piece {
    /// Whether it is this one character; `Any` is not asked.
    fn is(&self, found: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(wanted) => *wanted == found,
            Self::Set { negated, ranges } => {
                let mut ranges = ranges.iter();
                ranges.any(|(low, high)| (*low..=*high).contains(&found)) != *negated
            }
        }
    }
}

impl InterfacePattern {
    /// The pattern that matches every name: `*`.
    pub fn all() -> Self {
        Self {
            text: "*".to_owned(),
            pieces: vec![Piece::Any],
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a pattern rather than a plain name.
    pub fn is_glob(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Whether an interface of this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        if !self.is_glob() {
            return self.text == name;
        }
        let name: Vec<char> = name.chars().collect();
        let (mut piece, mut at) = (0, 0);
        // Where to go on if what follows the last `*` does not fit.
        let mut retry = None;
        while at < name.len() || piece < self.pieces.len() {
            match self.pieces.get(piece) {
                Some(Piece::Any) => {
                    retry = Some((piece, at));
                    piece += 1;
                    continue;
                }
                Some(one) if name.get(at).is_some_and(|found| one.is(*found)) => {
                    piece += 1;
                    at += 1;
                    continue;
                }
                _ => {}
            }
            match retry {
                Some((star, from)) if from < name.len() => {
                    retry = Some((star, from + 1));
                    piece = star + 1;
                    at = from + 1;
                }
                _ => return false,
            }
        }
        true
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// A text that can be neither a name nor a pattern; `Display` says why.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct PatternError {
    message: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PatternError {}

impl FromStr for InterfacePattern {
    type Err = PatternError;

    /// Takes what the kernel takes for a name (`dev_valid_name`), and patterns of
    /// at most 64 bytes of the same characters.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let refuse = |why: &str| PatternError {
            message: format!("{:?} is no interface name{why}", shorten(text)),
        };
        let bad =
            |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace();
        let glob = text.contains(['*', '?', '[']);
        let longest = if glob { MAX_BYTES } else { 15 };
        let fits = (1..=longest).contains(&text.len()) && text != "." && text != "..";
        if !fits || text.bytes().any(bad) {
            return Err(refuse(if glob {
                " or pattern: expected 1 to 64 bytes without spaces, `/` and `:`"
            } else {
                ": expected 1 to 15 bytes without spaces, `/` and `:`"
            }));
        }
        let pieces = match glob {
            true => {
                pieces(text).ok_or_else(|| refuse(" or pattern: `[` without its `]`, or empty"))?
            }
            false => Vec::new(),
        };
        Ok(Self {
            text: text.to_owned(),
            pieces,
        })
    }
}

/// `None` if a set has no end.
fn pieces(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '*' if pieces.last() == Some(&Piece::Any) => {}
            '*' => pieces.push(Piece::Any),
            '?' => pieces.push(Piece::One),
            '[' => {
                let (set, behind) = set(rest)?;
                pieces.push(set);
                rest = behind;
            }
            other => pieces.push(Piece::Char(other)),
        }
    }
    Some(pieces)
}

/// What stands behind a `[`, and what stands behind its `]`. A `]` or a `-` that
/// comes first stands for itself.
fn set(text: &str) -> Option<(Piece, &str)> {
    let (negated, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let first = text.chars().next()?;
    let end = first.len_utf8() + text.get(first.len_utf8()..)?.find(']')?;
    let inside: Vec<char> = text[..end].chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&low) = inside.get(at) {
        match (inside.get(at + 1), inside.get(at + 2)) {
            (Some('-'), Some(&high)) => {
                ranges.push((low, high));
                at += 3;
            }
            _ => {
                ranges.push((low, low));
                at += 1;
            }
        }
    }
    Some((Piece::Set { negated, ranges }, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> InterfacePattern {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_only_themselves() {
        for name in ["lo", "eth0.100", "veth-a@b", "ünïcöde", "a-b]"] {
            assert!(!pattern(name).is_glob(), "{name}");
            assert!(pattern(name).matches(name));
            assert!(!pattern(name).matches("eth0"));
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "a\0",
            "sixteen-bytes-xx",
        ] {
            let error = bad.parse::<InterfacePattern>().unwrap_err().to_string();
            assert!(error.contains("is no interface name"), "{error}");
        }
    }

    #[test]
    fn globs() {
        for (text, yes, no) in [
            ("*", &["lo", "eth0", "ü"][..], &[][..]),
            ("eth*", &["eth", "eth0", "eth0.100"], &["veth0", "et", "lo"]),
            ("*0", &["eth0", "0", "br00"], &["eth01", "lo"]),
            ("e*h*0", &["eth0", "exhibit0", "eh0h0"], &["eth1", "h0"]),
            ("**a", &["a", "ba"], &["ab"]),
            ("eth?", &["eth0", "ethü"], &["eth", "eth10"]),
            ("e[a-cx]h", &["eah", "ebh", "exh"], &["edh", "eh", "e-h"]),
            ("e[!a-c]h", &["eth", "exh"], &["eah", "eh"]),
            ("[]-]x", &["]x", "-x"], &["ax"]),
            ("[a-]x", &["ax", "-x"], &["bx"]),
            ("[*]x", &["*x"], &["ax"]),
        ] {
            let pattern = pattern(text);
            assert!(pattern.is_glob(), "{text}");
            assert_eq!(pattern.to_string(), text);
            for name in yes {
                assert!(pattern.matches(name), "{text} {name}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{text} {name}");
            }
        }
        assert_eq!(InterfacePattern::all(), pattern("*"));
    }

    #[test]
    fn what_is_no_pattern() {
        let long = "*".repeat(MAX_BYTES + 1);
        for bad in ["eth[0", "[", "[]", "[!]", "e*/", "e *", &long] {
            let error = bad.parse::<InterfacePattern>().unwrap_err().to_string();
            assert!(error.contains("or pattern"), "{bad}: {error}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = pattern(&"*a".repeat(MAX_BYTES / 2));
        assert!(!pattern.matches("aaaaaaaaaaaaaab"));
    }
}
