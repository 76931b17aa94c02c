//! Tables of another size while packets run at full rate: none passes unseen, no flow is
//! lost or shown twice, every count is the sender's, and whoever has the tracker open
//! goes on with the new tables.
//!
//! `CONNTRACK_RESIZES` says how many resizes in a row (3).

mod common;

use std::collections::HashSet;
use std::env;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::Name;
use common::builder;
use common::hooks;
use common::native;
use common::priority::go_first;
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
use conntrack::TableConfig;
use conntrack::TcpState;
use conntrack::Tracker;
use nix::mount::MsFlags;
use nix::mount::mount;
use nix::sched::CloneFlags;
use nix::sched::unshare;

/// IPv4 flows that the tables are sized for, one after the other, up and down, beyond
/// twice as many as there are.
const SIZES: [u32; 4] = [400_000, 60_000, 300_000, 90_000];

/// How many resizes are made in a row; one where the processor is emulated.
fn resizes() -> usize {
    let few = match env::var_os("CONNTRACK_TEST_KERNEL_MATRIX") {
        Some(_) => 1,
        None => 3,
    };
    env::var("CONNTRACK_RESIZES").map_or(few, |text| text.parse().expect("a number"))
}

fn table(max_flows: u32) -> TableConfig {
    TableConfig {
        max_flows,
        ..TableConfig::default()
    }
}

/// Flows do not end while a test goes on.
fn track(name: &Name, wire: &Wire, mode: Mode, keep: Keep) -> Tracker {
    let builder = builder(name, &wire.here, &["wire"]).max_flows(100_000);
    let tracker = builder.mode(mode).keep(keep).attach().expect("attach");
    tracker
        .update_sysctls(|sysctls| {
            sysctls.udp_timeout = 3600;
            sysctls.udp_timeout_stream = 3600;
        })
        .expect("set the timeouts");
    tracker
}

/// Lets threads come to their end when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks at a tracker all the while, and finds it whole at every moment.
struct Watch {
    tracker: Tracker,
    packets: u64,
    known: HashSet<FlowKey>,
    long: [FlowKey; 2],
    before: [Option<Flow>; 2],
    looks: u64,
}

impl Watch {
    fn new(tracker: Tracker, traffic: &Traffic) -> Self {
        Self {
            tracker,
            packets: 0,
            known: HashSet::new(),
            long: [traffic.udp, traffic.tcp],
            before: [None, None],
            looks: 0,
        }
    }

    fn look(&mut self) {
        let counters = self.tracker.stats().expect("counters");
        assert!(counters.packets >= self.packets, "{}", self.packets);
        self.packets = counters.packets;
        let there = self.known.len() as u64;
        assert!(counters.flows.active >= there, "{counters:?} {there}");
        for (key, before) in self.long.iter().zip(&mut self.before) {
            let now = self.tracker.flow(key).expect("read").expect("a flow");
            if let Some(before) = before {
                assert_goes_on(before, &now);
            }
            *before = Some(now);
        }
        let mut shown = HashSet::new();
        for flow in self.tracker.flows() {
            let key = flow.expect("a flow").key();
            assert!(shown.insert(key), "{key} is shown twice");
        }
        let lost = self.known.difference(&shown).next();
        assert_eq!(lost, None, "of {} flows", shown.len());
        self.known = shown;
        self.looks += 1;
    }

    /// Looks until it is done; how often.
    fn until(mut self, done: &AtomicBool) -> u64 {
        while !done.load(Ordering::Relaxed) {
            self.look();
        }
        self.looks
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
    assert!(now.assured >= before.assured, "{now:?}");
    assert!(now.duration >= before.duration, "{now:?}");
}

/// What was sent is what was counted, to the packet, in each flow there is.
fn assert_exact(tracker: &Tracker, traffic: &Traffic, sent: &Sent) {
    let udp = tracker.flow(&traffic.udp).expect("read").expect("a flow");
    let both = (udp.original.packets, udp.reply.packets);
    assert_eq!(both, (sent.datagrams, sent.datagrams));
    let tcp = tracker.flow(&traffic.tcp).expect("read").expect("a flow");
    assert_eq!(tcp.state, FlowState::Tcp(TcpState::Established));
    assert!(tcp.assured);
    let mut packets = udp.packets() + tcp.packets();
    let mut flows = 0;
    for flow in tracker.flows() {
        let flow = flow.expect("a flow");
        if flow.key() == traffic.udp || flow.key() == traffic.tcp {
            continue;
        }
        let both = (flow.original.packets, flow.reply.packets);
        assert_eq!(both, (1, 1), "{flow}");
        flows += 1;
        packets += flow.packets();
    }
    assert_eq!(flows, sent.flows);
    let counters = tracker.stats().expect("counters");
    assert_eq!(counters.flows.active, sent.flows + 2);
    assert_eq!(counters.table.created, sent.flows + 2);
    let mut passed = counters.passed_untracked;
    passed.retain(|reason, count| *count != 0 && *reason != "not_ip");
    assert!(passed.is_empty(), "untracked: {passed:?}");
    assert_eq!(counters.ct_state.total().invalid, 0);
    // All that crossed the wire stands in flows.
    assert_eq!(counters.packets, packets, "{tcp:?}");
}

/// Listens until it is done and the wire silent; how many flows began. None ends.
fn count_new(tracker: &Tracker, done: &AtomicBool) -> u64 {
    let types = [EventType::New, EventType::Destroy];
    let events = tracker.events_builder().types(types);
    let mut events = events.buffer(64 << 20).listen().expect("listen");
    let mut count = 0;
    loop {
        let last = done.load(Ordering::Relaxed);
        match events.next_timeout(Duration::from_millis(100)) {
            Ok(Some(event)) => {
                assert_eq!(event.what.name(), "new", "{event:?}");
                count += 1;
            }
            Ok(None) if last => break,
            other => assert!(matches!(other, Ok(None)), "{other:?}"),
        }
    }
    assert_eq!(events.lost().total(), 0);
    count
}

/// What is left of a resize that has come to its end.
fn assert_settled(name: &Name, tracker: &Tracker, max_flows: u32) {
    let status = tracker.status().expect("status");
    assert!(!status.resize_unfinished && !status.upgrade_unfinished);
    assert_eq!(status.tables[0].max_flows, u64::from(max_flows));
    assert_eq!(status.tables[1].max_flows, u64::from(max_flows / 2));
    let pins = name.pins();
    let beside = |pin: &&String| pin.contains('@') || pin.contains("next");
    assert_eq!(pins.iter().find(beside), None);
    programs::assert_no_others(tracker);
}

#[test]
#[ignore = "root"]
fn counts_are_the_senders_at_full_rate() {
    let wire = Wire::new();
    let name = Name::new();
    let tracker = track(&name, &wire, Mode::Auto, Keep::Pinned);
    let open = || Tracker::open(&name.0).expect("open");
    let (resized, silent) = (AtomicBool::new(false), AtomicBool::new(false));
    let ends = [&resized, &silent].map(End);
    let listening = open();
    let (mut moved, mut last) = (0, 100_000);
    let (sent, told, looks) = thread::scope(|scope| {
        // Also where something fails.
        let _ends = ends;
        let told = scope.spawn(|| count_new(&listening, &silent));
        // Listening before anything is sent.
        thread::sleep(Duration::from_millis(300));
        let mut traffic = wire.start_long();
        let watch = Watch::new(open(), &traffic);
        let looks = scope.spawn(|| watch.until(&resized));
        go_first();
        for size in SIZES.into_iter().cycle().take(resizes()) {
            let there = listening.stats().expect("counters").flows.active;
            let size = size + 2 * there as u32;
            let report = open().resize(&table(size)).expect("resize");
            assert_eq!(report.from, [last, last / 2].map(u64::from));
            assert_eq!(report.to, [size, size / 2].map(u64::from));
            last = size;
            moved += report.moved;
            println!("{report:?}");
        }
        resized.store(true, Ordering::Relaxed);
        let looks = looks.join().expect("the watch");
        let sent = traffic.finish(&tracker);
        silent.store(true, Ordering::Relaxed);
        assert_exact(&tracker, &traffic, &sent);
        assert_exact(&open(), &traffic, &sent);
        (sent, told.join().expect("the listener"), looks)
    });
    println!("{sent:?}, looked {looks} times, {moved} moved");
    assert!(sent.datagrams > 0 && sent.stream > 0 && sent.flows > 0);
    assert!(looks > 1 && moved > 0);
    assert_eq!(told, sent.flows + 2, "NEW of each flow, once");
    assert_settled(&name, &tracker, last);
    assert_eq!(hooks(&tracker), [("wire".to_owned(), native())]);
    tracker.sweep().expect("sweep");
    assert_eq!(tracker.flush().expect("flush"), sent.flows + 2);
}

#[test]
#[ignore = "root"]
fn a_tracker_without_pins_resizes_itself() {
    for keep in [Keep::Process, Keep::Visible] {
        let wire = Wire::new();
        let name = Name::new();
        let tracker = track(&name, &wire, Mode::Tc, keep);
        let mut traffic = wire.start();
        let other = (keep == Keep::Visible).then(|| Tracker::open(&name.0).expect("open"));
        let report = tracker.resize(&table(60_000)).expect("resize");
        assert_eq!(report.to, [60_000, 30_000]);
        if let Some(other) = &other {
            let error = other.resize(&table(70_000)).unwrap_err();
            // It is this process, but not this tracker, that holds it.
            assert_eq!(error.kind(), ErrorKind::InUse, "{error:#}");
        }
        let sent = traffic.finish(&tracker);
        assert_exact(&tracker, &traffic, &sent);
        if let Some(other) = other {
            assert_exact(&other, &traffic, &sent);
        }
        tracker.detach().expect("detach");
    }
}

/// Does something on a host that has 16 MiB left, by what the kernel tells it.
fn without_memory<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let mut meminfo = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut meminfo, b"MemAvailable: 16384 kB\n").expect("write");
    let poor = || {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).expect("mounts of our own");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none).expect("keep them to ourselves");
        let told = Some(meminfo.path());
        mount(told, "/proc/meminfo", none, MsFlags::MS_BIND, none).expect("mount");
        work()
    };
    thread::scope(|scope| scope.spawn(poor).join().expect("what it does"))
}

#[test]
#[ignore = "root"]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let wire = Wire::new();
    let name = Name::new();
    let tracker = track(&name, &wire, Mode::Auto, Keep::Pinned);
    let mut traffic = wire.start();
    thread::sleep(Duration::from_millis(500));
    let sent = traffic.finish(&tracker);
    let before = (name.pins(), programs::ids(&tracker));
    let least = sent.flows as u32 + 1;
    for (table, words) in [
        (
            table(least),
            format!("the ipv4 table holds {} flows", least + 1),
        ),
        (table(0), "max_flows".to_owned()),
    ] {
        let error = tracker.resize(&table).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:#}");
        assert!(format!("{error:#}").contains(&words), "{error:#}");
        assert_eq!((name.pins(), programs::ids(&tracker)), before);
    }
    let much = without_memory(|| tracker.resize(&table(200_000)));
    let error = much.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:#}");
    let words = "tables for 200000 IPv4 and 100000 IPv6 flows take";
    assert!(format!("{error:#}").contains(words), "{error:#}");
    assert!(
        format!("{error:#}").contains("16 MiB available"),
        "{error:#}"
    );
    assert_eq!((name.pins(), programs::ids(&tracker)), before);
    assert_exact(&tracker, &traffic, &sent);
    // What they have already is no reason to move anything.
    let same = tracker.resize(&table(100_000)).expect("resize");
    assert_eq!((same.from, same.moved), (same.to, 0));
    assert_eq!((name.pins(), programs::ids(&tracker)), before);
    // Another number for the same table.
    let near = tracker.resize(&table(99_999)).expect("resize");
    assert_eq!((near.to, near.moved), ([99_999, 49_999], 0));
    assert_settled(&name, &tracker, 99_999);
    let full = tracker
        .resize(&table((least + 1).div_ceil(4) * 5))
        .expect("resize");
    assert_eq!(full.moved, sent.flows + 2);
    assert_exact(&tracker, &traffic, &sent);
}
