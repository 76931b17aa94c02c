//! How a TCP connection is doing, and what is measured of that.

use std::time::Duration;

use crate::flow::Direction;

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

/// How a TCP connection is doing, seen from where the tracker is. What is `None` is not
/// known: nothing of it has been seen, the connection was picked up in mid-stream, or its
/// group of measures is off. docs/manual.md has the rules.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Health {
    /// From the first packet to the second direction's FIN, or to the first RST; while
    /// the connection goes on there is none.
    #[cfg_attr(feature = "serde", serde(rename = "duration_ns", with = "nanos"))]
    pub duration: Option<Duration>,
    /// From the SYN to the SYN+ACK: the way from here to the server and back. `None` if
    /// the handshake was not seen, or anything of it came twice.
    #[cfg_attr(feature = "serde", serde(rename = "rtt_to_server_ns", with = "nanos"))]
    pub rtt_to_server: Option<Duration>,
    /// From the SYN+ACK to the ACK that answers it: the way from here to the client and
    /// back. `None` as above.
    #[cfg_attr(feature = "serde", serde(rename = "rtt_to_client_ns", with = "nanos"))]
    pub rtt_to_client: Option<Duration>,
    /// From the SYN to the server's first byte; to the microsecond.
    #[cfg_attr(feature = "serde", serde(rename = "first_byte_ns", with = "nanos"))]
    pub first_byte: Option<Duration>,
    /// What the client did.
    pub original: HealthSide,
    /// What the server did.
    pub reply: HealthSide,
}

/// What one end of a TCP connection did: the sender of a direction.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct HealthSide {
    /// From its segments here to the other end's echo of their timestamps, smoothed (RFC
    /// 6298, RFC 7323).
    #[cfg_attr(feature = "serde", serde(rename = "srtt_ns", with = "nanos"))]
    pub srtt: Option<Duration>,
    /// Segments that it sent again.
    pub retransmits: Option<u32>,
    /// TCP payload bytes in them.
    pub retransmitted_bytes: Option<u64>,
    /// Segments that another one of its has overtaken.
    pub out_of_order: Option<u32>,
    /// Times it said again what it waits for.
    pub duplicate_acks: Option<u32>,
    /// Segments sent again of all packets of its direction, parts per million: an
    /// estimate of what is lost between it and the other end.
    pub loss_ppm: Option<u32>,
    /// Times that it closed its window.
    pub zero_windows: Option<u32>,
    /// How long its window was closed; to the millisecond.
    #[cfg_attr(feature = "serde", serde(rename = "zero_window_ns", with = "nanos"))]
    pub zero_window_time: Option<Duration>,
    /// The smallest window but 0, in bytes, of those that were less than half of the
    /// largest until then; `None` if none was.
    pub window_min: Option<u32>,
    /// The largest window, in bytes.
    pub window_max: Option<u32>,
    /// It has sent a RST that closed the connection.
    pub reset: bool,
}

impl Health {
    /// One end.
    pub fn side(&self, direction: Direction) -> &HealthSide {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }

    /// The round-trip time of all of the way: by timestamps where both ends use them, or
    /// else by the handshake.
    pub fn rtt(&self) -> Option<Duration> {
        let smoothed = self.original.srtt.zip(self.reply.srtt);
        let handshake = self.rtt_to_server.zip(self.rtt_to_client);
        smoothed
            .or(handshake)
            .map(|(one, other)| one.saturating_add(other))
    }
}

/// Durations as whole nanoseconds.
#[cfg(feature = "serde")]
mod nanos {
    use std::time::Duration;

    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serialize;
    use serde::Serializer;

    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let nanos = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
        duration.map(nanos).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(Duration::from_nanos))
    }
}
