//! `config`.

use clap::Args;
use clap::Subcommand;

use super::text;
use super::view::TextFormat;

#[derive(Debug, Args)]
#[command(after_help = text::CONFIG)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show the settings in force
    Get(ConfigGetArgs),
    /// Change settings, from the next packet on; no flow is lost
    Set(ConfigSetArgs),
}

#[derive(Debug, Args)]
#[command(after_help = text::CONFIG)]
pub(crate) struct ConfigGetArgs {
    /// Settings to show, with or without `nf_conntrack_`; without any, all
    #[arg(value_name = "KEY")]
    pub(crate) keys: Vec<String>,

    /// The form
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    pub(crate) output: TextFormat,
}

#[derive(Debug, Args)]
#[command(after_help = text::CONFIG)]
pub(crate) struct ConfigSetArgs {
    /// What to change: `tcp_loose=0`, any number of them, or one as two words
    #[arg(value_name = "KEY=VALUE", required_unless_present = "from_kernel")]
    pub(crate) settings: Vec<String>,

    /// Copy those of the tracker's network namespace from
    /// /proc/sys/net/netfilter; settings given as well win
    #[arg(long)]
    pub(crate) from_kernel: bool,

    /// The form in which what was set is shown
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    pub(crate) output: TextFormat,
}
