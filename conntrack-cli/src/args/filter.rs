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
    #[arg(long, conflicts_with = "assured")]
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use conntrack_core::Flow;
    use conntrack_core::FlowState;
    use conntrack_core::L4;
    use conntrack_core::Side;
    use conntrack_core::TcpState;
    use conntrack_core::Tuple;

    use super::*;
    use crate::args::Cli;
    use crate::args::Command;

    fn flow(ends: [&str; 2], protocol: Protocol, l4: L4) -> Flow {
        let [src, dst] = ends.map(|end| end.parse().unwrap());
        let tuple = Tuple {
            src,
            dst,
            protocol,
            l4,
        };
        Flow::new(Side::new(tuple), Side::new(tuple.inverted().unwrap()))
    }

    /// An established connection, a question nobody answered, a ping.
    fn flows() -> [Flow; 3] {
        let ports = |src, dst| L4::Ports { src, dst };
        let echo = L4::Icmp {
            kind: 8,
            code: 0,
            id: 77,
        };
        let v4 = ["10.0.0.1", "10.0.0.2"];
        let mut tcp = flow(v4, Protocol::TCP, ports(40_000, 80));
        tcp.state = FlowState::Tcp(TcpState::Established);
        (tcp.seen_reply, tcp.assured) = (true, true);
        let udp = flow(
            ["2001:db8::1", "2001:db8::2"],
            Protocol::UDP,
            ports(5353, 53),
        );
        let mut ping = flow(v4, Protocol::ICMP, echo);
        ping.seen_reply = true;
        [tcp, udp, ping]
    }

    #[test]
    fn every_option_chooses_its_flows() {
        for (options, want) in [
            (&[][..], &["tcp", "udp", "icmp"][..]),
            (&["-p", "tcp"], &["tcp"]),
            (&["--proto", "1"], &["icmp"]),
            (&["--state", "established"], &["tcp"]),
            (&["-f", "ipv6"], &["udp"]),
            (&["--addr", "10.0.0.2"], &["tcp", "icmp"]),
            (&["--src", "10.0.0.0/8"], &["tcp", "icmp"]),
            (&["--src", "10.0.0.2"], &[]),
            (&["-d", "2001:db8::2"], &["udp"]),
            (&["--port", "40000"], &["tcp"]),
            (&["--sport", "5000-6000"], &["udp"]),
            (&["--dport", "53"], &["udp"]),
            (&["--dport", "40000"], &[]),
            (&["--assured"], &["tcp"]),
            (&["--unreplied"], &["udp"]),
            (&["-p", "tcp", "--dport", "53"], &[]),
        ] {
            let args = [&["conntrack", "list"], options].concat();
            let Some(Command::List(list)) = Cli::try_parse_from(args).unwrap().command else {
                panic!("{options:?}");
            };
            let filter = list.filter.filter();
            let chosen = flows().into_iter().filter(|flow| filter.matches(flow));
            let chosen: Vec<_> = chosen.filter_map(|flow| flow.protocol.name()).collect();
            assert_eq!(chosen, want, "{options:?}");
        }
    }
}
