//! TCP: `nf_conntrack_tcp_packet()` of nf_conntrack_proto_tcp.c. The table of
//! states is [`crate::tcp::transition`]; here is what comes on top of it.

use super::fragment::Counted;
use super::packet::Segment;
use super::tcp_reset;
use super::tcp_reset::Reset;
use super::tcp_window;
use super::tcp_window::End;
use super::tcp_window::Window;
use super::tracker::Answer;
use super::tracker::Status;
use crate::flow::Direction;
use crate::sysctl::Sysctls;
use crate::tcp;
use crate::tcp::Next;
use crate::tcp::Segment as Kind;
use crate::tcp::TcpState;
use crate::timeout::Timeout;

/// A TCP connection.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// Where it stands.
    pub state: TcpState,
    /// What is known of either end, by [`Direction`].
    pub ends: [End; 2],
    /// Which segments are remembered.
    pub last: Last,
}

/// What is known of one end of a TCP connection, sequence numbers as sent. A
/// segment of its own is inside the window if it begins at or before `max_end`,
/// ends not too far below `end`, and acknowledges nothing beyond the other
/// end's `end`.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Edges {
    /// Behind the last byte it sent.
    pub end: u32,
    /// Behind the last byte the other end lets it send.
    pub max_end: u32,
    /// The largest window it granted, in bytes; 0 before it is heard of.
    pub max_win: u32,
    /// The highest number it acknowledged.
    pub max_ack: Option<u32>,
    /// Behind the segment, of either end, that is remembered to recognise it.
    pub remembered: u32,
}

/// Two memories in one, as the kernel has them: of the last segment that was
/// let through, its kind and direction; of the last that was an ACK inside the
/// window or was ignored, its numbers.
#[derive(Clone, Debug, Default)]
pub struct Last {
    /// Of the last segment that was let through; `None` if there was none.
    pub kind: Option<Kind>,
    /// Its [`Direction`] as a number, and that of the one that is remembered.
    pub direction: usize,
    /// Of the remembered one.
    pub seq: u32,
    /// Its ack.
    pub ack: u32,
    /// Behind its last byte.
    pub end: u32,
    /// Its window as sent.
    pub window: u16,
    /// How often the segment came again; 256 times are none.
    pub again: u8,
    /// What an ignored SYN offered.
    pub scale: Option<u8>,
    /// As well.
    pub sack_permitted: bool,
    /// An ignored SYN may draw a challenge ACK (RFC 5961).
    pub challenge: bool,
    /// Both ends sent a SYN.
    pub simultaneous: bool,
}

impl Tcp {
    /// The first segment of a flow; `None` if it cannot begin one. The segment
    /// goes through [`Self::segment`] next, as all others do.
    pub(super) fn open(segment: &Segment, settings: &Sysctls) -> Option<Self> {
        let kind = Kind::from_flags(segment.flags)?;
        match tcp::transition(Direction::Original, kind, TcpState::None) {
            Next::State(TcpState::SynSent) => {}
            Next::State(_) if settings.tcp_loose => {}
            _ => return None,
        }
        Some(Self {
            state: TcpState::None,
            ends: End::opener(segment),
            last: Last::default(),
        })
    }

    /// A later fragment of a segment: it has sent more than the first one, unless
    /// that was let pass though beyond the window. If the first one began what is
    /// known of its sender, this one is part of that. Returns the timeout, which was
    /// the one given.
    pub(super) fn extend(
        &mut self,
        direction: Direction,
        first: &Counted,
        end: u32,
        timeout: Timeout,
        settings: &Sysctls,
    ) -> Timeout {
        let sender = &mut self.ends[direction as usize];
        if !tcp_window::after(end, sender.end) || tcp_window::after(first.end, sender.end) {
            return timeout;
        }
        if first.anew {
            let further = end.wrapping_sub(sender.end);
            sender.max_end = sender.max_end.wrapping_add(further);
            sender.end = end;
            return timeout;
        }
        sender.end = end;
        sender.unacked = true;
        let limit = settings.timeout(Timeout::TcpUnack);
        if timeout == Timeout::Tcp(self.state) && settings.timeout(timeout) > limit {
            return Timeout::TcpUnack;
        }
        timeout
    }

    /// Whether what is known of an end began with its last segment.
    pub(super) fn is_anew(&self, direction: Direction) -> bool {
        self.ends[direction as usize].anew
    }

    pub(super) fn edges(&self, direction: Direction) -> Edges {
        let end = &self.ends[direction as usize];
        Edges {
            end: end.end,
            max_end: end.max_end,
            max_win: end.max_win,
            max_ack: end.max_ack,
            remembered: self.last.end,
        }
    }

    /// A segment of the flow: what is answered, and it has changed what it changes.
    pub fn segment(
        &mut self,
        direction: Direction,
        segment: &Segment,
        status: &Status,
        settings: &Sysctls,
    ) -> Answer {
        let Some(kind) = Kind::from_flags(segment.flags) else {
            return Answer::Invalid;
        };
        // The first one of a flow has been set down by open().
        if self.state != TcpState::None {
            self.ends[direction as usize].anew = false;
        }
        let mut old = self.state;
        let mut next = match tcp::transition(direction, kind, old) {
            Next::Invalid => return Answer::Invalid,
            Next::State(TcpState::SynSent) if old >= TcpState::TimeWait => {
                if self.may_reopen(direction) {
                    return Answer::Reopen;
                }
                Next::Ignore
            }
            next => next,
        };
        if next == Next::Ignore {
            if !self.resync(direction, kind, segment) {
                self.note_ignored(direction, kind, segment);
                return Answer::Ignore;
            }
            old = TcpState::SynSent;
            next = Next::State(TcpState::SynRecv);
        }
        let Next::State(mut next) = next else {
            return Answer::Invalid;
        };
        let mut judged = true;
        match next {
            TcpState::TimeWait if self.is_challenge(direction, kind) => {
                self.last.challenge = false;
                return Answer::Ignore;
            }
            TcpState::SynSent2 => self.last.simultaneous = true,
            TcpState::SynRecv
                if direction == Direction::Reply && kind == Kind::Ack && self.last.simultaneous =>
            {
                next = TcpState::Established;
            }
            TcpState::Close if kind == Kind::Rst => {
                match tcp_reset::judge(self, direction, segment, status, settings) {
                    Reset::Check => {}
                    Reset::Take => judged = false,
                    Reset::Keep => next = old,
                    Reset::Invalid => return Answer::Invalid,
                }
            }
            _ => {}
        }
        if judged && let Err(answer) = self.judge_window(direction, kind, segment, status, settings)
        {
            return answer;
        }
        self.accept(direction, kind, old, next, status, settings)
    }

    /// Whether a segment is inside the window, and what to answer if it is not.
    fn judge_window(
        &mut self,
        direction: Direction,
        kind: Kind,
        segment: &Segment,
        status: &Status,
        settings: &Sysctls,
    ) -> Result<(), Answer> {
        let liberal = settings.tcp_be_liberal;
        match tcp_window::judge(&mut self.ends, self.state, direction, segment, liberal) {
            Window::Inside { whole } => {
                if whole && kind == Kind::Ack {
                    self.recognise(direction, segment);
                }
                Ok(())
            }
            Window::Ignore => Err(Answer::Ignore),
            Window::Invalid => Err(tcp_reset::mismatch(self, direction, kind, status, settings)),
        }
    }

    /// A SYN on a flow that is over opens the tuple anew if an end had closed
    /// it, or if whoever sends the SYN had reset it. If not, we may be out of
    /// step.
    fn may_reopen(&self, direction: Direction) -> bool {
        self.ends.iter().any(|end| end.closed)
            || (self.last.direction == direction as usize && self.last.kind == Some(Kind::Rst))
    }

    /// A SYN/ACK that acknowledges a SYN we ignored shows that both ends are in
    /// step and we are not: start from what was noted of the SYN.
    fn resync(&mut self, direction: Direction, kind: Kind, segment: &Segment) -> bool {
        let last = &mut self.last;
        if kind != Kind::SynAck
            || last.kind != Some(Kind::Syn)
            || last.direction == direction as usize
            || segment.ack != last.end
        {
            return false;
        }
        last.challenge = false;
        self.ends[last.direction] = End {
            end: last.end,
            max_end: last.end,
            max_win: u32::from(last.window).max(1),
            scale: last.scale.unwrap_or(0),
            scales: last.scale.is_some(),
            sacks: last.sack_permitted,
            ..End::default()
        };
        self.ends[direction as usize] = End {
            liberal: self.ends[direction as usize].liberal,
            ..End::default()
        };
        true
    }

    /// Notes a segment that passes although it changes nothing.
    fn note_ignored(&mut self, direction: Direction, kind: Kind, segment: &Segment) {
        let last = &mut self.last;
        last.kind = Some(kind);
        last.direction = direction as usize;
        last.seq = segment.seq;
        last.end = segment.end();
        last.window = segment.window;
        if kind == Kind::Syn && direction == Direction::Original {
            last.scale = segment.options.scale;
            last.sack_permitted = segment.options.sack_permitted;
            last.simultaneous = false;
            last.challenge = self.state == TcpState::LastAck;
        }
        if kind == Kind::Ack && direction == Direction::Reply && self.state == TcpState::SynSent {
            // It may be the challenge that answers the SYN.
            last.ack = segment.ack;
        }
    }

    /// An ACK that answers an ignored SYN does not acknowledge the last FIN.
    fn is_challenge(&self, direction: Direction, kind: Kind) -> bool {
        self.state == TcpState::LastAck
            && kind == Kind::Ack
            && self.last.direction != direction as usize
            && self.last.kind == Some(Kind::Syn)
            && self.last.challenge
    }

    /// Counts how often the same ACK comes in a row.
    fn recognise(&mut self, direction: Direction, segment: &Segment) {
        let last = &mut self.last;
        let known = (last.direction, last.seq, last.ack, last.end, last.window);
        let this = (
            direction as usize,
            segment.seq,
            segment.ack,
            segment.end(),
            segment.window,
        );
        if known == this {
            last.again = last.again.wrapping_add(1);
            return;
        }
        (last.direction, last.seq, last.ack, last.end, last.window) = this;
        last.again = 0;
    }

    /// A segment inside the window, or one that need not be.
    fn accept(
        &mut self,
        direction: Direction,
        kind: Kind,
        old: TcpState,
        next: TcpState,
        status: &Status,
        settings: &Sysctls,
    ) -> Answer {
        self.last.kind = Some(kind);
        self.last.direction = direction as usize;
        self.state = next;
        if next == TcpState::FinWait && old != next {
            self.ends[direction as usize].closed = true;
        }
        let timeout = self.timeout(kind, next, settings);
        if status.seen_reply {
            let proven = next == TcpState::Established
                && matches!(old, TcpState::SynRecv | TcpState::Established);
            return Answer::Accept {
                timeout,
                assured: proven,
            };
        }
        match kind {
            // Nothing but an RST came back.
            Kind::Rst => Answer::End,
            // A SYN that comes again keeps nothing alive.
            Kind::Syn if old == TcpState::SynSent => Answer::Ignore,
            _ => Answer::Accept {
                timeout: self.unanswered(next, timeout, settings),
                assured: false,
            },
        }
    }

    fn timeout(&self, kind: Kind, next: TcpState, settings: &Sysctls) -> Timeout {
        let full = Timeout::Tcp(next);
        let longer = |than| settings.timeout(full) > settings.timeout(than);
        if self.last.again >= settings.tcp_max_retrans && longer(Timeout::TcpRetrans) {
            Timeout::TcpRetrans
        } else if kind == Kind::Rst {
            Timeout::Tcp(TcpState::Close)
        } else if self.ends.iter().any(|end| end.unacked) && longer(Timeout::TcpUnack) {
            Timeout::TcpUnack
        } else if self.last.window == 0 && longer(Timeout::TcpRetrans) {
            Timeout::TcpRetrans
        } else {
            full
        }
    }

    /// Picked up in mid-stream and without an answer: not for days.
    fn unanswered(&self, next: TcpState, timeout: Timeout, settings: &Sysctls) -> Timeout {
        let limit = settings.timeout(Timeout::TcpUnack);
        if next == TcpState::Established && settings.timeout(timeout) > limit {
            return Timeout::TcpUnack;
        }
        timeout
    }
}
