//! Processes killed before each of the system calls that change something, while
//! they attach, persist, add, remove or detach: what they leave is told as what it
//! is, and everything that can be done with a tracker can be done.

mod common;

use std::env;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use common::Name;
use common::assert_gone;
use common::builder;
use common::has_tcx;
use common::hooks;
use common::link::veth;
use common::native;
use common::netns::Netns;
use common::pinned;
use common::present;
use common::traced;
use common::traced::Call;
use common::traced::Traced;
use conntrack::ErrorKind;
use conntrack::Hooks;
use conntrack::Keep;
use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Tracker;
use nix::sched::CloneFlags;
use nix::sched::setns;

/// How a process is told to be the one that is killed: instance, namespace, and
/// what it does.
const INSTANCE: &str = "CONNTRACK_TEST_KILLED_INSTANCE";
const NETNS: &str = "CONNTRACK_TEST_KILLED_NETNS";
const WORK: &str = "CONNTRACK_TEST_KILLED_WORK";

/// Two interfaces, the other ends of which are elsewhere.
struct Place {
    here: Netns,
    _there: Netns,
    name: Name,
}

const INTERFACES: [&str; 2] = ["wire", "more"];

impl Place {
    fn new() -> Self {
        let (here, there) = (Netns::new(), Netns::new());
        for interface in INTERFACES {
            veth((&here, interface), (&there, interface));
        }
        let name = Name::new();
        Self {
            here,
            _there: there,
            name,
        }
    }

    /// A process that does this work, stopped before it begins.
    fn victim(&self, work: &str) -> Traced {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command
            .args(["--exact", "works_and_is_killed", "--ignored"])
            .env(INSTANCE, &self.name.0)
            .env(NETNS, self.here.path())
            .env(WORK, work)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Traced::start(&mut command)
    }

    /// The calls of this work, which comes to its end.
    fn calls(&self, work: &str) -> Vec<Call> {
        let mut victim = self.victim(work);
        let mut calls = Vec::new();
        while let Some(call) = victim.next_call() {
            calls.push(call);
        }
        assert!(victim.finish(), "{work} failed");
        calls
    }

    /// Does this work in a process that is killed before a call.
    fn kill_before(&self, work: &str, call: usize) {
        let mut victim = self.victim(work);
        for _ in 0..=call {
            if victim.next_call().is_none() {
                break;
            }
        }
        victim.kill();
        self.settle();
    }

    /// The kernel lets go of links that a dead process had when it has time.
    fn settle(&self) {
        if !has_tcx() {
            return; // filters stay
        }
        let pins = self.name.pins();
        let links = pins.iter().filter(|pin| pin.starts_with("link")).count();
        let end = Instant::now() + Duration::from_secs(20);
        while self.present() > links {
            assert!(Instant::now() < end, "links stay without pins");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many programs sit on the interfaces.
    fn present(&self) -> usize {
        let present = INTERFACES.map(|interface| present(&self.here, interface).len());
        present.iter().sum()
    }

    /// A pinned tracker of these interfaces.
    fn track(&self, interfaces: &[&str]) {
        drop(pinned(&self.name, &self.here, interfaces));
    }

    /// Makes it a pinned tracker of these interfaces again, whatever it is.
    fn restore(&self, interfaces: &[&str]) {
        let Ok(tracker) = Tracker::open(&self.name.0) else {
            return self.track(interfaces);
        };
        let told = hooks(&tracker).into_iter();
        let mut more = told.filter(|it| it.0 == "more").map(|it| it.1 == native());
        let (wanted, more) = (interfaces.contains(&"more"), more.next());
        if more.is_some() && (more == Some(false) || !wanted) {
            tracker.remove_interface("more").expect("remove");
        }
        if wanted && more != Some(true) {
            tracker.add_interface("more", Mode::Auto).expect("add");
        }
        self.settle();
    }

    /// What is there can be told: hooks by interface, or `None` if it is no
    /// tracker, not any more or not yet.
    fn told(&self, when: &str) -> Option<Vec<(String, Hooks)>> {
        match Tracker::open(&self.name.0) {
            Ok(tracker) => Some(hooks(&tracker)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{when}: {error:#}");
                let text = error.to_string();
                assert!(text.contains(&self.name.0), "{when}: {text}");
                None
            }
        }
    }

    /// It can be attached anew unless it is running, and nothing else.
    fn assert_attaches(&self, when: &str) {
        let told = self.told(when);
        let runs = told.iter().flatten().any(|it| it.1 != Hooks::default());
        let again = builder(&self.name, &self.here, &["wire"]).keep(Keep::Pinned);
        match again.attach() {
            Ok(tracker) => {
                assert!(!runs, "{when}: attached over a running instance");
                assert_eq!(hooks(&tracker), [("wire".to_owned(), native())], "{when}");
            }
            Err(error) => {
                assert!(runs, "{when}: {error:#}");
                assert_eq!(error.kind(), ErrorKind::InUse, "{when}: {error:#}");
            }
        }
    }

    /// It can be detached, be there anything or not, and then it is gone.
    fn assert_detaches(&self, when: &str) {
        let there = self.name.dir().exists();
        match conntrack::detach(&self.name.0) {
            Ok(()) => assert!(there, "{when}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{when}: {error:#}");
                assert!(!there, "{when}: {error:#}");
            }
        }
        self.settle();
        assert_gone(&self.name, &self.here, &INTERFACES, when);
    }
}

#[test]
#[ignore = "root"]
fn works_and_is_killed() {
    let Some(instance) = env::var_os(INSTANCE) else {
        // Not called by another test: what it would do must work by itself.
        let place = Place::new();
        for work in ["persist", "add", "remove", "detach", "attach"] {
            let calls = place.calls(work);
            assert!(calls.iter().any(|call| call.changes()), "{work}: {calls:?}");
        }
        assert_eq!(
            place.told("attached").as_deref(),
            Some(&[("wire".to_owned(), native())][..])
        );
        return;
    };
    let instance = instance.into_string().expect("a plain name");
    let netns = PathBuf::from(env::var_os(NETNS).expect("a namespace"));
    // There it needs no other thread: all its calls are this one's.
    let file = File::open(&netns).expect("open the namespace");
    setns(file, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
    let builder = Tracker::builder()
        .interface("wire")
        .instance(&instance)
        .netns(NetnsRef::Path(netns))
        .max_flows(1000);
    let open = || Tracker::open(&instance).expect("open");
    match env::var(WORK).as_deref().expect("a work") {
        "attach" => {
            traced::be_traced();
            drop(builder.keep(Keep::Pinned).attach().expect("attach"));
        }
        "persist" => {
            let tracker = builder.attach().expect("attach");
            traced::be_traced();
            tracker.persist().expect("persist");
        }
        "add" => {
            traced::be_traced();
            open().add_interface("more", Mode::Auto).expect("add");
        }
        "remove" => {
            traced::be_traced();
            open().remove_interface("more").expect("remove");
        }
        "detach" => {
            traced::be_traced();
            conntrack::detach(&instance).expect("detach");
        }
        other => panic!("no work: {other}"),
    }
}

/// Points to be killed at: every call that changes something, from the first that
/// others can see anything of, and two before. Of many that do the same one after
/// another, the first, the last and every eighth; a part of them all where the
/// processor is emulated.
fn points(calls: &[Call], first: usize) -> Vec<usize> {
    let step = match env::var_os("CONNTRACK_TEST_KERNEL_MATRIX") {
        Some(_) => 5,
        None => 1,
    };
    let changes = (first..calls.len()).filter(|&call| calls[call].changes());
    let changes: Vec<usize> = changes.collect();
    let like = |a: Option<&usize>, b: usize| a.is_some_and(|&a| calls[a].is_like(calls[b]));
    let telling = (0..changes.len()).filter(|&at| {
        let (before, after) = (at.checked_sub(1), at + 1);
        let before = before.and_then(|before| changes.get(before));
        let among = like(before, changes[at]) && like(changes.get(after), changes[at]);
        !among || at % 8 == 0
    });
    let mut points: Vec<_> = telling.map(|at| changes[at]).step_by(step).collect();
    points.extend([0, first / 2]);
    points.sort_unstable();
    points.dedup();
    println!("{} calls, killed before {points:?}", calls.len());
    points
}

fn first_pin(calls: &[Call]) -> usize {
    let first = calls.iter().position(|call| call.pins());
    first.expect("it pins something")
}

/// Kills a work that begins with nothing, at every point.
fn killed_while_it_begins(work: &str) {
    let place = Place::new();
    let calls = place.calls(work);
    place.assert_detaches(work);
    let (mut running, mut half) = (0, 0);
    for (number, call) in points(&calls, first_pin(&calls)).into_iter().enumerate() {
        let when = format!("{work}: killed before call {call} of {}", calls.len());
        place.kill_before(work, call);
        match place.told(&when) {
            Some(_) => running += 1,
            None => half += usize::from(place.name.dir().exists()),
        }
        // Filters that were never pinned go when the interface is next attached to.
        if number % 3 == 0 || !has_tcx() {
            place.assert_attaches(&when);
        }
        place.assert_detaches(&when);
    }
    println!("{work}: {half} left half made, {running} running");
    assert!(half > 0, "none was killed where it matters");
}

#[test]
#[ignore = "root"]
fn killed_while_attaching() {
    killed_while_it_begins("attach");
}

#[test]
#[ignore = "root"]
fn killed_while_persisting() {
    killed_while_it_begins("persist");
}

#[test]
#[ignore = "root"]
fn killed_while_detaching() {
    let place = Place::new();
    place.track(&["wire"]);
    let calls = place.calls("detach");
    assert_gone(&place.name, &place.here, &INTERFACES, "detached");
    let mut half = 0;
    for (number, call) in points(&calls, 0).into_iter().enumerate() {
        let when = format!("detach: killed before call {call} of {}", calls.len());
        place.track(&["wire"]);
        let pins = place.name.pins().len();
        place.kill_before("detach", call);
        place.told(&when);
        half += usize::from((1..pins).contains(&place.name.pins().len()));
        if number % 3 == 0 {
            place.assert_attaches(&when);
        }
        place.assert_detaches(&when);
    }
    assert!(half > 0, "none was killed where it matters");
}

/// Kills a work that changes the second interface of a running tracker, at every
/// point; each time it is as `before`.
fn killed_while_it_runs(work: &str, before: &[&str]) {
    let place = Place::new();
    let wire = ("wire".to_owned(), native());
    place.track(before);
    let calls = place.calls(work);
    for (number, call) in points(&calls, 0).into_iter().enumerate() {
        place.restore(before);
        let when = format!("{work}: killed before call {call} of {}", calls.len());
        place.kill_before(work, call);
        let told = place.told(&when).expect("it runs on");
        assert_eq!(told[0], wire, "{when}");
        let more = told.get(1).map(|more| more.1);
        let tracker = Tracker::open(&place.name.0).expect("open");
        match number % 7 {
            0 | 3 | 5 => {
                match tracker.add_interface("more", Mode::Auto) {
                    Ok(report) => assert_eq!(report.hooks, native(), "{when}"),
                    Err(error) => {
                        assert_eq!(more, Some(native()), "{when}: {error:#}");
                        assert_eq!(error.kind(), ErrorKind::InUse, "{when}: {error:#}");
                    }
                }
                let both = [wire.clone(), ("more".to_owned(), native())];
                assert_eq!(hooks(&tracker), both, "{when}");
            }
            1 | 4 | 6 => {
                if let Err(error) = tracker.remove_interface("more") {
                    assert_eq!(more, None, "{when}: {error:#}");
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{when}: {error:#}");
                }
                place.settle();
                assert_eq!(present(&place.here, "more"), [""; 0], "{when}");
                assert_eq!(hooks(&tracker), std::slice::from_ref(&wire), "{when}");
            }
            _ => {
                drop(tracker);
                place.assert_attaches(&when);
                place.assert_detaches(&when);
            }
        }
    }
}

#[test]
#[ignore = "root"]
fn killed_while_adding() {
    killed_while_it_runs("add", &["wire"]);
}

#[test]
#[ignore = "root"]
fn killed_while_removing() {
    killed_while_it_runs("remove", &["wire", "more"]);
}
