//! Headers of IP as few senders write them: any protocol by its number, chains of
//! extensions, lengths that are not there, addresses nobody may have.

use crate::frame::FRAGMENT;
use crate::frame::GRE;
use crate::frame::ICMPV6;
use crate::frame::Ip;
use crate::frame::SCTP;
use crate::frame::TCP;
use crate::frame::UDP;
use crate::frame::UDPLITE;
use crate::frame::icmp;
use crate::frame::udp;
use crate::lab::End;
use crate::lab::End::Client;
use crate::lab::End::Server;
use crate::script::Catalogue;
use crate::script::Script;

/// A header, and what is in it: the first byte is the next one's type.
type Header = (u8, &'static [u8]);

/// Options that are padding, for the next hops and for the destination.
const HOPS: Header = (0, &[0, 0, 1, 4, 0, 0, 0, 0]);
const DESTINATION: Header = (60, &[0, 0, 1, 4, 0, 0, 0, 0]);

pub(crate) fn add(c: &mut Catalogue) {
    protocols(c);
    chains(c);
    cut(c);
    hop_by_hop(c);
    refused(c);
    lengths(c);
    addresses(c);
    atomic(c);
    itself(c);
}

fn chain(headers: &[Header]) -> Vec<(u8, Vec<u8>)> {
    let headers = headers.iter();
    headers
        .map(|(kind, bytes)| (*kind, bytes.to_vec()))
        .collect()
}

/// What `from` sends of a UDP flow, and of protocols without one.
fn payload(ip: &Ip, from: End) -> Vec<u8> {
    match (ip.proto, from) {
        (UDP, Client) => udp(ip, (5000, 53), 20),
        (UDP, Server) => udp(ip, (53, 5000), 20),
        _ => vec![0x45; 24],
    }
}

/// A packet of the client's, its answer, and the first once more.
fn talk(s: &mut Script, proto: u8, headers: &[Header]) {
    for from in [Client, Server, Client] {
        let mut ip = s.ip(from, proto);
        ip.extensions = chain(headers);
        let bytes = payload(&ip, from);
        s.packet(from, &ip, &bytes, format!("protocol {proto}"));
    }
}

/// Every number there is. In IPv6 some are those of extension headers.
fn protocols(c: &mut Catalogue) {
    for first in (0..=255).step_by(32) {
        c.both(&format!("headers/protocols/{first}"), move |s| {
            for from in [Client, Server] {
                let numbers = first..=first + 31;
                let numbers = numbers.filter(|proto| !s.v6 || ![0, 43, 44, 51, 60].contains(proto));
                let packets = numbers.map(|proto| {
                    let ip = s.ip(from, proto);
                    ip.packet(&payload(&ip, from))
                });
                let packets: Vec<_> = packets.collect();
                s.train(from, &packets, format!("protocols from {first} on"));
            }
        });
    }
    c.both("headers/other_icmp", |s| {
        for kind in [0, 3, 8, 128, 129, 1, 135, 137, 143] {
            let ip = s.ip(Client, if s.v6 { 1 } else { ICMPV6 });
            let bytes = icmp(&ip, kind, 0, [0, 5, 0, 1], &[0x45; 40]);
            s.packet(
                Client,
                &ip,
                &bytes,
                format!("icmp {kind} of the other family"),
            );
        }
    });
}

fn chains(c: &mut Catalogue) {
    for count in [15, 16, 17, 32] {
        c.v6(format!("headers/chain/{count}"), move |s| {
            talk(s, UDP, &vec![DESTINATION; count]);
        });
    }
    let cases: [(&str, &[Header]); 7] = [
        (
            "routing_not_spent",
            &[(
                43,
                &[
                    0, 2, 4, 1, 0, 0, 0, 0, 0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
                ],
            )],
        ),
        ("ah_8", &[(51, &[0, 0, 0, 0, 0, 0, 0, 1])]),
        (
            "ah_24",
            &[(
                51,
                &[
                    0, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ],
            )],
        ),
        ("hops_behind_destination", &[DESTINATION, HOPS]),
        ("hops_twice", &[HOPS, HOPS]),
        ("unknown_options", &[(60, &[0, 0, 0xc5, 4, 0, 0, 0, 0])]),
        ("hip", &[(139, &[0, 0, 1, 4, 0, 0, 0, 0])]),
    ];
    for (name, headers) in cases {
        for proto in [UDP, 253, 59] {
            c.v6(format!("headers/chain/{name}/{proto}"), move |s| {
                talk(s, proto, headers);
            });
        }
    }
}

/// Headers that end beyond the packet, or are not there in full.
fn cut(c: &mut Catalogue) {
    for (length, proto) in [(1, 253), (5, 253), (5, UDP), (5, GRE), (3, 59), (255, 50)] {
        c.v6(
            format!("headers/cut/says_{length}_more/{proto}"),
            move |s| {
                let mut ip = s.ip(Client, proto);
                ip.extensions = vec![(60, vec![0, length, 1, 4, 0, 0, 0, 0])];
                s.packet(Client, &ip, &[0; 16], "a header beyond the end");
            },
        );
    }
    for next in [253, UDP, 60] {
        c.v6(format!("headers/cut/then/{next}"), move |s| {
            for keep in [0, 1, 2, 3, 4, 7, 8, 9] {
                let ip = s.ip(Client, 60);
                let bytes = [next, 0, 1, 4, 0, 0, 0, 0, 9];
                s.packet(Client, &ip, &bytes[..keep], format!("{keep} bytes of it"));
            }
        });
    }
}

/// Options that the kernel looks at before netfilter does.
fn hop_by_hop(c: &mut Catalogue) {
    let cases: [(&str, &[u8]); 4] = [
        ("pad1", &[0; 8]),
        ("router_alert", &[0, 0, 5, 2, 0, 0, 1, 0]),
        ("unknown", &[0, 0, 0x1e, 4, 0, 0, 0, 0]),
        (
            "seven",
            &[
                0, 1, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0,
            ],
        ),
    ];
    for (name, header) in cases {
        c.v6(format!("headers/hop_by_hop/{name}"), move |s| {
            talk(s, UDP, &[(0, header)]);
        });
    }
}

fn lengths(c: &mut Catalogue) {
    // Without a length and with hop-by-hop options it might be a jumbogram.
    for proto in [UDP, 253] {
        for (name, headers) in [("none", &[][..]), ("none_behind_hops", &[HOPS])] {
            c.v6(format!("headers/length/{name}/{proto}"), move |s| {
                for from in [Client, Server, Client] {
                    let mut ip = s.ip(from, proto);
                    ip.extensions = chain(headers);
                    let mut packet = ip.packet(&payload(&ip, from));
                    packet[4..6].fill(0);
                    s.raw(from, &packet, "payload length 0");
                }
            });
        }
    }
    for proto in [TCP, UDP, SCTP, GRE] {
        c.v6(
            format!("headers/length/shorter_than_the_frame/{proto}"),
            move |s| {
                for length in 0..9 {
                    let ip = s.ip(Client, proto);
                    let mut packet = ip.packet(&udp(&ip, (5000, 53), 20));
                    packet[5] = length;
                    s.raw(Client, &packet, format!("payload length {length}"));
                }
            },
        );
    }
}

/// Who cannot have sent a packet, and where none can go.
fn addresses(c: &mut Catalogue) {
    for (name, from, to) in [
        ("from_multicast", Some("ff02::1"), None),
        ("from_loopback", Some("::1"), None),
        ("from_mapped", Some("::ffff:10.1.2.3"), None),
        ("to_loopback", None, Some("::1")),
        ("to_interface_local", None, Some("ff01::1")),
        ("to_reserved_scope", None, Some("ff00::1")),
    ] {
        c.v6(format!("headers/address/{name}"), move |s| {
            let mut ip = s.ip(Client, UDP);
            let address = |text: &str| text.parse().expect("an address");
            ip.src = from.map_or(ip.src, address);
            ip.dst = to.map_or(ip.dst, address);
            let bytes = udp(&ip, (5000, 53), 20);
            s.packet(Client, &ip, &bytes, name);
        });
    }
}

/// Fragments that are the whole packet.
fn atomic(c: &mut Catalogue) {
    const WHOLE: Header = (FRAGMENT, &[0, 0, 0, 0, 0, 0, 0, 7]);
    const RESERVED: Header = (FRAGMENT, &[0, 0, 0, 6, 0, 0, 0, 7]);
    const LATER: Header = (FRAGMENT, &[0, 0, 0, 8, 0, 0, 0, 8]);
    const FIRST: Header = (FRAGMENT, &[0, 0, 0, 1, 0, 0, 0, 8]);
    let cases: [(&str, &[Header]); 7] = [
        ("reserved_bits", &[RESERVED]),
        ("twice", &[WHOLE, WHOLE]),
        ("before_destination", &[WHOLE, DESTINATION]),
        ("behind_destination", &[DESTINATION, WHOLE]),
        ("behind_hops", &[HOPS, WHOLE]),
        ("around_a_first", &[WHOLE, FIRST]),
        ("around_a_later", &[WHOLE, LATER]),
    ];
    for (name, headers) in cases {
        for proto in [UDP, 253, 59] {
            c.v6(format!("headers/atomic/{name}/{proto}"), move |s| {
                talk(s, proto, headers);
            });
        }
    }
}

/// Errors about what an address sent to itself.
fn itself(c: &mut Catalogue) {
    for proto in [UDP, UDPLITE, GRE, 253] {
        for port in [53, 5000] {
            c.both(&format!("headers/itself/{proto}_{port}"), move |s| {
                let mut ip = s.ip(Client, proto);
                ip.src = ip.dst;
                let bytes = match proto {
                    UDP | UDPLITE => udp(&ip, (port, 53), 20),
                    _ => vec![0, 0, 8, 0, 1, 2, 3, 4],
                };
                let mut outer = s.ip(Client, if s.v6 { ICMPV6 } else { 1 });
                outer.dst = ip.src;
                let kind = if s.v6 { 1 } else { 3 };
                let error = icmp(&outer, kind, 1, [0; 4], &ip.packet(&bytes));
                for _ in 0..2 {
                    s.packet(Client, &ip, &bytes, "to itself");
                    s.packet(Client, &outer, &error, "an error about it");
                }
            });
        }
    }
}

/// Hop-by-hop options that the kernel drops a packet for before netfilter sees it.
fn refused(c: &mut Catalogue) {
    const LONG_PADDING: Header = (0, &[0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let cases: [(&str, Header); 7] = [
        ("unknown_discard", (0, &[0, 0, 0x5e, 4, 0, 0, 0, 0])),
        ("unknown_report", (0, &[0, 0, 0x9e, 4, 0, 0, 0, 0])),
        ("overrun", (0, &[0, 0, 0x1e, 44, 0, 0, 0, 0])),
        ("padding_of_14", LONG_PADDING),
        ("padding_not_zero", (0, &[0, 0, 1, 4, 9, 0, 0, 0])),
        ("jumbo", (0, &[0, 0, 0xc2, 4, 0, 1, 0, 0])),
        ("router_alert_length", (0, &[0, 0, 5, 3, 0, 0, 0, 0])),
    ];
    for (name, header) in cases {
        c.v6(format!("refused/{name}"), move |s| {
            talk(s, UDP, &[header]);
        });
    }
}
