//! Random walks of SCTP: associations that mostly come about, and bundles of
//! any chunks with any tags.

use crate::frame::SCTP;
use crate::frame::sctp;
use crate::lab::End;
use crate::random::Random;
use crate::script::Script;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

/// Types of chunks, the common ones more than once.
const KINDS: [u8; 26] = [
    0, 0, 0, 3, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 6, 6, 7, 7, 8, 8, 9, 10, 11, 14, 130, 12,
];

/// So many SCTP packets of two pairs of ports.
pub(crate) fn walk(script: &mut Script, random: &mut Random, steps: usize) {
    let mut tags = [0xc1, 0x51];
    let mut port = 7000;
    if random.percent(60) {
        associate(script, random, port, tags);
    }
    let mut waits = 2;
    while script.steps.len() < steps {
        if waits > 0 && random.percent(4) {
            waits -= 1;
            script.wait(random.pick(&[0.6, 1.3, 2.4]));
        }
        if random.percent(5) {
            // New ends, or the old ones once more.
            port = random.pick(&[7000, 7001, 7002]);
            tags = [0xc1 + random.below(3) as u32, 0x51 + random.below(3) as u32];
            if random.percent(60) {
                associate(script, random, port, tags);
            }
        }
        bundle(script, random, port, tags);
    }
}

/// Four packets, each of which may be missing, or come again, or be another's.
fn associate(script: &mut Script, random: &mut Random, port: u16, tags: [u32; 2]) {
    let ends = if random.percent(80) {
        [End::Client, End::Server]
    } else {
        [End::Server, End::Client]
    };
    let [own, peer] = ends.map(|end| tags[end as usize]);
    let steps: [(End, u32, u8, Vec<u8>); 4] = [
        (ends[0], 0, INIT, init(own)),
        (ends[1], own, INIT_ACK, init(peer)),
        (ends[0], peer, 10, b"cook".to_vec()),
        (ends[1], own, 11, Vec::new()),
    ];
    for (from, tag, kind, value) in steps {
        for _ in 0..random.pick(&[0, 1, 1, 1, 1, 1, 1, 2]) {
            packet(script, from, port, tag, &[(kind, 0, value.clone())]);
        }
        if random.percent(8) {
            // Both ask at once.
            packet(script, ends[1], port, 0, &[(INIT, 0, init(peer))]);
        }
    }
}

fn bundle(script: &mut Script, random: &mut Random, port: u16, tags: [u32; 2]) {
    let from = if random.percent(50) {
        End::Client
    } else {
        End::Server
    };
    let (own, peer) = (tags[from as usize], tags[1 - from as usize]);
    let count = random.pick(&[1, 1, 1, 1, 2, 2, 3, 9]);
    let mut chunks = Vec::new();
    for _ in 0..count {
        let kind = random.pick(&KINDS);
        let mut value = match kind {
            INIT | INIT_ACK => init(own.wrapping_add(u32::from(random.percent(20)))),
            _ => vec![0; random.pick(&[0, 4, 5, 12])],
        };
        if random.percent(4) {
            value.truncate(random.below(17) as usize);
        }
        chunks.push((kind, u8::from(random.percent(25)), value));
    }
    let tag = match random.below(12) {
        0 => own,
        1 => 0x99,
        2 => 0,
        3 => peer.wrapping_add(1),
        _ if chunks[0].0 == INIT => 0,
        _ => peer,
    };
    packet(script, from, port, tag, &chunks);
}

fn init(tag: u32) -> Vec<u8> {
    let mut value = vec![0; 16];
    value[..4].copy_from_slice(&tag.to_be_bytes());
    value[9] = 5;
    value[11] = 5;
    value
}

fn packet(script: &mut Script, from: End, port: u16, tag: u32, chunks: &[(u8, u8, Vec<u8>)]) {
    let ip = script.ip(from, SCTP);
    let ports = if from == End::Client {
        (port, 8000)
    } else {
        (8000, port)
    };
    let kinds: Vec<_> = chunks
        .iter()
        .map(|(kind, flags, value)| (*kind, *flags, value.len(), value.get(3)))
        .collect();
    let parts: Vec<(u8, u8, &[u8])> = chunks
        .iter()
        .map(|(kind, flags, value)| (*kind, *flags, value.as_slice()))
        .collect();
    let bytes = sctp(ports, tag, &parts);
    let what = format!("sctp {ports:?} tag {tag:#x}: kind, flags, length, tag {kinds:?}");
    script.packet(from, &ip, &bytes, what);
}
