//! Random walks over everything but TCP.

use crate::frame::GRE;
use crate::frame::ICMP;
use crate::frame::ICMPV6;
use crate::frame::Ip;
use crate::frame::SCTP;
use crate::frame::UDP;
use crate::frame::icmp;
use crate::frame::sctp;
use crate::frame::udp;
use crate::lab::End;
use crate::random::Random;
use crate::script::Script;

/// So many packets of a few UDP, ICMP, GRE and generic flows, and errors about
/// them.
pub(crate) fn walk(script: &mut Script, random: &mut Random, steps: usize) {
    let mut sent: Vec<(End, Vec<u8>)> = Vec::new();
    let mut waits = 3;
    while script.steps.len() < steps {
        if waits > 0 && random.percent(6) {
            waits -= 1;
            script.wait(random.pick(&[0.7, 1.2, 2.3]));
        }
        let from = if random.percent(55) {
            End::Client
        } else {
            End::Server
        };
        let (what, packet) = match random.below(10) {
            0..4 => datagram(script, random, from),
            4..7 => query(script, random, from),
            7 => other(script, random, from),
            _ => error(script, random, from, &sent),
        };
        script.raw(from, &packet, what);
        sent.push((from, packet));
    }
}

fn datagram(script: &Script, random: &mut Random, from: End) -> (String, Vec<u8>) {
    let ip = script.ip(from, UDP);
    let (client, server) = (random.pick(&[1000, 1001]), random.pick(&[53, 1000]));
    let ports = if from == End::Client {
        (client, server)
    } else {
        (server, client)
    };
    let mut bytes = udp(&ip, ports, random.below(60) as usize);
    if random.percent(5) {
        bytes[5] = random.below(80) as u8;
        bytes[6..8].fill(0);
    }
    (format!("datagram {ports:?}"), ip.packet(&bytes))
}

fn query(script: &Script, random: &mut Random, from: End) -> (String, Vec<u8>) {
    let ip = script.ip(from, if script.v6 { ICMPV6 } else { ICMP });
    let kind = match (script.v6, random.below(10)) {
        (false, 0..4) => 8,
        (false, 4..7) => 0,
        (false, 7) => random.pick(&[13, 14, 15, 16, 17, 18]),
        (true, 0..4) => 128,
        (true, 4..7) => 129,
        (true, 7) => random.pick(&[139, 140]),
        _ => random.below(256) as u8,
    };
    let (id, code) = (random.pick(&[1, 2]), u8::from(random.percent(8)));
    let bytes = icmp(&ip, kind, code, [0, id, 0, 9], b"");
    (format!("icmp {kind}/{code} id {id}"), ip.packet(&bytes))
}

fn other(script: &Script, random: &mut Random, from: End) -> (String, Vec<u8>) {
    let proto = random.pick(&[GRE, GRE, 50, 253, 33]);
    let ip = script.ip(from, proto);
    let payload = match random.below(4) {
        0 => vec![
            0x30,
            1,
            0x88,
            0x0b,
            0,
            4,
            0,
            random.pick(&[1, 2]),
            0,
            0,
            0,
            1,
        ],
        1 => vec![0, 1, 8, 0],
        _ => vec![0, 0, 8, 0, 1, 2, 3, 4],
    };
    (format!("protocol {proto}"), ip.packet(&payload))
}

/// An error about something that was sent, not always back to its sender.
fn error(
    script: &Script,
    random: &mut Random,
    from: End,
    sent: &[(End, Vec<u8>)],
) -> (String, Vec<u8>) {
    let ip = script.ip(from, if script.v6 { ICMPV6 } else { ICMP });
    let kind = if script.v6 {
        random.pick(&[1, 2, 3, 4])
    } else {
        random.pick(&[3, 4, 5, 11, 12])
    };
    let mut inner = match sent.len() {
        0 => Vec::new(),
        count => sent[random.below(count as u64) as usize].1.clone(),
    };
    if random.percent(20) {
        inner.truncate(random.below(64) as usize);
    }
    inner.truncate(128);
    let bytes = icmp(&ip, kind, 1, [0; 4], &inner);
    (format!("icmp error {kind}"), ip.packet(&bytes))
}

/// So many SCTP packets of one pair of ports.
pub(crate) fn walk_sctp(script: &mut Script, random: &mut Random, steps: usize) {
    let mut tags = [0xc1, 0x51];
    if random.percent(80) {
        associate(script, tags);
    }
    while script.steps.len() < steps {
        if random.percent(6) {
            tags = [0xc1 + random.below(3) as u32, 0x51 + random.below(3) as u32];
            associate(script, tags);
        }
        let from = if random.percent(50) {
            End::Client
        } else {
            End::Server
        };
        let peer = tags[1 - from as usize];
        let kind = random.pick(&[0, 0, 0, 3, 1, 2, 4, 4, 5, 5, 6, 7, 8, 9, 10, 11, 14, 130]);
        let tag = match random.below(10) {
            0 => tags[from as usize],
            1 => 0x99,
            2 => 0,
            _ if kind == 1 => 0,
            _ => peer,
        };
        let own = tags[from as usize].wrapping_add(u32::from(random.percent(15)));
        let value = if matches!(kind, 1 | 2) {
            init(own).to_vec()
        } else {
            vec![0; 12]
        };
        let flags = u8::from(random.percent(20));
        let mut chunks = vec![(kind, flags, value.as_slice())];
        if random.percent(10) {
            chunks.push((random.pick(&[0, 3, 4, 7, 10]), 0, &[0; 12]));
        }
        packet(script, from, tag, &chunks);
    }
}

fn associate(script: &mut Script, tags: [u32; 2]) {
    packet(script, End::Client, 0, &[(1, 0, &init(tags[0]))]);
    packet(script, End::Server, tags[0], &[(2, 0, &init(tags[1]))]);
    packet(script, End::Client, tags[1], &[(10, 0, b"cook")]);
    packet(script, End::Server, tags[0], &[(11, 0, b"")]);
}

fn init(tag: u32) -> [u8; 16] {
    let mut value = [0; 16];
    value[..4].copy_from_slice(&tag.to_be_bytes());
    value[9] = 5;
    value[11] = 5;
    value
}

fn packet(script: &mut Script, from: End, tag: u32, chunks: &[(u8, u8, &[u8])]) {
    let ip: Ip = script.ip(from, SCTP);
    let ports = if from == End::Client {
        (7000, 8000)
    } else {
        (8000, 7000)
    };
    let kinds: Vec<u8> = chunks.iter().map(|(kind, _, _)| *kind).collect();
    let bytes = sctp(ports, tag, chunks);
    script.packet(
        from,
        &ip,
        &bytes,
        format!(
            "sctp chunks {kinds:?} flags {} tag {tag:#x} {:02x?}",
            chunks[0].1, chunks[0].2
        ),
    );
}
