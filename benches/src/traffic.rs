//! The packets: frames as templates, and scripts by which the driver turns
//! them into the packets of many flows.

use crate::skel::drive::types::drive_script;

/// Address family of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// Protocol of a row; the values are `enum drive_proto`'s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proto {
    /// TCP
    Tcp = 0,
    /// UDP
    Udp = 1,
    /// ICMP echo, of either family
    Icmp = 2,
}

/// What the flows of a row are.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Family of all packets.
    pub family: Family,
    /// Protocol of all packets.
    pub proto: Proto,
}

/// A step in the life of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// SYN, first datagram, echo request.
    Open,
    /// SYN+ACK, answer, echo reply.
    Answer,
    /// ACK of the opener, second datagram.
    Confirm,
    /// Data to and fro.
    Data,
}

/// A range of flows, visited in an order of its own.
#[derive(Clone, Copy, Debug)]
pub struct Flows {
    /// Number of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Whether neighbours follow each other, or lie far apart.
    pub in_order: bool,
}

impl Flows {
    /// `count` flows from number `first` on, one after the other.
    #[must_use]
    pub fn in_order(first: u32, count: u32) -> Self {
        Self {
            first,
            count,
            in_order: true,
        }
    }

    /// `count` flows from number 0 on, each far from the one before.
    #[must_use]
    pub fn strided(count: u32) -> Self {
        Self {
            first: 0,
            count,
            in_order: false,
        }
    }

    /// From one flow to the next, modulo how many there are.
    pub(crate) fn stride(self) -> u32 {
        if self.in_order { 1 } else { stride(self.count) }
    }
}

const ETHERNET: usize = 14;
const TCP_HEADER: usize = 20;
const PAYLOAD: usize = 100;

/// MSS 1460, SACK permitted, timestamps, window scale 7: Linux's SYN.
const SYN_OPTIONS: [u8; 20] = [
    2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
];
/// Two NOPs and timestamps: what nearly every other segment carries.
const OPTIONS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1];

const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// Addresses and ports of flow 0 in IPv4, as drive.bpf.c writes them.
const FLOW_0: [u16; 6] = [0x0a00, 0, 0xc000, 0x0201, 32_768, 443];

const CLIENT_SEQ: u32 = 1000;
const SERVER_SEQ: u32 = 5000;

impl Traffic {
    /// The steps after which a flow counts as established. A UDP flow needs
    /// a wait before the last one, see [`Traffic::settles`].
    #[must_use]
    pub fn opening(self) -> &'static [Step] {
        match self.proto {
            Proto::Tcp | Proto::Udp => &[Step::Open, Step::Answer, Step::Confirm],
            Proto::Icmp => &[Step::Open, Step::Answer],
        }
    }

    /// Whether a flow must have lived for two seconds to be what it is to be:
    /// a UDP stream, by `nf_conntrack`'s rule.
    #[must_use]
    pub fn settles(self) -> bool {
        self.proto == Proto::Udp
    }

    /// The frame that the driver fills in: everything but addresses, ports and
    /// sequence numbers, and IPv4's sum. Layer 4's is left at zero; nobody looks at it.
    #[must_use]
    pub fn frame(self, step: Step) -> Vec<u8> {
        self.framed(&self.l4(step))
    }

    /// A datagram of so many bytes with the checksum that it has in flow 0, either
    /// way: to swap addresses and ports does not change it.
    #[must_use]
    pub fn datagram(self, payload: usize) -> Vec<u8> {
        let mut udp = vec![0; 8 + payload];
        udp[4..6].copy_from_slice(&be16(8 + payload));
        let mut sum = 2 * udp.len() + usize::from(self.number());
        for word in FLOW_0 {
            sum += usize::from(word);
        }
        let folded = (sum & 0xffff) + (sum >> 16);
        udp[6..8].copy_from_slice(&be16(!folded & 0xffff));
        self.framed(&udp)
    }

    fn framed(self, l4: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];
        frame.reserve(ETHERNET + 40 + l4.len());
        match self.family {
            Family::V4 => {
                frame.extend_from_slice(&0x0800_u16.to_be_bytes());
                frame.extend_from_slice(&[0x45, 0]);
                frame.extend_from_slice(&be16(20 + l4.len()));
                frame.extend_from_slice(&[0, 0, 0x40, 0, 64, self.number(), 0, 0]);
                frame.extend_from_slice(&[0; 8]);
            }
            Family::V6 => {
                let prefix = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                frame.extend_from_slice(&0x86dd_u16.to_be_bytes());
                frame.extend_from_slice(&[0x60, 0, 0, 0]);
                frame.extend_from_slice(&be16(l4.len()));
                frame.extend_from_slice(&[self.number(), 64]);
                frame.extend_from_slice(&prefix);
                frame.extend_from_slice(&prefix);
            }
        }
        frame.extend_from_slice(l4);
        frame
    }

    fn l4(self, step: Step) -> Vec<u8> {
        let payload = if step == Step::Data { PAYLOAD } else { 0 };
        match self.proto {
            Proto::Tcp => {
                let options: &[u8] = match step {
                    Step::Open | Step::Answer => &SYN_OPTIONS,
                    Step::Confirm | Step::Data => &OPTIONS,
                };
                let header = TCP_HEADER + options.len();
                let mut tcp = vec![0; header + payload];
                tcp[12] = (header as u8 / 4) << 4;
                tcp[13] = match step {
                    Step::Open => SYN,
                    Step::Answer => SYN | ACK,
                    Step::Confirm => ACK,
                    Step::Data => PSH | ACK,
                };
                tcp[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
                tcp[TCP_HEADER..header].copy_from_slice(options);
                tcp
            }
            Proto::Udp => {
                let mut udp = vec![0; 8 + PAYLOAD];
                udp[4..6].copy_from_slice(&be16(8 + PAYLOAD));
                udp
            }
            Proto::Icmp => vec![0; 8 + PAYLOAD],
        }
    }

    /// Protocol and family.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.proto, self.family) {
            (Proto::Tcp, Family::V4) => "TCP/IPv4",
            (Proto::Tcp, Family::V6) => "TCP/IPv6",
            (Proto::Udp, Family::V4) => "UDP/IPv4",
            (Proto::Udp, Family::V6) => "UDP/IPv6",
            (Proto::Icmp, Family::V4) => "ICMP/IPv4",
            (Proto::Icmp, Family::V6) => "ICMP/IPv6",
        }
    }

    fn number(self) -> u8 {
        match (self.proto, self.family) {
            (Proto::Tcp, _) => 6,
            (Proto::Udp, _) => 17,
            (Proto::Icmp, Family::V4) => 1,
            (Proto::Icmp, Family::V6) => 58,
        }
    }

    /// What the driver has to do to send one step of the flows, or, with
    /// [`Step::Data`], to keep them talking for ever.
    pub(crate) fn script(self, step: Step, flows: Flows) -> drive_script {
        let (client, server) = match step {
            Step::Open => (CLIENT_SEQ, 0),
            Step::Answer | Step::Confirm | Step::Data => (CLIENT_SEQ + 1, SERVER_SEQ),
        };
        let server = if step == Step::Answer || server == 0 {
            server
        } else {
            server + 1
        };
        drive_script {
            family: match self.family {
                Family::V4 => 4,
                Family::V6 => 6,
            },
            proto: self.proto as u32,
            first: flows.first,
            flows: flows.count,
            stride: flows.stride(),
            dir: u32::from(step == Step::Answer),
            flip: u32::from(step == Step::Data),
            payload: if step == Step::Data {
                PAYLOAD as u32
            } else {
                0
            },
            seq: [client, server],
        }
    }
}

fn be16(length: usize) -> [u8; 2] {
    (length as u16).to_be_bytes()
}

/// A step near the golden section of `count` that shares no factor with it, so
/// that every flow comes once a lap and never near the one before.
fn stride(count: u32) -> u32 {
    let wanted = (f64::from(count) * 0.618) as u32;
    (wanted.max(1)..)
        .find(|&step| common_factor(step, count) == 1)
        .unwrap_or(1)
}

fn common_factor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_factor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_visits_every_flow_once_a_lap() {
        for count in [1, 2, 3, 10, 10_000, 65_536, 100_000] {
            let stride = stride(count) % count;
            let mut seen = vec![false; count as usize];
            let mut at = 0;
            for _ in 0..count {
                assert!(!seen[at as usize], "{count} flows: {at} comes twice");
                seen[at as usize] = true;
                at = (at + stride) % count;
            }
            assert_eq!(at, 0);
        }
    }

    #[test]
    fn frames_are_as_long_as_their_headers_say() {
        for proto in [Proto::Tcp, Proto::Udp, Proto::Icmp] {
            for step in [Step::Open, Step::Answer, Step::Confirm, Step::Data] {
                let v4 = Traffic {
                    family: Family::V4,
                    proto,
                }
                .frame(step);
                let total = u16::from_be_bytes([v4[16], v4[17]]);
                assert_eq!(v4.len(), ETHERNET + usize::from(total));
                let v6 = Traffic {
                    family: Family::V6,
                    proto,
                }
                .frame(step);
                let payload = u16::from_be_bytes([v6[18], v6[19]]);
                assert_eq!(v6.len(), ETHERNET + 40 + usize::from(payload));
            }
        }
    }
}
