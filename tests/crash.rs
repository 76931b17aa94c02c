//! Processes that are killed: what they leave is told, cleared away, and never
//! half used.

mod common;

use std::env;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use common::Name;
use common::assert_gone;
use common::builder;
use common::hooks;
use common::link::veth;
use common::native;
use common::netns::Netns;
use common::pinned;
use common::present;
use conntrack::ErrorKind;
use conntrack::Keep;
use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Tracker;

/// How a process is told to be the one that is killed.
const INSTANCE: &str = "CONNTRACK_TEST_CRASH_INSTANCE";
const NETNS: &str = "CONNTRACK_TEST_CRASH_NETNS";
const KEEP: &str = "CONNTRACK_TEST_CRASH_KEEP";

fn wire() -> (Netns, Netns) {
    let (here, there) = (Netns::new(), Netns::new());
    veth((&here, "wire"), (&there, "wire"));
    (here, there)
}

/// A process that attaches to `wire` and then does nothing; killed when dropped.
struct Victim(Child);

impl Victim {
    fn start(name: &Name, ns: &Netns, keep: &str) -> Self {
        let child = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "attaches_and_waits_to_be_killed", "--ignored"])
            .env(INSTANCE, &name.0)
            .env(NETNS, ns.path())
            .env(KEEP, keep)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("start a process"))
    }

    fn wait_until(&self, what: &str, reached: impl Fn() -> bool) {
        // An emulated machine takes minutes to load the programs.
        let end = Instant::now() + Duration::from_secs(600);
        while !reached() {
            assert!(Instant::now() < end, "never came so far: {what}");
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn kill(mut self) {
        self.0.kill().expect("kill");
        self.0.wait().expect("wait");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Unless it was killed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "root"]
fn attaches_and_waits_to_be_killed() {
    let Some(instance) = env::var_os(INSTANCE) else {
        // Not called by another test: what it would do must work by itself.
        let (here, _there) = wire();
        let name = Name::new();
        drop(pinned(&name, &here, &["wire"]));
        assert_eq!(hooks(&Tracker::open(&name.0).unwrap()).len(), 1);
        return;
    };
    let keep = match env::var(KEEP).as_deref() {
        Ok("process") => Keep::Process,
        Ok("visible") => Keep::Visible,
        _ => Keep::Pinned,
    };
    let netns = PathBuf::from(env::var_os(NETNS).expect("a namespace"));
    let tracker = Tracker::builder()
        .interface("wire")
        .instance(instance.into_string().expect("a plain name"))
        .netns(NetnsRef::Path(netns))
        .max_flows(1000)
        .keep(keep)
        .attach()
        .expect("attach");
    loop {
        thread::park();
        tracker.status().expect("status");
    }
}

#[test]
#[ignore = "root"]
fn programs_of_a_dead_process_are_not_in_the_way() {
    for mode in [Mode::Auto, Mode::Native] {
        let (here, _there) = wire();
        let name = Name::new();
        drop(pinned(&name, &here, &["wire"]));
        // As if it had died between its last link and its last word: half made,
        // with both programs on the interface.
        std::fs::remove_file(name.dir().join("map_frag")).expect("remove a pin");
        let attached = present(&here, "wire");
        assert_eq!(attached.len(), 2);
        let bad = builder(&name, &here, &["wire", "wier"]).keep(Keep::Pinned);
        let error = bad.attach().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
        assert_eq!(present(&here, "wire"), attached, "touched for a bad name");
        let again = builder(&name, &here, &["wire"]).keep(Keep::Pinned);
        let again = again.mode(mode).attach().expect("attach anew");
        assert_eq!(hooks(&again), [("wire".to_owned(), native())], "{mode:?}");
    }
}

#[test]
#[ignore = "root"]
fn what_is_half_made_can_be_detached() {
    let (here, _there) = wire();
    let name = Name::new();
    let victim = Victim::start(&name, &here, "pinned");
    victim.wait_until("a pin", || !name.pins().is_empty());
    // Before it dies it is at work, and nobody may interfere; it may also have
    // come to its end meanwhile.
    if let Err(error) = Tracker::open(&name.0) {
        let text = error.to_string();
        assert!(
            text.contains("process") || text.contains("half made"),
            "{text}"
        );
    }
    victim.kill();
    conntrack::detach(&name.0).unwrap();
    assert_gone(&name, &here, &["wire"], "half made");
}

#[test]
#[ignore = "root"]
fn killed_in_the_foreground() {
    let (here, _there) = wire();
    let name = Name::new();
    let victim = Victim::start(&name, &here, "visible");
    let runs = || Tracker::open(&name.0).is_ok();
    victim.wait_until("attached", runs);
    let hooks_now = || hooks(&Tracker::open(&name.0).unwrap());
    assert_eq!(hooks_now(), [("wire".to_owned(), native())]);
    let error = conntrack::detach(&name.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:#}");
    victim.kill();
    // Links go with their process; filters, on kernels before tcx, do not.
    let left = hooks_now().remove(0).1;
    assert_eq!(left.ingress, None);
    assert!(Tracker::open(&name.0).unwrap().is_dead());
    let again = builder(&name, &here, &["wire"]).keep(Keep::Pinned).attach();
    let tracker = again.expect("attach in the place of a dead process");
    assert_eq!(hooks(&tracker), [("wire".to_owned(), native())]);
    assert_eq!(present(&here, "wire").len(), 2, "nothing of the dead one");
    conntrack::detach(&name.0).unwrap();
    assert_gone(&name, &here, &["wire"], "foreground");
}

#[test]
#[ignore = "root"]
fn killed_without_pins() {
    let (here, _there) = wire();
    let name = Name::new();
    let victim = Victim::start(&name, &here, "process");
    victim.wait_until("attached", || present(&here, "wire").len() == 2);
    victim.kill();
    // The next one takes the place of what may be left of it.
    let next = builder(&Name::new(), &here, &["wire"]).attach().unwrap();
    assert_eq!(hooks(&next), [("wire".to_owned(), native())]);
    assert_eq!(present(&here, "wire").len(), 2, "nothing of the dead one");
    drop(next);
    assert_gone(&name, &here, &["wire"], "process");
}
