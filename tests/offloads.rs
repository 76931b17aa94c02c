//! Super-packets of real stacks: GSO on the way out, GRO on the way in.
//!
//! nf_conntrack and the hooks of TC are handed super-packets. nf_conntrack
//! counts each as one packet with one header; we count its segments, each with
//! its header. So
//! - our packets are the segments that the sender's TCP says it sent,
//! - our bytes are nf_conntrack's and one header more for each segment that it
//!   did not count,
//! - where segments crossed the wire as such, our packets and bytes are the
//!   interface's.
//!
//! That TC was handed super-packets at all says a filter behind ours, which looks
//! at their `gso_segs`.

#[path = "common/supers.rs"]
mod supers;
mod support;

use std::time::Instant;

use conntrack::Mode;
use supers::Supers;
use support::eventually;
use support::gigabyte;
use support::kernel;
use support::link::Offloads;
use support::netns::Netns;
use support::pair::HOST4;
use support::pair::HOST6;
use support::pair::Pair;
use support::pair::ip;
use support::peer::iperf;
use support::row;
use support::row::Row;
use support::tracked;

/// Packets and bytes of one direction, all flows together.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
struct Total {
    packets: u64,
    bytes: u64,
}

/// One stream: to the host, or back from it.
#[derive(Copy, Clone, Debug)]
struct Stream {
    addr: &'static str,
    bytes: u64,
    back: bool,
}

impl Stream {
    /// The header of its segments: IP, TCP, timestamps.
    fn header(self) -> u64 {
        let ip: u64 = if ip(self.addr).is_ipv4() { 20 } else { 40 };
        ip + 20 + 12
    }

    /// The direction that carries it; the peer opens every connection.
    fn way(self) -> usize {
        usize::from(self.back)
    }

    fn total(self, rows: &[Row]) -> [Total; 2] {
        let mut total = [Total::default(); 2];
        for row in rows.iter().filter(|row| row.original.dst == ip(self.addr)) {
            for (sum, (packets, bytes)) in total.iter_mut().zip(row.counts()) {
                sum.packets += packets;
                sum.bytes += bytes;
            }
        }
        total
    }
}

/// Sends a stream and compares; super-packets were seen where it was counted, and
/// by TC if that is where we are.
fn assert_segments(pair: &Pair, supers: &Supers, stream: Stream, by_tc: bool) {
    let supers_before = supers.seen();
    let sent = || [&pair.peer, &pair.host].map(Netns::segments_sent);
    let before = sent();
    iperf(
        &pair.host,
        &pair.peer,
        ip(stream.addr),
        stream.bytes,
        stream.back,
    );
    let (ours, theirs) = eventually("every segment is counted once", || {
        let ours = stream.total(&tracked::rows(&pair.tracker));
        let theirs = stream.total(&kernel::rows(&pair.host));
        for (way, after) in sent().into_iter().enumerate() {
            let (our, their) = (ours[way], theirs[way]);
            let segments = after - before[way];
            let expected = Total {
                packets: segments,
                bytes: their.bytes + (segments - their.packets) * stream.header(),
            };
            if our != expected {
                return Err(format!(
                    "{stream:?} way {way}: {our:?}, not {expected:?}; {their:?}"
                ));
            }
        }
        Ok((ours, theirs))
    });
    let way = stream.way();
    assert!(
        ours[way].packets > 2 * theirs[way].packets,
        "no super-packets: {ours:?} {theirs:?}"
    );
    let handed = supers.seen()[way] - supers_before[way];
    if by_tc {
        assert!(handed > 0, "no packet with gso_segs > 1 came to TC");
    }
    assert!(
        handed <= theirs[way].packets,
        "{handed} packets with gso_segs > 1, {} in all",
        theirs[way].packets
    );
}

/// Counts apart, both trackers tell the same.
fn assert_same_flows(pair: &Pair) {
    let begin = Instant::now();
    let [ours, theirs] = [tracked::rows(&pair.tracker), kernel::rows(&pair.host)]
        .map(|rows| rows.iter().map(Row::without_counts).collect::<Vec<_>>());
    row::same_after(&ours, &theirs, begin.elapsed()).expect("both trackers agree");
    pair.assert_clean();
}

fn super_packets(mode: Mode) {
    let pair = Pair::new(mode, Offloads::On, 1500);
    let supers = Supers::count(&pair.host, "inner");
    let there = Stream {
        addr: HOST4,
        bytes: gigabyte(),
        back: false,
    };
    let back = Stream {
        addr: HOST6,
        bytes: gigabyte() / 4,
        back: true,
    };
    assert_segments(&pair, &supers, there, mode == Mode::Tc);
    assert_segments(&pair, &supers, back, true);
    assert_same_flows(&pair);
}

/// What the peer's TSO made reaches TC ingress whole, what the host's GSO made
/// reaches TC egress whole.
#[test]
#[ignore = "root"]
fn super_packets_by_tc() {
    super_packets(Mode::Tc);
}

/// Native XDP has the peer cut its packets; GRO merges them again behind XDP
/// and before nf_conntrack. TC egress is handed what GSO made.
#[test]
#[ignore = "root"]
fn super_packets_by_xdp() {
    super_packets(Mode::Native);
}

/// The wire carries segments, GRO merges them before TC ingress and
/// nf_conntrack: the interface has counted each.
#[test]
#[ignore = "root"]
fn merged_on_receipt_by_tc() {
    let pair = Pair::new(Mode::Tc, Offloads::Software, 1500);
    let supers = Supers::count(&pair.host, "inner");
    let stream = Stream {
        addr: HOST4,
        bytes: gigabyte() / 4,
        back: false,
    };
    assert_segments(&pair, &supers, stream, true);
    pair.assert_wire();
    assert_same_flows(&pair);
}
