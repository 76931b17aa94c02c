//! What can be wrong with a capture.

use std::fmt;
use std::io;

use super::MAX_PACKET;
use crate::failure::in_words;
use crate::output::counted;

/// A capture that can't be read on, and where that is.
#[derive(Debug)]
pub(crate) struct CaptureError {
    /// Bytes before the record that is wrong.
    pub(crate) position: u64,
    /// Whole packets before it.
    pub(crate) packets: u64,
    /// What is wrong with it.
    pub(crate) problem: CaptureProblem,
}

/// What is wrong.
#[derive(Debug)]
pub(crate) enum CaptureProblem {
    /// The operating system said no.
    Read(io::Error),
    /// The file has no byte in it.
    Empty,
    /// The file is something else.
    Foreign(String),
    /// The file ends within a record.
    Cut {
        /// What was being read.
        what: &'static str,
        /// Its bytes.
        want: u64,
        /// Those that are there.
        have: u64,
    },
    /// A record is as long as none can be.
    Long {
        /// What was being read.
        what: &'static str,
        /// Its bytes.
        length: u64,
    },
    /// A record contradicts itself or the format.
    Damaged(String),
}

impl CaptureProblem {
    /// A file that begins with `magic`.
    pub(super) fn foreign(magic: [u8; 4]) -> Self {
        let known = match magic {
            [0x1f, 0x8b, ..] => Some("gzip"),
            [0x28, 0xb5, 0x2f, 0xfd] => Some("zstd"),
            [0xfd, b'7', b'z', b'X'] => Some("xz"),
            [b'B', b'Z', b'h', _] => Some("bzip2"),
            _ => None,
        };
        let [a, b, c, d] = magic;
        Self::Foreign(match known {
            Some(name) => format!("compressed by {name}: unpack it first"),
            None => {
                format!("neither pcap nor pcapng: it begins with {a:02x} {b:02x} {c:02x} {d:02x}")
            }
        })
    }

    /// The same, seen from the beginning of the record, so many bytes before.
    pub(super) fn preceded_by(self, bytes: u64) -> Self {
        match self {
            Self::Cut { what, want, have } => Self::Cut {
                what,
                want: want + bytes,
                have: have + bytes,
            },
            other => other,
        }
    }

    pub(super) fn at(self, position: u64, packets: u64) -> CaptureError {
        CaptureError {
            position,
            packets,
            problem: self,
        }
    }
}

impl fmt::Display for CaptureProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => f.write_str(&in_words(error)),
            Self::Empty => f.write_str("the file is empty"),
            Self::Foreign(what) | Self::Damaged(what) => f.write_str(what),
            Self::Cut { what, want, have } => {
                write!(
                    f,
                    "the file is cut: {what} of {want} bytes, {have} are there"
                )
            }
            Self::Long { what, length } => write!(
                f,
                "damaged: {what} of {length} bytes, more than {MAX_PACKET} can't be"
            ),
        }
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            CaptureProblem::Empty | CaptureProblem::Foreign(_) => self.problem.fmt(f),
            problem => write!(
                f,
                "at byte {}, after {}: {problem}",
                self.position,
                counted(self.packets, "whole packet")
            ),
        }
    }
}
