//! `icmp`.

use clap::Args;
use conntrack_core::Family;
use conntrack_core::PortRange;
use conntrack_core::Protocol;
use conntrack_core::icmp::IcmpFilter;
use conntrack_core::icmp::IcmpType;
use ipnet::IpNet;

use super::text;
use super::values;
use super::view::ListFormat;

#[derive(Debug, Args)]
#[command(after_help = text::ICMP)]
pub(crate) struct IcmpArgs {
    /// Show errors one by one, the latest first, with the packet that each is about
    #[arg(long)]
    pub(crate) errors: bool,

    #[command(flatten)]
    pub(crate) which: WhichIcmp,

    #[command(flatten)]
    pub(crate) of_errors: WhichErrors,

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

/// Conditions on kinds of messages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which messages")]
pub(crate) struct WhichIcmp {
    /// ipv4 or ipv6
    #[arg(short, long, value_name = "FAMILY")]
    family: Option<Family>,

    /// A number, or a name: echo-request, destination-unreachable, time-exceeded, ...
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<IcmpType>,

    /// The code
    #[arg(long, value_name = "CODE")]
    code: Option<u8>,
}

/// Conditions on errors.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which errors, with --errors")]
pub(crate) struct WhichErrors {
    /// Who sent the error: an address or a network
    #[arg(long, value_name = "CIDR", value_parser = values::network, requires = "errors")]
    from: Option<IpNet>,

    /// Any of its addresses, or those of the packet it is about
    #[arg(long, value_name = "CIDR", value_parser = values::network, requires = "errors")]
    addr: Option<IpNet>,

    /// Who sent the packet it is about
    #[arg(short, long, value_name = "CIDR", value_parser = values::network, requires = "errors")]
    src: Option<IpNet>,

    /// To whom that was sent
    #[arg(short, long, value_name = "CIDR", value_parser = values::network, requires = "errors")]
    dst: Option<IpNet>,

    /// Protocol of the packet it is about
    #[arg(
        short,
        long,
        visible_alias = "proto",
        value_name = "PROTO",
        requires = "errors"
    )]
    protocol: Option<Protocol>,

    /// Either port of the packet it is about: 53, 8000-8999
    #[arg(long, value_name = "N[-M]", requires = "errors")]
    port: Option<PortRange>,

    /// Interface that it was last seen on
    #[arg(short = 'i', long, value_name = "IFACE", requires = "errors")]
    interface: Option<String>,

    /// Only those about a flow that was known
    #[arg(long, requires = "errors")]
    related: bool,

    /// Only those about none
    #[arg(long, requires = "errors", conflicts_with = "related")]
    invalid: bool,
}

impl IcmpArgs {
    /// The same as the library's filter.
    pub(crate) fn filter(&self) -> IcmpFilter {
        let (which, of) = (&self.which, &self.of_errors);
        let mut filter = IcmpFilter::default();
        filter.family = which.family;
        filter.kind.clone_from(&which.kind);
        filter.code = which.code;
        (filter.from, filter.addr) = (of.from, of.addr);
        (filter.src, filter.dst) = (of.src, of.dst);
        (filter.protocol, filter.port) = (of.protocol, of.port);
        filter.interface.clone_from(&of.interface);
        filter.related = match (of.related, of.invalid) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        filter
    }
}
