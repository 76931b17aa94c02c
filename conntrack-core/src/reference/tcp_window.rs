//! Is a segment inside the window? `tcp_in_window()`, `tcp_init_sender()` and
//! `tcp_new()` of nf_conntrack_proto_tcp.c, after Guido van Rooij, "Real
//! Stateful TCP Packet Filtering in IP Filter" (2000).
//!
//! Sequence numbers are compared as RFC 9293 has it, by the sign of their
//! difference.

use super::packet::Segment;
use crate::flow::Direction;
use crate::tcp::TcpState;
use crate::tcp::flags::ACK;
use crate::tcp::flags::FIN;
use crate::tcp::flags::RST;
use crate::tcp::flags::SYN;

/// An ACK may be this far behind, or a window, if that is larger.
const MAX_ACK_WINDOW: u32 = 66_000;

/// What is known of one end.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct End {
    /// Highest sequence number sent, plus length.
    pub end: u32,
    /// Highest one that the other end allows it to send.
    pub max_end: u32,
    /// Largest window it granted; 0 before it is heard of.
    pub max_win: u32,
    /// Highest acknowledgment it sent.
    pub max_ack: Option<u32>,
    /// Shift of its windows.
    pub scale: u8,
    /// It offered window scaling.
    pub scales: bool,
    /// It offered SACK, or may have.
    pub sacks: bool,
    /// It was the first to send a FIN.
    pub closed: bool,
    /// Its history is lost: nothing of it is out of window.
    pub liberal: bool,
    /// It sent what nobody has acknowledged yet.
    pub unacked: bool,
    /// What is known of it began with its last segment.
    pub anew: bool,
}

/// What the window says of a segment.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Window {
    /// Inside; the ends have moved. With it: the segment looked at every edge,
    /// so that it may be one to recognise.
    Inside { whole: bool },
    /// Passes, uncounted: old, or too far ahead by less than a window.
    Ignore,
    /// Not of this connection.
    Invalid,
}

/// `a` comes before `b`.
pub(super) fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// `a` comes after `b`.
pub(super) fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

impl Segment {
    /// All of these flags are set.
    pub(super) fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The sequence number behind it: SYN and FIN count as a byte each.
    pub(super) fn end(&self) -> u32 {
        let marks = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.seq.wrapping_add(self.payload).wrapping_add(marks)
    }

    /// The highest number it acknowledges, selectively or not.
    fn sack(&self) -> u32 {
        let edges = self.options.edges.iter();
        edges.fold(self.ack, |sack, edge| match after(*edge, sack) {
            true => *edge,
            false => sack,
        })
    }

    /// The window, at least 1.
    fn window_or_one(&self) -> u32 {
        u32::from(self.window).max(1)
    }
}

impl End {
    /// The opener, by the first segment of a flow (`tcp_new()`). A connection
    /// that is older than its flow is taken at its word; both ends are liberal
    /// then, because the scale of windows is not known.
    pub(super) fn opener(segment: &Segment) -> [Self; 2] {
        let mut opener = Self {
            end: segment.end(),
            max_end: segment.end(),
            max_win: segment.window_or_one(),
            anew: true,
            ..Self::default()
        };
        if segment.has(SYN) {
            opener.take_options(segment);
            return [opener, Self::default()];
        }
        let lost = Self {
            sacks: true,
            liberal: true,
            ..Self::default()
        };
        opener.max_end = opener.end.wrapping_add(opener.max_win);
        opener.sacks = true;
        opener.liberal = true;
        [opener, lost]
    }

    /// What a SYN's options say replaces all that was known, but that its
    /// history is lost. A SYN without options says nothing.
    fn take_options(&mut self, segment: &Segment) {
        if !segment.options.some {
            return;
        }
        *self = Self {
            scale: segment.options.scale.unwrap_or(0),
            scales: segment.options.scale.is_some(),
            sacks: segment.options.sack_permitted,
            closed: false,
            unacked: false,
            max_ack: None,
            ..*self
        };
    }

    /// How far behind its acknowledgments may be.
    fn reach(&self) -> u32 {
        self.max_win.max(MAX_ACK_WINDOW)
    }
}

/// A SYN that begins (anew) what its end sends: `tcp_init_sender()`. Scaling
/// holds only if both ends offer it; the answer settles that.
fn begin(ends: &mut [End; 2], direction: Direction, segment: &Segment) {
    let sender = &mut ends[direction as usize];
    sender.anew = true;
    sender.end = segment.end();
    sender.max_end = segment.end();
    sender.max_win = segment.window_or_one();
    sender.take_options(segment);
    if direction == Direction::Reply && !(ends[0].scales && ends[1].scales) {
        ends[0].scale = 0;
        ends[1].scale = 0;
    }
}

/// A sender that was not heard of before, in the middle of a connection.
fn join(ends: &mut [End; 2], direction: Direction, segment: &Segment, sack: u32) {
    let sender = &mut ends[direction as usize];
    sender.anew = true;
    sender.end = segment.end();
    sender.max_win = (u32::from(segment.window) << sender.scale).max(1);
    sender.max_end = sender.end.wrapping_add(sender.max_win);
    let receiver = &mut ends[direction.opposite() as usize];
    if receiver.max_win == 0 {
        // Nothing is known of the other end either: believe the ACK.
        receiver.end = sack;
        receiver.max_end = sack;
    } else if sack == receiver.end.wrapping_add(1) {
        // Most likely the answer to a keep-alive.
        receiver.end = sack;
    }
}

/// A segment against both ends, which it moves: `tcp_in_window()`. `state` is
/// the flow's before the segment; `liberal` the setting.
pub(super) fn judge(
    ends: &mut [End; 2],
    state: TcpState,
    direction: Direction,
    segment: &Segment,
    liberal: bool,
) -> Window {
    let (own, peer) = (direction as usize, direction.opposite() as usize);
    let opens = segment.has(SYN);
    let mut sack = match ends[peer].sacks {
        true => segment.sack(),
        false => segment.ack,
    };
    if ends[own].max_win == 0 && opens {
        begin(ends, direction, segment);
        if !segment.has(ACK) {
            return Window::Inside { whole: false };
        }
    } else if ends[own].max_win == 0 {
        join(ends, direction, segment, sack);
    } else if opens
        && after(segment.end(), ends[own].end)
        && matches!(state, TcpState::SynSent | TcpState::SynRecv)
    {
        // RFC 9293: a new start uses numbers beyond those used before.
        begin(ends, direction, segment);
        if direction == Direction::Reply && !segment.has(ACK) {
            return Window::Inside { whole: false };
        }
    }

    let mut ack = segment.ack;
    // Without an ACK, or with the 0 that some stacks send in every RST: as if
    // it were right.
    if !segment.has(ACK) || (segment.has(RST) && ack == 0) {
        ack = ends[peer].end;
        sack = ack;
    }
    let (mut seq, mut end) = (segment.seq, segment.end());
    if segment.has(RST) && seq == 0 && state == TcpState::SynSent {
        // It answers the SYN, and has no number of its own yet.
        seq = ends[own].end;
        end = seq;
    }
    match edges(ends, direction, [seq, end, sack]) {
        Window::Inside { .. } => {
            advance(ends, direction, segment, [end, ack, sack]);
            Window::Inside { whole: true }
        }
        _ if liberal || ends[own].liberal => Window::Inside { whole: false },
        outside => outside,
    }
}

/// The four bounds.
fn edges(ends: &mut [End; 2], direction: Direction, numbers: [u32; 3]) -> Window {
    let [seq, end, sack] = numbers;
    let receiver = ends[direction.opposite() as usize];
    let sender = &mut ends[direction as usize];
    let recent = after(
        end,
        sender.end.wrapping_sub(receiver.max_win).wrapping_sub(1),
    );
    let not_stale = after(
        sack,
        receiver.end.wrapping_sub(sender.reach()).wrapping_sub(1),
    );
    let was_sent = before(sack, receiver.end.wrapping_add(1));
    if !before(seq, sender.max_end.wrapping_add(1)) {
        let over = end.wrapping_sub(sender.max_end).wrapping_add(1);
        if receiver.max_win != 0 && recent && not_stale && over <= receiver.max_win && was_sent {
            // Its acknowledgment must not come as a surprise.
            sender.end = end;
            sender.unacked = true;
            return Window::Ignore;
        }
        return Window::Invalid;
    }
    if !was_sent {
        return Window::Invalid;
    }
    if (receiver.max_win != 0 && !recent) || !not_stale {
        return Window::Ignore;
    }
    Window::Inside { whole: true }
}

/// What a segment inside the window moves.
fn advance(ends: &mut [End; 2], direction: Direction, segment: &Segment, numbers: [u32; 3]) {
    let [end, ack, sack] = numbers;
    let (own, peer) = (direction as usize, direction.opposite() as usize);
    let scale = if segment.has(SYN) { 0 } else { ends[own].scale };
    let window = u32::from(segment.window) << scale;

    let sender = &mut ends[own];
    sender.max_win = sender
        .max_win
        .max(window.wrapping_add(sack.wrapping_sub(ack)));
    if after(end, sender.end) {
        sender.end = end;
        sender.unacked = true;
    }
    if segment.has(ACK) && sender.max_ack.is_none_or(|max| after(ack, max)) {
        sender.max_ack = Some(ack);
    }
    let granted = sender.max_end;

    let receiver = &mut ends[peer];
    if receiver.max_win != 0 && after(end, granted) {
        receiver.max_win = receiver.max_win.wrapping_add(end.wrapping_sub(granted));
    }
    if after(sack.wrapping_add(window), receiver.max_end.wrapping_sub(1)) {
        receiver.max_end = sack.wrapping_add(window.max(1));
    }
    if ack == receiver.end {
        receiver.unacked = false;
    }
}
