//! How a TCP connection is doing, and what is measured of that.

use std::time::Duration;

/// What is measured of TCP connections. It is fixed when a tracker is created.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct HealthConfig {
    /// Anything at all.
    pub enabled: bool,
    /// Flows that there is room for, 192 bytes each; a quarter of those that the flow
    /// tables have room for unless said. Beyond it who was not looked at for longest makes
    /// room, and has no health from then on.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_flows: Option<u32>,
    /// Round-trip times and the time to the first byte.
    pub rtt: bool,
    /// Segments sent again, out of order, duplicate ACKs.
    pub loss: bool,
    /// Windows: how small they were, and closed for how long.
    pub window: bool,
}

impl HealthConfig {
    /// The most flows that can be asked for: 2^26.
    pub const MAX_FLOWS: u32 = 1 << 26;
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_flows: None,
            rtt: true,
            loss: true,
            window: true,
        }
    }
}

/// How a TCP connection is doing.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// From the SYN to the SYN+ACK: the way from here to the server and back. `None` if
    /// the handshake was not seen, or anything of it came twice.
    pub rtt_to_server: Option<Duration>,
    /// From the SYN+ACK to the ACK that answers it: the way from here to the client and
    /// back. `None` as above.
    pub rtt_to_client: Option<Duration>,
}
