//! nf_conntrack's SCTP states.

use std::fmt;
use std::str::FromStr;

use crate::parse::ParseError;

/// States of an SCTP association, nf_conntrack's names and numbers
/// (include/uapi/linux/netfilter/nf_conntrack_sctp.h).
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
#[repr(u8)]
pub enum SctpState {
    /// No packet seen yet; no flow is ever shown in it.
    None,
    /// No association, or it was aborted.
    Closed,
    /// INIT was seen.
    CookieWait,
    /// COOKIE ECHO was seen.
    CookieEchoed,
    /// COOKIE ACK was seen.
    Established,
    /// The original direction sent SHUTDOWN.
    ShutdownSent,
    /// The reply direction sent SHUTDOWN.
    ShutdownRecd,
    /// SHUTDOWN ACK was seen.
    ShutdownAckSent,
    /// A HEARTBEAT on a path not seen before.
    HeartbeatSent,
}

impl SctpState {
    /// Every state, by its number.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::Closed,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::Established,
        Self::ShutdownSent,
        Self::ShutdownRecd,
        Self::ShutdownAckSent,
        Self::HeartbeatSent,
    ];

    /// The state with this number; `None` from 9 on.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }

    /// Its number: `enum ct_sctp_state` of the packet path.
    pub fn index(self) -> u8 {
        self as u8
    }

    /// nf_conntrack's name, such as `COOKIE_WAIT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Closed => "CLOSED",
            Self::CookieWait => "COOKIE_WAIT",
            Self::CookieEchoed => "COOKIE_ECHOED",
            Self::Established => "ESTABLISHED",
            Self::ShutdownSent => "SHUTDOWN_SENT",
            Self::ShutdownRecd => "SHUTDOWN_RECD",
            Self::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }
}

impl fmt::Display for SctpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SctpState {
    type Err = ParseError;

    /// Takes a name in any case.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|state| state.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                ParseError::new(
                    "SCTP state",
                    text,
                    "CLOSED, COOKIE_WAIT, COOKIE_ECHOED, ESTABLISHED, SHUTDOWN_SENT, \
                     SHUTDOWN_RECD, SHUTDOWN_ACK_SENT or HEARTBEAT_SENT",
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_round_trip() {
        for (index, state) in (0..).zip(SctpState::ALL) {
            assert_eq!(state.index(), index);
            assert_eq!(SctpState::from_index(index), Some(state));
            assert_eq!(state.name().to_lowercase().parse(), Ok(state));
        }
        assert_eq!(SctpState::from_index(9), None);
        assert!("OPEN".parse::<SctpState>().is_err());
    }
}
