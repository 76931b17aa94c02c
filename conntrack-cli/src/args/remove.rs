//! `delete` and `flush`.

use clap::Args;

use super::FilterArgs;
use super::text;

#[derive(Debug, Args)]
#[command(after_help = text::DELETE)]
pub(crate) struct DeleteArgs {
    /// One flow: `tcp 10.0.0.1:40000 10.0.0.2:80`, ends in any order
    #[arg(value_name = "KEY", conflicts_with_all = ["FilterArgs", "interface"])]
    pub(crate) key: Vec<String>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Flows that came in by this interface, an attached one
    #[arg(short = 'i', long, value_name = "IFACE")]
    pub(crate) interface: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = text::FLUSH)]
pub(crate) struct FlushArgs {
    /// Don't ask
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
}
