//! The command line.

mod ban;
mod ban_list;
mod config;
mod filter;
mod fingerprints;
mod icmp;
mod legacy;
mod ports;
mod remove;
mod size;
mod text;
mod threshold;
mod values;
mod view;

use std::path::PathBuf;

use clap::Args;
use clap::CommandFactory;
use clap::FromArgMatches;
use clap::Parser;
use clap::Subcommand;
use clap::builder::StyledStr;
use conntrack::NetnsRef;
use conntrack_core::EventType;
use conntrack_core::InterfacePattern;
use conntrack_core::Mode;

pub(crate) use self::ban::AllowArgs;
pub(crate) use self::ban::BanArgs;
pub(crate) use self::ban::BannedArgs;
pub(crate) use self::ban::BannedFormat;
pub(crate) use self::ban::UnbanArgs;
pub(crate) use self::config::ConfigArgs;
pub(crate) use self::config::ConfigCommand;
pub(crate) use self::config::ConfigGetArgs;
pub(crate) use self::config::ConfigSetArgs;
pub(crate) use self::filter::FilterArgs;
pub(crate) use self::fingerprints::By;
pub(crate) use self::fingerprints::DatabaseArgs;
pub(crate) use self::fingerprints::FingerprintFormat;
pub(crate) use self::fingerprints::FingerprintOrder;
pub(crate) use self::fingerprints::FingerprintsArgs;
pub(crate) use self::icmp::IcmpArgs;
pub(crate) use self::legacy::LegacyArgs;
pub(crate) use self::ports::PortsArgs;
pub(crate) use self::remove::DeleteArgs;
pub(crate) use self::remove::FlushArgs;
pub(crate) use self::size::ResizeArgs;
pub(crate) use self::size::SizeArgs;
pub(crate) use self::threshold::SuspectsArgs;
pub(crate) use self::threshold::ThresholdArgs;
pub(crate) use self::threshold::ThresholdCommand;
pub(crate) use self::threshold::ThresholdGetArgs;
pub(crate) use self::threshold::ThresholdSetArgs;
pub(crate) use self::values::Network;
pub(crate) use self::values::Seconds;
pub(crate) use self::view::EventFormat;
pub(crate) use self::view::Format;
pub(crate) use self::view::ListFormat;
pub(crate) use self::view::SortKey;
pub(crate) use self::view::SortOrder;
pub(crate) use self::view::StatsFormat;
pub(crate) use self::view::TextFormat;
pub(crate) use self::view::ViewArgs;
use crate::failure::program;

#[derive(Debug, Parser)]
#[command(
    name = "conntrack",
    version,
    about = text::ABOUT,
    after_help = text::EXIT_CODES,
    after_long_help = text::MORE,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(flatten)]
    pub(crate) legacy: LegacyArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Cli {
    /// The command line of this process.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let matches = named(Self::command(), program()).try_get_matches()?;
        Self::from_arg_matches(&matches)
    }

    /// How much to log; 0 is warnings. The older `--log_level` was 0 for
    /// nothing, then errors, warnings, notices, information, debugging.
    pub(crate) fn verbosity(&self) -> i32 {
        match self.legacy.log_level {
            None => i32::from(self.global.verbose),
            Some(0 | 1) => -1,
            Some(2) => 0,
            Some(3 | 4) => 1,
            Some(_) => 2,
        }
    }
}

/// A command, and those below, with texts that bear the program's name.
fn named(mut command: clap::Command, program: &str) -> clap::Command {
    let name = |text: &StyledStr| text.to_string().replace(text::PROGRAM, program);
    if let Some(text) = command.get_after_help().map(name) {
        command = command.after_help(text);
    }
    if let Some(text) = command.get_after_long_help().map(name) {
        command = command.after_long_help(text);
    }
    command
        .display_name(program)
        .mut_subcommands(|below| named(below, program))
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Which tracker, if there are several
    ///
    /// The name it is pinned under. Without it the configuration file's, or
    /// `default`.
    #[arg(long, global = true, value_name = "NAME", value_parser = values::instance)]
    pub(crate) instance: Option<String>,

    /// Network namespace: a name of `ip netns`, a path, or a process id
    #[arg(long, global = true, value_name = "NAME|PATH|PID", value_parser = values::netns)]
    pub(crate) netns: Option<NetnsRef>,

    /// Configuration file (YAML)
    ///
    /// See conntrack.example.yaml for all keys and their defaults. Options on
    /// the command line win.
    #[arg(short = 'c', long, alias = "c", global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Say more on stderr; twice for even more. RUST_LOG wins
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Follow connections on interfaces, until `detach`
    Attach(AttachArgs),
    /// Keep a running tracker attached to interfaces as they come and go
    Follow(FollowArgs),
    /// Stop following connections
    Detach(DetachArgs),
    /// Put this version's programs in the place of a running tracker's
    #[command(after_help = text::UPGRADE)]
    Upgrade,
    /// Give a running tracker's tables another size, without a gap
    Resize(ResizeArgs),
    /// Show what is attached where, and why there
    Status(StatusArgs),
    /// Say what this host can do and what `attach` would choose
    Doctor(DoctorArgs),
    /// Show the flows
    List(ListArgs),
    /// Show packet, flow and reason counts
    Stats(StatsArgs),
    /// Show what ICMP said: how often each kind of message came, and errors one by one
    Icmp(IcmpArgs),
    /// Show what SYNs and SYN+ACKs tell of the systems that send them
    Fingerprints(FingerprintsArgs),
    /// Show how many have reached which port, and who
    Ports(PortsArgs),
    /// Tell what becomes of flows as it happens, until interrupted
    Events(EventsArgs),
    /// Take expired flows out at once, rather than within the sweep's interval
    Sweep,
    /// Delete a flow, or those that meet conditions
    Delete(DeleteArgs),
    /// Delete all flows
    Flush(FlushArgs),
    /// Drop what comes from an address or a network
    Ban(BanArgs),
    /// End a ban
    Unban(UnbanArgs),
    /// Show who is banned, and what it has dropped
    Banned(BannedArgs),
    /// Never drop an address or a network; show what is never dropped
    Allow(AllowArgs),
    /// Confirm what `ban --confirm` would else end by itself
    Confirm,
    /// Limit how many connections a source may begin
    Threshold(ThresholdArgs),
    /// Show or change nf_conntrack's settings of a running tracker
    Config(ConfigArgs),
    /// Show the flows of a pcap or pcapng capture
    Replay(ReplayArgs),
    /// Show live flows of real traffic between namespaces it makes
    Demo(DemoArgs),
}

/// Interfaces to attach to.
#[derive(Debug, Args)]
pub(crate) struct WhichArgs {
    /// Interfaces, or patterns such as 'eth*'; without any, the configuration
    /// file's
    ///
    /// A pattern stands for the lowest layer of each stack that it matches: the
    /// ports rather than their bridge, the interface rather than its VLANs. It
    /// leaves out loopback and what can't be attached to, and says so on stderr.
    #[arg(value_name = "IFACE")]
    interfaces: Vec<String>,

    /// Every interface that can be attached to, as the pattern '*' does
    #[arg(long, conflicts_with = "interfaces")]
    all: bool,
}

impl WhichArgs {
    /// The names and patterns; none for the configuration's.
    pub(crate) fn names(&self) -> Vec<String> {
        match self.all {
            true => vec![InterfacePattern::all().to_string()],
            false => self.interfaces.clone(),
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = text::ATTACH)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,

    /// Where arriving packets are seen: auto, native, generic, offload or tc
    ///
    /// auto: XDP in the driver where it can be had, else TC, saying why.
    /// native: XDP in the driver, or an error. generic: XDP after the driver;
    /// it can't count merged packets. offload: XDP on the card, or an error.
    /// tc: TC ingress. Departing packets are always seen on TC egress.
    /// [default: the configuration file's, or auto]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,

    #[command(flatten)]
    pub(crate) size: SizeArgs,

    /// New connections that a source may begin in a second; the excess is dropped
    ///
    /// Or a setting as KEY=VALUE, any number of times: `--threshold 50 --threshold
    /// action=ban`; `threshold --help` has them.
    #[arg(short = 't', long, value_name = "N|KEY=VALUE")]
    pub(crate) threshold: Vec<String>,

    /// Stay, print a line of statistics now and then, detach at the end
    #[arg(long)]
    pub(crate) foreground: bool,

    /// Restore no bans of an earlier run, and keep none
    #[arg(long)]
    pub(crate) no_persist: bool,

    /// Follow interfaces as they come and go, with --foreground
    ///
    /// What comes later and is named or matched is attached to, what vanishes is no
    /// error, and nothing needs to be there at the beginning. For a tracker that is
    /// to outlive this process, see the command `follow`.
    #[arg(long, requires = "foreground")]
    pub(crate) follow: bool,

    /// Answer p0f's queries about addresses at this socket, with --foreground
    ///
    /// As p0f with -s does, for tools that ask it. Only its user may connect.
    #[arg(long, value_name = "PATH", requires = "foreground")]
    pub(crate) p0f_socket: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) database: DatabaseArgs,

    /// Seconds between lines of statistics, with --foreground
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "10",
        requires = "foreground"
    )]
    pub(crate) interval: Seconds,
}

#[derive(Debug, Args)]
#[command(after_help = text::FOLLOW)]
pub(crate) struct FollowArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,

    /// Where arriving packets are seen, as in `attach`
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,
}

#[derive(Debug, Args)]
#[command(after_help = text::DETACH)]
pub(crate) struct DetachArgs {
    /// Interfaces; without any, all of them, and the flow table goes too
    #[arg(value_name = "IFACE")]
    pub(crate) interfaces: Vec<String>,

    /// Also what a version with another layout of its maps has set up
    #[arg(long, conflicts_with = "interfaces")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The form
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    pub(crate) output: TextFormat,
}

#[derive(Debug, Args)]
#[command(after_help = text::DOCTOR)]
pub(crate) struct DoctorArgs {
    /// Interfaces to look at, or patterns such as 'eth*'; without any, all
    #[arg(value_name = "IFACE")]
    pub(crate) interfaces: Vec<String>,

    /// The mode that `attach` would be given
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,

    /// The form
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    pub(crate) output: TextFormat,
}

#[derive(Debug, Args)]
#[command(after_help = text::LIST)]
pub(crate) struct ListArgs {
    /// One flow: `tcp 10.0.0.1:40000 10.0.0.2:80`, ends in any order
    #[arg(value_name = "KEY")]
    pub(crate) key: Vec<String>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Flows that came in by this interface, an attached one
    #[arg(short = 'i', long, value_name = "IFACE")]
    pub(crate) interface: Option<String>,

    #[command(flatten)]
    pub(crate) view: ViewArgs,

    /// Show them again every so many seconds (2), until interrupted
    #[arg(
        short,
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = values::watch
    )]
    pub(crate) watch: Option<Seconds>,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Seconds that rates are taken over, and between two readings of --watch
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    pub(crate) interval: Seconds,

    /// Show them again every --interval, until interrupted
    #[arg(short, long)]
    pub(crate) watch: bool,

    /// How TCP connections are doing, by service and by interface
    ///
    /// Connections whose handshake came through, segments sent again, RSTs, closed windows,
    /// and how long round trips and connections took; half of them, and 95 and 99 of a
    /// hundred, took no longer. Prometheus' form has that always.
    #[arg(long)]
    pub(crate) health: bool,

    /// The form; prometheus is its text format, for who collects files of metrics
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: StatsFormat,
}

#[derive(Debug, Args)]
#[command(after_help = text::EVENTS)]
pub(crate) struct EventsArgs {
    /// Types, with commas: new, update, destroy, invalid, pressure, ban, unban
    ///
    /// All but invalid, if none is named. invalid is a sample.
    #[arg(short = 'e', long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub(crate) types: Vec<EventType>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Flows that came in by this interface, an attached one
    #[arg(short = 'i', long, value_name = "IFACE")]
    pub(crate) interface: Option<String>,

    /// The form; text is the line of `conntrack -E -o timestamp`
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    pub(crate) output: EventFormat,

    /// End after so many
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) count: Option<u64>,

    /// Room between kernel and reader: 512K, 64M, up to 1G [default: 8M]
    #[arg(short = 'b', long, value_name = "SIZE", value_parser = values::buffer)]
    pub(crate) buffer: Option<u32>,
}

#[derive(Debug, Args)]
#[command(after_help = text::REPLAY)]
pub(crate) struct ReplayArgs {
    /// A pcap or pcapng file, `-` for stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    #[command(flatten)]
    pub(crate) view: ViewArgs,

    /// Show statistics instead of the flows, as table or JSON
    #[arg(long)]
    pub(crate) stats: bool,

    /// Show the fingerprints of SYNs and SYN+ACKs instead, by signature or by source
    #[arg(
        long,
        value_name = "WHAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "signature",
        conflicts_with = "stats"
    )]
    pub(crate) fingerprints: Option<By>,

    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
#[command(after_help = text::DEMO)]
pub(crate) struct DemoArgs {
    /// Seconds the traffic goes on, from 3 to 3600
    #[arg(long, value_name = "N", default_value = "6",
          value_parser = clap::value_parser!(u16).range(3..=3600))]
    pub(crate) seconds: u16,
}
