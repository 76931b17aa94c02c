//! Random walks along the edges of TCP's windows: several connections, numbers
//! one off whatever limit there is, anything in any state.
//!
//! The reference walks along, because only who knows the edges can step on them.

use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::Sysctls;
use conntrack_core::Tuple;
use conntrack_core::reference::Edges;
use conntrack_core::reference::Tracker;

use crate::frame::ACK;
use crate::frame::CWR;
use crate::frame::ECE;
use crate::frame::FIN;
use crate::frame::PSH;
use crate::frame::RST;
use crate::frame::SYN;
use crate::frame::Segment;
use crate::frame::TCP;
use crate::frame::URG;
use crate::lab::End;
use crate::random::Random;
use crate::script::Script;
use crate::tcp::flags_text;

const SECOND: u64 = 1_000_000_000;

/// Who walks.
struct Walker<'a> {
    script: &'a mut Script,
    random: &'a mut Random,
    model: Tracker,
    now: u64,
    /// The client's ports; the server's is 80.
    ports: Vec<u16>,
    /// First numbers of either end, where there is no flow to know better.
    initial: [u32; 2],
    last: Option<(End, Segment)>,
    rst: bool,
}

/// So many segments; no RST among them if that is not asked for.
pub(crate) fn walk(
    script: &mut Script,
    random: &mut Random,
    settings: &Sysctls,
    rst: bool,
    steps: usize,
) {
    let ports = match random.below(3) {
        0 => vec![40000],
        1 => vec![40000, 40001],
        _ => vec![40000, 40001, 80],
    };
    let initial = [(); 2].map(|()| match random.below(4) {
        0 => random.below(3) as u32,
        1 => 0xffff_ff00u32.wrapping_add(random.below(0x200) as u32),
        2 => 0x7fff_ff00 + random.below(0x200) as u32,
        _ => random.next() as u32,
    });
    let mut walker = Walker {
        script,
        random,
        model: Tracker::new(*settings),
        now: SECOND,
        ports,
        initial,
        last: None,
        rst,
    };
    let mut waits = 2;
    while walker.script.steps.len() < steps {
        if waits > 0 && walker.random.percent(3) {
            waits -= 1;
            let seconds = walker.random.pick(&[0.6, 1.3, 2.4]);
            walker.script.wait(seconds);
            walker.now += (seconds * SECOND as f64) as u64;
        }
        walker.step();
    }
}

impl Walker<'_> {
    fn step(&mut self) {
        match self.random.below(100) {
            0..8 => self.open(),
            8..20 => self.again(),
            20..24 => self.close(),
            _ => self.wild(),
        }
    }

    fn send(&mut self, from: End, segment: Segment) {
        if segment.flags & RST != 0 && !self.rst {
            return;
        }
        let ip = self.script.ip(from, TCP);
        let packet = ip.packet(&segment.bytes(&ip));
        self.now += SECOND / 200;
        self.model.packet(self.now, &packet);
        let what = format!(
            "{} {:?} seq {:#x} ack {:#x} win {} len {} opt {:02x?}",
            flags_text(segment.flags),
            segment.ports,
            segment.seq,
            segment.ack,
            segment.window,
            segment.payload,
            segment.options,
        );
        self.script.raw(from, &packet, what);
        self.last = Some((from, segment));
    }

    fn either(&mut self) -> End {
        if self.random.percent(50) {
            End::Client
        } else {
            End::Server
        }
    }

    fn ports(&mut self, from: End) -> (u16, u16) {
        let client = self.random.pick(&self.ports);
        match from {
            End::Client => (client, 80),
            End::Server => (80, client),
        }
    }

    fn edges(&self, from: End, ports: (u16, u16)) -> Option<[Edges; 2]> {
        let ip = self.script.ip(from, TCP);
        self.model.edges(&Tuple {
            src: ip.src,
            dst: ip.dst,
            protocol: Protocol::TCP,
            l4: L4::Ports {
                src: ports.0,
                dst: ports.1,
            },
        })
    }

    /// What a sender is at, and what it has of the other end's.
    fn numbers(&self, from: End, ports: (u16, u16)) -> (u32, u32) {
        match self.edges(from, ports) {
            Some([own, peer]) if own.max_win != 0 && peer.max_win != 0 => (own.end, peer.end),
            Some([own, _]) if own.max_win != 0 => (own.end, self.initial[1 - from as usize]),
            Some([_, peer]) => (self.initial[from as usize], peer.end),
            None => (self.initial[from as usize], self.initial[1 - from as usize]),
        }
    }

    /// Some of a handshake, by an end that is new or old, ahead or behind.
    fn open(&mut self) {
        let first = if self.random.percent(75) {
            End::Client
        } else {
            End::Server
        };
        let second = other(first);
        let ports = self.ports(first);
        let back = (ports.1, ports.0);
        let (at, _) = self.numbers(first, ports);
        let jump = [0, 0, 1, 1000, 70_000, 900_000, 0u32.wrapping_sub(5000)];
        let x = at.wrapping_add(self.random.pick(&jump));
        let y = self
            .numbers(second, back)
            .0
            .wrapping_add(self.random.pick(&jump));
        if self.random.percent(95) {
            let flags = SYN | self.random.pick(&[0, 0, 0, ECE | CWR, URG]);
            let syn = self.segment(ports, flags, x, 0);
            self.send(first, syn);
        }
        if self.random.percent(10) {
            let syn = self.segment(back, SYN, y, 0);
            self.send(second, syn);
        }
        if self.random.percent(90) {
            let ack = x.wrapping_add(self.random.pick(&[1, 1, 1, 1, 1, 1, 0, 2, 100]));
            let flags = SYN | ACK | self.random.pick(&[0, 0, ECE]);
            let synack = self.segment(back, flags, y, ack);
            self.send(second, synack);
        }
        if self.random.percent(90) {
            let ack = y.wrapping_add(self.random.pick(&[1, 1, 1, 1, 1, 1, 0, 2]));
            let ack = self.segment(ports, ACK, x.wrapping_add(1), ack);
            self.send(first, ack);
        }
    }

    /// What was sent last, once more or a few times, perhaps a little different.
    fn again(&mut self) {
        let Some((from, mut segment)) = self.last.clone() else {
            return self.open();
        };
        match self.random.below(8) {
            0 => segment.window = self.window(),
            1 => {
                segment.ack = segment
                    .ack
                    .wrapping_add(self.random.pick(&[1, 0xffff_ffff]))
            }
            2 => {
                segment.seq = segment
                    .seq
                    .wrapping_add(self.random.pick(&[1, 0xffff_ffff]))
            }
            3 => segment.payload = self.random.pick(&[0, 1, 2, 100]),
            4 => segment.flags ^= self.random.pick(&[PSH, FIN, URG, ECE, SYN]),
            _ => {}
        }
        for _ in 0..self.random.pick(&[1, 1, 2, 3, 4]) {
            self.send(from, segment.clone());
        }
    }

    /// FINs and their ACKs as they should be, each of which may be missing.
    fn close(&mut self) {
        let first = self.either();
        let ports = self.ports(first);
        let back = (ports.1, ports.0);
        let (x, y) = self.numbers(first, ports);
        let steps = [
            (first, ports, FIN | ACK, x, y),
            (other(first), back, ACK, y, x.wrapping_add(1)),
            (other(first), back, FIN | ACK, y, x.wrapping_add(1)),
            (first, ports, ACK, x.wrapping_add(1), y.wrapping_add(1)),
        ];
        for (from, ports, flags, seq, ack) in steps {
            if self.random.percent(85) {
                let mut segment = self.segment(ports, flags, seq, ack);
                segment.payload = 0;
                self.send(from, segment);
            }
        }
    }

    /// Any flags, numbers near the edges.
    fn wild(&mut self) {
        let from = self.either();
        let ports = self.ports(from);
        let flags = match self.random.below(100) {
            0..50 => ACK,
            50..62 => FIN | ACK,
            62..76 => self.random.pick(&[RST, RST, RST | ACK]),
            76..83 => SYN,
            83..90 => SYN | ACK,
            90..94 => self.random.pick(&[ACK | URG, FIN | ACK | URG, SYN | URG]),
            _ => self.random.next() as u8,
        };
        let flags = flags | self.random.pick(&[0, 0, 0, PSH, ECE, CWR]);
        let edges = self.edges(from, ports);
        let (mut seq, mut ack) = self.numbers(from, ports);
        if self.random.percent(45) {
            seq = self.seq(edges, seq);
        }
        if self.random.percent(35) {
            ack = self.ack(edges, ack);
        }
        let mut segment = self.segment(ports, flags, seq, ack);
        if let Some([own, peer]) = edges
            && self.random.percent(15)
        {
            // It ends one off an edge.
            let edge = self.random.pick(&[
                own.max_end,
                own.end,
                own.max_end.wrapping_add(peer.max_win),
                own.end.wrapping_sub(peer.max_win),
            ]);
            let length = edge.wrapping_sub(seq).wrapping_add(self.off());
            if length < 1400 {
                segment.payload = length as usize;
            }
        }
        self.send(from, segment);
    }

    fn segment(&mut self, ports: (u16, u16), flags: u8, seq: u32, ack: u32) -> Segment {
        let payload = match flags & (SYN | RST) {
            0 => self.random.pick(&[0, 0, 0, 1, 1, 10, 100, 1000, 1400]),
            _ if self.random.percent(6) => self.random.pick(&[1, 10]),
            _ => 0,
        };
        let carries = flags & ACK != 0 || self.random.percent(10);
        Segment {
            ports,
            seq,
            ack: if carries { ack } else { 0 },
            flags,
            window: self.window(),
            options: self.options(flags, ack),
            payload,
        }
    }

    fn window(&mut self) -> u16 {
        self.random.pick(&[
            0, 1, 2, 10, 500, 1000, 1000, 1000, 1000, 0x7fff, 0x8000, 65_535, 65_535,
        ])
    }

    /// One more, one less, or neither.
    fn off(&mut self) -> u32 {
        self.random
            .pick(&[0, 1, 2, 0u32.wrapping_sub(1), 0u32.wrapping_sub(2)])
    }

    fn seq(&mut self, edges: Option<[Edges; 2]>, seq: u32) -> u32 {
        let zero = edges.map_or(seq, |[own, _]| own.end);
        let mut near = vec![
            seq,
            0,
            1,
            zero.wrapping_add(1 << 31),
            self.random.next() as u32,
        ];
        if let Some([own, peer]) = edges {
            near.extend([
                own.max_end,
                own.max_end,
                own.end,
                own.end.wrapping_sub(peer.max_win),
                own.max_end.wrapping_add(peer.max_win),
                peer.max_ack.unwrap_or(own.end),
                peer.max_ack.unwrap_or(own.end),
                own.remembered,
                own.end.wrapping_sub(1),
            ]);
        }
        self.random.pick(&near).wrapping_add(self.off())
    }

    fn ack(&mut self, edges: Option<[Edges; 2]>, ack: u32) -> u32 {
        let mut near = vec![ack, 0, ack.wrapping_add(1 << 31), self.random.next() as u32];
        if let Some([own, peer]) = edges {
            near.extend([
                peer.end,
                peer.end,
                peer.end.wrapping_sub(66_000),
                peer.end.wrapping_sub(own.max_win),
                own.max_ack.unwrap_or(peer.end),
                own.remembered,
                peer.end.wrapping_sub(100),
            ]);
        }
        self.random.pick(&near).wrapping_add(self.off())
    }

    fn options(&mut self, flags: u8, ack: u32) -> Vec<u8> {
        if flags & SYN != 0 {
            return self.syn_options();
        }
        match self.random.below(14) {
            0 | 1 => self.sack(ack, 1),
            2 => {
                let blocks = self.random.pick(&[2, 3, 4]);
                self.sack(ack, blocks)
            }
            3 => vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            4 => self.random.pick(&[
                vec![1, 1, 5, 9, 0, 0, 0, 0, 0, 0, 0, 0],
                vec![5, 2, 1, 1],
                vec![5, 40, 1, 1],
                vec![254, 1, 1, 1],
                vec![1, 1, 1, 5],
                vec![0, 5, 10, 0, 0, 0, 0, 255, 255, 255, 255, 0],
                vec![3, 3, 9, 4, 2, 0, 0, 0],
            ]),
            _ => Vec::new(),
        }
    }

    fn sack(&mut self, ack: u32, blocks: usize) -> Vec<u8> {
        let mut option = vec![1, 1, 5, (2 + 8 * blocks) as u8];
        for _ in 0..blocks {
            let reach = self
                .random
                .pick(&[0, 1, 2, 10, 1000, 0u32.wrapping_sub(10)]);
            let right = ack.wrapping_add(reach);
            option.extend(right.wrapping_sub(1).to_be_bytes());
            option.extend(right.to_be_bytes());
        }
        option
    }

    fn syn_options(&mut self) -> Vec<u8> {
        let mut options = Vec::new();
        if self.random.percent(60) {
            options.extend([2, 4, 5, 0xb4]);
        }
        if self.random.percent(50) {
            options.extend([1, 1, 4, 2]);
        }
        if self.random.percent(60) {
            options.extend([1, 3, 3, self.random.below(17) as u8]);
        }
        if self.random.percent(15) {
            options.extend(self.random.pick(&[
                [0, 3, 3, 5],
                [3, 3, 2, 0],
                [3, 4, 2, 0],
                [4, 3, 0, 0],
                [1, 1, 1, 3],
                [3, 0, 1, 1],
                [254, 40, 1, 1],
            ]));
        }
        options
    }
}

fn other(end: End) -> End {
    match end {
        End::Client => End::Server,
        End::Server => End::Client,
    }
}
