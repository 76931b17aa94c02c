//! Fragments: trains of them that come as they were sent, and others.

use crate::frame::ACK;
use crate::frame::FIN;
use crate::frame::FRAGMENT;
use crate::frame::ICMP;
use crate::frame::ICMPV6;
use crate::frame::PSH;
use crate::frame::SYN;
use crate::frame::TCP;
use crate::frame::UDP;
use crate::frame::icmp;
use crate::frame::udp;
use crate::lab::End;
use crate::lab::End::Client;
use crate::lab::End::Server;
use crate::script::Catalogue;
use crate::script::Script;
use crate::tcp::Seg;
use crate::tcp::seg;

pub(crate) fn add(c: &mut Catalogue) {
    trains(c);
    tcp(c);
    errors(c);
    fragments(c);
}

impl Script {
    /// The packets of a payload that is split at these offsets (multiples of
    /// eight), in this order. Each needs an id of its own.
    pub(crate) fn split(
        &self,
        from: End,
        proto: u8,
        payload: &[u8],
        cuts: &[usize],
        order: &[usize],
        id: u32,
    ) -> Vec<Vec<u8>> {
        let mut bounds = vec![0];
        bounds.extend(cuts);
        bounds.push(payload.len());
        let fragment = |index: &usize| {
            let (start, end) = (bounds[*index], bounds[index + 1]);
            let more = u16::from(end != payload.len());
            let mut ip = self.ip(from, proto);
            ip.id = id;
            if self.v6 {
                let mut header = vec![0, 0];
                header.extend((start as u16 | more).to_be_bytes());
                header.extend(id.to_be_bytes());
                ip.extensions.push((FRAGMENT, header));
            } else {
                ip.frag = more << 13 | (start / 8) as u16;
            }
            ip.packet(&payload[start..end])
        };
        order.iter().map(fragment).collect()
    }

    /// A datagram of 208 bytes, split.
    fn pieces(&self, from: End, cuts: &[usize], order: &[usize], id: u32) -> Vec<Vec<u8>> {
        let ports = if from == Client {
            (5000, 53)
        } else {
            (53, 5000)
        };
        let bytes = udp(&self.ip(from, UDP), ports, 200);
        self.split(from, UDP, &bytes, cuts, order, id)
    }

    /// The same, sent.
    fn datagrams(&mut self, from: End, cuts: &[usize], order: &[usize], id: u32) -> &mut Self {
        let frames = self.pieces(from, cuts, order, id);
        self.train(from, &frames, format!("fragments {order:?} of a datagram"))
    }

    /// A TCP segment, split and sent.
    fn segments(&mut self, from: End, segment: &Seg, cuts: &[usize], id: u32) -> &mut Self {
        let order: Vec<usize> = (0..=cuts.len()).collect();
        self.ordered(from, segment, cuts, &order, id)
    }

    /// The same, the last one first.
    fn backwards(&mut self, from: End, segment: &Seg, cuts: &[usize], id: u32) -> &mut Self {
        let order: Vec<usize> = (0..=cuts.len()).rev().collect();
        self.ordered(from, segment, cuts, &order, id)
    }

    fn ordered(
        &mut self,
        from: End,
        segment: &Seg,
        cuts: &[usize],
        order: &[usize],
        id: u32,
    ) -> &mut Self {
        let bytes = segment.wire(from).bytes(&self.ip(from, TCP));
        let frames = self.split(from, TCP, &bytes, cuts, order, id);
        self.train(from, &frames, "fragments of a segment")
    }
}

/// Packets that become whole, or never begin: the same, once all have passed.
fn trains(c: &mut Catalogue) {
    c.both("train/two", |s| {
        s.datagrams(Client, &[104], &[0, 1], 7)
            .datagrams(Server, &[104], &[0, 1], 8)
            .datagrams(Client, &[104], &[0, 1], 9);
    });
    c.both("train/stream", |s| {
        s.datagrams(Client, &[104], &[0, 1], 7)
            .datagrams(Server, &[104], &[0, 1], 8)
            .wait(2.4)
            .datagrams(Server, &[104], &[0, 1], 9);
    });
    c.both("train/answer_old_enough", |s| {
        s.datagrams(Client, &[104], &[0, 1], 7)
            .wait(2.4)
            .datagrams(Server, &[104], &[0, 1], 8);
    });
    c.both("train/out_of_order", |s| {
        s.datagrams(Client, &[48, 104, 160], &[0, 3, 1, 2], 7);
    });
    c.both("train/reversed", |s| {
        s.datagrams(Client, &[104], &[1, 0], 7)
            .datagrams(Server, &[48, 104, 160], &[3, 2, 1, 0], 8)
            .datagrams(Client, &[48, 104, 160], &[2, 0, 3, 1], 9);
    });
    c.both("train/last_of_it_overtakes", |s| {
        s.datagrams(Client, &[104], &[1], 7)
            .datagrams(Client, &[104], &[0], 7);
    });
    c.both("train/without_the_first", |s| {
        s.datagrams(Client, &[104], &[1], 7)
            .datagrams(Client, &[48, 104], &[1, 2], 8);
    });
    c.both("train/twice", |s| {
        s.datagrams(Client, &[48, 104], &[0, 0, 1, 1, 0, 1, 2], 7)
            .datagrams(Client, &[48, 104], &[2, 2, 1, 2, 0], 8);
    });
    c.both("train/once_more_when_whole", |s| {
        s.datagrams(Client, &[48, 104], &[0, 1, 2, 2, 1], 7)
            .datagrams(Client, &[48, 104], &[0], 7)
            .datagrams(Server, &[48, 104], &[0, 1, 2], 7)
            .datagrams(Server, &[48, 104], &[0, 1, 2], 7);
    });
    c.both("train/of_a_flow", |s| {
        let ip = s.ip(Client, UDP);
        let whole = udp(&ip, (5000, 53), 200);
        s.packet(Client, &ip, &whole, "whole")
            .datagrams(Client, &[48, 104], &[0, 1, 2], 7);
    });
    c.both("train/ping", |s| {
        let (proto, kinds) = if s.v6 {
            (ICMPV6, [128, 129])
        } else {
            (ICMP, [8, 0])
        };
        for (from, kind) in [(Client, kinds[0]), (Server, kinds[1])] {
            let bytes = icmp(&s.ip(from, proto), kind, 0, [0, 5, 0, 1], &[0x5a; 200]);
            let frames = s.split(from, proto, &bytes, &[56], &[0, 1], 7);
            s.train(from, &frames, "fragments of a ping");
        }
    });
    c.both("train/generic", |s| {
        let frames = s.split(Client, 253, &[1; 100], &[48], &[0, 1], 7);
        s.train(Client, &frames, "fragments of protocol 253");
    });
    c.v6("train/atomic", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.extensions.push((FRAGMENT, vec![0; 8]));
        let bytes = udp(&ip, (5000, 53), 20);
        s.packet(Client, &ip, &bytes, "atomic fragment");
    });
}

/// What a fragmented segment sent may be acknowledged, and no more; of one that
/// is refused nothing counts.
fn tcp(c: &mut Catalogue) {
    c.both("train/tcp_reversed", |s| {
        let data = seg(ACK | PSH).seq(2).ack(2).len(600);
        s.talked()
            .backwards(Client, &data, &[104, 408], 7)
            .s(seg(ACK).seq(2).ack(603))
            .s(seg(ACK).seq(2).ack(602));
    });
    c.both("train/tcp_refused", |s| {
        let far = seg(ACK | PSH).seq(200_000).ack(2).len(600);
        let unseen = seg(ACK | PSH).seq(2).ack(9000).len(600);
        s.talked()
            .segments(Client, &far, &[104, 408], 7)
            .backwards(Client, &far, &[104, 408], 8)
            .segments(Client, &unseen, &[104, 408], 9)
            .s(seg(ACK).seq(2).ack(602))
            .s(seg(ACK).seq(2).ack(2));
    });
    c.both("train/tcp_ignored", |s| {
        let again = seg(SYN).seq(0).len(200);
        s.segments(Client, &again, &[104], 7)
            .segments(Client, &again, &[104], 8)
            .s(seg(SYN | ACK).seq(0).ack(201));
    });
    c.both("train/tcp_picked_up", |s| {
        let data = |seq, ack| seg(ACK | PSH).seq(seq).ack(ack).len(600);
        s.segments(Client, &data(2, 2), &[104, 408], 7)
            .segments(Server, &data(2, 602), &[104, 408], 8)
            .backwards(Client, &data(602, 602), &[104, 408], 9)
            .s(seg(ACK).seq(602).ack(1203))
            .s(seg(ACK).seq(602).ack(1202));
    });
    c.both("train/tcp_picked_up_backwards", |s| {
        let data = |seq, ack| seg(ACK | PSH).seq(seq).ack(ack).len(600);
        s.backwards(Client, &data(2, 2), &[104, 408], 7).backwards(
            Server,
            &data(2, 602),
            &[104, 408],
            8,
        );
    });
    c.both("train/tcp_syn", |s| {
        s.segments(Client, &seg(SYN).seq(0).len(200), &[104], 7)
            .segments(Server, &seg(SYN | ACK).seq(0).ack(201).len(200), &[104], 8)
            .c(seg(ACK).seq(201).ack(201));
    });
    c.both("train/tcp", |s| {
        let data = seg(ACK | PSH).seq(2).ack(2).len(600);
        let fin = seg(FIN | ACK).seq(602).ack(2).len(100).opt(&[1, 1, 1, 1]);
        s.talked()
            .segments(Client, &data, &[104, 408], 7)
            .s(seg(ACK).seq(2).ack(603))
            .s(seg(ACK).seq(2).ack(602))
            .segments(Client, &fin, &[64], 8)
            .s(seg(ACK).seq(2).ack(704))
            .s(seg(ACK).seq(2).ack(703));
    });
}

/// Errors about fragments, and in fragments: neither is a fragment of what it quotes.
fn errors(c: &mut Catalogue) {
    for bits in [0_u16, 1, 0x40, 0x41] {
        c.v6(format!("train/behind_an_error_about_{bits:#x}"), move |s| {
            let mut quoted = s.ip(Client, UDP);
            let bytes = udp(&quoted, (5000, 53), 200);
            s.packet(Client, &quoted, &bytes, "opens");
            let mut header = vec![0, 0];
            header.extend(bits.to_be_bytes());
            header.extend([0, 0, 0, 7]);
            quoted.extensions.push((FRAGMENT, header));
            let ip = s.ip(Server, ICMPV6);
            let error = icmp(&ip, 3, 1, [0; 4], &quoted.packet(&bytes[..64]));
            s.packet(Server, &ip, &error, "an error about a fragment")
                .packet(Server, &ip, &error, "once more")
                .datagrams(Client, &[104], &[0, 1], 7)
                .datagrams(Client, &[104], &[0, 1], 8);
        });
    }
    for id in [7, 8] {
        c.both(&format!("train/behind_an_error_in_two/{id}"), move |s| {
            let quoted = s.ip(Client, UDP);
            let bytes = udp(&quoted, (5000, 53), 200);
            s.packet(Client, &quoted, &bytes, "opens");
            let (proto, kind) = if s.v6 { (ICMPV6, 1) } else { (ICMP, 3) };
            let ip = s.ip(Server, proto);
            let error = icmp(&ip, kind, 1, [0; 4], &quoted.packet(&bytes));
            let frames = s.split(Server, proto, &error, &[104], &[0, 1], 7);
            s.train(Server, &frames, "fragments of an error")
                .datagrams(Client, &[104], &[0, 1], id)
                .datagrams(Client, &[104], &[0, 1], id);
        });
    }
}

/// What the kernel waits for, or lacks.
fn fragments(c: &mut Catalogue) {
    c.both("fragment/one_by_one", |s| {
        for frame in s.pieces(Client, &[48, 104], &[0, 1, 2], 7) {
            s.raw(Client, &frame, "one of three");
        }
    });
    c.both("fragment/lone_first", |s| {
        s.datagrams(Client, &[104], &[0], 7);
    });
    c.both("fragment/twice_with_a_gap", |s| {
        s.datagrams(Client, &[48, 104, 160], &[0, 2, 2, 1, 3], 7);
    });
    c.both("fragment/overlapping", |s| {
        let mut frames = s.pieces(Client, &[104], &[0], 7);
        frames.extend(s.pieces(Client, &[48], &[1], 7));
        s.train(Client, &frames, "fragments that overlap");
    });
    c.both("fragment/bad_checksum", |s| {
        let mut bytes = udp(&s.ip(Client, UDP), (5000, 53), 200);
        bytes[150] ^= 1;
        let frames = s.split(Client, UDP, &bytes, &[104], &[0, 1], 7);
        s.train(Client, &frames, "fragments of a spoilt datagram");
    });
    c.both("fragment/tcp_header_split", |s| {
        s.segments(Client, &seg(SYN).seq(0), &[8], 7);
    });
}
