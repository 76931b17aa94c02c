//! ICMP errors about packets whose quoted headers are odd: too short, too long,
//! of another version, of protocols without ports.

use crate::frame::ACK;
use crate::frame::GRE;
use crate::frame::ICMP;
use crate::frame::ICMPV6;
use crate::frame::Ip;
use crate::frame::SCTP;
use crate::frame::SYN;
use crate::frame::TCP;
use crate::frame::UDP;
use crate::frame::UDPLITE;
use crate::frame::icmp;
use crate::frame::sctp;
use crate::frame::udp;
use crate::lab::End;
use crate::lab::End::Client;
use crate::lab::End::Server;
use crate::script::Catalogue;
use crate::script::Script;
use crate::tcp::seg;

pub(crate) fn add(c: &mut Catalogue) {
    headers(c);
    lengths(c);
    extensions(c);
    queries(c);
    outer(c);
}

fn icmp_of(s: &Script) -> u8 {
    if s.v6 { ICMPV6 } else { ICMP }
}

/// The first packet of the client's flow, or what the server answers.
fn packet_of(s: &Script, proto: u8, from: End) -> (Ip, Vec<u8>) {
    let ip = s.ip(from, proto);
    let ports = match from {
        Client => (5000, 53),
        Server => (53, 5000),
    };
    let bytes = match proto {
        TCP if from == Client => seg(SYN).seq(0).wire(from).bytes(&ip),
        TCP => seg(SYN | ACK).seq(0).wire(from).bytes(&ip),
        UDP | UDPLITE => udp(&ip, ports, 20),
        SCTP => {
            let init = [0, 0, 0, 0xc1, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 1];
            sctp(ports, 0, &[(1, 0, &init)])
        }
        GRE => vec![0x30, 1, 0x88, 0x0b, 0, 4, 0, 7, 0, 0, 0, 1],
        ICMP | ICMPV6 => {
            let kinds = if s.v6 { [128, 129] } else { [8, 0] };
            icmp(&ip, kinds[from as usize], 0, [0, 5, 0, 1], b"ping")
        }
        _ => vec![0x45; 24],
    };
    (ip, bytes)
}

/// The flow, and an error about each end's packet after a change.
fn about(s: &mut Script, proto: u8, what: &str, change: impl Fn(&mut Vec<u8>)) {
    let (ip, bytes) = packet_of(s, proto, Client);
    s.packet(Client, &ip, &bytes, "opens");
    for from in [Client, Server] {
        let (ip, bytes) = packet_of(s, proto, from);
        let mut inner = ip.packet(&bytes);
        change(&mut inner);
        let other = if from == Client { Server } else { Client };
        error(s, other, &inner, what);
    }
}

fn error(s: &mut Script, from: End, inner: &[u8], what: &str) {
    let ip = s.ip(from, icmp_of(s));
    let kind = if s.v6 { 1 } else { 3 };
    let bytes = icmp(&ip, kind, 1, [0; 4], inner);
    s.packet(from, &ip, &bytes, format!("error, {what}"));
}

fn of(s: &Script, proto: u8) -> u8 {
    if proto == 1 { icmp_of(s) } else { proto }
}

fn headers(c: &mut Catalogue) {
    for proto in [UDP, GRE, 253] {
        for length in [0, 3, 4, 6, 15] {
            c.v4(format!("quoted/header/length_{length}/{proto}"), move |s| {
                about(s, proto, "header length", |p| p[0] = 0x40 | length);
            });
            c.v4(format!("quoted/header/only_{length}/{proto}"), move |s| {
                about(s, proto, "header length, and nothing behind", |p| {
                    p[0] = 0x40 | length;
                    p.truncate(20);
                });
            });
        }
        for version in [0, 5] {
            c.both(
                &format!("quoted/header/version_{version}/{proto}"),
                move |s| {
                    let proto = of(s, proto);
                    about(s, proto, "version", |p| p[0] = version << 4 | p[0] & 15);
                },
            );
        }
        c.both(&format!("quoted/header/sums/{proto}"), move |s| {
            let proto = of(s, proto);
            about(s, proto, "length and sums of nothing", |p| {
                if p[0] >> 4 == 4 {
                    p[2..4].fill(0xff);
                    p[8] = 0;
                    p[10..12].fill(0xff);
                } else {
                    p[4..6].fill(0xff);
                    p[7] = 0;
                }
            });
        });
        for frag in [[0x20, 0], [0x80, 0], [0x20, 1]] {
            c.v4(
                format!("quoted/header/fragment_{}_{}/{proto}", frag[0], frag[1]),
                move |s| {
                    about(s, proto, "fragment", |p| p[6..8].copy_from_slice(&frag));
                },
            );
        }
    }
    // Ports where the addresses are: the end of a header that is too short.
    for (proto, length) in [(UDP, 4), (TCP, 4), (SCTP, 4), (UDP, 3)] {
        c.v4(
            format!("quoted/header/ports_in_addresses_{length}/{proto}"),
            move |s| {
                let ip = s.ip(Client, proto);
                let whole = ip.packet(&[0; 24]);
                let at = usize::from(length) * 4;
                let ports = [&whole[at..at + 2], &whole[at + 2..at + 4]]
                    .map(|port| u16::from_be_bytes([port[0], port[1]]));
                let mut bytes = match proto {
                    TCP => seg(SYN).seq(0).wire(Client).bytes(&ip),
                    SCTP => {
                        let init = [0, 0, 0, 0xc1, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 1];
                        sctp((ports[0], ports[1]), 0, &[(1, 0, &init)])
                    }
                    _ => udp(&ip, (ports[0], ports[1]), 20),
                };
                if proto == TCP {
                    bytes[..2].copy_from_slice(&ports[0].to_be_bytes());
                    bytes[2..4].copy_from_slice(&ports[1].to_be_bytes());
                    bytes = ip.seal(bytes, 16);
                }
                s.packet(Client, &ip, &bytes, "opens");
                let mut inner = ip.packet(&bytes);
                error(s, Server, &inner, "sound");
                inner[0] = 0x40 | length;
                error(s, Server, &inner, "header too short");
            },
        );
    }
}

fn lengths(c: &mut Catalogue) {
    for proto in [TCP, SCTP, GRE, 253, 1] {
        for keep in [0, 3, 4, 7, 8] {
            c.both(&format!("quoted/keeps/{keep}/{proto}"), move |s| {
                let proto = of(s, proto);
                about(s, proto, "cut short", |p| {
                    let header = if p[0] >> 4 == 4 { 20 } else { 40 };
                    p.truncate(header + keep);
                });
            });
        }
    }
    for keep in [1, 7, 39] {
        c.v6(format!("quoted/keeps/header_{keep}"), move |s| {
            about(s, 253, "cut short", |p| p.truncate(keep));
        });
    }
    c.both("quoted/pptp_wrong_protocol", |s| {
        about(s, GRE, "not PPP", |p| {
            let at = p.len() - 10;
            p[at] = 8;
        });
    });
    c.both("quoted/pptp_other_call", |s| {
        about(s, GRE, "another call", |p| {
            let at = p.len() - 5;
            p[at] ^= 1;
        });
    });
    c.both("quoted/pptp_version_0", |s| {
        about(s, GRE, "version 0", |p| {
            let at = p.len() - 11;
            p[at] = 0;
        });
    });
}

fn extensions(c: &mut Catalogue) {
    type Headers = &'static [(u8, &'static [u8])];
    let cases: [(&str, Headers); 9] = [
        ("hop_by_hop", &[(0, &[0, 0, 1, 4, 0, 0, 0, 0])]),
        ("destination", &[(60, &[0, 0, 1, 4, 0, 0, 0, 0])]),
        ("ah", &[(51, &[0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1])]),
        ("atomic", &[(44, &[0, 0, 0, 0, 0, 0, 0, 7])]),
        ("first_fragment", &[(44, &[0, 0, 0, 1, 0, 0, 0, 7])]),
        ("later_fragment", &[(44, &[0, 0, 0, 9, 0, 0, 0, 7])]),
        ("last_fragment", &[(44, &[0, 0, 0, 8, 0, 0, 0, 7])]),
        ("overrun", &[(60, &[0, 9, 1, 4, 0, 0, 0, 0])]),
        (
            "two_fragments",
            &[
                (44, &[0, 0, 0, 0, 0, 0, 0, 7]),
                (44, &[0, 0, 0, 8, 0, 0, 0, 8]),
            ],
        ),
    ];
    for (name, headers) in cases {
        for proto in [UDP, 253] {
            c.v6(format!("quoted/extension/{name}/{proto}"), move |s| {
                let (ip, bytes) = packet_of(s, proto, Client);
                s.packet(Client, &ip, &bytes, "opens");
                let mut quoted = ip.clone();
                quoted.extensions = headers
                    .iter()
                    .map(|(kind, bytes)| (*kind, bytes.to_vec()))
                    .collect();
                error(s, Server, &quoted.packet(&bytes), name);
                error(s, Server, &quoted.packet(&[]), name);
            });
        }
    }
    for count in [15, 16, 30] {
        c.v6(format!("quoted/extension/{count}_headers"), move |s| {
            let (ip, bytes) = packet_of(s, UDP, Client);
            s.packet(Client, &ip, &bytes, "opens");
            let mut quoted = ip.clone();
            quoted.extensions = vec![(60, vec![0, 0, 1, 4, 0, 0, 0, 0]); count];
            error(s, Server, &quoted.packet(&bytes), "many headers");
        });
    }
}

/// Errors about queries and about what is none.
fn queries(c: &mut Catalogue) {
    for kind in [0, 8, 14, 18, 3, 9, 200] {
        c.v4(format!("quoted/icmp/{kind}"), move |s| {
            query(s, kind, [8, 13, 15, 17])
        });
    }
    for kind in [128, 129, 140, 1, 135, 137, 200] {
        c.v6(format!("quoted/icmp/{kind}"), move |s| {
            query(s, kind, [128, 139, 128, 139])
        });
    }
    for proto in [TCP, UDP, SCTP, GRE, 1] {
        c.both(&format!("quoted/over/{proto}"), move |s| {
            let proto = of(s, proto);
            let (ip, bytes) = packet_of(s, proto, Client);
            s.packet(Client, &ip, &bytes, "opens");
            error(s, Server, &ip.packet(&bytes), "of a flow that lives");
            s.wait(2.6);
            error(s, Server, &ip.packet(&bytes), "of a flow that may be over");
            s.packet(Client, &ip, &bytes, "once more");
            error(s, Server, &ip.packet(&bytes), "of a flow that lives");
        });
    }
}

fn query(s: &mut Script, kind: u8, opens: [u8; 4]) {
    let ip = s.ip(Client, icmp_of(s));
    for open in opens {
        let bytes = icmp(&ip, open, 0, [0, 5, 0, 1], b"query");
        s.packet(Client, &ip, &bytes, format!("icmp {open}"));
    }
    for from in [Client, Server] {
        let quoted = s.ip(from, icmp_of(s));
        let bytes = icmp(&quoted, kind, 0, [0, 5, 0, 1], b"query");
        let other = if from == Client { Server } else { Client };
        error(
            s,
            other,
            &quoted.packet(&bytes),
            &format!("about icmp {kind}"),
        );
    }
}

/// The error itself has headers of its own.
fn outer(c: &mut Catalogue) {
    c.v6("quoted/outer/extensions", |s| {
        let (ip, bytes) = packet_of(s, UDP, Client);
        s.packet(Client, &ip, &bytes, "opens");
        let mut outer = s.ip(Server, ICMPV6);
        outer.extensions = vec![
            (0, vec![0, 0, 1, 4, 0, 0, 0, 0]),
            (60, vec![0, 0, 1, 4, 0, 0, 0, 0]),
        ];
        let error = icmp(&outer, 1, 4, [0; 4], &ip.packet(&bytes));
        s.packet(Server, &outer, &error, "an error behind extension headers");
        outer.extensions = vec![(44, vec![0; 8])];
        s.packet(Server, &outer, &error, "an error in an atomic fragment");
    });
    c.v4("quoted/outer/options", |s| {
        let (ip, bytes) = packet_of(s, UDP, Client);
        s.packet(Client, &ip, &bytes, "opens");
        let mut outer = s.ip(Server, ICMP);
        outer.options = vec![1; 8];
        let error = icmp(&outer, 3, 3, [0; 4], &ip.packet(&bytes));
        s.packet(Server, &outer, &error, "an error behind options");
    });
    c.both("quoted/outer/trailer", |s| {
        // By its length the error ends within what it quotes; the frame goes on.
        let (ip, bytes) = packet_of(s, UDP, Client);
        s.packet(Client, &ip, &bytes, "opens");
        let outer = s.ip(Server, icmp_of(s));
        let quoted = ip.packet(&bytes);
        let header = quoted.len() - bytes.len();
        for keep in [header - 1, header, header + 3, header + 4] {
            let short = icmp(&outer, if s.v6 { 1 } else { 3 }, 1, [0; 4], &quoted[..keep]);
            let mut packet = outer.packet(&short);
            packet.extend(&quoted[keep..]);
            s.raw(
                Server,
                &packet,
                format!("an error with {keep} bytes and a trailer"),
            );
        }
    });
}
