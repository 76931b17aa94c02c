//! Ban lists in files of other programs: reading them as a stream, and writing them.
//!
//! ```
//! use conntrack_core::banlist::{Found, ReadOptions, read};
//!
//! let list = "# bad ones\n203.0.113.7\n198.51.100.0/24 # scans\nnonsense!\n";
//! let (mut entries, mut bad) = (Vec::new(), Vec::new());
//! let summary = read(list.as_bytes(), &ReadOptions::default(), &mut |found| match found {
//!     Found::Entry(entry) => entries.push(entry.net.to_string()),
//!     Found::Bad(line) => bad.push(line.to_string()),
//! })?;
//! assert_eq!(entries, ["203.0.113.7/32", "198.51.100.0/24"]);
//! assert_eq!(
//!     bad,
//!     ["line 4: \"nonsense!\": it is neither an address nor a network nor a range"],
//! );
//! assert_eq!((summary.items, summary.bad, summary.ignored), (3, 1, 1));
//! # Ok::<(), conntrack_core::banlist::ReadError>(())
//! ```
//!
//! Memory does not grow with the list. What is no entry is reported with its place
//! and text, or counted: nothing is lost in silence.

mod csv;
mod detect;
mod element;
mod entry;
mod ipset;
mod json;
mod nft;
mod nft_json;
mod nft_token;
mod plain;
mod record;
mod sink;
mod write;
mod write_ipset;
mod write_nft;

use std::fmt;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::str::FromStr;

pub use entry::BadItem;
pub use entry::Expiry;
pub use entry::Found;
pub use entry::ListEntry;
pub use entry::Place;
pub use entry::Summary;
pub use write::WriteOptions;
pub use write::Written;
pub use write::write;

use crate::cidr::HostBits;
use crate::parse::ParseError;
use crate::parse::decimal;
use sink::Sink;

/// The shape of a list. The text is `plain`, `netset`, `csv`, `ipset`, `nft`,
/// `nft-json`, `json`.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
#[non_exhaustive]
pub enum Format {
    /// One address, network or range a line; `#` and `;` begin comments.
    Plain,
    /// The same with the header of FireHOL's lists, which says how many there are.
    Netset,
    /// Columns between commas, semicolons or tabs, with names in the first line or not.
    Csv,
    /// `ipset save`.
    Ipset,
    /// `nft list set`, `nft list ruleset`, `nft add element`.
    Nft,
    /// `nft -j list set`, `nft -j list ruleset`.
    NftJson,
    /// `conntrack banned -o json` or `-o jsonl`, or an array of addresses.
    Json,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::Netset,
        Self::Csv,
        Self::Ipset,
        Self::Nft,
        Self::NftJson,
        Self::Json,
    ];

    /// Its name: `plain`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Netset => "netset",
            Self::Csv => "csv",
            Self::Ipset => "ipset",
            Self::Nft => "nft",
            Self::NftJson => "nft-json",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|format| format.name() == text);
        let expected = "plain, netset, csv, ipset, nft, nft-json or json";
        found.ok_or_else(|| ParseError::new("format", text, expected))
    }
}

/// Which column of a table holds the addresses. The text is a number from 1, or a
/// name.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Column {
    /// The one with this name in the first line, in any case.
    Name(String),
    /// Counted from 1.
    Number(usize),
}

impl FromStr for Column {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match decimal(text) {
            Some(number) if number != 0 => Ok(Self::Number(number)),
            None if !text.is_empty() => Ok(Self::Name(text.to_owned())),
            _ => {
                let expected = "a name, or a number from 1";
                Err(ParseError::new("column", text, expected))
            }
        }
    }
}

/// How a list is read.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Its shape; `None`: what it looks like.
    pub format: Option<Format>,
    /// The column of a table that holds the addresses; then no other is looked at.
    /// `None`: the one whose name or content says so, and others that are known by
    /// their names: how long, why.
    pub column: Option<Column>,
    /// Only entries of the set of this name, of ipset or nft; `None`: all.
    pub set: Option<String>,
    /// What to do with bits beyond a prefix.
    pub host_bits: HostBits,
    /// Take `0.0.0.0/0` and `::/0`, too, which are refused otherwise.
    pub everything: bool,
}

/// Why a list was not read, or not to its end. Bad lines are no error.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The input failed after so many lines; what they hold was given.
    Io(u64, io::Error),
    /// It is something else: a compressed file, a page of a web site.
    NoList(&'static str),
    /// It has no column of that name, or fewer columns; those that are there.
    NoColumn(Column, Vec<String>),
    /// None of these columns is known to hold addresses.
    NoAddresses(Vec<String>),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(lines, error) => write!(f, "reading failed after {lines} lines: {error}"),
            Self::NoList(what) => write!(f, "this is no list but {what}"),
            Self::NoColumn(Column::Name(name), there) => {
                write!(f, "there is no column {name:?}, only {}", quoted(there))
            }
            Self::NoColumn(Column::Number(number), there) => {
                write!(f, "there is no column {number}, only {}", there.len())
            }
            Self::NoAddresses(there) => write!(
                f,
                "which column holds the addresses is not clear: choose one of {}",
                quoted(there)
            ),
        }
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

/// Reads a list to its end. Each entry and each bad item is given to `found` in the
/// order of the list; the same entry may come twice. A range is several entries.
///
/// # Errors
/// The input failed, is no list, or has no such column. Entries given until then
/// are those before the failure.
pub fn read<R: Read>(
    mut input: R,
    options: &ReadOptions,
    found: &mut dyn FnMut(Found),
) -> Result<Summary, ReadError> {
    let mut head = Vec::new();
    let limit = detect::HEAD as u64;
    let io = |error| ReadError::Io(0, error);
    input
        .by_ref()
        .take(limit)
        .read_to_end(&mut head)
        .map_err(io)?;
    let mark = detect::mark(&head)?;
    let format = match options.format {
        Some(format) => format,
        None => detect::format(&head[mark..]),
    };
    let input = BufReader::with_capacity(1 << 18, (&head[mark..]).chain(input));
    let mut sink = Sink::new(format, options, found);
    match format {
        Format::Plain | Format::Netset => plain::read(input, &mut sink),
        Format::Csv => csv::read(input, &mut sink),
        Format::Ipset => ipset::read(input, &mut sink),
        Format::Nft => nft::read(input, &mut sink),
        Format::NftJson | Format::Json => json::read(input, &mut sink),
    }?;
    Ok(sink.summary)
}
