//! Segments to be looked at.

use conntrack_core::p0f::Kind;
use conntrack_core::p0f::Raw;

use crate::shape::*;

/// An acknowledgment number that p0f sees without ACK: it looks at one bit of the
/// number, as the machine reads it.
pub(crate) const SEEN_ACK: u32 = u32::from_be(1);

/// A segment to be looked at. A SYN+ACK answers a SYN with this MSS.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) shape: Shape,
    pub(crate) peer_mss: u16,
}

impl Probe {
    pub(crate) fn kind(&self) -> Kind {
        if self.shape.flags & ACK != 0 {
            Kind::SynAck
        } else {
            Kind::Syn
        }
    }

    /// Its record, by the reference.
    pub(crate) fn record(&self) -> Raw {
        let peer = (self.kind() == Kind::SynAck).then_some(self.peer_mss);
        Raw::from_packet(&self.shape.bytes(), peer).unwrap()
    }

    /// Gives it a connection of its own.
    pub(crate) fn numbered(&self, number: u16) -> Shape {
        let (client, server) = (2 * number, 2 * number + 1);
        let mut shape = self.shape.clone();
        (shape.ports, shape.hosts) = match self.kind() {
            Kind::Syn => ((number, 80), (client, server)),
            Kind::SynAck => ((80, number), (server, client)),
        };
        shape
    }

    /// The SYN that comes before a SYN+ACK.
    pub(crate) fn question(&self, number: u16) -> Shape {
        let [high, low] = self.peer_mss.to_be_bytes();
        let options = vec![2, 4, high, low, 1, 1, 4, 2];
        let shape = Shape {
            options,
            v6: self.shape.v6,
            ..Shape::default()
        };
        Self { shape, peer_mss: 0 }.numbered(number)
    }
}
