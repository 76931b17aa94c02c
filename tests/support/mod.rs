//! What the tests on real traffic share: namespaces, links, peers that talk
//! over real sockets, crafted frames, and the kernel's own tracker to compare
//! with.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod ctnetlink;
pub(crate) mod entry;
pub(crate) mod frame;
pub(crate) mod kernel;
pub(crate) mod link;
pub(crate) mod netlink;
pub(crate) mod netns;
pub(crate) mod pair;
pub(crate) mod peer;
pub(crate) mod priority;
pub(crate) mod random;
pub(crate) mod relay;
pub(crate) mod row;
pub(crate) mod socket;
pub(crate) mod tracked;

use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Longest wait for what is bound to happen; less than the shortest timeout of a
/// flow that is looked at (TIME_WAIT, 120 s).
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Calls `probe` until it says `Ok`; fails with its last word after
/// [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => panic!("{what}: {last}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Are we in a guest of `make test-kernels`? There a processor is emulated:
/// the same traffic, less of it.
pub(crate) fn in_kernel_matrix() -> bool {
    std::env::var_os("CONNTRACK_TEST_KERNEL_MATRIX").is_some()
}

/// Bytes of a long stream: 1 GB, less where the processor is emulated.
pub(crate) fn gigabyte() -> u64 {
    if in_kernel_matrix() {
        20_000_000
    } else {
        1_000_000_000
    }
}
