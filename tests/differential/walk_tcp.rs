//! Random walks of two TCP ends that mostly behave.

use crate::frame::ACK;
use crate::frame::FIN;
use crate::frame::PSH;
use crate::frame::RST;
use crate::frame::SYN;
use crate::frame::URG;
use crate::lab::End;
use crate::random::Random;
use crate::script::Script;
use crate::tcp::MSS;
use crate::tcp::SACK_OK;
use crate::tcp::Seg;
use crate::tcp::seg;

/// What an end believes: its next sequence number, and the window it grants.
#[derive(Copy, Clone, Default)]
struct Belief {
    next: i64,
    window: u16,
}

/// So many segments of a connection that opens, talks, is disturbed, closes
/// and opens again; without RST if that is not asked for.
pub(crate) fn walk(script: &mut Script, random: &mut Random, rst: bool, steps: usize) {
    let mut ends = [Belief {
        next: 0,
        window: 1000,
    }; 2];
    if random.percent(80) {
        open(script, random, &mut ends);
    }
    let mut waits = 2;
    while script.steps.len() < steps {
        if waits > 0 && random.percent(3) {
            waits -= 1;
            script.wait(1.2);
        }
        if random.percent(4) {
            open(script, random, &mut ends);
            continue;
        }
        let from = if random.percent(50) {
            End::Client
        } else {
            End::Server
        };
        let segment = segment(random, from, &mut ends);
        if rst || !segment.has(RST) {
            script.tcp(from, segment);
        }
    }
}

/// A handshake, each segment of which may be missing.
fn open(script: &mut Script, random: &mut Random, ends: &mut [Belief; 2]) {
    let first = if random.percent(85) {
        End::Client
    } else {
        End::Server
    };
    let second = if first == End::Client {
        End::Server
    } else {
        End::Client
    };
    let (a, b) = (first as usize, second as usize);
    if random.percent(50) {
        ends[a].next += random.pick(&[1, 1000, 70_000, 500_000, -3000]);
        ends[b].next += random.pick(&[1, 1000, 70_000, 500_000, -3000]);
    }
    let (x, y) = (ends[a].next, ends[b].next);
    if random.percent(95) {
        let syn = seg(SYN).seq(x).win(window(random));
        let mut syn = options(random, syn);
        if random.percent(3) {
            syn = syn.len(10);
        }
        script.tcp(first, syn.clone());
        if random.percent(15) {
            script.tcp(first, syn);
        }
    }
    if random.percent(92) {
        let synack = seg(SYN | ACK).seq(y).ack(x + 1).win(window(random));
        script.tcp(second, options(random, synack));
    }
    if random.percent(92) {
        script.tcp(first, seg(ACK).seq(x + 1).ack(y + 1).win(window(random)));
    }
    ends[a].next = x + 1;
    ends[b].next = y + 1;
}

fn window(random: &mut Random) -> u16 {
    random.pick(&[1000, 1000, 1000, 1000, 500, 65_535, 60_000, 10, 1, 0])
}

fn options(random: &mut Random, segment: Seg) -> Seg {
    match random.below(8) {
        0 => segment,
        1 => segment.opt(MSS),
        2 => segment.opt(MSS).opt(SACK_OK),
        3 => segment.scale(random.below(17) as u8),
        _ => segment.opt(MSS).opt(SACK_OK).scale(random.pick(&[0, 2, 7])),
    }
}

/// A number near another: mostly the same.
fn near(random: &mut Random, number: i64, window: i64) -> i64 {
    if random.percent(75) {
        return number;
    }
    number
        + random.pick(&[
            -1,
            1,
            -2,
            2,
            -10,
            10,
            100,
            -100,
            window,
            window + 1,
            window + 2,
            window - 1,
            -window,
            -window - 1,
            2 * window,
            -65_990,
            -66_000,
            -66_001,
            66_000,
            -70_000,
            70_000,
            1_000_000,
            -1_000_000,
            i64::from(u32::MAX / 2),
        ])
}

fn segment(random: &mut Random, from: End, ends: &mut [Belief; 2]) -> Seg {
    let (own, peer) = (from as usize, 1 - from as usize);
    let flags = match random.below(100) {
        0..35 => ACK,
        35..70 => ACK | PSH,
        70..80 => FIN | ACK,
        80..85 => RST,
        85..89 => RST | ACK,
        89..92 => SYN,
        92..95 => SYN | ACK,
        95..97 => ACK | URG,
        _ => random.below(64) as u8,
    };
    let payload = if flags & (RST | SYN) == 0 && random.percent(60) {
        random.pick(&[1, 10, 100, 999, 1000, 1001, 1400])
    } else {
        0
    };
    if random.percent(20) {
        ends[own].window = window(random);
    }
    let seq = near(random, ends[own].next, ends[peer].window.into());
    let ack = near(random, ends[peer].next, ends[own].window.into());
    let mut segment = seg(flags)
        .seq(seq)
        .ack(ack)
        .win(ends[own].window)
        .len(payload);
    if flags & SYN != 0 {
        segment = options(random, segment);
    } else if flags & ACK != 0 && random.percent(12) {
        let right = ack + random.pick(&[1, 10, 100, 1000, 5000]);
        segment = segment.sack(from, &[(right - 1, right)]);
    } else if random.percent(5) {
        segment = segment.opt(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    }
    if random.percent(80) && flags & RST == 0 {
        let length = payload as i64 + i64::from(flags & SYN != 0) + i64::from(flags & FIN != 0);
        ends[own].next = ends[own].next.max(seq + length).min(ends[own].next + 5000);
    }
    segment
}
