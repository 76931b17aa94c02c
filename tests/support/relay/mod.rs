//! A wire that loses, doubles, reorders and delays packets, as a seed says, and
//! keeps a log of it: for kernels without netem, and for tests that compare what
//! they measured with what was done.
//!
//! Between two namespaces stands a third with a packet socket on either side. It
//! impairs IP packets only: what a link says for itself (ARP, neighbour
//! discovery) passes at once and is not counted, because it comes at times of
//! its own. Whatever becomes of the n-th packet of a way depends on the seed,
//! the way and n alone.
//!
//! All four ends have their offloads off: frames are packets of the wire's
//! size, with the checksums their senders' stacks computed. Frames are passed on
//! as they are.

pub(crate) mod lane;
pub(crate) mod plan;
mod port;
pub(crate) mod seen;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::ppoll;
use nix::sys::time::TimeSpec;

use self::lane::Lane;
use self::lane::Record;
use self::lane::Totals;
use self::plan::Impairment;
use self::plan::Way;
use self::port::Port;
use super::eventually;
use super::link::Link;
use super::link::Offloads;
use super::link::veth;
use super::netns::Netns;

/// How often it looks whether it is still wanted.
const TICK: Duration = Duration::from_millis(20);

/// Frames that are taken from one side before the other's turn.
const TURN: usize = 64;

/// What is kept of what was done.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Log {
    /// A record a packet; some hundred bytes each, and nothing is ever dropped.
    Packets,
    /// Numbers only.
    Totals,
}

/// A wire between two namespaces; dropping cuts it.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Its first end, in the first namespace.
    pub(crate) a: Link,
    /// Its second end, in the second.
    pub(crate) b: Link,
    lanes: Lanes,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Lanes = Arc<Mutex<[Lane; 2]>>;

impl Relay {
    /// Lays a wire between two namespaces, its ends with these names, up and
    /// without addresses.
    pub(crate) fn between(
        a: (&Netns, &str),
        b: (&Netns, &str),
        impairment: &Impairment,
        log: Log,
    ) -> Self {
        let middle = Netns::new();
        middle.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        let (a, near) = veth(a, (&middle, "a"));
        let (far, b) = veth((&middle, "b"), b);
        for link in [&a, &near, &far, &b] {
            link.offloads(Offloads::Off).checksums_by_stack();
        }
        let lane = |way| Lane::new(way, impairment.clone(), log == Log::Packets);
        let lanes = Arc::new(Mutex::new(Way::BOTH.map(lane)));
        let stop = Arc::new(AtomicBool::new(false));
        let runner = Runner {
            ports: [&near, &far].map(Port::open),
            lanes: Arc::clone(&lanes),
            begin: Instant::now(),
        };
        let stopped = Arc::clone(&stop);
        let thread = middle.spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !stopped.load(Ordering::Relaxed) {
                runner.turn(&mut buffer);
            }
        });
        Self {
            a,
            b,
            lanes,
            stop,
            thread: Some(thread),
        }
    }

    /// What was done so far to packets of one way.
    pub(crate) fn totals(&self, way: Way) -> Totals {
        lock(&self.lanes)[way as usize].totals()
    }

    /// One record for each packet of a way so far, in the order they came; empty
    /// unless kept.
    pub(crate) fn log(&self, way: Way) -> Vec<Record> {
        lock(&self.lanes)[way as usize].records()
    }

    /// Waits until no packet is held. More may come.
    pub(crate) fn drain(&self) {
        eventually("the relay hands on all it has", || {
            let lanes = lock(&self.lanes);
            let waits = lanes.iter().any(|lane| !lane.is_empty());
            (!waits).then_some(()).ok_or_else(|| "packets wait".into())
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "a relay failed");
        }
    }
}

/// The relay's own thread.
struct Runner {
    /// Packets that come by the first go there, those that come by the second
    /// go back.
    ports: [Port; 2],
    lanes: Lanes,
    begin: Instant,
}

impl Runner {
    /// Takes what has come, hands on what is due, waits for more of either.
    fn turn(&self, buffer: &mut [u8]) {
        let mut lanes = lock(&self.lanes);
        for (side, lane) in lanes.iter_mut().enumerate() {
            let (from, to) = (&self.ports[side], &self.ports[1 - side]);
            for _ in 0..TURN {
                let Some(frame) = from.receive(buffer) else {
                    break;
                };
                if let Some(untouched) = lane.take(self.begin.elapsed(), frame) {
                    to.send(&untouched.frame);
                }
            }
            lane.missed(from.dropped());
            while let Some(leaving) = lane.next(self.begin.elapsed()) {
                let left = to.send(&leaving.frame);
                lane.done(&leaving, left);
            }
        }
        let due = lanes.iter().filter_map(Lane::due).min();
        drop(lanes);
        let wait = due.map_or(TICK, |due| due.saturating_sub(self.begin.elapsed()));
        let mut ready = self
            .ports
            .each_ref()
            .map(|port| PollFd::new(port.as_fd(), PollFlags::POLLIN));
        let wait = TimeSpec::from(wait.min(TICK));
        ppoll(&mut ready, Some(wait), None).expect("wait for packets");
    }
}

/// One that was poisoned has whole numbers all the same.
fn lock(lanes: &Mutex<[Lane; 2]>) -> MutexGuard<'_, [Lane; 2]> {
    lanes.lock().unwrap_or_else(PoisonError::into_inner)
}
