//! `fingerprints`.

use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use conntrack_core::p0f::Kind;
use ipnet::IpNet;

use super::text;
use super::values;

#[derive(Debug, Args)]
#[command(after_help = text::FINGERPRINTS)]
pub(crate) struct FingerprintsArgs {
    /// Of these only: addresses, or networks such as 10.0.0.0/8
    #[arg(value_name = "ADDR|NET", value_parser = values::network)]
    pub(crate) nets: Vec<IpNet>,

    /// A line for each signature, or for each source with its last one
    #[arg(long, value_name = "WHAT", default_value = "signature")]
    pub(crate) by: By,

    /// Of this kind only: syn (clients), syn+ack (servers)
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub(crate) kind: Option<Kind>,

    /// Of systems only whose name has this in it; `?` for unknown ones
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,

    /// Those that are banned instead, with what that has dropped; as table or json
    #[arg(long, conflicts_with_all = ["nets", "by", "kind", "label", "sort", "limit"])]
    pub(crate) banned: bool,

    #[command(flatten)]
    pub(crate) database: DatabaseArgs,

    /// The order: count, the most first, or last, the latest first
    #[arg(long, value_name = "BY", default_value = "count")]
    pub(crate) sort: FingerprintOrder,

    /// Show at most so many
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// The form
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: FingerprintFormat,

    /// No heading (table, csv)
    #[arg(long)]
    pub(crate) no_header: bool,
}

/// Where known signatures come from.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// p0f's file of known signatures [default: /etc/p0f/p0f.fp, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) p0f_fp: Option<PathBuf>,
}

/// What there is a line for.
#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub(crate) enum By {
    Signature,
    Source,
}

/// What comes first.
#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub(crate) enum FingerprintOrder {
    Count,
    Last,
}

/// Forms that fingerprints are shown in.
#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub(crate) enum FingerprintFormat {
    /// Columns, to read
    Table,
    /// One array
    Json,
    /// An object a line
    Jsonl,
    /// RFC 4180, with a heading
    Csv,
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "syn" => Ok(Kind::Syn),
        "syn+ack" | "synack" => Ok(Kind::SynAck),
        _ => Err("expected syn or syn+ack".to_owned()),
    }
}
