//! `ports`.

use std::str::FromStr;

use clap::Args;
use clap::builder::PossibleValuesParser;
use conntrack_core::Family;
use conntrack_core::Lifetime;
use conntrack_core::PortRange;
use conntrack_core::Protocol;
use conntrack_core::ports::PortDst;
use conntrack_core::ports::PortQuery;

use super::text;
use super::values;
use super::view::ListFormat;

#[derive(Debug, Args)]
#[command(after_help = text::PORTS)]
pub(crate) struct PortsArgs {
    /// Connections that came within it, up to now: 10s, 5m, 24h
    #[arg(short, long, value_name = "TIME", default_value = "60s")]
    window: Lifetime,

    /// Ports: 22,80,8000-8999
    #[arg(long, value_name = "N[-M]", value_delimiter = ',')]
    port: Vec<PortRange>,

    /// tcp or udp
    #[arg(short, long, visible_alias = "proto", value_name = "PROTO",
          value_parser = PossibleValuesParser::new(["tcp", "udp"]))]
    protocol: Option<String>,

    /// ipv4 or ipv6
    #[arg(short, long, value_name = "FAMILY")]
    family: Option<Family>,

    /// Whose ports: local (this host's), an address or a network [default: anybody's]
    #[arg(short, long, value_name = "local|CIDR")]
    dst: Option<Whose>,

    /// Count sources that are addresses of this host, too
    #[arg(long)]
    with_local: bool,

    /// Show the source addresses, as far as they are known one by one
    #[arg(short, long)]
    pub(crate) list: bool,

    /// Show at most so many
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// The form
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: ListFormat,

    /// No heading (table, csv)
    #[arg(long)]
    pub(crate) no_header: bool,
}

/// `local`, or a network.
#[derive(Copy, Clone, Debug)]
struct Whose(PortDst);

impl FromStr for Whose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self(PortDst::Local)),
            _ => values::network(text)
                .map(|net| Self(PortDst::Net(net)))
                .map_err(|error| format!("{error}, or local")),
        }
    }
}

impl PortsArgs {
    /// The same as the library's.
    pub(crate) fn query(&self) -> PortQuery {
        let mut query = PortQuery::new(self.window.0);
        query.ports.clone_from(&self.port);
        query.protocol = self.protocol.as_deref().map(|name| match name {
            "udp" => Protocol::UDP,
            _ => Protocol::TCP,
        });
        query.family = self.family;
        query.dst = self.dst.map_or(PortDst::Any, |whose| whose.0);
        query.with_local = self.with_local;
        query
    }
}
