//! Who makes room in a table that is full.

mod common;

use common::*;
use conntrack_native::Build;
use conntrack_native::Outcome;
use conntrack_native::Table;
use conntrack_native::TableEvent;
use conntrack_native::Timeout;

const MS: u64 = 1_000_000;
const BUCKETS: u32 = 4;

/// No flow's time is ever up in it.
fn table(buckets: u32) -> Table {
    let mut table = Table::new(Build::Product, [buckets; 2], &SEED);
    table.set_grace(100 * MS);
    for timeout in [Timeout::Udp, Timeout::UdpStream] {
        table.set_timeout(timeout, 1_000_000 * MS);
    }
    table
}

/// Streams that nobody answers, of which each bucket has some, and none came later than
/// they: as long as there is a flow that is idle it goes, not one of them.
#[test]
fn what_goes_on_stays_though_it_came_first() {
    for v6 in [false, true] {
        for streams in [4, 12, 24, 40] {
            let table = table(BUCKETS);
            let mut now = 1_000_000_000 * MS;
            let mut sent = vec![0; streams as usize];
            let (mut next, mut begun) = (streams, 0);
            for round in 0..20_000_u64 {
                now += MS;
                // Each every 50 ms.
                for stream in (0..streams).filter(|it| u64::from(*it) == round % 50) {
                    let done = table.packet(0, &packet(stream, UDP, v6, false).at(now));
                    let first = sent[stream as usize] == 0;
                    let wanted = if first {
                        Outcome::Created
                    } else {
                        Outcome::Counted
                    };
                    assert_eq!(done.outcome, wanted, "stream {stream} of {streams} went");
                    sent[stream as usize] += 1;
                }
                // And one more single packet every 20 ms, once the streams are there.
                if round >= 50 && round % 20 == 0 {
                    let done = table.packet(0, &packet(next, UDP, v6, false).at(now));
                    assert_eq!(done.outcome, Outcome::Created);
                    (next, begun) = (next + 1, begun + 1);
                }
            }
            let room = table.places(v6) - streams;
            let evicted = table.events(TableEvent::Evicted);
            assert_eq!(
                evicted,
                u64::from(begun - room),
                "each beyond that pushed one out"
            );
        }
    }
}

/// Of single packets the oldest goes, in each bucket.
#[test]
fn of_single_packets_the_oldest_goes() {
    let table = table(2);
    let places = table.places(false);
    let at = |number: u32| (1_000_000_000 + u64::from(number)) * MS;
    for number in 0..10 * places {
        let now = at(number);
        let oldest = (0..places)
            .map(|place| table.slot(false, place))
            .filter(|slot| slot.is_live())
            .map(|slot| slot.seen)
            .min();
        let done = table.packet(0, &packet(number, UDP, false, false).at(now));
        assert_eq!(done.outcome, Outcome::Created);
        if number >= places {
            let seen = |place| table.slot(false, place).seen;
            let still = (0..places).any(|place| Some(seen(place)) == oldest);
            assert!(!still, "it is still there");
        }
    }
    let evicted = table.events(TableEvent::Evicted);
    assert_eq!(evicted, u64::from(9 * places));
}
