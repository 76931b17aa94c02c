//! The TCP table against what nf_conntrack was seen to do.
//!
//! `data/tcp_observed.md` records what the kernel (Linux 6.18) did with one
//! segment in each state. Most cells are the table's. The others are listed here
//! with the rule that overrides the table, so that none can hide.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use conntrack_core::Direction;
use conntrack_core::Segment;
use conntrack_core::TcpState;
use conntrack_core::tcp::Next;
use conntrack_core::tcp::transition;

use Direction::Original;
use Direction::Reply;

const OBSERVED: &str = include_str!("data/tcp_observed.md");

/// Columns of the record, and the flags of their segments.
const COLUMNS: [(&str, u8); 8] = [
    ("SYN", 0x02),
    ("SYNACK", 0x12),
    ("FIN", 0x11),
    ("ACK", 0x10),
    ("RST", 0x04),
    ("RSTACK", 0x14),
    ("DATA", 0x18),
    ("NULL", 0x00),
];

/// One cell: what the kernel did.
#[derive(Debug)]
struct Cell {
    direction: Direction,
    state: TcpState,
    column: &'static str,
    flags: u8,
    outcome: String,
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut direction = Original;
    for line in OBSERVED.lines() {
        if line.starts_with("**Original direction**") {
            direction = Original;
        } else if line.starts_with("**Reply direction**") {
            direction = Reply;
        }
        let mut row = line.trim_matches('|').split(" | ").map(str::trim);
        let Some(Ok(state)) = row.next().map(str::parse::<TcpState>) else {
            continue;
        };
        let outcomes: Vec<_> = row.collect();
        assert_eq!(outcomes.len(), COLUMNS.len(), "{line}");
        for ((column, flags), outcome) in COLUMNS.into_iter().zip(outcomes) {
            let outcome = outcome.replace('*', "");
            cells.push(Cell {
                direction,
                state,
                column,
                flags,
                outcome,
            });
        }
    }
    cells
}

/// Where the kernel does not do what its table says, and why.
const OVERRIDDEN: [(Direction, TcpState, &str, Next); 3] = [
    // A SYN sent again is within no window yet: not counted, state unchanged.
    (
        Original,
        TcpState::SynSent,
        "SYN",
        Next::State(TcpState::SynSent),
    ),
    // The same of the other end's first SYN, but the state has changed by then.
    (
        Reply,
        TcpState::SynSent,
        "SYN",
        Next::State(TcpState::SynSent2),
    ),
    // It acknowledges what the other end never sent.
    (
        Original,
        TcpState::SynSent,
        "RSTACK",
        Next::State(TcpState::Close),
    ),
];

/// What the table must say for a cell that no rule overrides.
fn expected(cell: &Cell) -> Next {
    let outcome = cell.outcome.as_str();
    if outcome == "INVALID" {
        return Next::Invalid;
    }
    if let Some(state) = outcome
        .strip_prefix("ign(")
        .and_then(|o| o.strip_suffix(')'))
    {
        let state: TcpState = state.parse().unwrap();
        assert_eq!(state, cell.state, "ignored segments leave the state alone");
        return Next::Ignore;
    }
    match outcome {
        // A flow without an answer is not closed but deleted.
        "deleted" => Next::State(TcpState::Close),
        "new SYN_SENT" | "new SYN_SENT (reversed)" => Next::State(TcpState::SynSent),
        state => Next::State(state.parse().unwrap()),
    }
}

fn overridden(cell: &Cell) -> Option<Next> {
    OVERRIDDEN
        .into_iter()
        .find(|(direction, state, column, _)| {
            (*direction, *state, *column) == (cell.direction, cell.state, cell.column)
        })
        .map(|(.., next)| next)
}

fn table(cell: &Cell) -> Next {
    // A packet of no flow opens one, and so has the original direction.
    let direction = match cell.state {
        TcpState::None => Original,
        _ => cell.direction,
    };
    Segment::from_flags(cell.flags).map_or(Next::Invalid, |segment| {
        transition(direction, segment, cell.state)
    })
}

#[test]
fn every_cell_is_what_the_kernel_did() {
    let cells = cells();
    assert_eq!(cells.len(), 2 * 10 * COLUMNS.len());
    for cell in &cells {
        let want = overridden(cell).unwrap_or_else(|| expected(cell));
        assert_eq!(table(cell), want, "{cell:?}");
    }
}

#[test]
fn every_override_is_one() {
    for (direction, state, column, next) in OVERRIDDEN {
        let cells = cells();
        let cell = cells
            .iter()
            .find(|cell| (cell.direction, cell.state, cell.column) == (direction, state, column))
            .unwrap();
        let plain = cell.outcome == next_name(next);
        assert!(!plain, "{cell:?} needs no override");
    }
}

fn next_name(next: Next) -> String {
    match next {
        Next::State(state) => state.name().to_owned(),
        Next::Ignore => "ign".to_owned(),
        Next::Invalid => "INVALID".to_owned(),
    }
}

#[test]
fn segments_without_flags_are_never_valid() {
    for direction in [Original, Reply] {
        for state in TcpState::ALL {
            assert_eq!(transition(direction, Segment::None, state), Next::Invalid);
        }
    }
}

#[test]
fn flag_combinations() {
    const IRRELEVANT: u8 = 0x08 | 0x40 | 0x80; // PSH, ECE, CWR
    let valid = [
        (0x02, Segment::Syn),
        (0x22, Segment::Syn),
        (0x12, Segment::SynAck),
        (0x11, Segment::Fin),
        (0x31, Segment::Fin),
        (0x10, Segment::Ack),
        (0x30, Segment::Ack),
        (0x04, Segment::Rst),
        (0x14, Segment::Rst),
    ];
    for byte in 0..=255_u8 {
        let want = valid
            .iter()
            .find(|(flags, _)| *flags == byte & !IRRELEVANT)
            .map(|(_, segment)| *segment);
        assert_eq!(Segment::from_flags(byte), want, "{byte:#04x}");
    }
}

#[test]
fn numbers_and_names() {
    for (index, state) in (0..).zip(TcpState::ALL) {
        assert_eq!(state.index(), index);
        assert_eq!(TcpState::from_index(index), Some(state));
        assert_eq!(state.name().to_lowercase().parse(), Ok(state));
    }
    assert_eq!(TcpState::from_index(10), None);
    assert_eq!("LISTEN".parse(), Ok(TcpState::SynSent2));
    assert!("SYN".parse::<TcpState>().is_err());
    for (index, segment) in (0..).zip(Segment::ALL) {
        assert_eq!(segment.index(), index);
    }
}
