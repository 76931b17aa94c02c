//! Getting rid of what another version has pinned, and of nothing else.

mod common;

use std::fs;
use std::path::PathBuf;

use common::Name;
use common::bpffs;
use common::builder;
use common::has_clsact;
use common::hooks;
use common::link::veth;
use common::native;
use common::netns::Netns;
use common::pinned;
use common::present;
use common::programs;
use conntrack::ErrorKind;
use conntrack::Keep;
use conntrack::Tracker;
use libbpf_rs::MapHandle;
use libbpf_rs::ProgramHandle;

/// A namespace with one interface, `wire`, and its other end in a second one.
fn wire() -> (Netns, Netns) {
    let (here, there) = (Netns::new(), Netns::new());
    veth((&here, "wire"), (&there, "wire"));
    (here, there)
}

/// As without tcx it would have been attached.
fn add_filter(name: &Name, here: &Netns) {
    let program = name.dir().join("prog_ct_tc_egress");
    here.sh("tc qdisc replace dev wire clsact");
    here.sh(&format!(
        "tc filter add dev wire ingress bpf direct-action object-pinned {}",
        program.display()
    ));
}

/// An instance's pins under another layout's number, as if another version had
/// made them; back when dropped, if they are still there.
struct Moved<'a> {
    name: &'a Name,
    dir: PathBuf,
}

impl<'a> Moved<'a> {
    fn to(name: &'a Name, layout: u32) -> Self {
        let dir = bpffs().join(format!("conntrack/v{layout}")).join(&name.0);
        fs::create_dir_all(dir.parent().expect("a folder")).expect("create it");
        fs::rename(name.dir(), &dir).expect("move the pins");
        Self { name, dir }
    }

    fn pins(&self) -> usize {
        fs::read_dir(&self.dir).map_or(0, Iterator::count)
    }
}

impl Drop for Moved<'_> {
    fn drop(&mut self) {
        if self.dir.exists() {
            fs::create_dir_all(self.name.dir().parent().expect("a folder")).expect("create it");
            fs::rename(&self.dir, self.name.dir()).expect("move the pins back");
            let _ = fs::remove_dir(self.dir.parent().expect("a folder"));
        }
    }
}

#[test]
#[ignore = "root"]
fn another_layout_is_got_rid_of() {
    let (here, _there) = wire();
    // Filters are looked for where there is a process.
    let _inside = here.start("sleep 1000");
    let name = Name::new();
    let tracker = pinned(&name, &here, &["wire"]);
    let table = programs::table(&tracker);
    drop(tracker);
    add_filter(&name, &here);
    // A name and a map that this version does not know.
    let other = name.dir().join("map_other");
    let mut map = MapHandle::from_pinned_path(name.dir().join("map_frag")).expect("a map");
    map.pin(&other).expect("pin it again");
    let moved = Moved::to(&name, 4_294_967_290);
    assert_eq!(present(&here, "wire").len(), 3);
    for error in [
        Tracker::open(&name.0).unwrap_err(),
        conntrack::upgrade(&name.0).unwrap_err(),
        conntrack::detach(&name.0).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::AbiMismatch, "{error:#}");
        let text = error.to_string();
        assert!(text.contains("v4294967290"), "{text}");
        assert!(text.contains("cannot be taken over"), "{text}");
        assert!(text.contains("detach --force"), "{text}");
    }

    let reports = conntrack::force_detach(&name.0).expect("detach");
    let layouts: Vec<u32> = reports.iter().map(|report| report.layout).collect();
    assert_eq!(layouts, [4_294_967_290]);
    assert!(!moved.dir.parent().expect("a folder").exists());
    assert_eq!(present(&here, "wire"), [""; 0]);
    assert!(has_clsact(&here, "wire"), "whose it is cannot be known");
    programs::assert_unused(table);
    let again = conntrack::force_detach(&name.0).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    let anew = pinned(&name, &here, &["wire"]);
    assert_eq!(hooks(&anew), [("wire".to_owned(), native())]);
}

#[test]
#[ignore = "root"]
fn what_is_not_ours_is_left_alone() {
    let (here, _there) = wire();
    let _inside = here.start("sleep 1000");
    let name = Name::new();
    drop(pinned(&name, &here, &["wire"]));
    let moved = Moved::to(&name, 4_294_967_291);
    let pins = moved.pins();
    let theirs =
        common::foreign::program(libbpf_rs::libbpf_sys::BPF_PROG_TYPE_XDP, c"their_xdp", 2);
    let refused = |what: &str| {
        let error = conntrack::force_detach(&name.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AbiMismatch, "{what}: {error:#}");
        assert!(format!("{error:#}").contains(what), "{what}: {error:#}");
        assert_eq!(moved.pins(), pins + 1, "untouched");
        assert_eq!(present(&here, "wire").len(), 2, "untouched");
    };
    // A program of another name, one of ours under a name that is none, one in
    // the place of a map, and a link of somebody else.
    let foreign = moved.dir.join("prog_ct_new");
    common::foreign::pin(&theirs, &foreign);
    refused("prog_ct_new");
    fs::remove_file(&foreign).expect("remove it");
    let ours = ProgramHandle::from_pinned_path(moved.dir.join("prog_ct_xdp"));
    let ours = ours.expect("a program");
    for odd in ["note", "map_new"] {
        let path = moved.dir.join(odd);
        ours.pin(&path).expect("pin it");
        refused(odd);
        ours.unpin(&path).expect("remove it");
    }
    let inside = moved.dir.join("map_folder");
    fs::create_dir(&inside).expect("make a folder");
    refused("map_folder");
    fs::remove_dir(&inside).expect("remove it");
    here.sh("ip link add other type veth peer name another");
    let xdp = libbpf_rs::libbpf_sys::BPF_XDP;
    let link = common::foreign::attach_tcx(&here, "other", &theirs, xdp);
    let path = moved.dir.join("link_7_xdp");
    common::foreign::pin(&link, &path);
    refused("link_7_xdp");
    fs::remove_file(&path).expect("remove it");

    for bad in ["../v2/x", "..", "", "/sys/fs/bpf"] {
        let error = conntrack::force_detach(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}: {error:#}");
    }
    conntrack::force_detach(&name.0).expect("detach");
    assert_eq!(present(&here, "wire"), [""; 0]);
    assert_eq!(present(&here, "other").len(), 1, "untouched");
    drop(link);
}

#[test]
#[ignore = "root"]
fn this_versions_own_are_detached_as_ever() {
    let (here, _there) = wire();
    let _inside = here.start("sleep 1000");
    let name = Name::new();
    let held = builder(&name, &here, &["wire"]).keep(Keep::Visible);
    let held = held.attach().expect("attach");
    let error = conntrack::force_detach(&name.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:#}");
    assert_eq!(present(&here, "wire").len(), 2, "untouched");
    drop(held);
    for lacking in [None, Some("map_meta"), Some("map_attach")] {
        drop(pinned(&name, &here, &["wire"]));
        if let Some(pin) = lacking {
            add_filter(&name, &here);
            fs::remove_file(name.dir().join(pin)).expect("remove a pin");
        }
        let reports = conntrack::force_detach(&name.0).expect("detach");
        assert_eq!(reports.len(), 1);
        assert!(!name.dir().exists());
        assert_eq!(present(&here, "wire"), [""; 0]);
    }
}
