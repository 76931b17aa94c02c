//! SCTP's table of the packet path against the one of conntrack-core: every type of
//! chunk in every state, each way.

use conntrack_core::Direction;
use conntrack_core::SctpState;
use conntrack_core::reference::machine::sctp_next;
use conntrack_native::machine;

/// `CT_SCTP_INVALID`.
const INVALID: u8 = 15;

#[test]
fn every_cell_of_the_table_is_the_same() {
    let (mut cells, mut others) = (0, 0);
    for direction in [Direction::Original, Direction::Reply] {
        for kind in 0..=255_u8 {
            for state in SctpState::ALL {
                let want = sctp_next(direction, kind, state);
                match machine::sctp_next(direction as u32, kind, state.index()) {
                    Some(next) => {
                        let want = want.map_or(INVALID, SctpState::index);
                        assert_eq!(next, want, "{direction:?} {kind} in {state}");
                        cells += 1;
                    }
                    None => {
                        assert_eq!(want, Some(state), "{direction:?} {kind} in {state}");
                        others += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cells, 2 * 11 * 9);
    assert_eq!(others, 2 * (256 - 11) * 9);
}
