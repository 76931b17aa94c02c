//! Which flows.

use clap::Args;
use conntrack_core::Family;
use conntrack_core::FlowFilter;
use conntrack_core::PortRange;
use conntrack_core::Protocol;
use conntrack_core::StateName;
use ipnet::IpNet;

use super::values;

/// Conditions on flows; those given must all hold.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Which flows")]
pub(crate) struct FilterArgs {
    /// tcp, udp, icmp, icmpv6, sctp, gre, or a number
    #[arg(short, long, visible_alias = "proto", value_name = "PROTO")]
    protocol: Option<Protocol>,

    /// State of TCP or SCTP: ESTABLISHED, TIME_WAIT, ...
    #[arg(long, value_name = "STATE")]
    state: Option<StateName>,

    /// ipv4 or ipv6
    #[arg(short, long, value_name = "FAMILY")]
    family: Option<Family>,

    /// Either end: an address or a network
    #[arg(long, value_name = "CIDR", value_parser = values::network)]
    addr: Option<IpNet>,

    /// Who opened the flow: an address or a network
    #[arg(short = 's', long, value_name = "CIDR", value_parser = values::network)]
    src: Option<IpNet>,

    /// Whom it was opened to: an address or a network
    #[arg(short = 'd', long, value_name = "CIDR", value_parser = values::network)]
    dst: Option<IpNet>,

    /// Either end's port: 53, 8000-8999
    #[arg(long, value_name = "N[-M]")]
    port: Option<PortRange>,

    /// Port of who opened the flow
    #[arg(long, value_name = "N[-M]")]
    sport: Option<PortRange>,

    /// Port it was opened to
    #[arg(long, value_name = "N[-M]")]
    dport: Option<PortRange>,

    /// Only flows that proved to be real traffic both ways
    #[arg(long)]
    assured: bool,

    /// Only flows that nobody answered
    #[arg(long)]
    unreplied: bool,
}

impl FilterArgs {
    /// The same as the library's filter; the interface is the caller's.
    pub(crate) fn filter(&self) -> FlowFilter {
        FlowFilter {
            protocol: self.protocol,
            family: self.family,
            state: self.state,
            addr: self.addr,
            src: self.src,
            dst: self.dst,
            port: self.port,
            sport: self.sport,
            dport: self.dport,
            ifindex: None,
            assured: self.assured.then_some(true),
            seen_reply: self.unreplied.then_some(false),
        }
    }
}
