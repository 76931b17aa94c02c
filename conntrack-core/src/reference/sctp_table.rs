//! The table of states of nf_conntrack_proto_sctp.c.

use crate::flow::Direction;
use crate::sctp::SctpState;

/// Types of chunks (RFC 9260 3.2).
pub(super) mod chunk {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const INIT: u8 = 1;
    pub(crate) const INIT_ACK: u8 = 2;
    pub(crate) const HEARTBEAT: u8 = 4;
    pub(crate) const HEARTBEAT_ACK: u8 = 5;
    pub(crate) const ABORT: u8 = 6;
    pub(crate) const SHUTDOWN: u8 = 7;
    pub(crate) const SHUTDOWN_ACK: u8 = 8;
    pub(crate) const ERROR: u8 = 9;
    pub(crate) const COOKIE_ECHO: u8 = 10;
    pub(crate) const COOKIE_ACK: u8 = 11;
    pub(crate) const SHUTDOWN_COMPLETE: u8 = 14;
}

const CL: Option<SctpState> = Some(SctpState::Closed);
const CW: Option<SctpState> = Some(SctpState::CookieWait);
const CE: Option<SctpState> = Some(SctpState::CookieEchoed);
const ES: Option<SctpState> = Some(SctpState::Established);
const SS: Option<SctpState> = Some(SctpState::ShutdownSent);
const SR: Option<SctpState> = Some(SctpState::ShutdownRecd);
const SA: Option<SctpState> = Some(SctpState::ShutdownAckSent);
const HS: Option<SctpState> = Some(SctpState::HeartbeatSent);
const IV: Option<SctpState> = None;

/// `[chunk][direction][state]`; `IV` makes the packet INVALID.
#[rustfmt::skip]
const TABLE: [(u8, [[Option<SctpState>; 9]; 2]); 11] = [
    // from                      NO  CL  CW  CE  ES  SS  SR  SA  HS
    (chunk::INIT,             [[ CL, CL, CW, CE, ES, CL, CL, SA, CW ],
                               [ IV, CL, CW, CE, ES, SS, SR, SA, IV ]]),
    (chunk::INIT_ACK,         [[ CL, CL, CW, CE, ES, SS, SR, SA, CL ],
                               [ IV, CW, CW, CE, ES, SS, SR, SA, IV ]]),
    (chunk::ABORT,            [[ CL, CL, CL, CL, CL, CL, CL, CL, CL ],
                               [ IV, CL, CL, CL, CL, CL, CL, CL, IV ]]),
    (chunk::SHUTDOWN,         [[ CL, CL, CW, CE, SS, SS, SR, SA, CL ],
                               [ IV, CL, CW, CE, SR, SS, SR, SA, IV ]]),
    (chunk::SHUTDOWN_ACK,     [[ SA, CL, CW, CE, ES, SA, SA, SA, SA ],
                               [ IV, CL, CW, CE, ES, SA, SA, SA, IV ]]),
    (chunk::ERROR,            [[ CL, CL, CW, CE, ES, SS, SR, SA, CL ],
                               [ IV, CL, CW, CL, ES, SS, SR, SA, IV ]]),
    (chunk::COOKIE_ECHO,      [[ CL, CL, CE, CE, ES, SS, SR, SA, CL ],
                               [ IV, CL, CE, CE, ES, SS, SR, SA, IV ]]),
    (chunk::COOKIE_ACK,       [[ CL, CL, CW, ES, ES, SS, SR, SA, CL ],
                               [ IV, CL, CW, ES, ES, SS, SR, SA, IV ]]),
    (chunk::SHUTDOWN_COMPLETE,[[ CL, CL, CW, CE, ES, SS, SR, CL, CL ],
                               [ IV, CL, CW, CE, ES, SS, SR, CL, IV ]]),
    (chunk::HEARTBEAT,        [[ HS, CL, CW, CE, ES, SS, SR, SA, HS ],
                               [ IV, CL, CW, CE, ES, SS, SR, SA, HS ]]),
    (chunk::HEARTBEAT_ACK,    [[ CL, CL, CW, CE, ES, SS, SR, SA, HS ],
                               [ IV, CL, CW, CE, ES, SS, SR, SA, ES ]]),
];

/// Whether chunks of this type can change a state.
pub(super) fn matters(kind: u8) -> bool {
    TABLE.iter().any(|(chunk, _)| *chunk == kind)
}

/// Where a chunk leads; `None` makes its packet INVALID. Chunks that do not
/// matter leave the state as it is.
pub fn next(direction: Direction, kind: u8, state: SctpState) -> Option<SctpState> {
    match TABLE.iter().find(|(chunk, _)| *chunk == kind) {
        Some((_, rows)) => rows[direction as usize][state as usize],
        None => Some(state),
    }
}
