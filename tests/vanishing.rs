//! Interfaces that are deleted, made anew under the same name, renamed: an
//! instance knows them by what they are, and frees what held those that are gone.

mod common;

use common::Name;
use common::builder;
use common::hooks;
use common::link::veth;
use common::native;
use common::netns::Netns;
use common::pinned;
use common::present;
use conntrack::ErrorKind;
use conntrack::Hooks;
use conntrack::Keep;
use conntrack::Mode;
use conntrack::Tracker;

/// Two interfaces, `v0` and `w0`, the other ends in another namespace.
fn two_wires() -> (Netns, Netns) {
    let (here, there) = (Netns::new(), Netns::new());
    for name in ["v0", "w0"] {
        veth((&here, name), (&there, name));
    }
    (here, there)
}

/// Another interface of the same name.
fn make_anew(name: &str, here: &Netns, there: &Netns) {
    here.sh(&format!("ip link del {name}"));
    veth((here, name), (there, name));
}

fn on(name: &str, hooks: Hooks) -> (String, Hooks) {
    (name.to_owned(), hooks)
}

#[test]
#[ignore = "root"]
fn the_interface_that_bears_the_name_now_is_meant() {
    for keep in [Keep::Process, Keep::Pinned] {
        let (here, there) = two_wires();
        let name = Name::new();
        let tracker = builder(&name, &here, &["v0", "w0"]).keep(keep).attach();
        let tracker = tracker.unwrap();
        make_anew("v0", &here, &there);
        tracker.add_interface("v0", Mode::Auto).unwrap();
        let both = [on("w0", native()), on("v0", native())];
        assert_eq!(hooks(&tracker), both, "{keep:?}: nothing of the old one");
        assert_eq!(present(&here, "v0").len(), 2);

        tracker.remove_interface("v0").unwrap();
        assert_eq!(present(&here, "v0"), [""; 0], "{keep:?}");
        assert_eq!(hooks(&tracker), [on("w0", native())], "{keep:?}");
        let error = tracker.remove_interface("v0").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    }
}

#[test]
#[ignore = "root"]
fn a_renamed_interface_goes_by_its_new_name() {
    let (here, _there) = two_wires();
    let name = Name::new();
    let tracker = pinned(&name, &here, &["v0", "w0"]);
    here.sh("ip link set w0 down");
    here.sh("ip link set w0 name w9");
    here.sh("ip link set w9 up");
    let error = tracker.remove_interface("w0").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    // Another one that takes the old name is not attached to.
    here.sh("ip link add w0 type bridge");
    let error = tracker.remove_interface("w0").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    tracker.remove_interface("w9").unwrap();
    assert_eq!(present(&here, "w9"), [""; 0]);
    assert_eq!(hooks(&tracker), [on("v0", native())]);
}

#[test]
#[ignore = "root"]
fn what_held_a_deleted_interface_is_freed() {
    let (here, _there) = two_wires();
    let name = Name::new();
    let tracker = pinned(&name, &here, &["v0", "w0"]);
    let links = || {
        let mut pins = name.pins();
        pins.retain(|pin| pin.starts_with("link_"));
        pins.len()
    };
    let before = links();
    here.sh("ip link del v0");
    tracker.refresh().unwrap();
    assert_eq!(links(), before / 2);
    // It is told until it is removed.
    assert_eq!(
        hooks(&tracker),
        [on("v0", Hooks::default()), on("w0", native())]
    );
    tracker.remove_interface("v0").unwrap();
    assert_eq!(hooks(&tracker), [on("w0", native())]);
}

#[test]
#[ignore = "root"]
fn with_every_interface_gone_attaching_starts_anew() {
    let (here, there) = two_wires();
    let name = Name::new();
    drop(pinned(&name, &here, &["v0"]));
    assert!(!Tracker::open(&name.0).unwrap().is_dead());
    make_anew("v0", &here, &there);
    let left = Tracker::open(&name.0).unwrap();
    assert!(left.is_dead());
    assert_eq!(hooks(&left), [on("v0", Hooks::default())]);
    let anew = pinned(&name, &here, &["v0"]);
    assert_eq!(hooks(&anew), [on("v0", native())]);
    assert!(!anew.is_dead());

    // From which the last one was removed by name lives on.
    anew.remove_interface("v0").unwrap();
    assert!(!anew.is_dead());
    let again = builder(&name, &here, &["w0"]).keep(Keep::Pinned).attach();
    assert_eq!(again.unwrap_err().kind(), ErrorKind::InUse);
    anew.add_interface("w0", Mode::Auto).unwrap();
    assert_eq!(hooks(&anew), [on("w0", native())]);
    // A handle from before is another instance's.
    let error = left.add_interface("v0", Mode::Auto).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
}
