//! Checksums that are bad, missing, or left to a card. They matter under the
//! profile `checksum` only; under the others both trackers look away.

use crate::frame::ACK;
use crate::frame::ICMP;
use crate::frame::ICMPV6;
use crate::frame::Ip;
use crate::frame::SCTP;
use crate::frame::SYN;
use crate::frame::TCP;
use crate::frame::UDP;
use crate::frame::UDPLITE;
use crate::frame::checksum;
use crate::frame::crc32c;
use crate::frame::icmp;
use crate::frame::sctp;
use crate::frame::udp;
use crate::lab::End;
use crate::lab::End::Client;
use crate::lab::End::Server;
use crate::script::Catalogue;
use crate::script::Script;
use crate::tcp::seg;

/// Where the checksum is.
fn field(proto: u8) -> usize {
    match proto {
        TCP => 16,
        ICMP | ICMPV6 => 2,
        SCTP => 8,
        _ => 6,
    }
}

/// The family's ICMP.
fn icmp_of(s: &Script) -> u8 {
    if s.v6 { ICMPV6 } else { ICMP }
}

/// A packet of one flow: the client's opens it, the server's answers.
fn segment(ip: &Ip, from: End, payload: usize) -> Vec<u8> {
    let ports = |client, server| match from {
        Client => (client, server),
        Server => (server, client),
    };
    let body = vec![0x5a; payload];
    match ip.proto {
        TCP if from == Client => seg(SYN).len(payload).wire(from).bytes(ip),
        TCP => seg(SYN | ACK).seq(0).len(payload).wire(from).bytes(ip),
        ICMP | ICMPV6 => {
            let kind = match (ip.proto, from) {
                (ICMP, Client) => 8,
                (ICMP, Server) => 0,
                (_, Client) => 128,
                (_, Server) => 129,
            };
            icmp(ip, kind, 0, [0, 5, 0, 1], &body)
        }
        SCTP => {
            // INIT and INIT ACK, with a parameter that fills them up.
            let (kind, tag) = if from == Client { (1, 0) } else { (2, 0xc1) };
            let own = if from == Client { 0xc1_u32 } else { 0x51 };
            let mut value = own.to_be_bytes().to_vec();
            value.extend([0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 1]);
            value.extend([0x80, 0x99]);
            value.extend((4 + payload as u16).to_be_bytes());
            value.extend(body);
            sctp(ports(7000, 8000), tag, &[(kind, 0, &value)])
        }
        _ => udp(ip, ports(5000, 53), payload),
    }
}

impl Script {
    /// A packet of the flow, changed after it was sealed.
    fn changed(
        &mut self,
        from: End,
        proto: u8,
        payload: usize,
        what: &str,
        change: impl Fn(&Ip, &mut Vec<u8>),
    ) -> &mut Self {
        let ip = self.ip(from, proto);
        let mut bytes = segment(&ip, from, payload);
        change(&ip, &mut bytes);
        self.packet(from, &ip, &bytes, format!("protocol {proto}, {what}"))
    }

    /// A good packet of the flow.
    fn good(&mut self, from: End, proto: u8, payload: usize) -> &mut Self {
        self.changed(from, proto, payload, "good", |_, _| ())
    }

    /// Bad, good, bad, good: nothing comes of the bad ones.
    fn in_turns(
        &mut self,
        proto: u8,
        payload: usize,
        what: &str,
        change: impl Fn(&Ip, &mut Vec<u8>),
    ) -> &mut Self {
        for from in [Client, Server] {
            self.changed(from, proto, payload, what, &change)
                .good(from, proto, payload);
        }
        self.changed(Client, proto, payload, what, &change)
    }
}

pub(crate) fn add(c: &mut Catalogue) {
    for (name, proto) in [
        ("tcp", TCP),
        ("udp", UDP),
        ("udplite", UDPLITE),
        ("sctp", SCTP),
    ] {
        each(c, name, move |_| proto);
    }
    each(c, "icmp", icmp_of);
    zero(c);
    lengths(c);
    lite(c);
    errors(c);
    around(c);
    left_to_a_card(c);
}

/// What can be wrong with any of them, and where the chunks end in which it is
/// read.
fn each(c: &mut Catalogue, name: &str, proto: impl Fn(&Script) -> u8 + Copy + 'static) {
    c.both(&format!("checksum/{name}/field"), move |s| {
        let proto = proto(s);
        s.in_turns(proto, 20, "bad field", |ip, b| b[field(ip.proto) + 1] ^= 1);
    });
    c.both(&format!("checksum/{name}/header"), move |s| {
        // The SCTP tag, TCP's sequence, UDP's ports are part of what is summed.
        let proto = proto(s);
        s.in_turns(proto, 20, "bad pseudo-header", |ip, b| {
            let mut other = ip.clone();
            std::mem::swap(&mut other.src, &mut other.dst);
            other.proto ^= 0x40;
            match ip.proto {
                SCTP => b[11] ^= 0x80,
                ICMP => b[3] ^= 0x80,
                _ => *b = other.seal(b.clone(), field(ip.proto)),
            }
        });
    });
    for payload in [
        0, 1, 439, 471, 480, 491, 492, 493, 503, 504, 505, 1015, 1016, 1017, 1400,
    ] {
        c.both(&format!("checksum/{name}/size/{payload}"), move |s| {
            let proto = proto(s);
            s.in_turns(
                proto,
                payload,
                &format!("{payload} bytes, bad last one"),
                |_, b| {
                    let last = b.len() - 1;
                    b[last] ^= 0x10;
                },
            );
        });
    }
}

/// No checksum at all: only UDP may do so.
fn zero(c: &mut Catalogue) {
    c.both("checksum/tcp/zero", |s| {
        s.in_turns(TCP, 10, "no checksum", |_, b| b[16..18].fill(0));
    });
    c.both("checksum/udp/zero", |s| {
        s.in_turns(UDP, 10, "no checksum", |_, b| b[6..8].fill(0));
    });
    c.both("checksum/udplite/zero", |s| {
        s.in_turns(UDPLITE, 10, "no checksum", |_, b| b[6..8].fill(0));
    });
    c.both("checksum/icmp/zero", |s| {
        let proto = icmp_of(s);
        s.in_turns(proto, 10, "no checksum", |_, b| b[2..4].fill(0));
    });
}

/// What is summed is what IP says there is, whatever UDP says.
fn lengths(c: &mut Catalogue) {
    c.both("checksum/udp/own_length", |s| {
        s.in_turns(UDP, 10, "sum of the first half only", |ip, b| {
            b[4..6].copy_from_slice(&[0, 12]);
            let half = ip.seal(b[..12].to_vec(), 6);
            b[..12].copy_from_slice(&half);
        });
    });
    c.both("checksum/udp/length_of_ip", |s| {
        s.in_turns(UDP, 10, "sum of all, half the length", |ip, b| {
            b[4..6].copy_from_slice(&[0, 12]);
            *b = ip.seal(b.clone(), 6);
        });
    });
    for cut in 1..4 {
        c.both(&format!("checksum/sctp/odd/{cut}"), move |s| {
            s.in_turns(SCTP, 507, "cut, with the right CRC", |_, b| {
                b.truncate(b.len() - cut);
                b[8..12].fill(0);
                let crc = crc32c(b).to_le_bytes();
                b[8..12].copy_from_slice(&crc);
            });
        });
    }
}

/// The kernel checks UDP-Lite as if it were UDP; what is right by that is good.
fn lite(c: &mut Catalogue) {
    for payload in [11, 200, 300, 700] {
        c.both(&format!("checksum/udplite/as_udp/{payload}"), move |s| {
            s.in_turns(UDPLITE, payload, "sum of UDP", |ip, b| {
                let mut like = ip.clone();
                like.proto = UDP;
                *b = like.seal(b.clone(), 6);
            });
        });
        for cover in [0, 7, 8, 9, 600, 2000] {
            c.both(
                &format!("checksum/udplite/cover/{payload}/{cover}"),
                move |s| {
                    s.in_turns(
                        UDPLITE,
                        payload,
                        &format!("{cover} bytes covered"),
                        |ip, b| {
                            let length = b.len();
                            as_the_kernel(ip, b, cover, length);
                        },
                    );
                },
            );
        }
        c.v4(format!("checksum/udplite/low_byte/{payload}"), move |s| {
            s.in_turns(UDPLITE, payload, "length modulo 256", |ip, b| {
                let length = b.len() & 0xff;
                as_the_kernel(ip, b, 0, length);
            });
        });
    }
}

/// Seals UDP-Lite with UDP's protocol number and this length.
fn as_the_kernel(ip: &Ip, b: &mut [u8], cover: u16, length: usize) {
    let mut like = ip.clone();
    like.proto = UDP;
    b[4..6].copy_from_slice(&cover.to_be_bytes());
    b[6..8].fill(0);
    let covered = match usize::from(cover) {
        0 => b.len(),
        cover => cover.min(b.len()),
    };
    let sum = match checksum(like.pseudo(length), &b[..covered]) {
        0 => 0xffff,
        sum => sum,
    };
    b[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// Errors, and what is left alone.
fn errors(c: &mut Catalogue) {
    c.both("checksum/icmp/error", |s| {
        let inner = s.ip(Client, UDP);
        let quoted = inner.packet(&segment(&inner, Client, 20));
        let mut spoilt = quoted.clone();
        let last = spoilt.len() - 1;
        spoilt[last] ^= 0x55;
        let ip = s.ip(Server, icmp_of(s));
        let (kind, code) = if s.v6 { (1, 4) } else { (3, 3) };
        s.good(Client, UDP, 20);
        for (what, inner) in [("sound", &quoted), ("spoilt", &spoilt)] {
            let good = icmp(&ip, kind, code, [0; 4], inner);
            let mut bad = good.clone();
            bad[2] ^= 0x11;
            s.packet(Server, &ip, &bad, format!("bad error, {what} inside"))
                .packet(Server, &ip, &good, format!("error, {what} inside"));
        }
    });
    c.v6("checksum/icmp/neighbours", |s| {
        for kind in [130, 133, 135, 136, 143] {
            let ip = s.ip(Client, ICMPV6);
            let good = icmp(&ip, kind, 0, [0; 4], &[0; 16]);
            let mut bad = good.clone();
            bad[3] ^= 0x11;
            s.packet(Client, &ip, &bad, format!("bad icmp {kind}"))
                .packet(Client, &ip, &good, format!("icmp {kind}"));
        }
    });
}

/// What is around the segment: options, extension headers, bytes behind it.
fn around(c: &mut Catalogue) {
    let both = |s: &mut Script, ip: &Ip, trailer: usize| {
        let good = segment(ip, Client, 21);
        let mut bad = good.clone();
        bad[10] ^= 1;
        for (what, bytes) in [("bad", bad), ("good", good)] {
            let mut packet = ip.packet(&bytes);
            packet.extend(vec![0xee; trailer]);
            s.raw(Client, &packet, what);
        }
    };
    c.v4("checksum/around/options", move |s| {
        for proto in [TCP, UDP, ICMP, SCTP] {
            let mut ip = s.ip(Client, proto);
            ip.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
            both(s, &ip, 0);
        }
    });
    c.v6("checksum/around/extensions", move |s| {
        for proto in [TCP, UDP, ICMPV6, SCTP] {
            let mut ip = s.ip(Client, proto);
            ip.extensions = vec![
                (0, vec![0, 0, 1, 4, 0, 0, 0, 0]),
                (60, vec![0, 0, 1, 4, 0, 0, 0, 0]),
            ];
            both(s, &ip, 0);
        }
    });
    c.both("checksum/around/trailer", move |s| {
        for proto in [TCP, UDP, icmp_of(s), SCTP] {
            let ip = s.ip(Client, proto);
            both(s, &ip, 33);
        }
    });
}

/// The kernel knows that our frames came without an offload; we do not.
fn left_to_a_card(c: &mut Catalogue) {
    for (name, proto) in [("tcp", TCP), ("udp", UDP)] {
        c.both(&format!("checksum/partial/{name}"), move |s| {
            s.in_turns(proto, 20, "sum of the pseudo-header", |ip, b| {
                partial(ip, b)
            });
        });
    }
    c.v6("checksum/partial/icmp", |s| {
        s.in_turns(ICMPV6, 20, "sum of the pseudo-header", |ip, b| {
            partial(ip, b)
        });
    });
    c.both("checksum/partial/sctp", |s| {
        s.in_turns(SCTP, 20, "no CRC", |_, b| b[8..12].fill(0));
    });
}

fn partial(ip: &Ip, b: &mut [u8]) {
    let at = field(ip.proto);
    let sum = !checksum(ip.pseudo(b.len()), &[]);
    b[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
