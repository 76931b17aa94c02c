//! Random walks over everything but TCP.

use crate::frame::GRE;
use crate::frame::ICMP;
use crate::frame::ICMPV6;
use crate::frame::Ip;
use crate::frame::UDP;
use crate::frame::UDPLITE;
use crate::frame::icmp;
use crate::frame::udp;
use crate::lab::End;
use crate::random::Random;
use crate::script::Script;

/// ICMPv6's redirect.
const REDIRECT: u8 = 137;

/// So many packets of a few UDP, ICMP, GRE and generic flows, and errors about
/// them; none of the protocols in `without`.
pub(crate) fn walk(script: &mut Script, random: &mut Random, without: &[u8], steps: usize) {
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
            7 => other(script, random, without, from),
            _ => error(script, random, from, &sent),
        };
        script.raw(from, &packet, what);
        sent.push((from, packet));
    }
}

fn datagram(script: &Script, random: &mut Random, from: End) -> (String, Vec<u8>) {
    let proto = random.pick(&[UDP, UDP, UDP, UDPLITE]);
    let ip = script.ip(from, proto);
    let (client, server) = (random.pick(&[1000, 1001]), random.pick(&[53, 1000]));
    let ports = if from == End::Client {
        (client, server)
    } else {
        (server, client)
    };
    let mut bytes = udp(&ip, ports, random.below(60) as usize);
    if random.percent(8) {
        // A length that is not the datagram's; UDP-Lite's may be shorter.
        let any = random.below(80) as u8;
        bytes[5] = random.pick(&[0, 1, 7, 8, 9, any]);
        bytes[6..8].fill(0);
        if proto == UDPLITE {
            bytes[6] = 0x5a;
        }
    } else if random.percent(3) {
        bytes[6..8].fill(0);
    } else if random.percent(2) {
        bytes.truncate(random.below(9) as usize);
    }
    (
        format!(
            "datagram {proto} {ports:?} {:02x?}",
            &bytes[..bytes.len().min(8)]
        ),
        ip.packet(&bytes),
    )
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

fn other(script: &Script, random: &mut Random, without: &[u8], from: End) -> (String, Vec<u8>) {
    let mut proto = random.pick(&[GRE, GRE, GRE, 50, 253, 33, 2, 89]);
    if without.contains(&proto) {
        proto = 253;
    }
    let ip = script.ip(from, proto);
    let call = random.pick(&[0, 1, 2]);
    let mut payload = random.pick(&[
        vec![0x30, 1, 0x88, 0x0b, 0, 4, 0, call, 0, 0, 0, 1],
        vec![0x20, 1, 0x88, 0x0b, 0, 4, 0, call],
        vec![0x30, 1, 0x08, 0x00, 0, 4, 0, call],
        vec![0x20, 2, 0x88, 0x0b, 0, 4, 0, call],
        vec![0, 0, 8, 0, 1, 2, 3, 4],
        vec![0x20, 0, 8, 0, 0, 0, 0, call],
    ]);
    if random.percent(12) {
        payload.truncate(random.below(9) as usize);
    }
    (
        format!("protocol {proto} {payload:02x?}"),
        ip.packet(&payload),
    )
}

/// An error about something that was sent, not always back to its sender.
fn error(
    script: &Script,
    random: &mut Random,
    from: End,
    sent: &[(End, Vec<u8>)],
) -> (String, Vec<u8>) {
    let mut ip = script.ip(from, if script.v6 { ICMPV6 } else { ICMP });
    let kind = if script.v6 {
        random.pick(&[1, 2, 3, 4, 0, 100, 127, REDIRECT, REDIRECT])
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
    if random.percent(10) {
        // A router on the way, or one that answers somebody else.
        ip.src = script.address(from, 3);
    } else if random.percent(5) {
        ip.dst = ip.src;
    }
    let mut code = random.pick(&[0, 1, 3]);
    if kind == REDIRECT {
        code = u8::from(random.percent(10));
        redirect(random, &mut ip, &mut inner);
    }
    let bytes = icmp(&ip, kind, code, [0; 4], &inner);
    (format!("icmp error {kind}/{code}"), ip.packet(&bytes))
}

/// A redirect as a router sends it, or nearly: a target, a destination, and
/// options.
fn redirect(random: &mut Random, ip: &mut Ip, inner: &mut Vec<u8>) {
    if random.percent(85) {
        ip.src = "fe80::1".parse().expect("an address");
    }
    if random.percent(85) {
        ip.ttl = 255;
    }
    let mut body = vec![0xfd; 32];
    if random.percent(90) {
        let units = (8 + inner.len()).div_ceil(8) as u8;
        body.extend([
            random.pick(&[4, 4, 4, 4, 2]),
            if random.percent(95) { units } else { 0 },
        ]);
        body.extend([0; 6]);
        body.append(inner);
    } else {
        body.truncate(random.below(33) as usize);
    }
    *inner = body;
}
