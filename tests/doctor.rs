//! What `doctor` says is what attaching does.

mod common;

use common::Name;
use common::builder;
use common::has_tcx;
use common::hooks;
use common::link::veth;
use common::netns::Netns;
use common::present;
use conntrack::ErrorKind;
use conntrack::Hooks;
use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Verdict;

fn doctor(ns: &Netns, interfaces: &[&str], mode: Mode) -> conntrack::Doctor {
    let interfaces: Vec<String> = interfaces.iter().map(|&name| name.to_owned()).collect();
    let netns = NetnsRef::Path(ns.path());
    conntrack::doctor_in(&netns, &interfaces, mode).expect("doctor")
}

#[test]
#[ignore = "root"]
fn the_plan_is_what_happens() {
    let (here, there) = (Netns::new(), Netns::new());
    veth((&here, "wire"), (&there, "wire"));
    for (interface, mode) in [
        ("wire", Mode::Auto),
        ("wire", Mode::Tc),
        ("wire", Mode::Generic),
        ("lo", Mode::Auto),
    ] {
        let planned = doctor(&here, &[interface], mode).interfaces.remove(0);
        let plan = planned.plan.expect("a plan");
        let tracker = builder(&Name::new(), &here, &[interface]).mode(mode);
        let tracker = tracker.attach().expect("attach");
        assert_eq!(hooks(&tracker), [(interface.to_owned(), plan.hooks)]);
        let why = tracker.status().expect("status").interfaces[0].why.clone();
        assert_eq!(why.unwrap_or_default(), plan.why.join("; "));
    }
    assert_eq!(present(&here, "wire"), [""; 0], "looking changes nothing");
}

#[test]
#[ignore = "root"]
fn the_verdict_is_about_what_was_asked() {
    let (here, there) = (Netns::new(), Netns::new());
    veth((&here, "wire"), (&there, "wire"));
    let best = if has_tcx() {
        Verdict::Full
    } else {
        Verdict::Fallbacks
    };
    let all = doctor(&here, &[], Mode::Auto);
    assert_eq!(all.verdict, best, "{:?}", all.reasons);
    let names: Vec<_> = all.interfaces.iter().map(|it| it.name.as_str()).collect();
    assert!(
        names.contains(&"lo") && names.contains(&"wire"),
        "{names:?}"
    );

    let wire = doctor(&here, &["wire"], Mode::Native);
    assert_eq!(wire.verdict, best, "{:?}", wire.reasons);
    let device = &wire.interfaces[0];
    assert_eq!(device.driver.as_deref(), Some("veth"));
    assert_eq!((device.mtu, device.up), (1500, true));

    for mode in [Mode::Native, Mode::Offload] {
        let lo = doctor(&here, &["lo"], mode);
        assert_eq!(lo.verdict, Verdict::Impossible, "{mode:?}");
        let said = lo.reasons.iter().any(|reason| reason.contains("no driver"));
        assert!(said, "{:?}", lo.reasons);
        let attached = builder(&Name::new(), &here, &["lo"]).mode(mode).attach();
        assert_eq!(attached.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let lo = doctor(&here, &["lo"], Mode::Auto);
    assert_eq!(lo.verdict, Verdict::Fallbacks);
    assert!(lo.reasons.iter().any(|reason| reason.starts_with("lo: ")));

    let tracker = builder(&Name::new(), &here, &["wire"]).mode(Mode::Native);
    let _tracker = tracker.attach().expect("attach");
    let taken = doctor(&here, &["wire"], Mode::Native);
    assert_eq!(taken.verdict, Verdict::Impossible);
    assert!(
        taken
            .reasons
            .iter()
            .any(|reason| reason.contains("ct_xdp (id "))
    );
    let device = &taken.interfaces[0];
    assert_eq!(device.plan, None);
    assert_eq!(device.present.len(), 2);
    assert!(device.present.iter().all(|present| present.id.is_some()));
}

#[test]
#[ignore = "root"]
fn a_missing_interface_is_an_error() {
    let missing = ["ct-nowhere".to_owned()];
    let error = conntrack::doctor(&missing, Mode::Auto).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("ct-nowhere"));
}

#[test]
fn it_is_written_as_json() {
    // Without privileges as well: it sees less then, and says so.
    let doctor = conntrack::doctor(&["lo".to_owned()], Mode::Auto).expect("doctor");
    let json = serde_json::to_value(&doctor).expect("JSON");
    assert!(json["verdict"].is_string());
    assert!(
        json["kernel"]["release"]
            .as_str()
            .expect("a text")
            .contains('.')
    );
    let facts = json["kernel"]["facts"].as_array().expect("facts");
    assert!(facts.iter().any(|fact| fact["name"] == "tcx"));
    assert_eq!(json["interfaces"][0]["name"], "lo");
    let hooks = &json["interfaces"][0]["plan"]["hooks"];
    let hooks: Hooks = serde_json::from_value(hooks.clone()).expect("hooks");
    assert!(hooks.ingress.is_some());
    assert_eq!(hooks.egress, None);
}
