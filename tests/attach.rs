//! Attaching: the hooks chosen, what is refused and why, and that nothing is
//! left half attached.

mod common;

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use common::Name;
use common::builder;
use common::foreign;
use common::has_clsact;
use common::has_tcx;
use common::hooks;
use common::link::veth;
use common::native;
use common::netns::Netns;
use common::pinned;
use common::present;
use common::privileges;
use common::tc;
use common::tc_hook;
use conntrack::ErrorKind;
use conntrack::Hook;
use conntrack::Hooks;
use conntrack::Keep;
use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Tracker;
use libbpf_rs::libbpf_sys::BPF_PROG_TYPE_SCHED_CLS;
use libbpf_rs::libbpf_sys::BPF_TCX_EGRESS;

/// A namespace with two interfaces, `wa` and `wb`, and their other ends in a
/// second one.
fn two_wires() -> (Netns, Netns) {
    let (here, there) = (Netns::new(), Netns::new());
    veth((&here, "wa"), (&there, "wa"));
    veth((&here, "wb"), (&there, "wb"));
    (here, there)
}

#[test]
#[ignore = "root"]
fn each_mode_takes_its_hooks() {
    let (here, _there) = two_wires();
    let ingress = |hook| Hooks {
        ingress: Some(hook),
        egress: Some(tc_hook()),
    };
    for (mode, expected) in [
        (Mode::Auto, native()),
        (Mode::Native, native()),
        (Mode::Generic, ingress(Hook::XdpGeneric)),
        (Mode::Tc, tc()),
    ] {
        let name = Name::new();
        let tracker = builder(&name, &here, &["wa"]).mode(mode).attach();
        let tracker = tracker.unwrap_or_else(|error| panic!("{mode}: {error:#}"));
        assert_eq!(hooks(&tracker), [("wa".to_owned(), expected)], "{mode}");
        assert_eq!(name.pins(), [""; 0], "{mode}: nothing is pinned");
        drop(tracker);
        assert_eq!(present(&here, "wa"), [""; 0], "{mode}: dropping detaches");
        assert!(!has_clsact(&here, "wa"), "{mode}: our qdisc goes with us");
    }
}

#[test]
#[ignore = "root"]
fn loopback_has_ingress_only() {
    let here = Netns::new();
    let tracker = builder(&Name::new(), &here, &["lo"]).attach().unwrap();
    let status = tracker.status().unwrap();
    let lo = &status.interfaces[0];
    assert_eq!(
        lo.hooks,
        Hooks {
            ingress: Some(tc_hook()),
            egress: None
        }
    );
    let why = lo.why.as_deref().unwrap();
    assert!(why.contains("loopback has no driver"), "{why}");
}

#[test]
#[ignore = "root"]
fn generic_mode_says_what_it_counts() {
    let (here, _there) = two_wires();
    let tracker = builder(&Name::new(), &here, &["wa"]).mode(Mode::Generic);
    let status = tracker.attach().unwrap().status().unwrap();
    let why = status.interfaces[0].why.as_deref().unwrap();
    assert!(why.contains("super-packet"), "{why}");
    assert_eq!(status.interfaces[0].mode, Some(Mode::Generic));
}

/// An interface `full` that refuses native XDP with TC egress, though nothing tells
/// beforehand: there is no room for another program on its way out, or, before
/// tcx, its peer has more queues than it. Returns what fills it.
fn full_wire(here: &Netns, there: &Netns) -> Vec<OwnedFd> {
    let peer = there.path();
    here.sh(&format!(
        "ip link add full numrxqueues 1 type veth peer name full numtxqueues 4 netns {}",
        peer.display()
    ));
    if !has_tcx() {
        there.sh("ethtool -L full tx 4");
        return Vec::new();
    }
    let link = |_| {
        let program = foreign::program(BPF_PROG_TYPE_SCHED_CLS, c"their_tc", -1);
        foreign::attach_tcx(here, "full", &program, BPF_TCX_EGRESS)
    };
    // The kernel's BPF_MPROG_MAX without its end mark.
    (0..63).map(link).collect()
}

#[test]
#[ignore = "root"]
fn all_interfaces_or_none() {
    let (here, there) = two_wires();
    let _full = full_wire(&here, &there);
    for keep in [Keep::Process, Keep::Visible, Keep::Pinned] {
        let name = Name::new();
        let missing = builder(&name, &here, &["wa", "nowhere", "wb"]).keep(keep);
        let error = missing.attach().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("nowhere"), "{error}");

        // Only found out at the last moment, when others are attached.
        let refused = builder(&name, &here, &["wa", "wb", "full"]).keep(keep);
        let error = refused.mode(Mode::Native).attach().unwrap_err();
        assert!(error.to_string().contains(" to full"), "{error:#}");

        let ours = |it: &String| it.contains(" ct_");
        for interface in ["wa", "wb", "full"] {
            assert!(!present(&here, interface).iter().any(ours), "{keep:?}");
            assert!(!has_clsact(&here, interface));
        }
        assert_eq!(name.pins(), [""; 0], "{keep:?}");
        assert!(!name.dir().exists());
    }
}

#[test]
#[ignore = "root"]
fn what_makes_no_sense_is_refused_by_name() {
    let (here, _there) = two_wires();
    let refusal = |interfaces: &[&str]| {
        let error = builder(&Name::new(), &here, interfaces).attach();
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:#}");
        error.to_string()
    };
    assert!(refusal(&[]).contains("no interface"));
    assert!(refusal(&["wa", "wa"]).contains("\"wa\" is listed twice"));
    assert!(refusal(&["a/b"]).contains("a/b"));
    let bad = Tracker::builder().instance("../x").interface("lo").attach();
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::Invalid);
    let nowhere = NetnsRef::Name("ct-no-such-namespace".into());
    let error = Tracker::builder().interface("lo").netns(nowhere).attach();
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("ct-no-such-namespace"));
}

#[test]
#[ignore = "root"]
fn without_privileges() {
    let (here, _there) = two_wires();
    let name = Name::new();
    privileges::as_nobody(|| {
        let error = Tracker::builder().interface("lo").attach().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotPermitted, "{error:#}");
        assert!(format!("{error:#}").contains("CAP_BPF"), "{error:#}");
        let doctor = conntrack::doctor(&["lo".to_owned()], Mode::Auto).unwrap();
        assert_eq!(doctor.verdict, conntrack::Verdict::Impossible);
        assert!(doctor.reasons[0].contains("CAP_BPF"), "{doctor:?}");
    });
    drop(pinned(&name, &here, &["wa"]));
    privileges::as_nobody(|| {
        let open = Tracker::open(&name.0).unwrap_err();
        let detach = conntrack::detach(&name.0).unwrap_err();
        for error in [open, detach] {
            assert_eq!(error.kind(), ErrorKind::NotPermitted, "{error:#}");
        }
    });
    assert_eq!(
        hooks(&Tracker::open(&name.0).unwrap()).len(),
        1,
        "untouched"
    );
}

#[test]
#[ignore = "root"]
fn attaching_twice() {
    let (here, _there) = two_wires();
    let name = Name::new();
    let tracker = pinned(&name, &here, &["wa"]);
    let again = builder(&name, &here, &["wa"]).keep(Keep::Pinned).attach();
    let error = again.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:#}");
    assert!(error.to_string().contains("attached to wa"), "{error}");
    let error = tracker.add_interface("wa", Mode::Auto).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:#}");
    assert_eq!(hooks(&tracker), [("wa".to_owned(), native())], "untouched");

    // Another instance on the same interface: a program like any other's.
    let other = builder(&Name::new(), &here, &["wa"]).attach().unwrap();
    assert_eq!(hooks(&other), [("wa".to_owned(), tc())]);
    drop(other);
    assert_eq!(hooks(&tracker), [("wa".to_owned(), native())], "untouched");
}

#[test]
#[ignore = "root"]
fn interfaces_come_and_go() {
    let (here, _there) = two_wires();
    for keep in [Keep::Process, Keep::Pinned] {
        let name = Name::new();
        let tracker = builder(&name, &here, &["wa"]).keep(keep).attach().unwrap();
        let report = tracker.add_interface("wb", Mode::Tc).unwrap();
        assert_eq!((report.interface.as_str(), report.hooks), ("wb", tc()));
        let both = [("wa".to_owned(), native()), ("wb".to_owned(), tc())];
        assert_eq!(hooks(&tracker), both, "{keep:?}");

        let error = tracker
            .add_interfaces(["lo", "lo"], Mode::Auto)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let error = tracker.add_interfaces(["lo"], Mode::Native).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(hooks(&tracker), both, "{keep:?}: nothing added");

        tracker.remove_interface("wa").unwrap();
        assert_eq!(hooks(&tracker), [("wb".to_owned(), tc())], "{keep:?}");
        assert_eq!(present(&here, "wa"), [""; 0]);
        assert!(!has_clsact(&here, "wa"));
        let error = tracker.remove_interface("wa").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        tracker.add_interface("wa", Mode::Auto).unwrap();
        tracker.detach().unwrap();
        for interface in ["wa", "wb"] {
            assert_eq!(present(&here, interface), [""; 0], "{keep:?}");
            assert!(!has_clsact(&here, interface), "{keep:?}");
        }
    }
}

#[test]
#[ignore = "root"]
fn an_interface_that_vanishes() {
    let (here, _there) = two_wires();
    let name = Name::new();
    let tracker = pinned(&name, &here, &["wa", "wb"]);
    here.sh("ip link del wa");
    let status = tracker.status().unwrap();
    let names: BTreeSet<_> = status
        .interfaces
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names, BTreeSet::from(["wa", "wb"]));
    let gone = status.interfaces.iter().find(|it| it.name == "wa").unwrap();
    assert_eq!((gone.mode, gone.hooks), (None, Hooks::default()));
    assert!(gone.why.as_deref().unwrap().contains("now"), "{gone:?}");
    tracker.remove_interface("wa").unwrap();
    assert_eq!(hooks(&tracker), [("wb".to_owned(), native())]);
    tracker.detach().unwrap();
    assert!(!name.dir().exists());
}

#[test]
#[ignore = "root"]
fn a_bare_ip_device_is_attached_by_tc() {
    let here = Netns::new();
    here.sh("ip tuntap add dev tun0 mode tun");
    here.sh("ip link set tun0 up");
    let tracker = builder(&Name::new(), &here, &["tun0"]).attach().unwrap();
    let status = tracker.status().unwrap();
    assert_eq!(status.interfaces[0].hooks, tc());
    let why = status.interfaces[0].why.as_deref().unwrap();
    assert!(why.contains("no Ethernet header"), "{why}");
}

#[test]
#[ignore = "root"]
fn one_layer_of_a_stack_only() {
    let (here, _there) = two_wires();
    here.sh("ip link add br0 type bridge");
    here.sh("ip link set wa master br0");
    here.sh("ip link set wb master br0");
    let error = builder(&Name::new(), &here, &["wa", "br0"]).attach();
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("br0 is stacked on wa"),
        "{error}"
    );

    let ports = builder(&Name::new(), &here, &["wa", "wb"])
        .attach()
        .unwrap();
    let error = ports.add_interface("br0", Mode::Auto).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:#}");
    drop(ports);

    // Stacked only afterwards: it cannot be refused, so it is told.
    here.sh("ip link set wa nomaster");
    let both = builder(&Name::new(), &here, &["wa", "br0"])
        .attach()
        .unwrap();
    here.sh("ip link set wa master br0");
    let status = both.status().unwrap();
    let bridge = status.interfaces.iter().find(|it| it.name == "br0");
    let why = bridge.unwrap().why.as_deref().unwrap();
    assert!(why.contains("counted on both"), "{why}");
}

#[test]
#[ignore = "root"]
fn a_driver_that_refuses() {
    // veth runs XDP only with as many receive queues as its peer sends by.
    let (here, there) = (Netns::new(), Netns::new());
    here.sh(&format!(
        "ip link add few numrxqueues 1 type veth peer name many numtxqueues 4 netns {}",
        there.path().display()
    ));
    there.sh("ethtool -L many tx 4");
    here.sh("ip link set few up");
    let tracker = builder(&Name::new(), &here, &["few"]).attach().unwrap();
    let status = tracker.status().unwrap();
    assert_eq!(status.interfaces[0].hooks, tc());
    let why = status.interfaces[0].why.as_deref().unwrap();
    assert!(why.contains("instead of native XDP: driver veth"), "{why}");
    drop(tracker);
    let error = builder(&Name::new(), &here, &["few"])
        .mode(Mode::Native)
        .attach();
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(format!("{error:#}").contains("driver veth"), "{error:#}");
    assert_eq!(present(&here, "few"), [""; 0]);
}
