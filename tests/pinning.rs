//! What lives longer than its process: pins, who may open them, and that
//! nothing of them is ever half used.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use common::Name;
use common::bpffs;
use common::builder;
use common::has_clsact;
use common::has_tcx;
use common::hooks;
use common::link::veth;
use common::native;
use common::netns::Netns;
use common::pinned;
use common::present;
use common::tc;
use conntrack::Config;
use conntrack::ErrorKind;
use conntrack::Keep;
use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Tracker;
use libbpf_rs::MapHandle;
use libbpf_rs::MapType;

/// A namespace with one interface, `wire`, and its other end in a second one.
fn wire() -> (Netns, Netns) {
    let (here, there) = (Netns::new(), Netns::new());
    veth((&here, "wire"), (&there, "wire"));
    (here, there)
}

const MAPS: [&str; 37] = [
    "map_allow",
    "map_attach",
    "map_bans",
    "map_cpu",
    "map_frag",
    "map_icmp_counts",
    "map_icmp_cpus",
    "map_icmp_errors",
    "map_ifaces",
    "map_ifstats",
    "map_limits",
    "map_listeners",
    "map_lists",
    "map_meta",
    "map_notes",
    "map_policy",
    "map_port_budgets",
    "map_port_cpus",
    "map_port_registers",
    "map_port_rules",
    "map_port_slots",
    "map_port_sources",
    "map_ports",
    "map_print_bans",
    "map_print_of",
    "map_prints",
    "map_replay",
    "map_rings",
    "map_services",
    "map_settings",
    "map_side",
    "map_sketch",
    "map_strikes",
    "map_suspects",
    "map_sweep",
    "map_table4",
    "map_table6",
];
/// With XDP on what comes in.
const PROGRAMS: [&str; 4] = [
    "prog_ct_remove",
    "prog_ct_sweep_start",
    "prog_ct_tc_egress",
    "prog_ct_xdp",
];

#[test]
#[ignore = "root"]
fn persisted_it_runs_on_and_detach_leaves_nothing() {
    let (here, _there) = wire();
    let name = Name::new();
    let tracker = builder(&name, &here, &["wire"]).attach().unwrap();
    assert_eq!(name.pins(), [""; 0]);
    let absent = Tracker::open(&name.0).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    assert!(absent.to_string().contains(&name.0), "{absent}");

    tracker.persist().unwrap();
    tracker.persist().unwrap();
    let before = tracker.status().unwrap();
    drop(tracker);
    let mut links = name.pins();
    links.retain(|pin| !MAPS.contains(&pin.as_str()) && !PROGRAMS.contains(&pin.as_str()));
    let index = before.interfaces[0].ifindex;
    let mut expected = vec![format!("link_{index}_egress"), format!("link_{index}_xdp")];
    expected.retain(|link| has_tcx() || !link.ends_with("egress"));
    assert_eq!(links, expected);
    assert_eq!(name.pins().len(), MAPS.len() + PROGRAMS.len() + links.len());

    let opened = Tracker::open(&name.0).unwrap();
    let after = opened.status().unwrap();
    assert_eq!(hooks(&opened), [("wire".to_owned(), native())]);
    assert_eq!(after.interfaces[0].ifindex, index);
    assert_eq!((after.programs, after.maps), (before.programs, before.maps));
    assert!(after.uptime_ns > before.uptime_ns);
    drop(opened);
    assert_eq!(
        present(&here, "wire").len(),
        2,
        "an opened one never detaches"
    );

    Tracker::open(&name.0).unwrap().detach().unwrap();
    assert!(!name.dir().exists());
    assert_eq!(present(&here, "wire"), [""; 0]);
    assert!(!has_clsact(&here, "wire"));
    assert_eq!(
        Tracker::open(&name.0).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let error = conntrack::detach(&name.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
#[ignore = "root"]
fn visible_but_not_for_longer_than_its_process() {
    let (here, _there) = wire();
    let name = Name::new();
    let tracker = builder(&name, &here, &["wire"]).keep(Keep::Visible);
    let tracker = tracker.attach().unwrap();
    assert_eq!(name.pins().len(), MAPS.len() + PROGRAMS.len(), "no links");

    let reader = Tracker::open(&name.0).unwrap();
    assert_eq!(hooks(&reader), [("wire".to_owned(), native())]);
    let process = format!("process {}", std::process::id());
    for error in [
        reader.add_interface("lo", Mode::Auto).unwrap_err(),
        reader.remove_interface("wire").unwrap_err(),
        conntrack::detach(&name.0).unwrap_err(),
        reader.detach().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InUse, "{error:#}");
        assert!(error.to_string().contains(&process), "{error}");
    }
    tracker.add_interface("lo", Mode::Auto).unwrap();
    assert_eq!(hooks(&tracker).len(), 2);
    drop(tracker);
    assert!(!name.dir().exists());
    assert_eq!(present(&here, "wire"), [""; 0]);

    let tracker = builder(&name, &here, &["wire"]).keep(Keep::Visible);
    let tracker = tracker.attach().unwrap();
    tracker.persist().unwrap();
    drop(tracker);
    let opened = Tracker::open(&name.0).unwrap();
    assert_eq!(hooks(&opened), [("wire".to_owned(), native())]);
    opened.detach().unwrap();
    assert_eq!(present(&here, "wire"), [""; 0]);
}

#[test]
#[ignore = "root"]
fn a_name_is_taken_once() {
    let (here, _there) = wire();
    let name = Name::new();
    drop(pinned(&name, &here, &["wire"]));
    let other = builder(&name, &here, &["lo"]).attach().unwrap();
    let error = other.persist().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:#}");
    assert_eq!(hooks(&other).len(), 1, "it runs on unpinned");
    drop(other);
    let opened = Tracker::open(&name.0).unwrap();
    assert_eq!(hooks(&opened), [("wire".to_owned(), native())]);

    // Two processes at once: one of them gets the name.
    let name = Name::new();
    let results = thread::scope(|scope| {
        let attach = || {
            let builder = builder(&name, &here, &["lo"]).keep(Keep::Pinned);
            builder.attach().map(drop).map_err(|error| error.kind())
        };
        [scope.spawn(attach), scope.spawn(attach)].map(|thread| thread.join().unwrap())
    });
    let taken = Err(ErrorKind::InUse);
    assert!(
        results == [Ok(()), taken] || results == [taken, Ok(())],
        "{results:?}"
    );
}

#[test]
#[ignore = "root"]
fn an_instance_belongs_to_one_namespace() {
    let (here, there) = wire();
    let name = Name::new();
    let tracker = pinned(&name, &here, &["wire"]);
    let netns = |ns: &Netns| NetnsRef::Path(ns.path());
    assert!(Tracker::open_in(&name.0, &netns(&here)).is_ok());
    let error = Tracker::open_in(&name.0, &netns(&there)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OtherNamespace);
    assert!(error.to_string().contains("belongs to"), "{error}");

    // The current one is no demand, until something is to be added.
    let opened = Tracker::open_in(&name.0, &NetnsRef::Current).unwrap();
    let error = opened.add_interface("lo", Mode::Auto).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OtherNamespace, "{error:#}");
    there.run(|| {
        let opened = Tracker::open_in(&name.0, &NetnsRef::Current).unwrap();
        let error = opened.add_interface("wire", Mode::Auto).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OtherNamespace, "{error:#}");
    });
    here.run(|| {
        let opened = Tracker::open_in(&name.0, &NetnsRef::Current).unwrap();
        opened.add_interface("lo", Mode::Auto).unwrap();
    });
    assert_eq!(hooks(&tracker).len(), 2);

    // The same interface name in the other one: another instance.
    let other = Name::new();
    let second = pinned(&other, &there, &["wire"]);
    let inode = |tracker: &Tracker| tracker.status().unwrap().namespace.inode;
    assert_ne!(inode(&tracker), inode(&second));
}

#[test]
#[ignore = "root"]
fn settings_change_while_it_runs() {
    let (here, _there) = wire();
    let name = Name::new();
    let mut config = conntrack::Config::default();
    config.conntrack.udp_timeout = 7;
    let builder = Tracker::builder().config(config).instance(&name.0);
    let builder = builder.interface("lo").max_flows(1000).keep(Keep::Pinned);
    let tracker = builder.netns(NetnsRef::Path(here.path())).attach().unwrap();
    let mut sysctls = tracker.sysctls().unwrap();
    assert_eq!((sysctls.udp_timeout, sysctls.tcp_loose), (7, true));
    sysctls.tcp_loose = false;
    sysctls.gre_timeout = 99;
    tracker.set_sysctls(&sysctls).unwrap();
    assert_eq!(Tracker::open(&name.0).unwrap().sysctls().unwrap(), sysctls);
}

#[test]
#[ignore = "root"]
fn the_namespace_may_be_gone() {
    let name = Name::new();
    {
        let (here, _there) = wire();
        drop(pinned(&name, &here, &["wire"]));
    }
    let opened = Tracker::open(&name.0).unwrap();
    // The kernel takes a namespace apart when it has time.
    let mut status = opened.status().unwrap();
    for _ in 0..500 {
        if status.interfaces[0].mode.is_none() {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(20));
        status = Tracker::open(&name.0).unwrap().status().unwrap();
    }
    assert_eq!(status.interfaces[0].name, "wire");
    assert_eq!(status.interfaces[0].mode, None);
    opened.detach().unwrap();
    assert!(!name.dir().exists());
}

#[test]
#[ignore = "root"]
fn pins_that_are_not_ours_are_refused_by_name() {
    let (here, _there) = wire();
    let name = Name::new();
    drop(pinned(&name, &here, &["wire"]));
    let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as u64,
        ..Default::default()
    };
    let mut smaller =
        MapHandle::create(MapType::Array, Some("ct_table4"), 4, 1024, 84, &options).unwrap();
    let table = name.dir().join("map_table4");
    fs::remove_file(&table).unwrap();

    // Without it: like an instance whose process died.
    let error = Tracker::open(&name.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("`detach`"), "{error}");

    smaller.pin(&table).unwrap();
    let error = Tracker::open(&name.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AbiMismatch);
    let text = error.to_string();
    assert!(text.contains("map_table4"), "{text}");
    assert!(
        text.contains("value 1024") && text.contains("value 2048"),
        "{text}"
    );
    let again = builder(&name, &here, &["wire"]).keep(Keep::Pinned).attach();
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AbiMismatch);

    // A program in a map's place.
    fs::remove_file(&table).unwrap();
    let program = libbpf_rs::ProgramHandle::from_pinned_path(name.dir().join("prog_ct_xdp"));
    program.unwrap().pin(&table).unwrap();
    let error = Tracker::open(&name.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AbiMismatch);
    assert!(error.to_string().contains("Program"), "{error}");

    conntrack::detach(&name.0).unwrap();
    assert!(!name.dir().exists());
    assert_eq!(present(&here, "wire"), [""; 0]);
}

#[test]
#[ignore = "root"]
fn nothing_is_detached_that_is_not_ours() {
    let (here, _there) = wire();
    let name = Name::new();
    drop(pinned(&name, &here, &["wire"]));
    let pins = name.pins();
    let way_round = format!("../v{}/{}", conntrack_bpf::ABI, name.0);
    for bad in [
        way_round.as_str(),
        "../../xdp",
        "..",
        ".",
        "",
        "/sys/fs/bpf",
    ] {
        let error = conntrack::detach(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}: {error:#}");
    }
    assert_eq!(name.pins(), pins, "untouched");

    let program = libbpf_rs::ProgramHandle::from_pinned_path(name.dir().join("prog_ct_xdp"));
    let program = program.unwrap();
    for other in ["prog_other", "link_eth0", "note"] {
        let path = name.dir().join(other);
        program.pin(&path).unwrap();
        let error = conntrack::detach(&name.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AbiMismatch, "{error:#}");
        assert!(format!("{error:#}").contains(other), "{error:#}");
        assert_eq!(name.pins().len(), pins.len() + 1, "untouched");
        assert_eq!(present(&here, "wire").len(), 2, "untouched");
        fs::remove_file(path).unwrap();
    }
    conntrack::detach(&name.0).unwrap();
    assert!(!name.dir().exists());
}

#[test]
#[ignore = "root"]
fn another_version_of_the_layout_is_left_alone() {
    let (here, _there) = wire();
    let name = Name::new();
    drop(pinned(&name, &here, &["wire"]));
    let other = bpffs().join("conntrack/v4294967295").join(&name.0);
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::rename(name.dir(), &other).unwrap();
    for error in [
        Tracker::open(&name.0).unwrap_err(),
        conntrack::detach(&name.0).unwrap_err(),
        builder(&name, &here, &["lo"])
            .keep(Keep::Pinned)
            .attach()
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::AbiMismatch, "{error:#}");
        let text = error.to_string();
        // What is not kept, and what to do.
        for words in [
            "v4294967295",
            "flows",
            "bans",
            "allowed",
            "settings",
            "interfaces cannot be taken over",
            "`detach --force`",
            "attach anew",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
    assert_eq!(present(&here, "wire").len(), 2, "untouched");
    // Version 1 was tidied away if that was its last instance.
    fs::create_dir_all(name.dir().parent().unwrap()).unwrap();
    fs::rename(&other, name.dir()).unwrap();
    fs::remove_dir(other.parent().unwrap()).unwrap();
    conntrack::detach(&name.0).unwrap();
}

#[test]
#[ignore = "root"]
fn bpffs_is_found_where_sys_is_another() {
    // What `ip netns exec` does: a mount namespace with a fresh /sys.
    let (here, _there) = wire();
    let name = Name::new();
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            use nix::mount::MsFlags;
            use nix::sched::CloneFlags;
            nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none: Option<&str> = None;
            let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
            nix::mount::mount(none, "/", none, flags, none).unwrap();
            nix::mount::umount2("/sys", nix::mount::MntFlags::MNT_DETACH).unwrap();
            let flags = MsFlags::empty();
            nix::mount::mount(Some("sysfs"), "/sys", Some("sysfs"), flags, none).unwrap();
            assert!(!Path::new("/sys/fs/bpf/conntrack").exists());
            drop(pinned(&name, &here, &["wire"]));
            assert_eq!(hooks(&Tracker::open(&name.0).unwrap()).len(), 1);
        });
        inside.join().unwrap();
    });
    let outside = Tracker::open(&name.0).unwrap();
    assert_eq!(hooks(&outside), [("wire".to_owned(), native())]);
    outside.detach().unwrap();
    let ls = Command::new("ls").arg(bpffs()).output().unwrap();
    assert!(ls.status.success());
}

#[test]
#[ignore = "root"]
fn tc_links_and_filters_are_pinned_too() {
    let (here, _there) = wire();
    let name = Name::new();
    let tracker = builder(&name, &here, &["wire"]).mode(Mode::Tc);
    drop(tracker.keep(Keep::Pinned).attach().unwrap());
    assert_eq!(present(&here, "wire").len(), 2);
    assert_eq!(has_clsact(&here, "wire"), !has_tcx());
    let opened = Tracker::open(&name.0).unwrap();
    assert_eq!(hooks(&opened), [("wire".to_owned(), tc())]);
    opened.remove_interface("wire").unwrap();
    assert_eq!(present(&here, "wire"), [""; 0]);
    assert!(!has_clsact(&here, "wire"));
}

/// An echo request and its answer over `second`: packets counted each way of its flow.
fn second_pinged(tracker: &Tracker, here: &Netns) -> [u64; 2] {
    tracker.flush().expect("flush");
    here.sh("ping -q -c 1 -W 5 10.9.0.2");
    let flows: Result<Vec<_>, _> = tracker.flows().collect();
    let mut flows = flows.expect("flows");
    flows.retain(|flow| flow.interface.as_deref() == Some("second"));
    assert_eq!(flows.len(), 1, "{flows:?}");
    [flows[0].original.packets, flows[0].reply.packets]
}

#[test]
#[ignore = "root"]
fn a_program_comes_when_an_interface_needs_it() {
    let (here, there) = wire();
    veth((&here, "second"), (&there, "second"));
    here.sh("ip addr add 10.9.0.1/24 dev second");
    there.sh("ip addr add 10.9.0.2/24 dev second");
    let name = Name::new();
    let has = |program: &str| name.pins().iter().any(|pin| pin == program);
    drop(pinned(&name, &here, &["wire"]));
    assert!(!has("prog_ct_tc_ingress"), "nothing needs it");

    let early = Tracker::open(&name.0).unwrap();
    let other = Tracker::open(&name.0).unwrap();
    let report = other.add_interface("second", Mode::Tc).unwrap();
    assert_eq!(report.hooks, tc());
    assert!(has("prog_ct_tc_ingress"));
    assert_eq!(second_pinged(&other, &here), [1, 1]);

    // One who has known it from before replaces what he did not know.
    early.upgrade().unwrap();
    assert_eq!(second_pinged(&early, &here), [1, 1]);
    let mut config = Config::default();
    config.table.max_flows = 3000;
    early.resize(&config.table).unwrap();
    assert_eq!(second_pinged(&early, &here), [1, 1]);
    let expected = [("second".to_owned(), tc()), ("wire".to_owned(), native())];
    let mut now = hooks(&early);
    now.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(now, expected);

    early.detach().unwrap();
    assert!(!name.dir().exists());
    for interface in ["wire", "second"] {
        assert_eq!(present(&here, interface), [""; 0]);
        assert!(!has_clsact(&here, interface));
    }
}
