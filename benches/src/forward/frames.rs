//! The packets of many flows, one after the other, as honest stacks send them.

use crate::traffic::Family;
use crate::traffic::Flows;
use crate::traffic::Proto;
use crate::traffic::Step;
use crate::traffic::Traffic;

/// Where the fields are: behind Ethernet, behind an IPv4 header without options.
const IP: usize = 14;
const L4: usize = IP + 20;

/// As drive.bpf.c has them: 10.0.0.0 and what follows, 192.0.2.1.
const CLIENTS: u32 = 0x0a00_0000;
const SERVER: u32 = 0xc000_0201;
const PORTS: u32 = 64;
const PORT_MIN: u32 = 32_768;
const SERVICE: u16 = 443;
const PAYLOAD: u32 = 100;

/// Packets of some flows: a step of their lives, in turn. With [`Step::Data`] they
/// talk, every lap in the other direction.
#[derive(Debug)]
pub struct Talk {
    proto: Proto,
    step: Step,
    flows: Flows,
    frame: Vec<u8>,
    at: u32,
    lap: u32,
    stride: u32,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    There,
    Back,
}

impl Talk {
    /// The first packet of the first lap comes next.
    ///
    /// # Panics
    /// If the step is of another family or protocol than is sent here: IPv4's TCP and UDP.
    #[must_use]
    pub fn new(proto: Proto, step: Step, flows: Flows) -> Self {
        assert!(matches!(proto, Proto::Tcp | Proto::Udp), "TCP or UDP");
        let traffic = Traffic {
            family: Family::V4,
            proto,
        };
        Self {
            proto,
            step,
            flows,
            frame: traffic.frame(step),
            at: 0,
            lap: 0,
            stride: flows.stride(),
        }
    }

    /// A packet of one flow that talks, from the client and from the server.
    ///
    /// # Panics
    /// As [`Talk::new`].
    #[must_use]
    pub fn both_ways(proto: Proto, flow: u32) -> [Vec<u8>; 2] {
        let mut talk = Self::new(proto, Step::Data, Flows::in_order(flow, 1));
        [(); 2].map(|()| talk.next().1.to_vec())
    }

    /// The next packet, for the router's interface on its way.
    pub(super) fn next(&mut self) -> (Way, &mut [u8]) {
        let flow = self.flows.first + self.at;
        let way = match self.step {
            Step::Answer => Way::Back,
            Step::Data if self.lap % 2 == 1 => Way::Back,
            _ => Way::There,
        };
        self.write(flow, way, self.lap / 2);
        self.at += self.stride;
        if self.at >= self.flows.count {
            self.at -= self.flows.count;
        }
        self.lap = self.lap.wrapping_add(u32::from(self.at == 0));
        (way, &mut self.frame)
    }

    fn write(&mut self, flow: u32, way: Way, half: u32) {
        let client = (CLIENTS + flow / PORTS, (PORT_MIN + flow % PORTS) as u16);
        let server = (SERVER, SERVICE);
        let (src, dst) = match way {
            Way::There => (client, server),
            Way::Back => (server, client),
        };
        self.put(IP + 12, &src.0.to_be_bytes());
        self.put(IP + 16, &dst.0.to_be_bytes());
        self.put(L4, &src.1.to_be_bytes());
        self.put(L4 + 2, &dst.1.to_be_bytes());
        if self.proto == Proto::Tcp {
            let (seq, ack) = self.numbers(way, half);
            self.put(L4 + 4, &seq.to_be_bytes());
            self.put(L4 + 8, &ack.to_be_bytes());
        }
        self.put(IP + 10, &[0, 0]);
        let sum = checksum(&self.frame[IP..L4]);
        self.put(IP + 10, &sum.to_be_bytes());
    }

    /// Sequence and acknowledgment number; the server answers what the client has
    /// just sent.
    fn numbers(&self, way: Way, half: u32) -> (u32, u32) {
        let (client, server) = (1000, 5000);
        let moved = half.wrapping_mul(PAYLOAD);
        match (self.step, way) {
            (Step::Open, _) => (client, 0),
            (Step::Answer, _) => (server, client + 1),
            (Step::Confirm, _) => (client + 1, server + 1),
            (Step::Data, Way::There) => (client + 1 + moved, server + 1 + moved),
            (Step::Data, Way::Back) => (server + 1 + moved, client + 1 + moved + PAYLOAD),
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.frame[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// The Internet checksum (RFC 1071) of a header whose own is zero.
#[must_use]
pub fn checksum(header: &[u8]) -> u16 {
    let (words, _) = header.as_chunks::<2>();
    let sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_its_checksum_sums_to_nothing() {
        let mut talk = Talk::new(Proto::Udp, Step::Open, Flows::in_order(7, 3));
        let (way, frame) = talk.next();
        assert_eq!(way, Way::There);
        assert_ne!(frame[IP + 10..IP + 12], [0, 0]);
        assert_eq!(checksum(&frame[IP..L4]), 0);
    }

    #[test]
    fn laps_change_direction_and_move_the_numbers() {
        let mut talk = Talk::new(Proto::Tcp, Step::Data, Flows::in_order(0, 1));
        let mut seen = Vec::new();
        for _ in 0..3 {
            let (way, frame) = talk.next();
            let number = |at: usize| {
                let bytes = frame[at..at + 4].try_into().expect("four bytes");
                u32::from_be_bytes(bytes)
            };
            seen.push((way, number(L4 + 4), number(L4 + 8)));
        }
        let expected = [
            (Way::There, 1001, 5001),
            (Way::Back, 5001, 1101),
            (Way::There, 1101, 5101),
        ];
        assert_eq!(seen, expected);
    }
}
