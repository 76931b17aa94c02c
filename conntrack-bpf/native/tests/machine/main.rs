//! The TCP machine of the packet path against the reference of conntrack-core: from
//! every state, segments at, before and behind every number that decides. Each
//! question is put to both, and what they answer and leave behind is compared
//! whole.

mod same;
mod setup;

use conntrack_core::Direction;
use conntrack_core::TcpState;
use conntrack_core::reference::machine::End;
use conntrack_core::reference::machine::Last;
use conntrack_core::reference::machine::Options;
use conntrack_core::tcp::flags::ACK;
use conntrack_core::tcp::flags::FIN;
use conntrack_core::tcp::flags::RST;
use conntrack_core::tcp::flags::SYN;
use same::Case;
use same::Tally;
use same::around;
use same::segment;
use setup::ACK_REACH;
use setup::APART;
use setup::BASES;
use setup::DIRECTIONS;
use setup::FLAGS;
use setup::case;
use setup::ends;
use setup::memories;
use setup::offers;
use setup::talked;

/// All four bounds of the window, with each width that makes another bound the
/// nearest, and with none.
#[test]
fn every_edge_of_the_window() {
    let mut tally = Tally::default();
    for base in BASES {
        for own_win in [0, 1, 2000, 100_000] {
            for peer_win in [0, 1, 2000] {
                let own = End {
                    end: base,
                    max_end: base.wrapping_add(if own_win == 1 { 0 } else { 3000 }),
                    max_win: own_win,
                    max_ack: Some(base.wrapping_add(APART)),
                    scale: 3,
                    ..End::default()
                };
                let peer = End {
                    end: base.wrapping_add(APART),
                    max_end: base.wrapping_add(APART + 2000),
                    max_win: peer_win,
                    max_ack: Some(base),
                    unacked: true,
                    ..End::default()
                };
                for direction in DIRECTIONS {
                    window(own, peer, direction, &mut tally);
                }
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.answers[..3].iter().all(|count| *count > 10_000));
    assert!(tally.fast > 1000, "{tally:?}");
}

/// One pair of ends: everything around its bounds.
fn window(own: End, peer: End, direction: Direction, tally: &mut Tally) {
    let begins = [
        own.max_end,
        own.end,
        own.end.wrapping_sub(peer.max_win),
        own.max_end.wrapping_add(peer.max_win),
        0,
    ];
    let acks = [
        peer.end,
        peer.end.wrapping_sub(ACK_REACH),
        peer.end.wrapping_sub(own.max_win),
        0,
    ];
    for state in [TcpState::SynSent, TcpState::SynRecv, TcpState::Established] {
        for (setting, history) in [(false, false), (true, false), (false, true)] {
            let mut own = own;
            own.liberal = history;
            let mut case = case(direction, state, ends(direction, own, peer));
            case.settings.tcp_be_liberal = setting;
            for flags in FLAGS {
                for ack in acks.into_iter().flat_map(around) {
                    for payload in [0, 1000] {
                        // It begins there, or it ends there.
                        for seq in begins.into_iter().flat_map(around) {
                            for seq in [seq, seq.wrapping_sub(payload)] {
                                case.segment = segment(flags, seq, ack);
                                case.segment.payload = payload;
                                case.check(tally);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is acknowledged selectively counts if the other end said it may be.
#[test]
fn every_edge_of_a_selective_acknowledgment() {
    let mut tally = Tally::default();
    for base in BASES {
        for (direction, sacks) in DIRECTIONS.into_iter().flat_map(|d| [(d, false), (d, true)]) {
            let [own, mut peer] = [base, base.wrapping_add(APART)].map(|end| End {
                end,
                max_end: end.wrapping_add(2000),
                max_win: 2000,
                ..End::default()
            });
            peer.sacks = sacks;
            let mut case = case(direction, TcpState::Established, ends(direction, own, peer));
            let numbers = [peer.end, peer.end.wrapping_sub(ACK_REACH)];
            for ack in numbers.into_iter().flat_map(around) {
                for edge in numbers.into_iter().flat_map(around) {
                    case.segment = segment(ACK, own.end, ack);
                    case.segment.options = Options {
                        some: true,
                        edges: vec![edge],
                        ..Options::default()
                    };
                    case.check(&mut tally);
                }
            }
        }
    }
    assert!(
        tally.answers[..3].iter().all(|count| *count > 10),
        "{tally:?}"
    );
}

/// RSTs around every number they are compared with, in every state, after every
/// kind of segment.
#[test]
fn every_reset() {
    let mut tally = Tally::default();
    for base in [1_000_000, u32::MAX - 800] {
        for state in &TcpState::ALL[1..] {
            for (direction, acknowledged) in
                DIRECTIONS.into_iter().flat_map(|d| [(d, true), (d, false)])
            {
                let mut case = case(direction, *state, talked(base, acknowledged));
                for last in memories(base) {
                    case.tcp.last = last;
                    for (seen_reply, assured) in [(false, false), (true, false), (true, true)] {
                        (case.seen_reply, case.assured) = (seen_reply, assured);
                        for switches in 0..4 {
                            case.settings.tcp_ignore_invalid_rst = switches & 1 != 0;
                            case.settings.tcp_be_liberal = switches & 2 != 0;
                            resets(&mut case, &mut tally);
                        }
                    }
                }
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.answers[0] > 1000 && tally.answers[2] > 1000 && tally.answers[4] > 1000);
}

fn resets(case: &mut Case, tally: &mut Tally) {
    let own = case.tcp.ends[case.direction as usize];
    let peer = case.tcp.ends[case.direction.opposite() as usize];
    let last = case.tcp.last.clone();
    let seqs = [
        peer.max_ack.unwrap_or(own.end),
        own.max_end,
        last.end,
        last.ack,
        0,
    ];
    for flags in [RST, RST | ACK] {
        for seq in seqs.into_iter().flat_map(around) {
            for ack in [peer.end, last.end, 0].into_iter().flat_map(around) {
                case.segment = segment(flags, seq, ack);
                case.segment.ack = ack;
                case.check(tally);
            }
        }
    }
}

/// Every flags byte in every state, after every kind of segment, with every mark a
/// connection may bear.
#[test]
fn every_step() {
    let mut tally = Tally::default();
    let base = 1_000_000;
    for state in &TcpState::ALL[1..] {
        for direction in DIRECTIONS {
            for last in memories(base) {
                for marks in 0..16_u8 {
                    let mut case = case(direction, *state, talked(base, true));
                    case.tcp.last = last.clone();
                    case.tcp.last.challenge = marks & 1 != 0;
                    case.tcp.last.simultaneous = marks & 1 != 0;
                    case.tcp.ends[0].closed = marks & 2 != 0;
                    (case.seen_reply, case.assured) = (marks & 4 != 0, marks & 12 == 12);
                    case.tcp.ends[1].unacked = marks & 8 != 0;
                    if marks & 2 != 0 {
                        (case.tcp.last.scale, case.tcp.last.sack_permitted) = (Some(5), true);
                    }
                    steps(&mut case, &mut tally);
                }
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.answers.iter().all(|count| *count > 100));
}

fn steps(case: &mut Case, tally: &mut Tally) {
    let own = case.tcp.ends[case.direction as usize];
    let peer = case.tcp.ends[case.direction.opposite() as usize];
    let last = case.tcp.last.clone();
    let offers = offers();
    for flags in 0..=255_u8 {
        for seq in [own.end, own.end.wrapping_add(APART)] {
            for ack in [peer.end, last.end] {
                case.segment = segment(flags, seq, ack);
                case.segment.ack = ack;
                let offer = usize::from(flags & SYN != 0) * (1 + usize::from(flags >> 6) % 3);
                case.segment.options = offers[offer].clone();
                case.check(tally);
            }
        }
    }
}

/// Which timeout is left: every order of those that compete, by what chooses among
/// them.
#[test]
fn every_timeout() {
    let mut tally = Tally::default();
    let seconds = [5, 200, 301];
    for state in &TcpState::ALL[1..] {
        for direction in DIRECTIONS {
            for order in 0..27 {
                let mut case = case(direction, *state, talked(1_000_000, true));
                let settings = &mut case.settings;
                settings.tcp_timeout_unacknowledged = seconds[order % 3];
                settings.tcp_timeout_max_retrans = seconds[order / 3 % 3];
                settings.tcp_timeout_close = seconds[order / 9];
                for again in [0, 1, 2, 254, 255] {
                    for marks in 0..32_u8 {
                        case.tcp.last = Last {
                            again,
                            window: u16::from(marks & 1),
                            ..memories(1_000_000)[7 + direction as usize].clone()
                        };
                        case.seen_reply = marks & 2 != 0;
                        case.tcp.ends[0].unacked = marks & 4 != 0;
                        timeouts(&mut case, marks & 8 != 0, marks & 16 != 0, &mut tally);
                    }
                }
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.answers[0] > 10_000 && tally.fast > 1000);
}

/// The remembered ACK once more or a new one, with a window or without.
fn timeouts(case: &mut Case, again: bool, open: bool, tally: &mut Tally) {
    let last = case.tcp.last.clone();
    for max_retrans in [0, 1, 3] {
        case.settings.tcp_max_retrans = max_retrans;
        for flags in [ACK, FIN | ACK, RST | ACK] {
            let peer = case.tcp.ends[case.direction.opposite() as usize];
            case.segment = segment(flags, last.seq.wrapping_add(300), peer.end);
            case.segment.window = if open { 500 } else { 0 };
            if again {
                case.segment = segment(flags, last.seq, last.ack);
                case.segment.payload = 3;
                case.segment.window = last.window;
            }
            case.check(tally);
        }
    }
}

/// A FIN or RST outside the window, answered by one: when that cuts a life short.
#[test]
fn every_mismatch() {
    let mut tally = Tally::default();
    let second = 1_000_000_000;
    for direction in DIRECTIONS {
        for last in memories(1_000_000) {
            for (life, unacknowledged) in [(119, 60), (120, 60), (301, 300), (432_000, 300)] {
                for age in [0, second - 1, second, second + 1, 119 * second] {
                    for (assured, flags) in [
                        (false, FIN | ACK),
                        (true, FIN | ACK),
                        (true, RST),
                        (true, ACK),
                    ] {
                        let mut case =
                            case(direction, TcpState::Established, talked(1_000_000, true));
                        case.tcp.last = last.clone();
                        (case.age, case.assured) = (age, assured);
                        case.settings.tcp_timeout_established = life;
                        case.settings.tcp_timeout_unacknowledged = unacknowledged;
                        let own = case.tcp.ends[direction as usize];
                        case.segment = segment(flags, own.max_end.wrapping_add(100_000), 7);
                        case.check(&mut tally);
                    }
                }
            }
        }
    }
    assert_eq!(
        tally.answers[2], tally.cases,
        "all are out of window: {tally:?}"
    );
}
