//! `ban --file`: which list, and how it is read.

use std::path::PathBuf;

use clap::Args;
use conntrack_core::banlist::Column;
use conntrack_core::banlist::Format;

/// A list in the place of an address.
#[derive(Debug, Args)]
#[command(next_help_heading = "Lists")]
pub(crate) struct ListFileArgs {
    /// Everything on a list: a file, or - for standard input
    ///
    /// Plain addresses and networks, CSV, `ipset save`, `nft list set`, JSON; what it is
    /// is seen from its beginning. Lines that are none are named and left out.
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["whom", "scope", "confirm", "force"])]
    pub(crate) file: Option<PathBuf>,

    /// Its name, under which it is replaced and ended [default: the file's]
    #[arg(long, value_name = "NAME", requires = "file", conflicts_with = "whom")]
    pub(crate) list: Option<String>,

    /// Take the place of the list of that name, rather than add to it
    ///
    /// There is no moment at which neither of them is in force. A list that is cut off
    /// in its middle replaces nothing, and with --dry-run none that drops is replaced.
    #[arg(long, requires = "file", conflicts_with = "whom")]
    pub(crate) replace: bool,

    /// Only say what would be cut at this moment: live flows, and what they carry
    #[arg(long, requires = "file", conflicts_with = "whom")]
    pub(crate) preview: bool,

    /// What the list is: plain, netset, csv, ipset, nft, nft-json, json
    #[arg(long, value_name = "FORM", requires = "file", conflicts_with = "whom")]
    pub(crate) format: Option<Format>,

    /// The column with the addresses (csv): its name, or a number from 1
    #[arg(
        long,
        value_name = "COLUMN",
        requires = "file",
        conflicts_with = "whom"
    )]
    pub(crate) column: Option<Column>,

    /// Only what is in the set of this name (ipset, nft)
    #[arg(long, value_name = "SET", requires = "file", conflicts_with = "whom")]
    pub(crate) set: Option<String>,
}
