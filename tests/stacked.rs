//! Real VLAN, QinQ and bond devices on tracked interfaces, which not every
//! kernel has: run by `make test-kernels` in its guests, which do
//! (`CONNTRACK_TEST_KERNEL_MATRIX`). Elsewhere these tests are not in the list.

mod support;

use std::process::ExitCode;

use conntrack::Change;
use conntrack::Mode;
use conntrack::Tracker;
use libtest_mimic::Arguments;
use libtest_mimic::Failed;
use libtest_mimic::Trial;
use support::in_kernel_matrix;
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
use support::peer::ping;
use support::tracked;

type Test = (&'static str, fn());

const TESTS: [Test; 6] = [
    ("vlan_devices_by_xdp", || vlan_devices(Mode::Native)),
    ("vlan_devices_by_tc", || vlan_devices(Mode::Tc)),
    ("qinq_devices_by_xdp", || qinq_devices(Mode::Native)),
    ("qinq_devices_by_tc", || qinq_devices(Mode::Tc)),
    ("bond_of_tracked_ports", bond_of_tracked_ports),
    ("vlan_devices_made_later", vlan_devices_made_later),
];

fn main() -> ExitCode {
    let tests = if in_kernel_matrix() { &TESTS[..] } else { &[] };
    let trial = |&(name, test): &Test| {
        let run = move || -> Result<(), Failed> {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(true)
    };
    libtest_mimic::run(&Arguments::from_args(), tests.iter().map(trial).collect()).exit_code()
}

/// A device on another one, up.
fn stacked(ns: &Netns, under: &str, name: &str, kind: &str) -> Link {
    ns.sh(&format!("ip link add link {under} name {name} type {kind}"));
    Link::up(ns, name)
}

/// Its address in a net of each family.
fn address(link: &Link, net: u8, host: u8) {
    link.offloads(Offloads::Off);
    link.addr(&format!("10.{net}.0.{host}/24"));
    link.addr(&format!("fd{net:02}::{host}/64"));
}

/// Moves a device to a namespace of its own, where it is the only way out.
fn leaf(link: &Link, net: u8) -> Netns {
    let ns = Netns::new();
    let there = ns.path();
    link.ns.sh(&format!(
        "ip link set dev {} netns {}",
        link.name,
        there.display()
    ));
    address(&Link::up(&ns, &link.name), net, 2);
    ns.sh(&format!("ip route add default via 10.{net}.0.1"));
    ns.sh(&format!("ip -6 route add default via fd{net:02}::1"));
    ns
}

/// A page, queries and a ping of both families: six flows.
fn converse(client: &Netns, server: &Netns, net: u8, host: u8) {
    for addr in [format!("10.{net}.0.{host}"), format!("fd{net:02}::{host}")] {
        let _http = Server::http(server, at(&addr, 80), 100_000);
        let _dns = Server::dns(server, at(&addr, 53), 200);
        http_get(client, at(&addr, 80));
        dns_query(client, at(&addr, 53), 5, 40);
        ping(client, ip(&addr), 3, 56);
    }
}

/// What both devices of a trunk are used for: to the host, from it, and from
/// one network to the other, in and out by the one tracked interface below.
fn over_a_trunk(host: &Netns, leaves: [&Netns; 2], interfaces: &[&str], mode: Mode) {
    host.forward();
    kernel::track(host);
    let tracker = tracked::track(host, interfaces, mode);
    use_trunk(&tracker, host, leaves);
}

fn use_trunk(tracker: &Tracker, host: &Netns, leaves: [&Netns; 2]) {
    converse(leaves[0], host, 1, 1);
    converse(host, leaves[1], 2, 2);
    converse(leaves[0], leaves[1], 2, 2);
    let rows = tracked::assert_same(tracker, || kernel::rows(host));
    assert_eq!(rows.len(), 3 * 6, "{rows:#?}");
    assert!(rows.iter().all(|row| row.seen_reply), "{rows:#?}");
    tracked::assert_clean(tracker);
}

fn vlan_devices(mode: Mode) {
    let (host, far) = (Netns::new(), Netns::new());
    veth((&host, "trunk"), (&far, "trunk"));
    let leaves = [(10, 1), (20, 2)].map(|(id, net)| {
        let (name, kind) = (format!("v{id}"), format!("vlan id {id}"));
        address(&stacked(&host, "trunk", &name, &kind), net, 1);
        leaf(&stacked(&far, "trunk", &name, &kind), net)
    });
    over_a_trunk(&host, leaves.each_ref(), &["trunk"], mode);
}

/// The same where the devices come after the tracker, which follows.
fn vlan_devices_made_later() {
    let (host, far) = (Netns::new(), Netns::new());
    host.forward();
    kernel::track(&host);
    veth((&host, "trunk"), (&far, "trunk"));
    let tracker = tracked::track(&host, &["trunk"], Mode::Auto);
    let mut follow = tracker
        .follow(["trunk", "v?0"], Mode::Auto)
        .expect("follow");
    let leaves = [(10, 1), (20, 2)].map(|(id, net)| {
        let (name, kind) = (format!("v{id}"), format!("vlan id {id}"));
        address(&stacked(&host, "trunk", &name, &kind), net, 1);
        leaf(&stacked(&far, "trunk", &name, &kind), net)
    });
    let mut skipped = Vec::new();
    while let Some(change) = follow.try_next().expect("follow") {
        match change {
            Change::Skipped(one) => skipped.push(format!("{}: {}", one.interface, one.why)),
            other => panic!("{other:?}"),
        }
    }
    for name in ["v10", "v20"] {
        let why = format!("{name}: it is stacked on trunk");
        assert!(skipped.contains(&why), "{skipped:?}");
    }
    use_trunk(&tracker, &host, leaves.each_ref());
}

fn qinq_devices(mode: Mode) {
    let (host, far) = (Netns::new(), Netns::new());
    veth((&host, "trunk"), (&far, "trunk"));
    for ns in [&host, &far] {
        stacked(ns, "trunk", "outer", "vlan protocol 802.1ad id 100");
    }
    let leaves = [(10, 1), (20, 2)].map(|(id, net)| {
        let (name, kind) = (format!("v{id}"), format!("vlan id {id}"));
        address(&stacked(&host, "outer", &name, &kind), net, 1);
        leaf(&stacked(&far, "outer", &name, &kind), net)
    });
    over_a_trunk(&host, leaves.each_ref(), &["trunk"], mode);
}

/// A bond of two tracked interfaces, each connection on one of them, and VLANs
/// on top.
fn bond_of_tracked_ports() {
    let (host, far) = (Netns::new(), Netns::new());
    for port in ["p0", "p1"] {
        veth((&host, port), (&far, port));
    }
    for ns in [&host, &far] {
        ns.sh("ip link add bond0 type bond mode balance-xor xmit_hash_policy layer3+4 miimon 100");
        for port in ["p0", "p1"] {
            ns.sh(&format!("ip link set dev {port} down"));
            ns.sh(&format!("ip link set dev {port} master bond0"));
        }
        Link::up(ns, "bond0");
    }
    let leaves = [(10, 1), (20, 2)].map(|(id, net)| {
        let (name, kind) = (format!("v{id}"), format!("vlan id {id}"));
        address(&stacked(&host, "bond0", &name, &kind), net, 1);
        leaf(&stacked(&far, "bond0", &name, &kind), net)
    });
    over_a_trunk(&host, leaves.each_ref(), &["p0", "p1"], Mode::Auto);
}
