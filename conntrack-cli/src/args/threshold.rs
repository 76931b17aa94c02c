//! `threshold`.

use clap::Args;
use clap::Subcommand;

use super::text;
use super::view::TextFormat;

#[derive(Debug, Args)]
#[command(after_help = text::THRESHOLD)]
pub(crate) struct ThresholdArgs {
    #[command(subcommand)]
    pub(crate) command: ThresholdCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ThresholdCommand {
    /// Show the limits in force, where sources are counted, what came of it
    Get(ThresholdGetArgs),
    /// Change limits, from the next connection on, and show those in force then
    Set(ThresholdSetArgs),
    /// End all limits; bans that came of them last
    Off,
    /// Show the sources that come near a limit, the worst first
    Suspects(SuspectsArgs),
}

#[derive(Debug, Args)]
#[command(after_help = text::THRESHOLD)]
pub(crate) struct ThresholdGetArgs {
    /// The form
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    pub(crate) output: TextFormat,
}

#[derive(Debug, Args)]
#[command(after_help = text::THRESHOLD)]
pub(crate) struct ThresholdSetArgs {
    /// What to change: `new=50`, any number of them; a number alone is `new`
    #[arg(value_name = "N|KEY=VALUE", required = true)]
    pub(crate) settings: Vec<String>,

    /// Begin with the defaults instead of what is in force
    #[arg(long)]
    pub(crate) anew: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SuspectsArgs {
    /// Those that an address belongs to
    #[arg(value_name = "ADDR")]
    pub(crate) whom: Option<std::net::IpAddr>,

    /// So many at the most
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// The form
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    pub(crate) output: TextFormat,
}
