//! Interfaces that are made, renamed, moved and deleted, and stacks that are built,
//! while a tracker follows them. The kernel has told of a change before the command
//! that made it ends, so nothing is waited for here.

mod support;

use std::io::Write;

use conntrack::Change;
use conntrack::ErrorKind;
use conntrack::Follow;
use conntrack::Hook;
use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Protocol;
use conntrack::Tracker;
use support::PATIENCE;
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
use tempfile::NamedTempFile;

/// A tracker that waits for what these names and patterns stand for.
fn waiting(ns: &Netns, names: &[&str], mode: Mode) -> (Tracker, Follow) {
    let builder = tracked::builder(ns, names, mode).allow_absent(true);
    let tracker = builder.attach().expect("attach to what there is");
    let follow = tracker.follow(names.iter().copied(), mode);
    let follow = follow.expect("follow");
    (tracker, follow)
}

/// What has been done by now: `+v0`, `-v0 why`, `!br0 why`.
fn changes(follow: &mut Follow) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(change) = follow.try_next().expect("follow") {
        said.push(match change {
            Change::Attached(to) => format!("+{}", to.interface),
            Change::Detached(from) => format!("-{} {}", from.interface, from.why),
            Change::Skipped(one) => format!("!{} {}", one.interface, one.why),
            other => panic!("{other:?}"),
        });
    }
    said
}

/// The interfaces that packets are seen on, both ways, by `status`.
fn attached(tracker: &Tracker) -> Vec<String> {
    let interfaces = tracker.status().expect("status").interfaces.into_iter();
    let interfaces = interfaces.map(|it| {
        assert!(it.hooks.ingress.is_some(), "{it:?}");
        assert!(it.hooks.egress.is_some(), "{it:?}");
        it.name
    });
    interfaces.collect()
}

/// Programs on an interface.
fn programs(ns: &Netns, name: &str) -> usize {
    let netns = NetnsRef::Path(ns.path());
    let doctor = conntrack::doctor_in(&netns, &[name.to_owned()], Mode::Tc);
    doctor.expect("doctor").interfaces[0].present.len()
}

fn rename(ns: &Netns, from: &str, to: &str) {
    ns.sh(&format!("ip link set {from} down"));
    ns.sh(&format!("ip link set {from} name {to}"));
    ns.sh(&format!("ip link set {to} up"));
}

#[test]
#[ignore = "root"]
fn what_comes_and_matches_is_attached() {
    let (here, there) = (Netns::new(), Netns::new());
    let (tracker, mut follow) = waiting(&here, &["v*", "w0"], Mode::Auto);
    assert_eq!(changes(&mut follow), [""; 0]);
    assert_eq!(attached(&tracker), [""; 0]);
    assert!(!tracker.is_detached());

    for name in ["v0", "w0", "w1"] {
        veth((&here, name), (&there, name));
    }
    assert_eq!(changes(&mut follow), ["+w0", "+v0"], "names come first");
    rename(&here, "w1", "v1");
    assert_eq!(changes(&mut follow), ["+v1"]);
    assert_eq!(attached(&tracker), ["v0", "w0", "v1"]);
    // From one name that matches to another: nothing to do.
    rename(&here, "v0", "v2");
    assert_eq!(changes(&mut follow), [""; 0]);
    rename(&here, "v2", "x2");
    assert_eq!(changes(&mut follow), ["-v2 it is called x2 now"]);
    assert_eq!(programs(&here, "x2"), 0);
    assert_eq!(attached(&tracker), ["w0", "v1"]);
    // All that is attached stays, but nothing new comes.
    drop(follow);
    veth((&here, "v5"), (&there, "v5"));
    assert_eq!(attached(&tracker), ["w0", "v1"]);
}

#[test]
#[ignore = "root"]
fn what_vanishes_is_cleared_away_but_for_its_flows() {
    let (here, there) = (Netns::new(), Netns::new());
    let (tracker, mut follow) = waiting(&here, &["v*"], Mode::Auto);
    let (v0, far) = veth((&here, "v0"), (&there, "v0"));
    veth((&here, "v1"), (&there, "v1"));
    assert_eq!(changes(&mut follow), ["+v0", "+v1"]);
    v0.addr("10.1.0.1/24");
    far.addr("10.1.0.2/24");
    ping(&there, ip("10.1.0.1"), 3, 56);
    let pings = || {
        let mut rows = tracked::rows(&tracker);
        rows.retain(|row| row.protocol == Protocol::ICMP);
        let rows = rows.into_iter().map(|row| (row.original, row.reply));
        rows.collect::<Vec<_>>()
    };
    let before = pings();
    assert_eq!(before.len(), 1, "{before:#?}");

    here.sh("ip link del v0");
    assert_eq!(changes(&mut follow), ["-v0 it is gone"]);
    let names = tracker.status().unwrap().interfaces.into_iter();
    let names: Vec<String> = names.map(|it| it.name).collect();
    assert_eq!(names, ["v1"]);
    assert_eq!(pings(), before);
    // One of the same name is another one.
    veth((&here, "v0"), (&there, "v0"));
    assert_eq!(changes(&mut follow), ["+v0"]);
    // All of them may go.
    here.sh("ip link del v0");
    here.sh("ip link del v1");
    let gone = ["-v1 it is gone", "-v0 it is gone"];
    assert_eq!(changes(&mut follow), gone);
    assert!(!tracker.is_dead() && !tracker.is_detached());
}

#[test]
#[ignore = "root"]
fn what_is_moved_to_another_namespace_and_back() {
    let (here, there, other) = (Netns::new(), Netns::new(), Netns::new());
    let (tracker, mut follow) = waiting(&here, &["v*"], Mode::Auto);
    veth((&here, "v0"), (&there, "v0"));
    assert_eq!(changes(&mut follow), ["+v0"]);
    let to = |from: &Netns, to: &Netns| {
        from.sh(&format!("ip link set v0 netns {}", to.path().display()));
        to.sh("ip link set v0 up");
    };
    to(&here, &other);
    assert_eq!(changes(&mut follow), ["-v0 it is gone"]);
    assert_eq!(programs(&other, "v0"), 0, "it is none of ours any more");
    to(&other, &here);
    assert_eq!(changes(&mut follow), ["+v0"]);
    assert_eq!(attached(&tracker), ["v0"]);
    // There and back between two looks, which costs it its hooks.
    to(&here, &other);
    to(&other, &here);
    assert_eq!(changes(&mut follow), ["-v0 it is gone", "+v0"]);
    assert_eq!(attached(&tracker), ["v0"]);
}

/// More changes than the socket holds messages of, none of them heard: what is attached
/// is then looked up.
#[test]
#[ignore = "root"]
fn what_was_not_heard_is_looked_up() {
    let (here, there, other) = (Netns::new(), Netns::new(), Netns::new());
    let (tracker, mut follow) = waiting(&here, &["v*"], Mode::Auto);
    for name in ["v0", "v1"] {
        veth((&here, name), (&there, name));
    }
    veth((&here, "noise"), (&there, "noise"));
    assert_eq!(changes(&mut follow), ["+v0", "+v1"]);
    let mut batch = NamedTempFile::new().expect("a file");
    for number in 0..3000 {
        writeln!(batch, "link set noise alias a{number}").expect("write");
    }
    here.sh(&format!("ip -batch {}", batch.path().display()));
    // There and back, which costs it its hooks.
    here.sh(&format!("ip link set v0 netns {}", other.path().display()));
    other.sh(&format!("ip link set v0 netns {}", here.path().display()));
    here.sh("ip link set v0 up");
    veth((&here, "v2"), (&there, "v2"));
    let said = changes(&mut follow);
    assert_eq!(said[0], "-v0 it is gone");
    let mut attached = attached(&tracker);
    attached.sort_unstable();
    assert_eq!(attached, ["v0", "v1", "v2"], "{said:?}");
    assert_eq!(changes(&mut follow), [""; 0]);
}

/// A namespace at the end of a wire, `10.<net>.0.<host>`.
fn leaf(hub: &Netns, port: &str, net: u8, host: u8) -> (Netns, Link) {
    let ns = Netns::new();
    let (far, near) = veth((hub, port), (&ns, "eth0"));
    near.addr(&format!("10.{net}.0.{host}/24"));
    ns.sh(&format!("ip route add default via 10.{net}.0.1"));
    (ns, far)
}

/// The pings, of which both trackers say the same.
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

#[test]
#[ignore = "root"]
fn a_bridge_is_made_over_attached_ports() {
    let hub = Netns::new();
    hub.forward();
    kernel::leave_bridged(&hub);
    kernel::track(&hub);
    let (tracker, mut follow) = waiting(&hub, &["[pqx]0", "br*"], Mode::Auto);
    let (p, _) = leaf(&hub, "p0", 1, 2);
    let (q, _) = leaf(&hub, "q0", 1, 3);
    let (x, x0) = leaf(&hub, "x0", 2, 2);
    x0.addr("10.2.0.1/24");
    assert_eq!(changes(&mut follow), ["+p0", "+q0", "+x0"]);

    hub.sh("ip link add br0 type bridge");
    assert_eq!(
        changes(&mut follow),
        ["!br0 it is a bridge without ports so far"]
    );
    hub.sh("ip link set p0 master br0");
    assert_eq!(changes(&mut follow), ["!br0 it is stacked on p0"]);
    hub.sh("ip link set q0 master br0");
    Link::up(&hub, "br0").addr("10.1.0.1/24");
    assert_eq!(changes(&mut follow), [""; 0]);

    // No `status` before, which would look for the bridge. In by a port and the
    // bridge, out by x0; in by x0, out by the bridge and a port; to the bridge.
    ping(&p, ip("10.2.0.2"), 3, 56);
    ping(&x, ip("10.1.0.3"), 3, 56);
    ping(&q, ip("10.1.0.1"), 3, 56);
    let rows = pings(&tracker, &hub);
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(rows.iter().all(|row| row.seen_reply), "{rows:#?}");
    tracked::assert_clean(&tracker);
    assert_eq!(attached(&tracker), ["p0", "q0", "x0"]);

    // Without its ports it is nobody's.
    hub.sh("ip link set p0 nomaster");
    hub.sh("ip link set q0 nomaster");
    assert_eq!(
        changes(&mut follow),
        ["!br0 it is a bridge without ports so far"]
    );
    assert_eq!(attached(&tracker), ["p0", "q0", "x0"]);
}

#[test]
#[ignore = "root"]
fn the_upper_layer_gives_way_to_the_lower() {
    let (here, there) = (Netns::new(), Netns::new());
    let (tracker, mut follow) = waiting(&here, &["b*", "p*"], Mode::Auto);
    for name in ["p0", "q0"] {
        veth((&here, name), (&there, name));
    }
    here.sh("ip link add br0 type bridge");
    here.sh("ip link set br0 up");
    here.sh("ip link set q0 master br0");
    // Of its ports none matches, so it is the bridge.
    assert_eq!(changes(&mut follow), ["+p0", "+br0"]);
    here.sh("ip link set p0 master br0");
    assert_eq!(changes(&mut follow), ["-br0 it is stacked on p0"]);
    assert_eq!(programs(&here, "br0"), 0);
    here.sh("ip link del p0");
    assert_eq!(changes(&mut follow), ["-p0 it is gone", "+br0"]);
    assert_eq!(attached(&tracker), ["br0"]);
    // What is named stays, and what a pattern matches waits.
    drop(follow);
    let mut follow = tracker.follow(["br0", "q*"], Mode::Auto).unwrap();
    let waits = "!q0 br0, which is stacked on it, goes first";
    assert_eq!(changes(&mut follow), [waits]);
    here.sh("ip link set q0 nomaster");
    assert_eq!(changes(&mut follow), ["+q0"]);
    here.sh("ip link set q0 master br0");
    let back = "-q0 br0, which is stacked on it, goes first";
    assert_eq!(changes(&mut follow), [back]);
}

#[test]
#[ignore = "root"]
fn what_somebody_else_detached_stays_so() {
    let (here, there) = (Netns::new(), Netns::new());
    let (tracker, mut follow) = waiting(&here, &["v*"], Mode::Auto);
    for name in ["v0", "v1"] {
        veth((&here, name), (&there, name));
    }
    assert_eq!(changes(&mut follow), ["+v0", "+v1"]);
    tracker.remove_interface("v0").unwrap();
    veth((&here, "v2"), (&there, "v2"));
    assert_eq!(changes(&mut follow), ["+v2"]);
    here.sh("ip link set v0 down");
    assert_eq!(changes(&mut follow), [""; 0]);
    // By a new name it is like a new one.
    here.sh("ip link set v0 name v9");
    assert_eq!(changes(&mut follow), ["+v9"]);
    // And what somebody else attached is left alone.
    tracker.add_interface("lo", Mode::Auto).unwrap();
    here.sh("ip link set lo mtu 9000");
    assert_eq!(changes(&mut follow), [""; 0]);
    let status = tracker.status().unwrap();
    assert!(status.interfaces.iter().any(|it| it.name == "lo"));
}

#[test]
#[ignore = "root"]
fn what_refuses_is_asked_again_when_it_has_changed() {
    let (here, there) = (Netns::new(), Netns::new());
    let (tracker, mut follow) = waiting(&here, &["t*", "few"], Mode::Native);
    here.sh(&format!(
        "ip link add few numrxqueues 1 type veth peer name many numtxqueues 4 netns {}",
        there.path().display()
    ));
    there.sh("ethtool -L many tx 4");
    let refused = changes(&mut follow);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].starts_with("!few "), "{refused:?}");
    veth((&here, "t0"), (&there, "t0"));
    assert_eq!(changes(&mut follow), ["+t0"], "the others are not kept");
    there.sh("ethtool -L many tx 1");
    here.sh("ip link set few up");
    assert_eq!(changes(&mut follow), ["+few"]);
    let status = tracker.status().unwrap();
    let native = status.interfaces.iter().map(|it| it.hooks.ingress);
    assert!(native.eq([Some(Hook::XdpNative); 2]), "{status:?}");
}

#[test]
#[ignore = "root"]
fn waiting_ends_when_something_happens() {
    let (here, there) = (Netns::new(), Netns::new());
    let (tracker, mut follow) = waiting(&here, &["v*"], Mode::Auto);
    assert_eq!(changes(&mut follow), [""; 0]);
    let (made, far) = (here.clone(), there.clone());
    let maker = std::thread::spawn(move || {
        veth((&made, "v0"), (&far, "v0"));
    });
    let change = follow.next_timeout(PATIENCE).unwrap();
    maker.join().unwrap();
    assert!(
        matches!(&change, Some(Change::Attached(to)) if to.interface == "v0"),
        "{change:?}"
    );
    // Who follows keeps nothing alive.
    drop(tracker);
    assert_eq!(programs(&here, "v0"), 0);
    assert_eq!(follow.try_next().unwrap_err().kind(), ErrorKind::NotFound);

    let (tracker, mut follow) = waiting(&here, &["v*"], Mode::Auto);
    for bad in [&[][..], &["a/b"]] {
        let error = tracker.follow(bad.iter().copied(), Mode::Auto);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    }
    tracker.detach().unwrap();
    assert_eq!(follow.try_next().unwrap_err().kind(), ErrorKind::NotFound);
}
