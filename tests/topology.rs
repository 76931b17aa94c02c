//! Places where a packet meets several of our hooks: it counts once, and both
//! directions of a connection are one flow. nf_conntrack, which sees a packet
//! once however it goes, is the truth.

mod support;

use conntrack::Mode;
use conntrack::Tracker;
use support::gigabyte;
use support::kernel;
use support::link::Link;
use support::link::Offloads;
use support::link::veth;
use support::netns::Netns;
use support::pair::at;
use support::pair::ip;
use support::peer::Server;
use support::peer::dns_query;
use support::peer::http_get;
use support::peer::iperf;
use support::peer::ping;
use support::row::Row;
use support::tracked;

/// A namespace at the end of a wire of its own, `10.<net>.0.<host>` and
/// `fd<net>::<host>`; its way to anywhere is `.1`.
struct Leaf {
    ns: Netns,
    v4: String,
    v6: String,
    /// The far end of its wire.
    port: Link,
}

impl Leaf {
    fn new(hub: &Netns, port: &str, net: u8, host: u8) -> Self {
        let ns = Netns::new();
        let (far, near) = veth((hub, port), (&ns, "eth0"));
        for link in [&far, &near] {
            link.offloads(Offloads::Off);
        }
        let (v4, v6) = (format!("10.{net}.0.{host}"), format!("fd{net:02}::{host}"));
        near.addr(&format!("{v4}/24")).addr(&format!("{v6}/64"));
        ns.sh(&format!("ip route add default via 10.{net}.0.1"));
        ns.sh(&format!("ip -6 route add default via fd{net:02}::1"));
        Self {
            ns,
            v4,
            v6,
            port: far,
        }
    }
}

/// The hub's own end of a net.
fn gateway(link: &Link, net: u8) {
    link.addr(&format!("10.{net}.0.1/24"));
    link.addr(&format!("fd{net:02}::1/64"));
}

/// A page, queries and a ping of both families: six flows.
fn converse(client: &Netns, server: &Netns, v4: &str, v6: &str) {
    for addr in [v4, v6] {
        let _http = Server::http(server, at(addr, 80), 200_000);
        let _dns = Server::dns(server, at(addr, 53), 200);
        http_get(client, at(addr, 80));
        dns_query(client, at(addr, 53), 5, 40);
        ping(client, ip(addr), 3, 56);
    }
}

fn between(client: &Leaf, server: &Leaf) {
    converse(&client.ns, &server.ns, &server.v4, &server.v6);
}

/// The hub's own two addresses in a net.
fn own(net: u8) -> [String; 2] {
    [format!("10.{net}.0.1"), format!("fd{net:02}::1")]
}

/// Each interface's share adds up to the whole, and as many flows as expected
/// have been seen both ways.
fn assert_whole(tracker: &Tracker, rows: &[Row], flows: usize) {
    assert_eq!(rows.len(), flows, "{rows:#?}");
    assert!(rows.iter().all(|row| row.seen_reply), "{rows:#?}");
    let counters = tracked::counters(tracker);
    let shares: u64 = counters.interfaces.iter().map(|share| share.packets).sum();
    assert_eq!(shares, counters.packets, "{:?}", counters.interfaces);
    tracked::assert_clean(tracker);
}

/// A router with every interface tracked: what it forwards, and what is its own.
fn router(mode: Mode) {
    let hub = Netns::new();
    hub.forward();
    let (a, b) = (Leaf::new(&hub, "a", 1, 2), Leaf::new(&hub, "b", 2, 2));
    gateway(&a.port, 1);
    gateway(&b.port, 2);
    kernel::track(&hub);
    let tracker = tracked::track(&hub, &["a", "b"], mode);
    between(&a, &b);
    between(&b, &a);
    let [v4, v6] = own(1);
    converse(&a.ns, &hub, &v4, &v6);
    converse(&hub, &b.ns, &b.v4, &b.v6);
    iperf(&b.ns, &a.ns, ip(&b.v4), gigabyte() / 10, false);
    let rows = tracked::assert_same(&tracker, || kernel::rows(&hub));
    assert_whole(&tracker, &rows, 4 * 6 + 2);
    // What came in on one and went out on the other was recognised.
    let through = |row: &&Row| {
        let ends = [row.original.src, row.original.dst];
        ends.iter()
            .all(|end| ![own(1), own(2)].concat().contains(&end.to_string()))
    };
    let forwarded = rows.iter().filter(through).flat_map(|row| row.counts());
    let forwarded: u64 = forwarded.map(|(packets, _)| packets).sum();
    let counters = tracked::counters(&tracker);
    assert_eq!(counters.passed_untracked["duplicate"], forwarded);
}

#[test]
#[ignore = "root"]
fn router_by_xdp() {
    router(Mode::Native);
}

#[test]
#[ignore = "root"]
fn router_by_tc() {
    router(Mode::Tc);
}

/// Two interfaces are tracked and a third is not: what passes one of the two
/// counts once, whichever way it goes; what does not, does not.
#[test]
#[ignore = "root"]
fn an_untracked_interface_beside_two() {
    let hub = Netns::new();
    hub.forward();
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 3)].map(|(name, net)| Leaf::new(&hub, name, net, 2));
    for (leaf, net) in [(&a, 1), (&b, 2), (&c, 3)] {
        gateway(&leaf.port, net);
    }
    kernel::track(&hub);
    let tracker = tracked::track(&hub, &["a", "b"], Mode::Auto);
    between(&a, &b);
    between(&a, &c);
    between(&c, &b);
    let rows = tracked::assert_same(&tracker, || kernel::rows(&hub));
    assert_whole(&tracker, &rows, 3 * 6);
    let [v4, v6] = own(3);
    converse(&c.ns, &hub, &v4, &v6);
    assert_eq!(kernel::rows(&hub).len(), 4 * 6);
    assert_eq!(
        tracked::rows(&tracker).len(),
        3 * 6,
        "a flow of what is not tracked"
    );
}

/// A bridge whose ports are tracked, with an address and routed traffic: to the
/// host, between ports, and through the bridge's device to another interface,
/// tracked or not.
fn bridge(uplink_tracked: bool) {
    let hub = Netns::new();
    hub.forward();
    // Snooping would have the host join a group, with a packet that leaves by no
    // port.
    hub.sh("ip link add br0 type bridge mcast_snooping 0");
    let br0 = Link::up(&hub, "br0");
    br0.offloads(Offloads::Off);
    let [a, b] = [("a", 2), ("b", 3)].map(|(name, host)| Leaf::new(&hub, name, 1, host));
    for port in [&a.port, &b.port] {
        hub.sh(&format!("ip link set dev {} master br0", port.name));
    }
    gateway(&br0, 1);
    let up = Leaf::new(&hub, "up", 2, 2);
    gateway(&up.port, 2);
    kernel::track(&hub);
    kernel::leave_bridged(&hub);
    kernel::track(&a.ns);
    let tracked = if uplink_tracked {
        &["a", "b", "up"][..]
    } else {
        &["a", "b"]
    };
    let tracker = tracked::track(&hub, tracked, Mode::Auto);
    let [v4, v6] = own(1);
    converse(&a.ns, &hub, &v4, &v6);
    between(&a, &up);
    between(&up, &b);
    between(&a, &b);
    // What the bridge forwards itself passes no host; the sender knows it.
    let bridged = |row: &Row| [&b.v4, &b.v6].contains(&&row.original.dst.to_string());
    let rows = tracked::assert_same(&tracker, || {
        let mut rows = kernel::rows(&hub);
        rows.extend(kernel::rows(&a.ns).into_iter().filter(bridged));
        rows.sort();
        rows
    });
    assert_whole(&tracker, &rows, 4 * 6);
}

#[test]
#[ignore = "root"]
fn bridge_between_tracked_ports() {
    bridge(false);
}

#[test]
#[ignore = "root"]
fn bridge_with_tracked_uplink() {
    bridge(true);
}

/// A macvlan device on a tracked one: its packets are that one's, and routed
/// from it to another tracked one they count once.
#[test]
#[ignore = "root"]
fn macvlan_on_a_tracked_interface() {
    let hub = Netns::new();
    hub.forward();
    let (a, b) = (Leaf::new(&hub, "a", 1, 2), Leaf::new(&hub, "b", 2, 2));
    hub.sh("ip link add link a name mac0 type macvlan mode bridge");
    let mac0 = Link::up(&hub, "mac0");
    mac0.offloads(Offloads::Off);
    gateway(&mac0, 1);
    gateway(&b.port, 2);
    kernel::track(&hub);
    let tracker = tracked::track(&hub, &["a", "b"], Mode::Auto);
    between(&a, &b);
    between(&b, &a);
    let [v4, v6] = own(1);
    converse(&a.ns, &hub, &v4, &v6);
    converse(&hub, &a.ns, &a.v4, &a.v6);
    let rows = tracked::assert_same(&tracker, || kernel::rows(&hub));
    assert_whole(&tracker, &rows, 4 * 6);
}
