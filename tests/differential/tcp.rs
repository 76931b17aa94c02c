//! A pair of TCP ends to write scenarios with: sequence numbers are counted
//! from each end's initial one.

use crate::frame::ACK;
use crate::frame::FIN;
use crate::frame::PSH;
use crate::frame::RST;
use crate::frame::SYN;
use crate::frame::Segment;
use crate::frame::TCP;
use crate::lab::End;
use crate::script::Script;

/// Initial sequence numbers: each end's SYN has it, its first byte the next.
pub(crate) const CLIENT: u32 = 1_000_000;
pub(crate) const SERVER: u32 = 0xffff_f000;

pub(crate) const MSS: &[u8] = &[2, 4, 5, 0xb4];
pub(crate) const SACK_OK: &[u8] = &[1, 1, 4, 2];

/// A segment in relative numbers.
#[derive(Clone, Debug)]
pub(crate) struct Seg {
    flags: u8,
    seq: i64,
    ack: i64,
    window: u16,
    options: Vec<u8>,
    payload: usize,
    ports: (u16, u16),
}

/// A segment with these flags: seq and ack 1 (both SYNs are past), window 1000.
pub(crate) fn seg(flags: u8) -> Seg {
    Seg {
        flags,
        seq: 1,
        ack: i64::from(flags & ACK != 0),
        window: 1000,
        options: Vec::new(),
        payload: 0,
        ports: (40000, 80),
    }
}

impl Seg {
    /// Whether it has this flag.
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn seq(mut self, seq: i64) -> Self {
        self.seq = seq;
        self
    }

    pub(crate) fn ack(mut self, ack: i64) -> Self {
        self.ack = ack;
        self
    }

    pub(crate) fn win(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    pub(crate) fn len(mut self, payload: usize) -> Self {
        self.payload = payload;
        self
    }

    /// Adds options; the sum must be a multiple of four bytes.
    pub(crate) fn opt(mut self, options: &[u8]) -> Self {
        self.options.extend(options);
        self
    }

    /// Window scaling.
    pub(crate) fn scale(self, shift: u8) -> Self {
        self.opt(&[1, 3, 3, shift])
    }

    /// SACK blocks, in numbers relative to the peer.
    pub(crate) fn sack(self, from: End, blocks: &[(i64, i64)]) -> Self {
        let peer = if from == End::Client { SERVER } else { CLIENT };
        let mut option = vec![1, 1, 5, (2 + 8 * blocks.len()) as u8];
        for (left, right) in blocks {
            option.extend(peer.wrapping_add(*left as u32).to_be_bytes());
            option.extend(peer.wrapping_add(*right as u32).to_be_bytes());
        }
        self.opt(&option)
    }

    /// The client's port, to have several connections in one scenario.
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.ports.0 = port;
        self
    }

    /// On the wire, as `from` sends it. An ack of a segment without ACK is 0.
    pub(crate) fn wire(&self, from: End) -> Segment {
        let (own, peer, ports) = match from {
            End::Client => (CLIENT, SERVER, self.ports),
            End::Server => (SERVER, CLIENT, (self.ports.1, self.ports.0)),
        };
        Segment {
            ports,
            seq: own.wrapping_add(self.seq as u32),
            ack: if self.flags & ACK != 0 {
                peer.wrapping_add(self.ack as u32)
            } else {
                0
            },
            flags: self.flags,
            window: self.window,
            options: self.options.clone(),
            payload: self.payload,
        }
    }

    fn text(&self) -> String {
        format!(
            "{} seq {} ack {} win {} len {} opt {:02x?}",
            flags_text(self.flags),
            self.seq,
            self.ack,
            self.window,
            self.payload,
            self.options
        )
    }
}

/// Flag names, for reports.
pub(crate) fn flags_text(flags: u8) -> String {
    let names = ["F", "S", "R", "P", "A", "U", "E", "C"];
    let set = (0..8).filter(|bit| flags >> bit & 1 == 1);
    set.map(|bit| names[bit]).collect()
}

impl Script {
    /// One TCP segment.
    pub(crate) fn tcp(&mut self, from: End, segment: Seg) -> &mut Self {
        let ip = self.ip(from, TCP);
        let bytes = segment.wire(from).bytes(&ip);
        self.packet(from, &ip, &bytes, segment.text())
    }

    /// A segment of the client's.
    pub(crate) fn c(&mut self, segment: Seg) -> &mut Self {
        self.tcp(End::Client, segment)
    }

    /// A segment of the server's.
    pub(crate) fn s(&mut self, segment: Seg) -> &mut Self {
        self.tcp(End::Server, segment)
    }

    /// SYN.
    pub(crate) fn syn(&mut self) -> &mut Self {
        self.c(seg(SYN).seq(0))
    }

    /// SYN, SYN/ACK.
    pub(crate) fn syn_synack(&mut self) -> &mut Self {
        self.syn().s(seg(SYN | ACK).seq(0))
    }

    /// The three segments of a handshake without options.
    pub(crate) fn handshake(&mut self) -> &mut Self {
        self.syn_synack().c(seg(ACK))
    }

    /// A handshake where both ends offer scaling by `shift` and SACK.
    pub(crate) fn handshake_scaled(&mut self, shift: u8) -> &mut Self {
        self.c(seg(SYN).seq(0).opt(MSS).opt(SACK_OK).scale(shift))
            .s(seg(SYN | ACK).seq(0).opt(MSS).opt(SACK_OK).scale(shift))
            .c(seg(ACK))
    }

    /// Handshake, and a byte each way: ASSURED and quiet.
    pub(crate) fn talked(&mut self) -> &mut Self {
        self.handshake()
            .c(seg(ACK | PSH).len(1))
            .s(seg(ACK | PSH).len(1).ack(2))
            .c(seg(ACK).seq(2).ack(2))
    }

    /// After a handshake: FIN, FIN and their ACKs, the client first.
    pub(crate) fn close(&mut self) -> &mut Self {
        self.c(seg(FIN | ACK))
            .s(seg(ACK).ack(2))
            .s(seg(FIN | ACK).ack(2))
            .c(seg(ACK).seq(2).ack(2))
    }

    /// After a handshake: the client's FIN, the server's answers with its own.
    pub(crate) fn close_last_ack(&mut self) -> &mut Self {
        self.c(seg(FIN | ACK)).s(seg(FIN | ACK).ack(2))
    }

    /// After a handshake: an RST.
    pub(crate) fn reset(&mut self, by: End) -> &mut Self {
        self.tcp(by, seg(RST))
    }
}
