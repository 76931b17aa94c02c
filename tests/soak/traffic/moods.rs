//! What a stack offers its peers changes from time to time: options that trackers
//! of windows have to understand.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::netns::Netns;
use crate::support::random::Random;

/// Settings below `net/ipv4`, and the values they take. Not the scaling of windows:
/// a stack whose setting changes between its SYN and the answer takes the other's
/// windows to be what they are not, and the connection creeps for minutes.
const SETTINGS: [(&str, &[&str]); 3] = [
    ("tcp_sack", &["1", "1", "0"]),
    ("tcp_timestamps", &["1", "1", "0"]),
    ("tcp_ecn", &["0", "1", "2"]),
];

/// How long it waits at a time; a mood lasts some of that.
const TICK: Duration = Duration::from_millis(200);

/// Changes one namespace's settings; dropping ends it.
#[derive(Debug)]
pub(super) struct Moods {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Moods {
    /// One setting after the other, as the seed says.
    pub(super) fn start(ns: &Netns, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ns, stopped) = (ns.clone(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut random = Random::new(seed);
            while !stopped.load(Ordering::Relaxed) {
                let (name, values) = random.pick(&SETTINGS);
                ns.sysctl(&format!("net/ipv4/{name}"), random.pick(values));
                for _ in 0..random.below(10) {
                    if !stopped.load(Ordering::Relaxed) {
                        thread::sleep(TICK);
                    }
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Moods {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            matches!(ended, Some(Ok(()))) || thread::panicking(),
            "settings failed"
        );
    }
}
