//! `ban`, `unban`, `banned`, `allow`.

use clap::Args;
use clap::ValueEnum;
use conntrack_core::BanDirection;
use conntrack_core::BanOrigin;
use conntrack_core::BanScope;
use conntrack_core::Lifetime;

use super::ban_list::ListFileArgs;
use super::text;
use super::values;
use super::values::Network;
use super::view::TextFormat;

#[derive(Debug, Args)]
#[command(after_help = text::BAN)]
pub(crate) struct BanArgs {
    /// Whose packets to drop: an address or a network
    ///
    /// An IPv6 address stands for its /64, which is what one host is given.
    #[arg(value_name = "ADDR|CIDR", value_parser = values::ban_network,
          required_unless_present_any = ["file", "fingerprint"])]
    pub(crate) whom: Option<Network>,

    /// Instead of somebody, SYNs that a pattern of p0f's fits, and no others
    ///
    /// `ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass`, `*` where it may be. New
    /// connections only, that come in. Begin with --dry-run: a pattern may fit more than
    /// one thinks. `fingerprints --banned` shows them.
    #[arg(long, value_name = "SIG", conflicts_with_all =
          ["whom", "file", "scope", "direction", "exact", "confirm", "force", "reason"])]
    pub(crate) fingerprint: Option<String>,

    /// For how long: 90s, 10m, 24h, 7d [default: for ever]
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<Lifetime>,

    /// Why; shown by `banned`
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true,
          value_parser = values::reason)]
    pub(crate) reason: String,

    /// Which packets: any, tcp, udp/53; the port is ours
    #[arg(long, value_name = "SCOPE", default_value = "any")]
    pub(crate) scope: BanScope,

    /// in: what comes from there; both: also what goes there
    #[arg(long, value_name = "WAY", default_value = "in")]
    pub(crate) direction: BanDirection,

    /// Of an IPv6 address, itself rather than its /64
    #[arg(long)]
    pub(crate) exact: bool,

    /// Count what would be dropped, and drop nothing
    ///
    /// A list is dry as a whole: try it under a name of its own, which --replace without
    /// --dry-run puts in force.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// End by itself after this time, unless `confirm` comes before
    ///
    /// The kernel ends it, whatever became of this terminal.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "60s")]
    pub(crate) confirm: Option<Lifetime>,

    /// Also if it touches what is never dropped; that passes all the same
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) list: ListFileArgs,
}

#[derive(Debug, Args)]
#[command(after_help = text::UNBAN)]
pub(crate) struct UnbanArgs {
    /// An address or a network, as it was banned
    #[arg(value_name = "ADDR|CIDR", value_parser = values::ban_network,
          required_unless_present_any = ["all", "list", "fingerprint"])]
    pub(crate) whom: Option<Network>,

    /// The ban of a fingerprint: the same pattern
    #[arg(long, value_name = "SIG",
          conflicts_with_all = ["whom", "scope", "exact", "except", "list", "all"])]
    pub(crate) fingerprint: Option<String>,

    /// Only the ban with this scope [default: all of them]
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Option<BanScope>,

    /// Of an IPv6 address, itself and not its /64
    #[arg(long)]
    pub(crate) exact: bool,

    /// Also let it pass what bans of larger networks drop
    #[arg(long, conflicts_with = "scope")]
    pub(crate) except: bool,

    /// End the bans of a list; those that somebody else has, too, go on
    #[arg(long, value_name = "NAME", conflicts_with_all = ["whom", "scope", "exact", "except"])]
    pub(crate) list: Option<String>,

    /// End every ban, lists included
    #[arg(long, conflicts_with_all = ["whom", "scope", "exact", "except", "list"])]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = text::BANNED)]
pub(crate) struct BannedArgs {
    /// Those that concern an address, or any of a network
    #[arg(value_name = "ADDR|CIDR", value_parser = values::network)]
    pub(crate) whom: Option<ipnet::IpNet>,

    /// Those of an origin: manual, api, list:NAME
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<BanOrigin>,

    /// Which lists there are, instead of bans (table, json, jsonl, csv)
    #[arg(long, conflicts_with_all = ["whom", "origin"])]
    pub(crate) lists: bool,

    /// The form
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: BannedFormat,

    /// No heading (table; with --lists csv, too)
    #[arg(long)]
    pub(crate) no_header: bool,
}

/// Forms that bans are shown in. Those of other programs have no place for some: what
/// is left out is said on stderr.
#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub(crate) enum BannedFormat {
    /// Columns, to read
    #[value(alias = "text")]
    Table,
    /// One array
    Json,
    /// An object a line
    Jsonl,
    /// An address or network a line
    Plain,
    /// Columns between commas
    Csv,
    /// As `ipset save`
    Ipset,
    /// As `nft list table`
    Nft,
}

#[derive(Debug, Args)]
#[command(after_help = text::ALLOW)]
pub(crate) struct AllowArgs {
    /// What never to drop: an address or a network; without any, show all
    #[arg(value_name = "ADDR|CIDR", value_parser = values::network)]
    pub(crate) whom: Option<ipnet::IpNet>,

    /// No longer allow it
    #[arg(long, requires = "whom")]
    pub(crate) remove: bool,

    /// The form in which all are shown
    #[arg(
        short,
        long,
        value_name = "FORM",
        default_value = "text",
        conflicts_with = "whom"
    )]
    pub(crate) output: TextFormat,

    /// No heading (text)
    #[arg(long, conflicts_with = "whom")]
    pub(crate) no_header: bool,
}
