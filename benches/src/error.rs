//! What can go wrong in a bench.

use std::io;
use std::result;

/// Result of a step of a bench.
pub type Result<T> = result::Result<T, Error>;

/// Why a bench gave no figures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// BPF programs are loaded and run, which takes root.
    #[error("the benches load BPF programs and need root; run them as root")]
    NotRoot,
    /// The kernel or libbpf refused a step.
    #[error("{what}: {source}")]
    Bpf {
        /// What was being done, to what.
        what: String,
        /// What was answered.
        source: libbpf_rs::Error,
    },
    /// The product could not be loaded, or its tables not be read.
    #[error("{0:#}")]
    Product(#[from] conntrack_bpf::Error),
    /// A file of the machine or of the report could not be used.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, to what.
        what: String,
        /// What was answered.
        source: io::Error,
    },
    /// What was measured is not what the row says.
    #[error("row \"{row}\": {what}")]
    Wrong {
        /// Name of the row.
        row: String,
        /// What was expected, and what was found.
        what: String,
    },
    /// No row has a name like the one asked for.
    #[error("no row's name contains \"{0}\"")]
    NoSuchRow(String),
}

/// Puts what was being done before an error.
pub(crate) trait Context<T> {
    /// The error says that this failed: `what`.
    fn context(self, what: &str) -> Result<T>;
}

impl<T> Context<T> for libbpf_rs::Result<T> {
    fn context(self, what: &str) -> Result<T> {
        self.map_err(|source| Error::Bpf {
            what: what.to_owned(),
            source,
        })
    }
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: &str) -> Result<T> {
        self.map_err(|source| Error::Io {
            what: what.to_owned(),
            source,
        })
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn context(self, what: &str) -> Result<T> {
        self.map_err(|errno| Error::Io {
            what: what.to_owned(),
            source: errno.into(),
        })
    }
}
