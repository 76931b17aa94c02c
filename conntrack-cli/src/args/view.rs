//! How flows and statistics are shown.

use std::str::FromStr;

use clap::Args;
use clap::ValueEnum;

/// Order, number and form of the flows shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "How they are shown")]
pub(crate) struct ViewArgs {
    /// By bytes, packets, duration, timeout, last-seen, start, src or dst
    ///
    /// Quantities begin with the largest, times with the latest, addresses
    /// with the lowest; a `-` before the word turns it round. Unsorted flows
    /// are shown as they are read, in no order.
    #[arg(long, value_name = "BY", allow_hyphen_values = true)]
    pub(crate) sort: Option<SortOrder>,

    /// Turn the order round
    #[arg(long, requires = "sort")]
    pub(crate) reverse: bool,

    /// Show at most so many
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// The form; extended is conntrack-tools', session one short line
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: Format,

    /// More columns: how TCP connections are doing (table, csv)
    ///
    /// Round-trip time, time to the first byte; of what was sent and received: segments
    /// sent again, the loss that this means, segments overtaken; and how long windows were
    /// closed. JSON has all that is known.
    #[arg(long)]
    pub(crate) wide: bool,

    /// No heading (table, csv)
    #[arg(long)]
    pub(crate) no_header: bool,
}

impl ViewArgs {
    /// The order asked for, with `--reverse` worked in.
    pub(crate) fn order(&self) -> Option<SortOrder> {
        self.sort.map(|order| SortOrder {
            reverse: order.reverse != self.reverse,
            ..order
        })
    }
}

/// Forms that events are shown in.
#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub(crate) enum EventFormat {
    /// The line of `conntrack -E -o timestamp`
    Text,
    /// An object a line
    Jsonl,
}

/// Forms that flows are shown in.
#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Columns, to read
    Table,
    /// One array
    Json,
    /// An object a line
    Jsonl,
    /// RFC 4180, with a heading
    Csv,
    /// The line of `conntrack -L -o extended`
    Extended,
    /// `10.0.0.1:40000 -> 10.0.0.2:80 | 3.44 KB 23 packets`
    Session,
}

/// Forms that lists of other things are shown in.
#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub(crate) enum ListFormat {
    /// Columns, to read
    #[value(alias = "text")]
    Table,
    /// One document
    Json,
    /// An object a line
    Jsonl,
    /// RFC 4180, with a heading
    Csv,
}

/// Forms that statistics are shown in.
#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub(crate) enum StatsFormat {
    /// To read
    Table,
    /// One object
    Json,
    /// Prometheus' text format
    Prometheus,
}

/// Forms that everything else is shown in.
#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub(crate) enum TextFormat {
    /// To read
    #[value(alias = "table")]
    Text,
    /// One object
    Json,
}

/// What flows are sorted by.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum SortKey {
    Bytes,
    Packets,
    Duration,
    Timeout,
    LastSeen,
    Start,
    Src,
    Dst,
}

/// What flows are sorted by, and whether the other way round.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct SortOrder {
    pub(crate) key: SortKey,
    pub(crate) reverse: bool,
}

impl FromStr for SortOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (reverse, word) = match text.strip_prefix('-') {
            Some(word) => (true, word),
            None => (false, text),
        };
        let key = match word {
            "bytes" => SortKey::Bytes,
            "packets" => SortKey::Packets,
            "duration" => SortKey::Duration,
            "timeout" => SortKey::Timeout,
            "last-seen" => SortKey::LastSeen,
            "start" => SortKey::Start,
            "src" => SortKey::Src,
            "dst" => SortKey::Dst,
            _ => {
                return Err(
                    "expected bytes, packets, duration, timeout, last-seen, start, src \
                            or dst, with or without `-` before it"
                        .to_owned(),
                );
            }
        };
        Ok(Self { key, reverse })
    }
}
