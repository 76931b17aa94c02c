//! Random walks of packets of all protocols in which a few bytes are any: headers of
//! layer 4, their options and chunks, what errors quote, and in IPv6 the headers
//! before them.

use crate::frame::ACK;
use crate::frame::FIN;
use crate::frame::GRE;
use crate::frame::ICMP;
use crate::frame::ICMPV6;
use crate::frame::Ip;
use crate::frame::RST;
use crate::frame::SCTP;
use crate::frame::SYN;
use crate::frame::TCP;
use crate::frame::UDP;
use crate::frame::UDPLITE;
use crate::frame::crc32c;
use crate::frame::icmp;
use crate::frame::sctp;
use crate::frame::udp;
use crate::lab::End;
use crate::random::Random;
use crate::script::Script;
use crate::tcp::seg;

/// So many packets.
pub(crate) fn walk(script: &mut Script, random: &mut Random, steps: usize) {
    let mut sent: Vec<Vec<u8>> = Vec::new();
    // Mostly of one protocol, so that there is a flow to meet.
    let icmp_of = if script.v6 { ICMPV6 } else { ICMP };
    let main = random.pick(&[TCP, TCP, UDP, UDPLITE, SCTP, icmp_of, GRE, 253]);
    let mut at = [1_i64, 1];
    let mut waits = 1;
    if main == TCP {
        script.handshake_scaled(3);
    }
    while script.steps.len() < steps {
        if waits > 0 && random.percent(3) {
            waits -= 1;
            script.wait(random.pick(&[1.2, 2.4]));
        }
        let from = random.pick(&[End::Client, End::Server]);
        let proto = if random.percent(70) {
            main
        } else {
            random.pick(&[TCP, UDP, UDPLITE, SCTP, icmp_of, GRE, 253])
        };
        let error = proto == icmp_of && random.percent(60) && !sent.is_empty();
        let mut ip = script.ip(from, proto);
        if script.v6 && random.percent(25) {
            ip.extensions = chain(random);
        }
        let mut bytes = if error {
            let mut inner = random.pick(&sent);
            for _ in 0..random.below(3) {
                spoil(random, &mut inner);
            }
            if random.percent(30) {
                inner.truncate(random.below(70) as usize);
            }
            let kind = if script.v6 {
                random.pick(&[1, 2, 3, 4])
            } else {
                random.pick(&[3, 11, 12])
            };
            icmp(&ip, kind, 0, [0; 4], &inner)
        } else {
            payload(random, script, &ip, from, &mut at)
        };
        let spoilt = random.percent(45);
        if spoilt {
            for _ in 0..random.pick(&[1, 1, 2, 3]) {
                spoil(random, &mut bytes);
            }
            if random.percent(10) {
                let keep = random.below(bytes.len() as u64 + 1) as usize;
                bytes.truncate(keep);
            }
        }
        if random.percent(85) {
            seal(&ip, &mut bytes);
        }
        let mut packet = ip.packet(&bytes);
        if script.v6 && random.percent(6) {
            // A header that is another's, or ends elsewhere; but no fragments.
            let at = 40 + random.below(8) as usize;
            if at < packet.len() && packet[6] != 0 && packet[6] != 44 {
                packet[at] = random.pick(&[0, 1, 2, 4, 8, 255, 43, 50, 51, 59, 60, 135]);
            }
        }
        sent.push(packet.clone());
        let head: Vec<u8> = packet.iter().copied().take(110).collect();
        script.raw(
            from,
            &packet,
            format!("protocol {proto} spoilt {spoilt} {head:02x?}"),
        );
    }
}

fn spoil(random: &mut Random, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    let reach = random.pick(&[4, 16, 24, 40, 64]).min(bytes.len() as u64);
    let at = random.below(reach) as usize;
    bytes[at] = match random.below(4) {
        0 => random.next() as u8,
        1 => bytes[at] ^ 1 << random.below(8),
        2 => random.pick(&[0, 1, 2, 4, 8, 0x40, 0x80, 0xff]),
        _ => bytes[at].wrapping_add(random.pick(&[1, 255, 4])),
    };
}

/// Extension headers that end where they say.
fn chain(random: &mut Random) -> Vec<(u8, Vec<u8>)> {
    let mut headers = Vec::new();
    if random.percent(30) {
        headers.push((0, vec![0, 0, 1, 4, 0, 0, 0, 0]));
    }
    for _ in 0..random.below(4) {
        headers.push(match random.below(5) {
            0 => (43, vec![0, 0, 4, 0, 0, 0, 0, 0]),
            1 => (51, vec![0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
            2 => (60, vec![0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            _ => (60, vec![0, 0, 1, 4, 0, 0, 0, 0]),
        });
    }
    headers
}

fn payload(random: &mut Random, script: &Script, ip: &Ip, from: End, at: &mut [i64; 2]) -> Vec<u8> {
    let ports = match from {
        End::Client => (5000, 53),
        End::Server => (53, 5000),
    };
    match ip.proto {
        TCP => {
            let flags = random.pick(&[
                ACK,
                ACK,
                ACK,
                ACK,
                SYN,
                SYN | ACK,
                FIN | ACK,
                RST,
                RST | ACK,
            ]);
            let (own, peer) = (from as usize, 1 - from as usize);
            let length = random.pick(&[0, 0, 1, 100]);
            let segment = seg(flags).seq(at[own]).ack(at[peer]).len(length);
            if flags == ACK {
                at[own] += length as i64;
            }
            let option: &[u8] = random.pick(&[
                &[][..],
                &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
                &[
                    2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
                ],
                &[2, 4, 5, 180, 1, 3, 3, 7, 1, 1, 4, 2],
                &[1, 3, 3, 14],
            ]);
            let segment = segment.opt(option);
            let segment = if random.percent(20) {
                let right = at[peer] + random.pick(&[0, 1, 2, 500]);
                let segment = seg(flags).seq(at[own]).ack(at[peer]);
                segment.sack(from, &[(right - 1, right)])
            } else {
                segment
            };
            segment.wire(from).bytes(ip)
        }
        UDP | UDPLITE => udp(ip, ports, random.below(40) as usize),
        SCTP => {
            let mut value = [0; 16];
            value[3] = if from == End::Client { 0xc1 } else { 0x51 };
            let kinds = [0, 1, 2, 10, 11, 4, 5, 7, 8, 14, 6, 9, 3];
            let count = random.pick(&[1, 1, 1, 2, 3, 10, 20]);
            let chunks: Vec<(u8, u8)> = (0..count)
                .map(|_| (random.pick(&kinds), random.below(2) as u8))
                .collect();
            let parts: Vec<(u8, u8, &[u8])> = chunks
                .iter()
                .map(|(kind, flags)| {
                    let long = *kind == 1 || *kind == 2;
                    (*kind, *flags, if long { &value[..] } else { &value[4..8] })
                })
                .collect();
            let tag = match (chunks[0].0, from) {
                (1, _) => 0,
                (_, End::Client) => 0x51,
                (_, End::Server) => 0xc1,
            };
            sctp(ports, tag, &parts)
        }
        GRE => random.pick(&[
            vec![0x30, 1, 0x88, 0x0b, 0, 4, 0, 7, 0, 0, 0, 1],
            vec![0, 0, 8, 0, 1, 2, 3, 4],
        ]),
        ICMP => icmp(ip, random.pick(&[8, 0, 13, 14]), 0, [0, 5, 0, 1], b"query"),
        ICMPV6 => icmp(
            ip,
            random.pick(&[128, 129, 139, 140]),
            0,
            [0, 5, 0, 1],
            b"query",
        ),
        _ => vec![0x45; 12 + usize::from(script.v6)],
    }
}

/// Puts the checksum of what it is now.
fn seal(ip: &Ip, bytes: &mut Vec<u8>) {
    let at = match ip.proto {
        TCP => 16,
        UDP | UDPLITE => 6,
        ICMP | ICMPV6 => 2,
        SCTP if bytes.len() >= 12 => {
            bytes[8..12].fill(0);
            let crc = crc32c(bytes).to_le_bytes();
            bytes[8..12].copy_from_slice(&crc);
            return;
        }
        _ => return,
    };
    if bytes.len() >= at + 2 {
        *bytes = ip.seal(std::mem::take(bytes), at);
    }
}
