//! How the connections of a service, or of an interface, are doing.

use crate::histogram::Histogram;
use crate::protocol::Protocol;

/// How connections are doing, summed up since the tracker was set up. What counts are
/// connections whose handshake was seen.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HealthStats {
    /// By protocol and port of the end that was called, those with most connections first.
    pub services: Vec<ServiceHealth>,
    /// By the interface that the first packet came by, likewise.
    pub interfaces: Vec<InterfaceHealth>,
    /// Of services and interfaces that there was no room for.
    pub others: HealthCounts,
    /// Connections that lost what was known of them to others.
    pub evicted: u64,
    /// Times that there was no room to note something of a connection.
    pub no_room: u64,
}

/// A service.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ServiceHealth {
    /// Its protocol.
    #[cfg_attr(feature = "serde", serde(serialize_with = "name"))]
    pub protocol: Protocol,
    /// Its port.
    pub port: u16,
    /// How its connections are doing.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub counts: HealthCounts,
}

impl ServiceHealth {
    /// Of this service.
    pub fn new(protocol: Protocol, port: u16, counts: HealthCounts) -> Self {
        Self {
            protocol,
            port,
            counts,
        }
    }
}

/// An interface.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct InterfaceHealth {
    /// Its name, or its index if it is gone.
    pub interface: String,
    /// How its connections are doing.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub counts: HealthCounts,
}

impl InterfaceHealth {
    /// Of the interface of this name.
    pub fn new(interface: String, counts: HealthCounts) -> Self {
        Self { interface, counts }
    }
}

/// What is summed up.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct HealthCounts {
    /// Connections whose handshake has come through.
    pub flows: u64,
    /// Segments that their ends sent again.
    pub retransmits: u64,
    /// RSTs, one of each end at the most.
    pub resets: u64,
    /// Times that a window was closed.
    pub zero_windows: u64,
    /// Round-trip times by handshake.
    pub rtt: Histogram,
    /// How long those lasted that are over.
    pub duration: Histogram,
}

#[cfg(feature = "serde")]
fn name<S: serde::Serializer>(protocol: &Protocol, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(protocol.name().unwrap_or("unknown"))
}
