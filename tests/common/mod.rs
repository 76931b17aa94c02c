//! What the tests of attaching share: names of their own, a view of what is
//! pinned and attached, and other people's programs.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod foreign;
#[path = "../support/link.rs"]
pub(crate) mod link;
#[path = "../support/netns.rs"]
pub(crate) mod netns;
#[path = "../support/priority.rs"]
pub(crate) mod priority;
pub(crate) mod privileges;
pub(crate) mod programs;
pub(crate) mod traced;
pub(crate) mod traffic;

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use conntrack::Config;
use conntrack::ErrorKind;
use conntrack::Hooks;
use conntrack::Keep;
use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Tracker;
use conntrack::TrackerBuilder;
use nix::sys::statfs::BPF_FS_MAGIC;
use nix::sys::statfs::statfs;

use self::netns::Netns;

/// An instance name that no other test has; what is pinned under it is detached
/// on the way out, however the test ends.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) String);

impl Name {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("cttest-{}-{number}", process::id()))
    }

    /// Names of its pins, sorted; none if it has no directory.
    pub(crate) fn pins(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir()).into_iter().flatten();
        let mut names: Vec<_> = names
            .map(|entry| entry.expect("a pin").file_name())
            .map(|name| name.into_string().expect("a plain name"))
            .collect();
        names.sort();
        names
    }

    /// Where it is pinned.
    pub(crate) fn dir(&self) -> PathBuf {
        let layout = format!("v{}", conntrack_bpf::ABI);
        bpffs().join("conntrack").join(layout).join(&self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Err(error) = conntrack::detach(&self.0) {
            assert!(
                error.kind() == ErrorKind::NotFound || std::thread::panicking(),
                "{error:#}"
            );
        }
    }
}

/// bpffs, as a test that has changed nothing about its mounts sees it: where a chroot has
/// none of its own, that of an ancestor.
pub(crate) fn bpffs() -> PathBuf {
    let own = PathBuf::from("/sys/fs/bpf");
    let is = |path: &PathBuf| {
        let found = statfs(path);
        found.is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
    };
    let parent = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        line.trim().parse().ok().filter(|pid| *pid != 0)
    };
    let line = std::iter::successors(Some(process::id()), parent);
    let views = line.map(|pid| format!("/proc/{pid}/root/sys/fs/bpf").into());
    let views: Vec<PathBuf> = std::iter::once(own.clone()).chain(views).collect();
    views.into_iter().find(is).unwrap_or(own)
}

/// A tracker for interfaces of a namespace, with small tables.
pub(crate) fn builder(name: &Name, ns: &Netns, interfaces: &[&str]) -> TrackerBuilder {
    Tracker::builder()
        .config(kept_nowhere())
        .instance(&name.0)
        .netns(NetnsRef::Path(ns.path()))
        .interfaces(interfaces.iter().copied())
        .max_flows(1000)
}

/// Bans end with the tracker: nothing is left on the host.
fn kept_nowhere() -> Config {
    let mut config = Config::default();
    config.state_dir = None;
    config
}

/// The same, pinned.
pub(crate) fn pinned(name: &Name, ns: &Netns, interfaces: &[&str]) -> Tracker {
    let builder = builder(name, ns, interfaces).keep(Keep::Pinned);
    builder.attach().expect("attach")
}

/// The hooks of each interface of a tracker, by `status`.
pub(crate) fn hooks(tracker: &Tracker) -> Vec<(String, Hooks)> {
    let interfaces = tracker.status().expect("status").interfaces;
    let interfaces = interfaces.into_iter();
    interfaces.map(|it| (it.name, it.hooks)).collect()
}

/// Everything that sits on an interface, as `hook way name`, by `doctor`.
pub(crate) fn present(ns: &Netns, interface: &str) -> Vec<String> {
    let netns = NetnsRef::Path(ns.path());
    let doctor = conntrack::doctor_in(&netns, &[interface.to_owned()], Mode::Tc);
    let present = doctor.expect("doctor").interfaces.remove(0).present;
    let present = present.into_iter().map(|present| {
        let way = if present.egress { "egress" } else { "ingress" };
        let name = present.name.unwrap_or_default();
        format!("{} {way} {name}", present.hook)
    });
    present.collect()
}

/// Has this kernel tcx?
pub(crate) fn has_tcx() -> bool {
    let doctor = conntrack::doctor(&["lo".to_owned()], Mode::Auto).expect("doctor");
    let mut facts = doctor.kernel.facts.iter();
    let tcx = facts.find(|fact| fact.name == "tcx").expect("a fact");
    tcx.present.expect("known to root")
}

/// What TC programs are attached by: tcx, or clsact before Linux 6.6.
pub(crate) fn tc_hook() -> conntrack::Hook {
    if has_tcx() {
        conntrack::Hook::Tcx
    } else {
        conntrack::Hook::Clsact
    }
}

/// Hooks of native XDP with TC egress.
pub(crate) fn native() -> Hooks {
    Hooks {
        ingress: Some(conntrack::Hook::XdpNative),
        egress: Some(tc_hook()),
    }
}

/// Hooks of TC both ways.
pub(crate) fn tc() -> Hooks {
    Hooks {
        ingress: Some(tc_hook()),
        egress: Some(tc_hook()),
    }
}

/// The qdiscs of an interface, as `tc` shows them.
pub(crate) fn has_clsact(ns: &Netns, interface: &str) -> bool {
    ns.sh(&format!("tc qdisc show dev {interface}"))
        .contains("clsact")
}

/// Nothing is left of an instance on its interfaces or in bpffs.
#[track_caller]
pub(crate) fn assert_gone(name: &Name, ns: &Netns, interfaces: &[&str], when: &str) {
    assert!(!name.dir().exists(), "{when}: {:?}", name.pins());
    for interface in interfaces {
        assert_eq!(present(ns, interface), [""; 0], "{when}: {interface}");
        assert!(!has_clsact(ns, interface), "{when}: {interface}");
    }
}
