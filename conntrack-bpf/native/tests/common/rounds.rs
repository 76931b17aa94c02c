//! Random operations of several threads at one table.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use conntrack_native::Build;
use conntrack_native::Table;
use conntrack_native::TableEvent;
use conntrack_native::Timeout;

use super::ACK;
use super::FIN;
use super::GRE;
use super::OTHER;
use super::RST;
use super::Random;
use super::SEED;
use super::SYN;
use super::TCP;
use super::UDP;
use super::packet;
use super::tally::MOST_BYTES;
use super::tally::Tally;

/// Nanoseconds from one operation to the next.
pub(crate) const STEP: u64 = 1000;
/// For flows that are to stay: longer than any round.
pub(crate) const LONG: u64 = 1 << 50;

/// The conditions of a round.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) buckets: u32,
    pub(crate) connections: u32,
    pub(crate) timeout: u64,
    pub(crate) grace: u64,
    /// Deletes, of a hundred operations. With them, all is flushed now and then.
    pub(crate) releases: u64,
}

pub(crate) const fn shape(
    buckets: u32,
    connections: u32,
    timeout: u64,
    grace: u64,
    releases: u64,
) -> Shape {
    Shape {
        buckets,
        connections,
        timeout,
        grace,
        releases,
    }
}

pub(crate) fn table(build: Build, shape: Shape) -> Table {
    let mut table = Table::new(build, [shape.buckets; 2], &SEED);
    for timeout in [
        Timeout::Udp,
        Timeout::UdpStream,
        Timeout::Gre,
        Timeout::GreStream,
        Timeout::Generic,
    ] {
        table.set_timeout(timeout, shape.timeout);
    }
    table.set_tcp_timeouts(shape.timeout);
    table.set_grace(shape.grace);
    table
}

/// A random operation on a random connection.
fn operate(
    table: &Table,
    thread: u32,
    shape: Shape,
    now: u64,
    random: &mut Random,
    tally: &mut Tally,
) {
    let number = random.below(shape.connections.into()) as u32;
    let proto = [UDP, TCP, GRE, OTHER][number as usize % 4];
    let v6 = number.is_multiple_of(3);
    let bytes = 40 + random.below(u64::from(MOST_BYTES) - 39) as u32;
    let flags = [SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST | ACK][random.below(7) as usize];
    let packet = packet(number, proto, v6, random.percent(40));
    let packet = packet.at(now).bytes(bytes).tcp_flags(flags);
    if random.percent(shape.releases) {
        table.release(thread, &packet);
    } else if random.below(500) == 0 {
        table.sweep(thread, now);
    } else if shape.releases > 0 && random.below(500) == 0 {
        table.flush(thread, now);
    } else {
        tally.note(v6, &packet, bytes, &table.packet(thread, &packet));
    }
    tally.ends.extend(table.ends());
}

/// Operations of one thread, of so many in all, as long as it is to go on after so
/// many.
pub(crate) fn work(
    table: &Table,
    (thread, threads): (u32, u32),
    shape: Shape,
    go_on: impl Fn(u32) -> bool,
    clock: &AtomicU64,
    mut random: Random,
) -> Tally {
    let mut tally = Tally::default();
    let mut done = 0;
    while go_on(done) {
        done += 1;
        // CPUs do not agree on the time to the nanosecond.
        let now = clock.fetch_add(STEP / u64::from(threads), Ordering::Relaxed);
        let now = now - random.below(3 * STEP);
        operate(table, thread, shape, now, &mut random, &mut tally);
    }
    tally
}

/// Whether a place and a generation name one flow only. Generations have 16 bits,
/// and a thread that is stopped in the middle of creating a flow makes the others
/// take slots in vain until it goes on.
pub(crate) fn names_are_unique(table: &Table, tally: &Tally) -> bool {
    let mut taken: HashMap<(bool, u32), u64> = HashMap::new();
    for ((v6, place, _), memory) in &tally.flows {
        *taken.entry((*v6, *place)).or_default() += u64::from(memory.created);
    }
    let most = taken.into_values().max().unwrap_or(0);
    most + table.events(TableEvent::Conflicts) < 1 << 16
}
