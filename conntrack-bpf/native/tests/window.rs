//! Windows when both directions are looked at at once: a segment stores what it
//! moved, and puts nothing back that the other one moved meanwhile.

use conntrack_native::Ends;
use conntrack_native::Judged;
use conntrack_native::Segment;
use proptest::prelude::*;

const ORIGINAL: u32 = 0;
const REPLY: u32 = 1;
const START: [u32; 2] = [1000, 5000];
const WINDOW: u32 = 2000;

fn segment(dir: u32, seq: u32, ack: u32, payload: u32) -> Segment {
    Segment {
        dir,
        seq,
        ack,
        payload,
        window: WINDOW as u16,
        pad: 0,
    }
}

/// Data leaves while an older ACK of the other end is looked at: the ACK of that
/// data is of data we have seen.
#[test]
fn an_ack_does_not_take_data_back() {
    let mut ends = Ends::new(START, WINDOW);
    let older = ends.judge(segment(REPLY, 5000, 1000, 0));
    let data = ends.take(segment(ORIGINAL, 1000, 5000, 1400));
    ends.store(&older);
    let answer = ends.take(segment(REPLY, 5000, 2400, 0));
    assert!(older.is_inside() && data.is_inside());
    assert!(answer.is_inside(), "the ACK of 1400 bytes that were seen");
}

/// A window is opened while older data is looked at: what it grants stays
/// granted.
#[test]
fn data_does_not_take_a_window_back() {
    let mut ends = Ends::new(START, WINDOW);
    ends.take(segment(ORIGINAL, 1000, 5000, 1000));
    let older = ends.judge(segment(ORIGINAL, 2000, 5000, 1000));
    let grant = ends.take(segment(REPLY, 5000, 2000, 0));
    ends.store(&older);
    assert!(older.is_inside() && grant.is_inside());
    for seq in [3000, 3500] {
        let next = ends.take(segment(ORIGINAL, seq, 5000, 500));
        assert!(next.is_inside(), "granted up to 4000");
    }
}

/// Two ends of a connection, and the segment that has been looked at but not
/// stored yet: it has not left, so the other end knows nothing of it.
struct Connection {
    ends: Ends,
    sent: [u32; 2],
    got: [u32; 2],
    granted: [u32; 2],
    pending: Option<(Segment, Judged)>,
}

impl Connection {
    /// The end sends as much as it may, at most so much, and acknowledges what
    /// it got.
    fn send(&mut self, dir: usize, at_most: u32) -> Judged {
        if matches!(self.pending, Some((pending, _)) if pending.dir == dir as u32) {
            self.deliver();
        }
        let payload = at_most.min(self.granted[dir] - self.sent[dir]);
        let segment = segment(dir as u32, self.sent[dir], self.got[dir], payload);
        let judged = self.ends.judge(segment);
        self.sent[dir] += payload;
        self.deliver();
        self.pending = Some((segment, judged));
        judged
    }

    fn deliver(&mut self) {
        let Some((segment, judged)) = self.pending.take() else {
            return;
        };
        self.ends.store(&judged);
        let other = 1 - segment.dir as usize;
        self.got[other] = segment.seq + segment.payload;
        self.granted[other] = segment.ack + WINDOW;
    }
}

proptest! {
    /// Whatever two ends send that keep to the rules is inside, each segment
    /// overlapping with the next one of the other direction or not.
    #[test]
    fn overlap_makes_nothing_invalid(
        steps in prop::collection::vec((0usize..2, any::<bool>(), 0u32..1400), 1..200),
    ) {
        let mut connection = Connection {
            ends: Ends::new(START, WINDOW),
            sent: START,
            got: [START[1], START[0]],
            granted: START.map(|end| end + WINDOW),
            pending: None,
        };
        for (dir, overlaps, payload) in steps {
            let judged = connection.send(dir, payload);
            prop_assert!(judged.is_inside(), "{dir} {payload}");
            if !overlaps {
                connection.deliver();
            }
        }
    }
}
