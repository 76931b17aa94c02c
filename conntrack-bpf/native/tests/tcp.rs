//! The TCP machine of the packet path against the one of conntrack-core: every
//! cell of the table, and every flags byte.

use conntrack_core::Direction;
use conntrack_core::Segment;
use conntrack_core::TcpState;
use conntrack_core::tcp::Next;
use conntrack_core::tcp::transition;
use conntrack_native::pure;

/// `CT_TCP_IGNORE` and `CT_TCP_INVALID`.
const IGNORE: u32 = 14;
const INVALID: u32 = 15;

fn number(next: Next) -> u32 {
    match next {
        Next::State(state) => u32::from(state.index()),
        Next::Ignore => IGNORE,
        Next::Invalid => INVALID,
    }
}

#[test]
fn every_cell_of_the_table_is_the_same() {
    let mut cells = 0;
    for (dir, direction) in [Direction::Original, Direction::Reply]
        .into_iter()
        .enumerate()
    {
        for segment in Segment::ALL {
            for state in TcpState::ALL {
                let want = number(transition(direction, segment, state));
                let got = pure::tcp_next(dir as u32, segment.index().into(), state.index().into());
                assert_eq!(got, want, "{direction:?} {segment:?} in {state}");
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 2 * 6 * 10);
}

#[test]
fn what_is_no_state_and_no_segment_is_invalid() {
    for dir in 0..2 {
        for segment in 0..16 {
            for state in 0..16 {
                if segment >= 6 || state >= 10 {
                    assert_eq!(
                        pure::tcp_next(dir, segment, state),
                        INVALID,
                        "dir {dir}, segment {segment}, state {state}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_flags_byte_is_the_same_segment() {
    let mut valid = 0;
    for flags in 0..=255_u8 {
        let want = Segment::from_flags(flags);
        assert_eq!(
            pure::tcp_flags_valid(flags),
            want.is_some(),
            "flags {flags:#04x}"
        );
        if let Some(segment) = want {
            assert_eq!(
                pure::tcp_segment(flags),
                u32::from(segment.index()),
                "flags {flags:#04x}"
            );
            valid += 1;
        }
    }
    // Nine combinations, each with any of PSH, ECE and CWR.
    assert_eq!(valid, 9 * 8);
}
