//! Real traffic between real stacks: who does what, how often.

mod exchanges;
mod moods;
mod services;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use self::exchanges::Exchange;
use self::moods::Moods;
use self::services::Services;
use crate::place::Place;
use crate::support::in_kernel_matrix;
use crate::support::random::Random;

/// Name, exchange, and the longest pause before the next in milliseconds.
const KINDS: [(&str, Exchange, u64); 17] = [
    ("page", exchanges::page, 200),
    ("page, read slowly", exchanges::slow_page, 500),
    ("page of the router", exchanges::router_page, 1000),
    ("curl", exchanges::curl, 1500),
    ("iperf3", exchanges::iperf, 500),
    ("short", exchanges::short, 50),
    ("reset by client", exchanges::reset_by_client, 400),
    ("reset by server", exchanges::reset_by_server, 400),
    ("refused", exchanges::refused, 400),
    ("half-closed", exchanges::half_closed, 400),
    (
        "half-closed by server",
        exchanges::half_closed_by_server,
        400,
    ),
    ("same port", exchanges::same_port, 700),
    ("chat", exchanges::chat, 200),
    ("questions", exchanges::questions, 300),
    ("unreachable", exchanges::unreachable, 700),
    ("nobody", exchanges::nobody, 1000),
    ("ping", exchanges::ping, 500),
];

/// One kind of exchange in one family.
struct Worker {
    name: String,
    done: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// All that runs; dropping ends it.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    workers: Vec<Worker>,
    _moods: [Moods; 2],
    _services: [Services; 2],
}

/// How often an exchange ended well, and how often not: the wires lose packets,
/// and patience is limited.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) name: String,
    pub(crate) done: u64,
    pub(crate) failed: u64,
}

impl Traffic {
    /// Sets everything going.
    pub(crate) fn start(place: &Place, seed: u64) -> Self {
        let services = [&place.server, &place.router].map(Services::start);
        let moods = [(&place.client, seed), (&place.server, seed ^ 1)]
            .map(|(ns, seed)| Moods::start(ns, seed));
        let stop = Arc::new(AtomicBool::new(false));
        let both = KINDS.iter().flat_map(|kind| [(kind, 0), (kind, 1)]);
        let workers = both.zip(0..).map(|((kind, family), number)| {
            let random = Random::new(seed.wrapping_add(1 << 32).wrapping_mul(number + 1));
            work(place, &stop, kind, family, random)
        });
        Self {
            workers: workers.collect(),
            stop,
            _moods: moods,
            _services: services,
        }
    }

    /// Every exchange has ended well once.
    pub(crate) fn all_done(&self) -> bool {
        let done = |worker: &Worker| worker.done.load(Ordering::Relaxed) > 0;
        self.workers.iter().all(done)
    }

    /// Lets what runs end, and says what was done.
    pub(crate) fn stop(mut self) -> Vec<Tally> {
        self.end()
    }

    fn end(&mut self) -> Vec<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let workers = self.workers.drain(..).map(|worker| {
            let ended = worker.thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a client failed");
            Tally {
                name: worker.name,
                done: worker.done.load(Ordering::Relaxed),
                failed: worker.failed.load(Ordering::Relaxed),
            }
        });
        workers.collect()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.end();
    }
}

fn work(
    place: &Place,
    stop: &Arc<AtomicBool>,
    &(name, exchange, pause): &(&str, Exchange, u64),
    family: usize,
    mut random: Random,
) -> Worker {
    let [done, failed] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let (stop, good, bad) = (Arc::clone(stop), Arc::clone(&done), Arc::clone(&failed));
    // An emulated processor is many times slower.
    let pause = if in_kernel_matrix() { pause * 5 } else { pause };
    let thread = place.client.spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let count = if exchange(family, &mut random).is_ok() {
                &good
            } else {
                &bad
            };
            count.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(random.below(pause)));
        }
    });
    Worker {
        name: format!("{name}, IPv{}", [4, 6][family]),
        done,
        failed,
        thread,
    }
}
