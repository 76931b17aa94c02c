//! Other people's programs and filters: named where they are in the way, and
//! untouched whatever we do.

mod common;

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
use common::tc;
use conntrack::ErrorKind;
use conntrack::Mode;
use libbpf_rs::libbpf_sys::BPF_PROG_TYPE_SCHED_CLS;
use libbpf_rs::libbpf_sys::BPF_PROG_TYPE_XDP;
use libbpf_rs::libbpf_sys::BPF_TCX_EGRESS;
use libbpf_rs::libbpf_sys::BPF_TCX_INGRESS;
use libbpf_rs::libbpf_sys::XDP_FLAGS_DRV_MODE;
use libbpf_rs::libbpf_sys::XDP_FLAGS_SKB_MODE;

const XDP_PASS: i32 = 2;
const TCX_PASS: i32 = 0;

fn wire() -> (Netns, Netns) {
    let (here, there) = (Netns::new(), Netns::new());
    veth((&here, "wire"), (&there, "wire"));
    (here, there)
}

fn xdp_program() -> OwnedFd {
    foreign::program(BPF_PROG_TYPE_XDP, c"their_xdp", XDP_PASS)
}

#[test]
#[ignore = "root"]
fn another_xdp_program_keeps_its_place() {
    for (flags, hook) in [
        (XDP_FLAGS_DRV_MODE, "xdp-native"),
        (XDP_FLAGS_SKB_MODE, "xdp-generic"),
    ] {
        let (here, _there) = wire();
        foreign::attach_xdp(&here, "wire", &xdp_program(), flags);
        let theirs = format!("{hook} ingress their_xdp");
        assert_eq!(present(&here, "wire"), [theirs.as_str()]);

        for mode in [Mode::Native, Mode::Generic] {
            let error = builder(&Name::new(), &here, &["wire"]).mode(mode).attach();
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse, "{mode}: {error:#}");
            let text = format!("{error:#}");
            assert!(text.contains("their_xdp (id "), "{mode}: {text}");
            assert_eq!(present(&here, "wire"), [theirs.as_str()], "{mode}");
        }

        let name = Name::new();
        let tracker = pinned(&name, &here, &["wire"]);
        assert_eq!(hooks(&tracker), [("wire".to_owned(), tc())]);
        let why = tracker.status().unwrap().interfaces[0].why.clone().unwrap();
        assert!(why.contains("their_xdp (id "), "{why}");
        assert_eq!(present(&here, "wire").len(), 3);
        tracker.detach().unwrap();
        assert_eq!(present(&here, "wire"), [theirs.as_str()]);
    }
}

#[test]
#[ignore = "root"]
fn their_filters_and_qdisc_stay() {
    let (here, _there) = wire();
    let filters = || {
        let show = |side| here.sh(&format!("tc filter show dev wire {side}"));
        (show("ingress"), show("egress"))
    };
    here.sh("tc qdisc add dev wire clsact");
    here.sh("tc filter add dev wire ingress protocol ip u32 match u32 0 0 flowid 1:1");
    here.sh("tc filter add dev wire egress protocol all prio 7 u32 match u32 0 0 flowid 1:2");
    let before = filters();
    for mode in [Mode::Auto, Mode::Tc] {
        let name = Name::new();
        let tracker = builder(&name, &here, &["wire"]).mode(mode).attach();
        let tracker = tracker.unwrap();
        assert_eq!(present(&here, "wire").len(), 4, "{mode}");
        tracker.persist().unwrap();
        tracker.detach().unwrap();
        assert_eq!(filters(), before, "{mode}");
    }
    // The qdisc is not ours, even when it is empty.
    here.sh("tc filter del dev wire ingress");
    here.sh("tc filter del dev wire egress");
    let tracker = builder(&Name::new(), &here, &["wire"]).mode(Mode::Tc);
    tracker.attach().unwrap().detach().unwrap();
    assert!(has_clsact(&here, "wire"));
}

#[test]
#[ignore = "root"]
fn filters_that_came_later_keep_our_qdisc() {
    let (here, _there) = wire();
    let name = Name::new();
    let tracker = pinned(&name, &here, &["wire"]);
    assert_eq!(hooks(&tracker), [("wire".to_owned(), native())]);
    if has_tcx() {
        here.sh("tc qdisc add dev wire clsact");
    }
    here.sh("tc filter add dev wire ingress protocol ip u32 match u32 0 0 flowid 1:1");
    tracker.detach().unwrap();
    let left = present(&here, "wire");
    assert_eq!(left, ["clsact ingress u32"]);
}

#[test]
#[ignore = "root"]
fn their_tcx_programs_stay_and_hide_nothing() {
    if !has_tcx() {
        // There is no tcx to share: the hook must be clsact, nothing else.
        let (here, _there) = wire();
        let tracker = builder(&Name::new(), &here, &["wire"]).mode(Mode::Tc);
        let hooks = hooks(&tracker.attach().unwrap());
        assert_eq!(hooks[0].1.to_string(), "clsact+clsact");
        return;
    }
    let (here, _there) = wire();
    // It ends the chain: programs behind it see nothing.
    let program = foreign::program(BPF_PROG_TYPE_SCHED_CLS, c"their_tcx", TCX_PASS);
    let _links = [BPF_TCX_INGRESS, BPF_TCX_EGRESS]
        .map(|side| foreign::attach_tcx(&here, "wire", &program, side));
    let theirs = ["tcx ingress their_tcx", "tcx egress their_tcx"];
    assert_eq!(present(&here, "wire"), theirs);
    let tracker = builder(&Name::new(), &here, &["wire"]).mode(Mode::Tc);
    let tracker = tracker.attach().unwrap();
    assert_eq!(
        present(&here, "wire"),
        [
            "tcx ingress ct_tc_ingress",
            theirs[0],
            "tcx egress ct_tc_egress",
            theirs[1],
        ]
    );
    drop(tracker);
    assert_eq!(present(&here, "wire"), theirs);
}
