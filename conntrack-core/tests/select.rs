//! Filters on flows.

mod common;

use conntrack_core::Family;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::PortRange;
use conntrack_core::Protocol;
use conntrack_core::StateName;

type Edit = fn(&mut FlowFilter);

/// A condition, and the positions in `common::all()` of the flows that meet it:
/// tcp, udp, ping, ping6, sctp, gre, unknown.
const CASES: [(&str, Edit, &[usize]); 21] = [
    ("all", |_| {}, &[0, 1, 2, 3, 4, 5, 6]),
    ("protocol", |f| f.protocol = Some(Protocol::UDP), &[1]),
    ("number", |f| f.protocol = Some(Protocol(253)), &[6]),
    ("family", |f| f.family = Some(Family::Ipv6), &[3, 4]),
    ("state", |f| f.state = "established".parse().ok(), &[0]),
    ("sctp", |f| f.state = "COOKIE_ECHOED".parse().ok(), &[4]),
    ("addr", |f| f.addr = "10.0.0.2/32".parse().ok(), &[0, 5, 6]),
    ("addr6", |f| f.addr = "fe80::/10".parse().ok(), &[4]),
    (
        "v4",
        |f| f.addr = "0.0.0.0/0".parse().ok(),
        &[0, 1, 2, 5, 6],
    ),
    ("src", |f| f.src = "10.0.0.2/32".parse().ok(), &[]),
    ("net", |f| f.src = "10.0.0.0/31".parse().ok(), &[0, 5, 6]),
    ("dst", |f| f.dst = "2001:db8::2/128".parse().ok(), &[3]),
    ("port", |f| f.port = Some(80.into()), &[0]),
    ("sport", |f| f.sport = Some(80.into()), &[]),
    ("dport", |f| f.dport = "80-5353".parse().ok(), &[0, 1, 4]),
    ("any", |f| f.port = "0-65535".parse().ok(), &[0, 1, 4]),
    ("ifindex", |f| f.ifindex = Some(7), &[1]),
    ("assured", |f| f.assured = Some(true), &[0, 4, 5]),
    ("not assured", |f| f.assured = Some(false), &[1, 2, 3, 6]),
    ("unreplied", |f| f.seen_reply = Some(false), &[1, 6]),
    (
        "both",
        |f| (f.assured, f.family) = (Some(true), Some(Family::Ipv4)),
        &[0, 5],
    ),
];

fn filter(edit: Edit) -> FlowFilter {
    let mut filter = FlowFilter::default();
    edit(&mut filter);
    filter
}

fn flows() -> Vec<Flow> {
    let mut flows = common::all().to_vec();
    flows[1].ifindex = 7;
    flows
}

#[test]
fn conditions_choose_flows() {
    for (name, edit, want) in CASES {
        let filter = filter(edit);
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
    for (name, edit, _) in CASES {
        let filter = filter(edit);
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
