//! Filters on flows.

mod common;

use conntrack_core::Family;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::PortRange;
use conntrack_core::Protocol;
use conntrack_core::StateName;

/// A condition, and the positions in `common::all()` of the flows that meet it:
/// tcp, udp, ping, ping6, sctp, gre, unknown.
fn cases() -> Vec<(&'static str, FlowFilter, Vec<usize>)> {
    let none = FlowFilter::default;
    let net = |text: &str| text.parse().ok();
    let state = |text: &str| text.parse::<StateName>().ok();
    vec![
        ("all", none(), vec![0, 1, 2, 3, 4, 5, 6]),
        (
            "protocol",
            FlowFilter {
                protocol: Some(Protocol::UDP),
                ..none()
            },
            vec![1],
        ),
        (
            "number",
            FlowFilter {
                protocol: Some(Protocol(253)),
                ..none()
            },
            vec![6],
        ),
        (
            "family",
            FlowFilter {
                family: Some(Family::Ipv6),
                ..none()
            },
            vec![3, 4],
        ),
        (
            "state",
            FlowFilter {
                state: state("established"),
                ..none()
            },
            vec![0],
        ),
        (
            "sctp state",
            FlowFilter {
                state: state("COOKIE_ECHOED"),
                ..none()
            },
            vec![4],
        ),
        (
            "addr",
            FlowFilter {
                addr: net("10.0.0.2/32"),
                ..none()
            },
            vec![0, 5, 6],
        ),
        (
            "addr6",
            FlowFilter {
                addr: net("fe80::/10"),
                ..none()
            },
            vec![4],
        ),
        (
            "everyone",
            FlowFilter {
                addr: net("0.0.0.0/0"),
                ..none()
            },
            vec![0, 1, 2, 5, 6],
        ),
        (
            "src",
            FlowFilter {
                src: net("10.0.0.2/32"),
                ..none()
            },
            vec![],
        ),
        (
            "src net",
            FlowFilter {
                src: net("10.0.0.0/31"),
                ..none()
            },
            vec![0, 5, 6],
        ),
        (
            "dst",
            FlowFilter {
                dst: net("2001:db8::2/128"),
                ..none()
            },
            vec![3],
        ),
        (
            "port",
            FlowFilter {
                port: Some(80.into()),
                ..none()
            },
            vec![0],
        ),
        (
            "sport",
            FlowFilter {
                sport: Some(80.into()),
                ..none()
            },
            vec![],
        ),
        (
            "dport",
            FlowFilter {
                dport: Some(PortRange::new(80, 5_353)),
                ..none()
            },
            vec![0, 1, 4],
        ),
        (
            "any port",
            FlowFilter {
                port: Some(PortRange::new(0, 65_535)),
                ..none()
            },
            vec![0, 1, 4],
        ),
        (
            "ifindex",
            FlowFilter {
                ifindex: Some(7),
                ..none()
            },
            vec![1],
        ),
        (
            "assured",
            FlowFilter {
                assured: Some(true),
                ..none()
            },
            vec![0, 4, 5],
        ),
        (
            "not assured",
            FlowFilter {
                assured: Some(false),
                ..none()
            },
            vec![1, 2, 3, 6],
        ),
        (
            "unreplied",
            FlowFilter {
                seen_reply: Some(false),
                ..none()
            },
            vec![1, 6],
        ),
        (
            "both",
            FlowFilter {
                assured: Some(true),
                family: Some(Family::Ipv4),
                ..none()
            },
            vec![0, 5],
        ),
    ]
}

fn flows() -> Vec<Flow> {
    let mut flows = common::all().to_vec();
    flows[1].ifindex = 7;
    flows
}

#[test]
fn conditions_choose_flows() {
    for (name, filter, want) in cases() {
        let chosen: Vec<_> = flows()
            .iter()
            .enumerate()
            .filter(|(_, flow)| filter.matches(flow))
            .map(|(index, _)| index)
            .collect();
        assert_eq!(chosen, want, "{name}");
        assert_eq!(filter.is_empty(), name == "all", "{name}");
    }
}

/// A reader that asks the parts before it decodes a row comes to the same.
#[test]
fn the_parts_agree_with_the_whole() {
    for (name, filter, _) in cases() {
        for flow in flows() {
            let tuple = &flow.original.tuple;
            let parts = filter.matches_family(flow.family)
                && filter.matches_protocol(flow.protocol)
                && filter.matches_status(flow.state, flow.seen_reply, flow.assured)
                && filter.matches_ifindex(flow.ifindex)
                && filter.matches_ports(tuple.ports())
                && filter.matches_addresses(tuple.src, tuple.dst);
            assert_eq!(parts, filter.matches(&flow), "{name} on {flow}");
        }
    }
}

#[test]
fn port_ranges() {
    for (text, first, last) in [("80", 80, 80), ("0-65535", 0, 65_535), ("1:2", 1, 2)] {
        assert_eq!(text.parse(), Ok(PortRange::new(first, last)), "{text}");
    }
    for text in [
        "", "-", "80-", "-80", "90-80", "65536", "1-2-3", "http", "+1", " 1",
    ] {
        assert!(text.parse::<PortRange>().is_err(), "{text:?}");
    }
}

#[test]
fn state_names() {
    assert_eq!(
        "time_wait".parse::<StateName>().unwrap().to_string(),
        "TIME_WAIT"
    );
    assert_eq!(
        "Cookie_Wait".parse::<StateName>().unwrap().to_string(),
        "COOKIE_WAIT"
    );
    assert!("OPEN".parse::<StateName>().is_err());
}
