//! Segments that would end a connection, and whether they may: the RST part of
//! `nf_conntrack_tcp_packet()`, and `nf_tcp_handle_invalid()`.

use super::packet::Segment;
use super::tcp::Tcp;
use super::tcp_window::before;
use super::tracker::Answer;
use super::tracker::Status;
use crate::flow::Direction;
use crate::sysctl::Sysctls;
use crate::tcp::Segment as Kind;
use crate::tcp::TcpState;
use crate::timeout::Timeout;

/// What becomes of an RST.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Reset {
    /// It closes, if it is inside the window.
    Check,
    /// It closes.
    Take,
    /// If it is inside the window: the connection lives on, but briefly.
    Keep,
    /// It is none of this connection.
    Invalid,
}

/// Does an RST close? By RFC 5961 only one with exactly the expected sequence
/// number; but the flow may be out of step with what it sees.
pub(super) fn judge(
    tcp: &Tcp,
    direction: Direction,
    segment: &Segment,
    status: &Status,
    settings: &Sysctls,
) -> Reset {
    // Closing already: the tuple may be in use again, and these numbers old.
    if matches!(
        tcp.state,
        TcpState::FinWait
            | TcpState::CloseWait
            | TcpState::LastAck
            | TcpState::TimeWait
            | TcpState::Close
    ) {
        return Reset::Take;
    }
    let last = &tcp.last;
    let established = tcp.state == TcpState::Established && status.assured;
    let mut otherwise = Reset::Check;
    if let Some(expected) = tcp.ends[direction.opposite() as usize].max_ack
        && last.kind != Some(Kind::Syn)
    {
        // Most likely the answer to a SYN that was let through.
        if segment.seq == 0 && !established {
            return Reset::Check;
        }
        if before(segment.seq, expected) && !settings.tcp_ignore_invalid_rst {
            return Reset::Invalid;
        }
        let behind_own_data = last.kind == Some(Kind::Ack)
            && last.direction == direction as usize
            && segment.seq == last.end;
        if !established || segment.seq == expected || behind_own_data {
            return Reset::Check;
        }
        otherwise = Reset::Keep;
    }
    let answers_ignored = match last.kind {
        Some(Kind::Syn) => status.seen_reply && last.direction != direction as usize,
        Some(Kind::Ack) => !status.assured,
        _ => false,
    };
    let answers_challenge = tcp.state == TcpState::SynSent
        && last.kind == Some(Kind::Ack)
        && last.direction == Direction::Reply as usize
        && segment.seq == last.ack;
    if otherwise == Reset::Check
        && ((answers_ignored && segment.ack == last.end) || answers_challenge)
    {
        return Reset::Take;
    }
    otherwise
}

/// A FIN or RST of one end outside the window, answered by one of the other
/// end: the connection is likely over, and days are too long for it.
pub(super) fn mismatch(
    tcp: &mut Tcp,
    direction: Direction,
    kind: Kind,
    status: &Status,
    settings: &Sysctls,
) -> Answer {
    if !status.assured || !matches!(kind, Kind::Rst | Kind::Fin) {
        return Answer::Invalid;
    }
    let last = &mut tcp.last;
    if last.direction == direction as usize || !matches!(last.kind, Some(Kind::Fin | Kind::Rst)) {
        last.kind = Some(kind);
        last.direction = direction as usize;
        return Answer::Invalid;
    }
    let limit = u64::try_from(settings.timeout(Timeout::TcpUnack).as_nanos()).unwrap_or(u64::MAX);
    if status.left >= 120 * 1_000_000_000 && status.left > limit {
        return Answer::Shorten(Timeout::TcpUnack);
    }
    Answer::Invalid
}
