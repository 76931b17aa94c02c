//! Bridges of which only some ports are tracked.

mod support;

use conntrack::Mode;
use conntrack::Protocol;
use conntrack::Tracker;
use support::eventually;
use support::kernel;
use support::link::Link;
use support::link::veth;
use support::netns::Netns;
use support::pair::ip;
use support::peer::ping;
use support::row;
use support::row::Row;
use support::tracked;

/// A namespace at the end of a wire, `10.<net>.0.<host>`.
fn leaf(hub: &Netns, port: &str, net: u8, host: u8) -> (Netns, Link) {
    let ns = Netns::new();
    let (far, near) = veth((hub, port), (&ns, "eth0"));
    near.addr(&format!("10.{net}.0.{host}/24"));
    ns.sh(&format!("ip route add default via 10.{net}.0.1"));
    (ns, far)
}

/// The pings, of which both trackers say the same. The bridge has multicast
/// traffic of its own, older than our tracker.
fn pings(tracker: &Tracker, hub: &Netns) -> Vec<Row> {
    let only = |mut rows: Vec<Row>| {
        rows.retain(|row| row.protocol == Protocol::ICMP);
        rows
    };
    eventually("both trackers agree", || {
        let ours = only(tracked::rows(tracker));
        row::same(&ours, &only(kernel::rows(hub))).map(|()| ours)
    })
}

/// What is said of an interface, less that its kernel has no tcx.
fn about_bridges(why: Option<String>) -> String {
    let why = why.unwrap_or_default();
    let parts = why.split("; ");
    let parts = parts.filter(|part| !part.starts_with("clsact instead of tcx"));
    parts.collect::<Vec<_>>().join("; ")
}

#[test]
#[ignore = "root"]
fn what_is_routed_from_an_untracked_port_is_seen() {
    let hub = Netns::new();
    hub.forward();
    let (p, _) = leaf(&hub, "p0", 1, 2);
    let (q, _) = leaf(&hub, "q0", 1, 3);
    let (_x, x0) = leaf(&hub, "x0", 2, 2);
    x0.addr("10.2.0.1/24");
    hub.sh("ip link add br0 type bridge");
    hub.sh("ip link set p0 master br0");
    hub.sh("ip link set q0 master br0");
    Link::up(&hub, "br0").addr("10.1.0.1/24");
    kernel::leave_bridged(&hub);
    kernel::track(&hub);
    let tracker = tracked::track(&hub, &["p0", "x0"], Mode::Auto);
    let why = |name: &str| {
        let status = tracker.status().unwrap();
        let mut all = status.interfaces.into_iter();
        let found = all.find(|it| it.name == name).expect("attached");
        about_bridges(found.why)
    };
    let caveat = "br0 has ports that are not tracked (q0): what is routed from p0 by br0 to \
                  another tracked interface counts twice";
    assert_eq!(why("p0"), caveat);
    assert_eq!(why("x0"), "");

    ping(&q, ip("10.2.0.2"), 3, 56);
    let rows = pings(&tracker, &hub);
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert!(rows[0].seen_reply);
    tracked::assert_clean(&tracker);

    // With the other port tracked too, br0 stands for both.
    let report = tracker.add_interface("q0", Mode::Auto).unwrap();
    assert_eq!(about_bridges(report.why), "");
    assert_eq!(why("p0"), "");
    ping(&p, ip("10.2.0.2"), 3, 56);
    ping(&q, ip("10.2.0.2"), 3, 56);
    let rows = pings(&tracker, &hub);
    assert_eq!(rows.len(), 3, "{rows:#?}");
    tracked::assert_clean(&tracker);
    tracker.remove_interface("q0").unwrap();
    assert_eq!(why("p0"), caveat);
}
