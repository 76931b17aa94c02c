//! Connections to ask about.

use conntrack_core::Direction;
use conntrack_core::Segment as Kind;
use conntrack_core::Sysctls;
use conntrack_core::TcpState;
use conntrack_core::Timeout;
use conntrack_core::reference::machine::End;
use conntrack_core::reference::machine::Last;
use conntrack_core::reference::machine::Options;
use conntrack_core::reference::machine::Tcp;
use conntrack_core::tcp::flags::ACK;
use conntrack_core::tcp::flags::FIN;
use conntrack_core::tcp::flags::RST;
use conntrack_core::tcp::flags::SYN;

use crate::same::Case;
use crate::same::segment;

/// Both ways.
pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::Original, Direction::Reply];

/// One of each kind.
pub(crate) const FLAGS: [u8; 6] = [SYN, SYN | ACK, FIN | ACK, ACK, RST, RST | ACK];

/// Where sequence numbers begin: nowhere special, and right before and behind the
/// places where they, or the sign of their differences, go round.
pub(crate) const BASES: [u32; 4] = [1_000_000, 40, u32::MAX - 40, 0x8000_0010];

/// How far the other end's numbers are from there.
pub(crate) const APART: u32 = 0x2000_0000;

/// Behind what the reference's `MAX_ACK_WINDOW` reaches.
pub(crate) const ACK_REACH: u32 = 66_000;

/// An established connection: the sender's end, and the other one.
pub(crate) fn ends(direction: Direction, own: End, peer: End) -> [End; 2] {
    match direction {
        Direction::Original => [own, peer],
        Direction::Reply => [peer, own],
    }
}

pub(crate) fn case(direction: Direction, state: TcpState, ends: [End; 2]) -> Case {
    Case {
        tcp: Tcp {
            state,
            ends,
            last: Last::default(),
        },
        seen_reply: true,
        assured: true,
        timeout: Timeout::Tcp(state),
        age: 0,
        settings: Sysctls::default(),
        direction,
        segment: segment(ACK, 0, 0),
    }
}

/// What may be remembered: nothing, or a segment of each kind and direction.
pub(crate) fn memories(base: u32) -> Vec<Last> {
    let mut memories = vec![Last::default()];
    for kind in [Kind::Syn, Kind::SynAck, Kind::Fin, Kind::Ack, Kind::Rst] {
        for direction in DIRECTIONS {
            let seq = match direction {
                Direction::Original => base,
                Direction::Reply => base.wrapping_add(APART),
            };
            memories.push(Last {
                kind: Some(kind),
                direction: direction as usize,
                seq: seq.wrapping_add(700),
                ack: seq.wrapping_add(APART + 5),
                end: seq.wrapping_add(703),
                window: 1000,
                ..Last::default()
            });
        }
    }
    memories
}

/// A connection whose ends have both sent and acknowledged.
pub(crate) fn talked(base: u32, acknowledged: bool) -> [End; 2] {
    [
        (base, base.wrapping_add(APART)),
        (base.wrapping_add(APART), base),
    ]
    .map(|(own, peer)| End {
        end: own.wrapping_add(1000),
        max_end: own.wrapping_add(5000),
        max_win: 4000,
        max_ack: acknowledged.then_some(peer.wrapping_add(900)),
        ..End::default()
    })
}

/// What a SYN may say of its end.
pub(crate) fn offers() -> [Options; 4] {
    let offer = |some, scale, sack_permitted| Options {
        some,
        scale,
        sack_permitted,
        edges: Vec::new(),
    };
    [
        offer(false, None, false),
        offer(true, None, false),
        offer(true, Some(7), true),
        offer(true, Some(14), false),
    ]
}
