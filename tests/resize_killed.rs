//! Processes killed in the middle of a resize, before each of the system calls that
//! change something: the tracker runs on with all its flows, is told as what it is, and
//! the next resize or upgrade ends what was begun.
//!
//! A resize takes seconds to load its programs, so a few of these points are taken, and
//! all with `CONNTRACK_RESIZE_KILLS=all`.

mod common;

use std::env;
use std::process::Command;
use std::process::Stdio;

use common::Name;
use common::builder;
use common::hooks;
use common::native;
use common::present;
use common::priority::go_first;
use common::programs;
use common::traced;
use common::traced::Call;
use common::traced::Traced;
use common::traffic::Wire;
use conntrack::ErrorKind;
use conntrack::Keep;
use conntrack::Mode;
use conntrack::TableConfig;
use conntrack::Tracker;

/// How a process is told to be the one that is killed: instance, and size.
const INSTANCE: &str = "CONNTRACK_TEST_RESIZE_INSTANCE";
const SIZE: &str = "CONNTRACK_TEST_RESIZE_SIZE";

/// Flows that the tables are sized for: to begin with, and for others.
const SIZES: [u32; 2] = [70_000, 90_000];

fn table(max_flows: u32) -> TableConfig {
    TableConfig {
        max_flows,
        ..TableConfig::default()
    }
}

#[test]
#[ignore = "root"]
fn resizes_and_is_killed() {
    let Some(instance) = env::var_os(INSTANCE) else {
        // Not called by another test, which lets it come to its end once.
        let error = Tracker::open(&Name::new().0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
        return;
    };
    let instance = instance.into_string().expect("a plain name");
    let size = env::var(SIZE).expect("a size").parse().expect("a number");
    let tracker = Tracker::open(&instance).expect("open");
    go_first();
    traced::be_traced();
    tracker.resize(&table(size)).expect("resize");
}

fn track(name: &Name, wire: &Wire) -> Tracker {
    let builder = builder(name, &wire.here, &["wire"]).max_flows(SIZES[0]);
    let tracker = builder.keep(Keep::Pinned).attach().expect("attach");
    let forever = tracker.update_sysctls(|sysctls| {
        sysctls.udp_timeout = 3600;
        sysctls.udp_timeout_stream = 3600;
    });
    forever.expect("set the timeouts");
    tracker
}

/// The size that it does not have.
fn other_size(tracker: &Tracker) -> u32 {
    let now = tracker.status().expect("status").tables[0].max_flows;
    let mut others = SIZES.into_iter().filter(|size| u64::from(*size) != now);
    others.next().expect("another")
}

/// A process that resizes, stopped before it begins.
fn victim(name: &Name, size: u32) -> Traced {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command
        .args(["--exact", "resizes_and_is_killed", "--ignored"])
        .env(INSTANCE, &name.0)
        .env(SIZE, size.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Traced::start(&mut command)
}

/// The calls of a resize.
fn calls(name: &Name, size: u32) -> Vec<Call> {
    let mut victim = victim(name, size);
    let mut calls = Vec::new();
    while let Some(call) = victim.next_call() {
        calls.push(call);
    }
    assert!(victim.finish(), "the resize failed");
    calls
}

/// Resizes in a process that is killed before this call that changes something, of those
/// from its first pin on.
fn kill_before(name: &Name, size: u32, point: usize) {
    let mut victim = victim(name, size);
    let (mut pinned, mut left) = (false, point);
    while let Some(call) = victim.next_call() {
        pinned |= call.pins();
        if !(pinned && call.changes()) {
            continue;
        }
        if left == 0 {
            break;
        }
        left -= 1;
    }
    victim.kill();
}

/// Points to be killed at, of so many: a few, or all; one where the processor is
/// emulated.
fn points(all: usize, few: usize) -> Vec<usize> {
    let emulated = env::var_os("CONNTRACK_TEST_KERNEL_MATRIX").is_some();
    let step = match env::var("CONNTRACK_RESIZE_KILLS").as_deref() {
        Ok("all") => 1,
        _ if emulated => all,
        _ => all.div_ceil(few),
    };
    (step / 2..all).step_by(step).collect()
}

/// How many of a resize's calls change something, from its first pin on.
fn changes(calls: &[Call]) -> usize {
    let first = calls.iter().position(|call| call.pins());
    let calls = &calls[first.expect("it pins its tables")..];
    calls.iter().filter(|call| call.changes()).count()
}

/// The pins, but of the program that another interface may have needed meanwhile.
fn lasting_pins(name: &Name) -> Vec<String> {
    let mut pins = name.pins();
    pins.retain(|pin| pin != "prog_ct_tc_ingress");
    pins
}

/// Every flow is there once, and they are at least so many; how many.
fn count(tracker: &Tracker, least: usize, when: &str) -> usize {
    let mut keys: Vec<_> = tracker
        .flows()
        .map(|flow| flow.expect("a flow").key())
        .collect();
    let shown = keys.len();
    keys.sort_by_key(|key| format!("{key}"));
    keys.dedup();
    assert_eq!(keys.len(), shown, "{when}: shown twice");
    assert!(shown >= least, "{when}: {shown} flows after {least}");
    shown
}

#[test]
#[ignore = "root"]
fn killed_anywhere_under_traffic_it_runs_on() {
    let wire = Wire::new();
    wire.here.sh("ip link add more type veth peer name less");
    wire.here.sh("ip link set more up");
    let name = Name::new();
    let tracker = track(&name, &wire);
    let pins = lasting_pins(&name);
    let sits = present(&wire.here, "wire");
    let mut traffic = wire.start();
    let calls = calls(&name, SIZES[1]);
    assert_eq!(lasting_pins(&name), pins);
    let all = changes(&calls);
    println!(
        "a resize makes {} calls, {all} change something",
        calls.len()
    );
    go_first();
    let (mut packets, mut flows, mut unfinished) = (0, 0, 0);
    for (number, point) in points(all, 3).into_iter().enumerate() {
        let when = format!("killed before change {point} of {all}");
        kill_before(&name, other_size(&tracker), point);
        assert_eq!(present(&wire.here, "wire"), sits, "{when}");
        let opened = Tracker::open(&name.0).unwrap_or_else(|error| panic!("{when}: {error:#}"));
        assert_eq!(hooks(&opened), [("wire".to_owned(), native())], "{when}");
        let status = opened.status().expect("status");
        unfinished += usize::from(status.resize_unfinished);
        let now = opened.stats().expect("counters");
        assert!(now.packets > packets, "{when}: {packets}");
        packets = now.packets;
        flows = count(&opened, flows, &when);
        flows = count(&tracker, flows, &when);
        assert!(now.flows.active as usize <= flows, "{when}: {now:?}");
        // Left as it is every third time: the next one that dies finds it so.
        let done = match number % 3 {
            // By TC, whose program for what comes in nothing has needed so far.
            0 => opened.add_interface("more", Mode::Tc).map(drop),
            1 => conntrack::upgrade(&name.0).map(drop),
            _ => opened.resize(&table(other_size(&opened))).map(drop),
        };
        done.unwrap_or_else(|error| panic!("{when}: {error:#}"));
        if number % 3 == 0 {
            assert_eq!(hooks(&tracker).len(), 2, "{when}");
            opened.remove_interface("more").expect("remove");
            continue;
        }
        // It may know programs that nobody else has any more.
        drop(opened);
        assert_eq!(lasting_pins(&name), pins, "{when}");
        assert!(!tracker.status().expect("status").resize_unfinished);
        programs::assert_no_others(&tracker);
        flows = count(&tracker, flows, &when);
    }
    assert!(unfinished > 0, "none was killed where it matters");
    tracker
        .resize(&table(other_size(&tracker)))
        .expect("resize");
    assert_eq!(lasting_pins(&name), pins);
    programs::assert_no_others(&tracker);
    // Through all of this, every frame was counted once, in its flow.
    let sent = traffic.finish(&tracker);
    println!("{sent:?}, {unfinished} were left unfinished");
    let udp = tracker.flow(&traffic.udp).expect("read").expect("a flow");
    let both = (udp.original.packets, udp.reply.packets);
    assert_eq!(both, (sent.datagrams, sent.datagrams));
    let shown = count(&tracker, flows, "at the end");
    assert_eq!(shown as u64, sent.flows + 2);
    let counters = tracker.stats().expect("counters");
    let flows = tracker.flows().map(|flow| flow.expect("a flow").packets());
    assert_eq!(flows.sum::<u64>(), counters.packets);
    let mut passed = counters.passed_untracked;
    passed.retain(|reason, count| *count != 0 && *reason != "not_ip");
    assert!(passed.is_empty(), "untracked: {passed:?}");
}

#[test]
#[ignore = "root"]
fn killed_anywhere_it_can_be_detached() {
    let wire = Wire::new();
    let name = Name::new();
    let tracker = track(&name, &wire);
    let all = changes(&calls(&name, SIZES[1]));
    drop(tracker);
    for point in points(all, 1) {
        let when = format!("killed before change {point} of {all}");
        let tracker = match Tracker::open(&name.0) {
            Ok(tracker) => tracker,
            Err(_) => track(&name, &wire),
        };
        kill_before(&name, other_size(&tracker), point);
        let table = programs::table(&tracker);
        conntrack::detach(&name.0).unwrap_or_else(|error| panic!("{when}: {error:#}"));
        assert!(!name.dir().exists(), "{when}: {:?}", name.pins());
        assert_eq!(present(&wire.here, "wire"), [""; 0], "{when}");
        drop(tracker);
        programs::assert_unused(table);
    }
}
