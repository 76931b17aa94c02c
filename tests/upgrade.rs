//! Programs that are replaced while packets run: none passes unseen, nothing that
//! was known is lost, and nothing else is touched.

mod common;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::Name;
use common::builder;
use common::foreign;
use common::has_tcx;
use common::hooks;
use common::pinned;
use common::present;
use common::programs;
use common::traffic::Sent;
use common::traffic::Traffic;
use common::traffic::Wire;
use conntrack::ErrorKind;
use conntrack::EventType;
use conntrack::Flow;
use conntrack::FlowKey;
use conntrack::FlowState;
use conntrack::Keep;
use conntrack::Mode;
use conntrack::TcpState;
use conntrack::Tracker;
use libbpf_rs::libbpf_sys::BPF_PROG_TYPE_SCHED_CLS;
use libbpf_rs::libbpf_sys::BPF_PROG_TYPE_XDP;
use libbpf_rs::libbpf_sys::BPF_TCX_EGRESS;
use libbpf_rs::libbpf_sys::BPF_TCX_INGRESS;
use libbpf_rs::libbpf_sys::BPF_XDP;

/// `-1`: the next program decides.
const TCX_NEXT: i32 = -1;

/// Times are told by two clocks, read one after the other.
const CLOCKS: i64 = 100_000_000;

/// How often; less where the processor is emulated.
fn times(many: usize) -> usize {
    match std::env::var_os("CONNTRACK_TEST_KERNEL_MATRIX") {
        Some(_) => many.min(3),
        None => many,
    }
}

fn track(name: &Name, wire: &Wire, mode: Mode) -> Tracker {
    let builder = builder(name, &wire.here, &["wire"]).max_flows(100_000);
    let builder = builder.mode(mode).keep(Keep::Pinned);
    let tracker = builder.attach().expect("attach");
    // Flows do not end while a test goes on.
    let set = tracker.update_sysctls(|sysctls| {
        sysctls.udp_timeout = 3600;
        sysctls.udp_timeout_stream = 3600;
    });
    set.expect("set the timeouts");
    tracker
}

/// Looks at a tracker all the while, and finds it whole at every moment.
struct Watch<'a> {
    tracker: Tracker,
    wire: &'a Wire,
    sits: Vec<String>,
    packets: u64,
    flows: Vec<(FlowKey, Option<Flow>)>,
}

impl<'a> Watch<'a> {
    fn new(name: &Name, wire: &'a Wire, traffic: &Traffic) -> Self {
        Self {
            tracker: Tracker::open(&name.0).expect("open"),
            wire,
            sits: present(&wire.here, "wire"),
            packets: 0,
            flows: vec![(traffic.udp, None), (traffic.tcp, None)],
        }
    }

    fn look(&mut self) {
        // One that goes at this very moment has an id, and no name any more.
        let named = |sits: &Vec<String>| sits.iter().all(|program| !program.ends_with(' '));
        let mut looks = std::iter::repeat_with(|| present(&self.wire.here, "wire")).take(10);
        assert_eq!(looks.find(named).as_ref(), Some(&self.sits));
        let packets = self.tracker.stats().expect("counters").packets;
        assert!(packets >= self.packets, "{packets} < {}", self.packets);
        self.packets = packets;
        for (key, before) in &mut self.flows {
            let now = self.tracker.flow(key).expect("read").expect("a flow");
            if let Some(before) = before {
                assert_goes_on(before, &now);
            }
            *before = Some(now);
        }
    }

    /// Looks until it is done; how often.
    fn until(mut self, done: &AtomicBool) -> u64 {
        let mut looks = 0;
        while !done.load(Ordering::Relaxed) {
            self.look();
            looks += 1;
        }
        looks
    }
}

fn assert_goes_on(before: &Flow, now: &Flow) {
    let sides = [
        (&before.original, &now.original),
        (&before.reply, &now.reply),
    ];
    for (before, now) in sides {
        assert_eq!(before.tuple, now.tuple);
        assert!(now.packets >= before.packets, "{before:?} {now:?}");
        assert!(now.bytes >= before.bytes, "{before:?} {now:?}");
    }
    assert!((now.start.0 - before.start.0).abs() < CLOCKS, "{now:?}");
    assert!(now.duration >= before.duration);
    assert!(now.assured >= before.assured, "{now:?}");
    if let FlowState::Tcp(state) = before.state {
        assert_eq!(state, TcpState::Established, "{before:?}");
        assert_eq!(now.state, before.state);
    }
}

/// What was sent is what was counted, to the packet.
fn assert_exact(tracker: &Tracker, traffic: &Traffic, sent: &Sent) {
    let udp = tracker.flow(&traffic.udp).expect("read").expect("a flow");
    let both = (udp.original.packets, udp.reply.packets);
    assert_eq!(both, (sent.datagrams, sent.datagrams));
    let tcp = tracker.flow(&traffic.tcp).expect("read").expect("a flow");
    assert_eq!(tcp.state, FlowState::Tcp(TcpState::Established));
    assert!(udp.assured && tcp.assured);
    assert!(tcp.original.bytes + tcp.reply.bytes > sent.stream);
    let counters = tracker.stats().expect("counters");
    let mut passed = counters.passed_untracked;
    // How neighbours find each other.
    let neighbours = match udp.original.tuple.src.is_ipv6() {
        true => "untracked",
        false => "not_ip",
    };
    passed.retain(|reason, count| *count != 0 && *reason != neighbours);
    assert!(passed.is_empty(), "untracked: {passed:?}");
    assert_eq!(counters.ct_state.total().invalid, 0);
}

/// Listens for NEW until it is done and the wire silent; how many came.
fn count_new(tracker: &Tracker, done: &AtomicBool) -> u64 {
    let events = tracker.events_builder().types([EventType::New]);
    let mut events = events.buffer(64 << 20).listen().expect("listen");
    let mut count = 0;
    loop {
        let last = done.load(Ordering::Relaxed);
        match events.next_timeout(Duration::from_millis(100)) {
            Ok(Some(event)) => {
                assert_eq!(event.what.name(), "new");
                count += 1;
            }
            Ok(None) if last => break,
            other => assert!(matches!(other, Ok(None)), "{other:?}"),
        }
    }
    assert_eq!(events.lost().total(), 0);
    count
}

/// Makes it one that an older version had set up: what tells them apart is its record.
fn make_older(name: &Name, version: &str) {
    let meta = libbpf_rs::MapHandle::from_pinned_path(name.dir().join("map_meta"));
    let meta = meta.expect("the record");
    let key = [0; 4];
    let any = libbpf_rs::MapFlags::ANY;
    let value = libbpf_rs::MapCore::lookup(&meta, &key, any).expect("read");
    let mut value = value.expect("a record");
    let at = value
        .windows(version.len())
        .position(|text| text == version.as_bytes());
    let at = at.expect("the version");
    value[at..at + version.len()].fill(0);
    value[at..at + 3].copy_from_slice(b"0.0");
    libbpf_rs::MapCore::update(&meta, &key, &value, any).expect("write");
}

/// When each flow began.
fn starts(tracker: &Tracker) -> Vec<(FlowKey, i64)> {
    let flows = tracker.flows().map(|flow| flow.expect("a flow"));
    flows.map(|flow| (flow.key(), flow.start.0)).collect()
}

fn assert_began(tracker: &Tracker, before: &[(FlowKey, i64)]) {
    let now: HashMap<_, _> = starts(tracker).into_iter().collect();
    for (key, start) in before {
        let now = now.get(key).unwrap_or_else(|| panic!("{key} is gone"));
        assert!((now - start).abs() < CLOCKS, "{key}: {start} {now}");
    }
}

#[test]
#[ignore = "root"]
fn twenty_in_a_row_under_traffic_lose_no_packet() {
    let wire = Wire::new();
    let name = Name::new();
    let tracker = track(&name, &wire, Mode::Auto);
    let first = tracker.status().expect("status");
    let (upgraded, silent) = (AtomicBool::new(false), AtomicBool::new(false));
    let looks = AtomicU64::new(0);
    let listening = Tracker::open(&name.0).expect("open");
    let (sent, told) = thread::scope(|scope| {
        let told = scope.spawn(|| count_new(&listening, &silent));
        // Listening before anything is sent.
        thread::sleep(Duration::from_millis(300));
        let mut traffic = wire.start();
        let watch = Watch::new(&name, &wire, &traffic);
        scope.spawn(|| looks.store(watch.until(&upgraded), Ordering::Relaxed));
        let mut known = programs::ids(&tracker);
        for _ in 0..times(20) {
            let before = starts(&tracker);
            make_older(&name, &first.version);
            let report = conntrack::upgrade(&name.0).expect("upgrade");
            assert_eq!((report.from.as_str(), &report.to), ("0.0", &first.version));
            assert_began(&tracker, &before);
            // This one did not do it, and knows all the same.
            let now = programs::ids(&tracker);
            assert!(now.is_disjoint(&known), "{now:?} {known:?}");
            known = now;
        }
        upgraded.store(true, Ordering::Relaxed);
        let sent = traffic.finish(&tracker);
        silent.store(true, Ordering::Relaxed);
        assert_exact(&tracker, &traffic, &sent);
        (sent, told.join().expect("the listener"))
    });
    println!("{sent:?}, looked {looks:?} times");
    assert!(sent.datagrams > 0 && sent.stream > 0 && sent.flows > 0);
    assert!(looks.into_inner() > 1);
    assert_eq!(told, sent.flows + 2, "NEW of each flow, once");

    let last = tracker.status().expect("status");
    assert_eq!(last.maps, first.maps, "the same maps");
    assert!((last.since.0 - first.since.0).abs() < CLOCKS, "not anew");
    assert!(!last.upgrade_unfinished);
    assert!(!listening.is_detached());
    programs::assert_no_others(&tracker);
    let names = |status: &conntrack::Status| -> Vec<String> {
        let programs = status.programs.iter();
        programs.map(|program| program.name.clone()).collect()
    };
    assert_eq!(names(&last), names(&first));
    let beside = name.pins().into_iter().filter(|pin| pin.contains('@'));
    assert_eq!(beside.count(), 0, "{:?}", name.pins());
    // The sweep goes on, by the new program.
    tracker.sweep().expect("sweep");
    tracker.detach().expect("detach");
    assert_eq!(present(&wire.here, "wire"), [""; 0]);
}

#[test]
#[ignore = "root"]
fn every_hook_is_taken_over_in_place() {
    let wires = [Wire::new(), Wire::v6()];
    for (mode, wire) in [Mode::Tc, Mode::Generic].into_iter().zip(wires) {
        let name = Name::new();
        let tracker = track(&name, &wire, mode);
        let done = AtomicBool::new(false);
        let mut traffic = wire.start();
        let watch = Watch::new(&name, &wire, &traffic);
        let sent = thread::scope(|scope| {
            let watching = scope.spawn(|| watch.until(&done));
            let mut known = programs::ids(&tracker);
            for _ in 0..2 {
                // By the tracker itself, which is open all the time.
                tracker.upgrade().expect("upgrade");
                let now = programs::ids(&tracker);
                assert!(now.is_disjoint(&known), "{now:?} {known:?}");
                known = now;
            }
            done.store(true, Ordering::Relaxed);
            assert!(watching.join().expect("the watch") > 1);
            traffic.finish(&tracker)
        });
        assert_exact(&tracker, &traffic, &sent);
        programs::assert_no_others(&tracker);
    }
}

#[test]
#[ignore = "root"]
fn a_tracker_without_pins_upgrades_itself() {
    for keep in [Keep::Process, Keep::Visible] {
        let wire = Wire::new();
        let name = Name::new();
        let builder = builder(&name, &wire.here, &["wire"]).mode(Mode::Tc);
        let tracker = builder.keep(keep).attach().expect("attach");
        let before = programs::ids(&tracker);
        let sits = present(&wire.here, "wire");
        tracker.upgrade().expect("upgrade");
        assert!(programs::ids(&tracker).is_disjoint(&before));
        assert_eq!(present(&wire.here, "wire"), sits);
        programs::assert_no_others(&tracker);
        if keep == Keep::Visible {
            let error = conntrack::upgrade(&name.0).unwrap_err();
            // It is this process, but not this tracker, that holds it.
            assert_eq!(error.kind(), ErrorKind::InUse, "{error:#}");
        }
        drop(tracker);
        assert_eq!(present(&wire.here, "wire"), [""; 0], "{keep:?}");
    }
}

#[test]
#[ignore = "root"]
fn other_programs_keep_their_places() {
    let wire = Wire::new();
    let attach = |side| {
        let theirs = foreign::program(BPF_PROG_TYPE_SCHED_CLS, c"their_tc", TCX_NEXT);
        foreign::attach_tcx(&wire.here, "wire", &theirs, side)
    };
    let sides = [BPF_TCX_INGRESS, BPF_TCX_EGRESS];
    let before = sides.map(|side| has_tcx().then(|| attach(side)));
    let name = Name::new();
    let tracker = track(&name, &wire, Mode::Tc);
    let after = sides.map(|side| has_tcx().then(|| attach(side)));
    wire.here.sh("tc qdisc replace dev wire clsact");
    wire.here
        .sh("tc filter add dev wire egress protocol all prio 9 u32 match u32 0 0 flowid 1:1");
    let sits = present(&wire.here, "wire");
    let filters = wire.here.sh("tc filter show dev wire egress prio 9");
    conntrack::upgrade(&name.0).expect("upgrade");
    assert_eq!(present(&wire.here, "wire"), sits);
    let now = wire.here.sh("tc filter show dev wire egress prio 9");
    assert_eq!(now, filters);
    drop((before, after));
    wire.here.sh("tc filter del dev wire egress prio 9");
    assert_eq!(hooks(&tracker).len(), 1);
    tracker.detach().expect("detach");
}

#[test]
#[ignore = "root"]
fn what_goes_wrong_on_the_way_is_taken_back() {
    let wire = Wire::new();
    let name = Name::new();
    let tracker = track(&name, &wire, Mode::Auto);
    let before = (programs::ids(&tracker), name.pins());
    let index = foreign::ifindex(&wire.here, "wire");

    // A link of somebody else under a name of ours is left alone.
    wire.here
        .sh("ip link add other type veth peer name another");
    let theirs = foreign::program(BPF_PROG_TYPE_XDP, c"their_xdp", 2);
    let link = foreign::attach_tcx(&wire.here, "other", &theirs, BPF_XDP);
    let theirs = name.dir().join("link_9999_xdp");
    foreign::pin(&link, &theirs);
    let error = conntrack::upgrade(&name.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AbiMismatch, "{error:#}");
    assert!(format!("{error:#}").contains("link_9999_xdp"), "{error:#}");
    std::fs::remove_file(&theirs).expect("remove a pin");
    assert_eq!((programs::ids(&tracker), name.pins()), before);

    // Ours, but of the wrong kind for its name: refused after others were
    // replaced, for it comes last.
    let xdp = name.dir().join(format!("link_{index}_xdp"));
    let wrong = name.dir().join(format!("link_99{index}_egress"));
    foreign::pin(&foreign::open(&xdp), &wrong);
    let error = conntrack::upgrade(&name.0).unwrap_err();
    assert!(format!("{error:#}").contains("link_99"), "{error:#}");
    std::fs::remove_file(&wrong).expect("remove a pin");
    assert_eq!((programs::ids(&tracker), name.pins()), before);
    assert!(hooks(&tracker)[0].1.ingress.is_some());
    programs::assert_no_others(&tracker);

    conntrack::upgrade(&name.0).expect("upgrade");
    assert!(programs::ids(&tracker).is_disjoint(&before.0));
}

#[test]
#[ignore = "root"]
fn an_interface_that_went_is_no_obstacle() {
    let wire = Wire::new();
    wire.here.sh("ip link add more type veth peer name less");
    wire.here.sh("ip link set more up");
    let name = Name::new();
    let tracker = pinned(&name, &wire.here, &["wire", "more"]);
    wire.here.sh("ip link del more");
    conntrack::upgrade(&name.0).expect("upgrade");
    conntrack::upgrade(&name.0).expect("again");
    let hooks = hooks(&tracker);
    assert_eq!(hooks.len(), 2, "it is told that one is gone: {hooks:?}");
    tracker.remove_interface("more").expect("remove");
    programs::assert_no_others(&tracker);
}

#[test]
#[ignore = "root"]
fn the_version_of_the_programs_is_told() {
    let wire = Wire::new();
    let name = Name::new();
    let tracker = pinned(&name, &wire.here, &["wire"]);
    let version = tracker.status().expect("status").version;
    make_older(&name, &version);
    assert_eq!(tracker.status().expect("status").version, "0.0");

    let report = conntrack::upgrade(&name.0).expect("upgrade");
    assert_eq!((report.from.as_str(), &report.to), ("0.0", &version));
    assert_eq!(tracker.status().expect("status").version, version);
}

#[test]
#[ignore = "root"]
fn many_at_once_take_turns() {
    let wire = Wire::new();
    wire.here.sh("ip link add more type veth peer name less");
    wire.here.sh("ip link set more up");
    let name = Name::new();
    let tracker = pinned(&name, &wire.here, &["wire"]);
    thread::scope(|scope| {
        let upgrade = || conntrack::upgrade(&name.0).map(drop);
        let attach = || {
            let builder = builder(&name, &wire.here, &["lo"]).keep(Keep::Pinned);
            builder.attach().map(drop)
        };
        let add = || {
            let tracker = Tracker::open(&name.0)?;
            tracker.add_interface("more", Mode::Auto).map(drop)
        };
        let [a, b] = [scope.spawn(upgrade), scope.spawn(upgrade)];
        let (attach, add) = (scope.spawn(attach), scope.spawn(add));
        for upgraded in [a, b] {
            let upgraded = upgraded.join().expect("a thread");
            assert!(
                upgraded.is_ok() || upgraded.as_ref().unwrap_err().kind() == ErrorKind::InUse,
                "{upgraded:?}"
            );
        }
        let taken = attach.join().expect("a thread").unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::InUse, "{taken:#}");
        add.join().expect("a thread").expect("add");
    });
    // Whoever came last, all hooks have programs that are known, and none other.
    let hooks = hooks(&tracker);
    let live = hooks.iter().filter(|(_, hooks)| hooks.mode().is_some());
    assert_eq!(live.count(), 2, "{hooks:?}");
    assert!(!tracker.status().expect("status").upgrade_unfinished);
    programs::assert_no_others(&tracker);
    tracker.detach().expect("detach");
    assert!(!name.dir().exists());
}

#[test]
#[ignore = "root"]
fn there_must_be_something_to_upgrade() {
    let name = Name::new();
    let error = conntrack::upgrade(&name.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    let wire = Wire::new();
    let tracker = pinned(&name, &wire.here, &["wire"]);
    conntrack::detach(&name.0).expect("detach");
    let error = tracker.upgrade().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    assert_eq!(present(&wire.here, "wire"), [""; 0]);
}
