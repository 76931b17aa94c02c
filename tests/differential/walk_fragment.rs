//! Random walks of packets that come in fragments: all of them, in any order or
//! some twice in the right one, or without the first.

use crate::frame::ACK;
use crate::frame::PSH;
use crate::frame::SYN;
use crate::frame::TCP;
use crate::frame::UDP;
use crate::frame::udp;
use crate::lab::End;
use crate::random::Random;
use crate::script::Script;
use crate::tcp::Seg;
use crate::tcp::seg;

/// Wide enough for all that is sent: how far beyond it a segment reaches is not
/// told by its first fragment.
const WINDOW: u16 = 65_535;

/// So many packets of a TCP connection and two UDP flows.
pub(crate) fn walk(script: &mut Script, random: &mut Random, steps: usize) {
    // What each end has sent, and what the other one has of it.
    let mut sent = [1_i64; 2];
    script
        .c(seg(SYN).seq(0).win(WINDOW))
        .s(seg(SYN | ACK).seq(0).ack(1).win(WINDOW))
        .c(seg(ACK).seq(1).ack(1).win(WINDOW));
    let mut waits = 2;
    for id in 1.. {
        if script.steps.len() >= steps {
            break;
        }
        if waits > 0 && random.percent(4) {
            waits -= 1;
            script.wait(random.pick(&[0.6, 1.3, 2.4]));
        }
        let from = random.pick(&[End::Client, End::Server]);
        let (proto, bytes, what) = if random.percent(50) {
            let (segment, what) = segment(random, from, &mut sent);
            let bytes = segment.wire(from).bytes(&script.ip(from, TCP));
            (TCP, bytes, what)
        } else {
            datagram(script, random, from)
        };
        let cuts = cuts(random, bytes.len(), if proto == TCP { 40 } else { 8 });
        let order = order(random, cuts.len() + 1);
        let frames = script.split(from, proto, &bytes, &cuts, &order, id);
        script.train(from, &frames, format!("{what} at {cuts:?} in {order:?}"));
    }
}

fn segment(random: &mut Random, from: End, sent: &mut [i64; 2]) -> (Seg, String) {
    let (own, peer) = (from as usize, 1 - from as usize);
    let length = random.below(600) as usize + 100;
    let (seq, ack) = (sent[own], sent[peer]);
    if random.percent(10) {
        // Of what nobody has sent.
        let ack = ack + 1 + random.below(100_000) as i64;
        let segment = seg(ACK | PSH).seq(seq).ack(ack).len(length).win(WINDOW);
        return (segment, format!("segment {seq}+{length} unseen ack {ack}"));
    }
    sent[own] += length as i64;
    let segment = seg(ACK | PSH).seq(seq).ack(ack).len(length).win(WINDOW);
    (segment, format!("segment {seq}+{length} ack {ack}"))
}

fn datagram(script: &Script, random: &mut Random, from: End) -> (u8, Vec<u8>, String) {
    let client = random.pick(&[5000, 5001]);
    let ports = match from {
        End::Client => (client, 53),
        End::Server => (53, client),
    };
    let length = random.below(900) as usize + 100;
    let bytes = udp(&script.ip(from, UDP), ports, length);
    (UDP, bytes, format!("datagram {ports:?} of {length}"))
}

/// One to five places to cut a packet, not within its header.
fn cuts(random: &mut Random, length: usize, header: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..random.below(5) + 1)
        .map(|_| (header + random.below((length - header) as u64 - 1) as usize).next_multiple_of(8))
        .filter(|cut| *cut < length)
        .collect();
    cuts.push(header);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

fn order(random: &mut Random, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    match random.below(10) {
        0..3 => {}
        3 => {
            order.remove(0);
        }
        4 | 5 => {
            // Some come twice, in their place or later.
            for _ in 0..random.below(3) + 1 {
                let at = random.below(order.len() as u64 - 1) as usize;
                order.insert(at + 1, order[random.below(at as u64 + 1) as usize]);
            }
        }
        _ => {
            for last in (1..count).rev() {
                order.swap(last, random.below(last as u64 + 1) as usize);
            }
        }
    }
    order
}
