//! Random walks over few numbers, so that they meet each other often: those of a
//! memory that is empty, of the other end, of what came before.

use crate::frame::ACK;
use crate::frame::FIN;
use crate::frame::RST;
use crate::frame::SYN;
use crate::frame::Segment;
use crate::frame::TCP;
use crate::lab::End;
use crate::random::Random;
use crate::script::Script;
use crate::tcp::flags_text;

/// So many segments of one connection, or several one after the other.
pub(crate) fn walk(script: &mut Script, random: &mut Random, rst: bool, steps: usize) {
    let bases = [(); 2].map(|()| {
        random.pick(&[
            0,
            0,
            u32::MAX,
            u32::MAX - 1,
            1,
            i32::MAX as u32,
            1 << 31,
            70_000,
        ])
    });
    let spread = random.pick(&[2, 3, 5]);
    let windows = random.pick(&[
        vec![0, 1],
        vec![0, 1, 2, 3],
        vec![0, 1000],
        vec![1, 1000, 65_535],
    ]);
    let mut waits = 1;
    let mut last: Option<(End, Segment)> = None;
    while script.steps.len() < steps {
        if waits > 0 && random.percent(2) {
            waits -= 1;
            script.wait(random.pick(&[1.2, 2.4]));
        }
        let (from, segment) = match last.take() {
            Some(again) if random.percent(15) => again,
            _ => {
                let from = random.pick(&[End::Client, End::Server]);
                (from, segment(random, from, bases, spread, &windows))
            }
        };
        if segment.flags & RST != 0 && !rst {
            continue;
        }
        let ip = script.ip(from, TCP);
        let what = format!(
            "{} seq {:#x} ack {:#x} win {} len {} opt {:02x?}",
            flags_text(segment.flags),
            segment.seq,
            segment.ack,
            segment.window,
            segment.payload,
            segment.options,
        );
        script.packet(from, &ip, &segment.bytes(&ip), what);
        last = Some((from, segment));
    }
}

fn segment(
    random: &mut Random,
    from: End,
    bases: [u32; 2],
    spread: u64,
    windows: &[u16],
) -> Segment {
    let flags = match random.below(20) {
        0..3 => SYN,
        3..6 => SYN | ACK,
        6..12 => ACK,
        12..16 => FIN | ACK,
        16 => RST,
        17 => RST | ACK,
        _ => ACK,
    };
    let (own, peer) = (bases[from as usize], bases[1 - from as usize]);
    let seq = own.wrapping_add(random.below(spread) as u32);
    let ack = peer.wrapping_add(random.below(spread) as u32);
    let options = match (flags & SYN != 0, random.below(6)) {
        (true, 0) => vec![1, 3, 3, 1],
        (true, 1) => vec![1, 1, 4, 2, 1, 3, 3, 14],
        (true, 2) => vec![1, 1, 4, 2],
        (true, 3) => vec![2, 4, 5, 0xb4],
        (false, 0) => {
            let mut sack = vec![1, 1, 5, 10];
            sack.extend(ack.to_be_bytes());
            sack.extend(ack.wrapping_add(random.below(3) as u32).to_be_bytes());
            sack
        }
        _ => Vec::new(),
    };
    Segment {
        ports: match from {
            End::Client => (40000, 80),
            End::Server => (80, 40000),
        },
        seq,
        ack: if flags & ACK != 0 || random.percent(20) {
            ack
        } else {
            0
        },
        flags,
        window: random.pick(windows),
        options,
        payload: if random.percent(25) { 1 } else { 0 },
    }
}
