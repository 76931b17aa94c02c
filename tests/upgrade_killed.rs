//! Processes killed in the middle of an upgrade, before each of the system calls
//! that change something: the tracker runs on, is told as what it is, and
//! everything that can be done with a tracker can be done with it.

mod common;

use std::env;
use std::process::Command;
use std::process::Stdio;

use common::Name;
use common::builder;
use common::hooks;
use common::native;
use common::present;
use common::programs;
use common::traced;
use common::traced::Traced;
use common::traffic::Wire;
use conntrack::ErrorKind;
use conntrack::Keep;
use conntrack::Mode;
use conntrack::Tracker;

/// How a process is told to be the one that is killed.
const INSTANCE: &str = "CONNTRACK_TEST_UPGRADE_INSTANCE";

#[test]
#[ignore = "root"]
fn upgrades_and_is_killed() {
    let Some(instance) = env::var_os(INSTANCE) else {
        // Not called by another test: what it would do must work by itself.
        let wire = Wire::new();
        let name = Name::new();
        let tracker = track(&name, &wire);
        conntrack::upgrade(&name.0).expect("upgrade");
        assert_eq!(hooks(&tracker), [("wire".to_owned(), native())]);
        return;
    };
    let instance = instance.into_string().expect("a plain name");
    traced::be_traced();
    conntrack::upgrade(&instance).expect("upgrade");
}

fn track(name: &Name, wire: &Wire) -> Tracker {
    let builder = builder(name, &wire.here, &["wire"]).max_flows(100_000);
    builder.keep(Keep::Pinned).attach().expect("attach")
}

/// A process that upgrades, stopped before it begins.
fn victim(name: &Name) -> Traced {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command
        .args(["--exact", "upgrades_and_is_killed", "--ignored"])
        .env(INSTANCE, &name.0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Traced::start(&mut command)
}

/// How many calls an upgrade makes, and which is the first that others can see
/// anything of.
fn calls(name: &Name) -> (usize, usize) {
    let mut victim = victim(name);
    let mut calls = Vec::new();
    while let Some(call) = victim.next_call() {
        calls.push(call);
    }
    assert!(victim.finish(), "the upgrade failed");
    let first = calls.iter().position(|call| call.pins());
    (calls.len(), first.expect("it pins its programs"))
}

/// Upgrades in a process that is killed before this call; whether it was.
fn kill_before(name: &Name, call: usize) {
    let mut victim = victim(name);
    for _ in 0..=call {
        if victim.next_call().is_none() {
            break;
        }
    }
    victim.kill();
}

/// Points to be killed at: a few while it loads, and each one after that, or
/// every so many where the processor is emulated.
fn points(calls: usize, first: usize, step: usize) -> Vec<usize> {
    let step = match env::var_os("CONNTRACK_TEST_KERNEL_MATRIX") {
        Some(_) => step * 6,
        None => step,
    };
    let loading = [0, first / 2, first.saturating_sub(1)];
    loading
        .into_iter()
        .chain((first..calls).step_by(step))
        .collect()
}

#[test]
#[ignore = "root"]
fn killed_anywhere_under_traffic_it_runs_on() {
    let wire = Wire::new();
    wire.here.sh("ip link add more type veth peer name less");
    wire.here.sh("ip link set more up");
    let name = Name::new();
    let tracker = track(&name, &wire);
    let pins = name.pins();
    let sits = present(&wire.here, "wire");
    let mut traffic = wire.start();
    let (calls, first) = calls(&name);
    assert_eq!(name.pins(), pins);
    println!("an upgrade makes {calls} calls, its first pin is number {first}");
    let mut packets = 0;
    let mut unfinished = 0;
    for (number, call) in points(calls, first, 1).into_iter().enumerate() {
        kill_before(&name, call);
        let when = format!("killed before call {call} of {calls}");
        assert_eq!(present(&wire.here, "wire"), sits, "{when}");
        let opened = Tracker::open(&name.0).unwrap_or_else(|error| panic!("{when}: {error:#}"));
        let hooks_now = hooks(&opened);
        assert_eq!(hooks_now, [("wire".to_owned(), native())], "{when}");
        let status = opened.status().expect("status");
        unfinished += usize::from(status.upgrade_unfinished);
        let beside = name.pins().iter().any(|pin| pin.contains('@'));
        assert_eq!(status.upgrade_unfinished, beside, "{when}");
        let now = opened.stats().expect("counters").packets;
        assert!(now > packets, "{when}: {now} packets after {packets}");
        packets = now;
        match number % 3 {
            // Left as it is: the next one that dies finds it so.
            0 => {
                let again = builder(&name, &wire.here, &["lo"]).keep(Keep::Pinned);
                let error = again.attach().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InUse, "{when}: {error:#}");
            }
            1 => {
                let added = opened.add_interface("more", Mode::Auto);
                added.unwrap_or_else(|error| panic!("{when}: {error:#}"));
                assert_eq!(hooks(&tracker).len(), 2, "{when}");
                opened.remove_interface("more").expect("remove");
                assert_eq!(present(&wire.here, "more"), [""; 0], "{when}");
            }
            _ => {
                drop(opened);
                let done = conntrack::upgrade(&name.0);
                done.unwrap_or_else(|error| panic!("{when}: {error:#}"));
                assert_eq!(name.pins(), pins, "{when}");
                programs::assert_no_others(&tracker);
            }
        }
    }
    assert!(unfinished > 0, "none was killed where it matters");
    conntrack::upgrade(&name.0).expect("upgrade");
    assert_eq!(name.pins(), pins);
    assert!(!tracker.status().expect("status").upgrade_unfinished);
    programs::assert_no_others(&tracker);
    // Through all of this, every frame was counted once.
    let sent = traffic.finish(&tracker);
    println!("{sent:?}");
    let udp = tracker.flow(&traffic.udp).expect("read").expect("a flow");
    let both = (udp.original.packets, udp.reply.packets);
    assert_eq!(both, (sent.datagrams, sent.datagrams));
}

#[test]
#[ignore = "root"]
fn killed_anywhere_it_can_be_detached() {
    let wire = Wire::new();
    let name = Name::new();
    let tracker = track(&name, &wire);
    let (calls, first) = calls(&name);
    drop(tracker);
    for call in points(calls, first, 5) {
        let when = format!("killed before call {call} of {calls}");
        let tracker = match Tracker::open(&name.0) {
            Ok(tracker) => tracker,
            Err(_) => track(&name, &wire),
        };
        kill_before(&name, call);
        conntrack::detach(&name.0).unwrap_or_else(|error| panic!("{when}: {error:#}"));
        assert!(!name.dir().exists(), "{when}: {:?}", name.pins());
        assert_eq!(present(&wire.here, "wire"), [""; 0], "{when}");
        assert_eq!(present(&wire.there, "wire"), [""; 0], "{when}");
        let table = programs::table(&tracker);
        drop(tracker);
        programs::assert_unused(table);
    }
}
