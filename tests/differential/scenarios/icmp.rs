//! ICMP and ICMPv6: queries, errors, neighbour discovery.

use crate::frame::ACK;
use crate::frame::ICMP;
use crate::frame::ICMPV6;
use crate::frame::Ip;
use crate::frame::TCP;
use crate::frame::UDP;
use crate::frame::icmp;
use crate::frame::udp;
use crate::lab::End;
use crate::script::Catalogue;
use crate::script::Script;
use crate::tcp::seg;

impl Script {
    /// A message whose second word is an id (and sequence number 1).
    fn icmp(&mut self, from: End, kind: u8, code: u8, id: u16) -> &mut Self {
        let ip = self.ip(from, if self.v6 { ICMPV6 } else { ICMP });
        let [high, low] = id.to_be_bytes();
        let bytes = icmp(&ip, kind, code, [high, low, 0, 1], b"sixteen bytes...");
        self.packet(from, &ip, &bytes, format!("icmp {kind}/{code} id {id}"))
    }

    fn ping(&mut self, from: End, id: u16) -> &mut Self {
        self.icmp(from, if self.v6 { 128 } else { 8 }, 0, id)
    }

    fn pong(&mut self, from: End, id: u16) -> &mut Self {
        self.icmp(from, if self.v6 { 129 } else { 0 }, 0, id)
    }

    /// An error of `from`'s about this packet.
    fn error(&mut self, from: End, kind: u8, code: u8, inner: &[u8]) -> &mut Self {
        let ip = self.ip(from, if self.v6 { ICMPV6 } else { ICMP });
        let bytes = icmp(&ip, kind, code, [0; 4], inner);
        self.packet(from, &ip, &bytes, format!("icmp error {kind}/{code}"))
    }

    /// A packet of the client's flow, as an error would quote it.
    fn quoted(&self, from: End, proto: u8) -> (Ip, Vec<u8>) {
        let ip = self.ip(from, proto);
        let ports = if from == End::Client {
            (5000, 53)
        } else {
            (53, 5000)
        };
        let payload = match proto {
            UDP => udp(&ip, ports, 20),
            TCP => seg(ACK).wire(from).bytes(&ip),
            _ => icmp(&ip, if self.v6 { 128 } else { 8 }, 0, [0, 5, 0, 1], b"ping"),
        };
        (ip, payload)
    }

    fn open_udp(&mut self) -> &mut Self {
        let (ip, payload) = self.quoted(End::Client, UDP);
        self.packet(End::Client, &ip, &payload, "datagram")
    }

    fn unreachable(&mut self, from: End, inner: &[u8]) -> &mut Self {
        let kind = if self.v6 { 1 } else { 3 };
        self.error(from, kind, if self.v6 { 4 } else { 3 }, inner)
    }
}

pub(crate) fn add(c: &mut Catalogue) {
    queries(c);
    types(c);
    errors(c);
    inner(c);
    redirects(c);
}

fn queries(c: &mut Catalogue) {
    c.both("icmp/ping", |s| {
        s.ping(End::Client, 5)
            .pong(End::Server, 5)
            .ping(End::Client, 5)
            .pong(End::Server, 5);
    });
    c.both("icmp/pong_alone", |s| {
        s.pong(End::Server, 5).pong(End::Client, 5);
    });
    c.both("icmp/wrong_id", |s| {
        s.ping(End::Client, 5)
            .pong(End::Server, 6)
            .pong(End::Server, 5);
    });
    c.both("icmp/two_ids", |s| {
        s.ping(End::Client, 5)
            .ping(End::Client, 6)
            .pong(End::Server, 6)
            .pong(End::Server, 5);
    });
    c.both("icmp/crossing", |s| {
        s.ping(End::Client, 5)
            .ping(End::Server, 5)
            .pong(End::Server, 5)
            .pong(End::Client, 5);
    });
    c.both("icmp/pong_wrong_way", |s| {
        s.ping(End::Client, 5)
            .pong(End::Client, 5)
            .pong(End::Server, 5);
    });
    c.both("icmp/many_pongs", |s| {
        s.ping(End::Client, 5);
        for _ in 0..4 {
            s.pong(End::Server, 5);
        }
        s.ping(End::Client, 5);
    });
    c.v4("icmp/code_1", |s| {
        s.icmp(End::Client, 8, 1, 5)
            .icmp(End::Server, 0, 0, 5)
            .icmp(End::Server, 0, 1, 5);
    });
    c.v6("icmp/code_1", |s| {
        s.icmp(End::Client, 128, 1, 5)
            .icmp(End::Server, 129, 0, 5)
            .icmp(End::Server, 129, 1, 5);
    });
    for (kind, name) in [(13, "timestamp"), (15, "information"), (17, "mask")] {
        c.v4(format!("icmp/{name}"), move |s| {
            s.icmp(End::Client, kind, 0, 5)
                .icmp(End::Server, kind + 1, 0, 5)
                .icmp(End::Server, kind + 1, 0, 6);
        });
    }
    c.v6("icmp/node_information", |s| {
        s.icmp(End::Client, 139, 0, 5)
            .icmp(End::Server, 140, 0, 5)
            .icmp(End::Server, 140, 1, 5);
    });
    c.both("icmp/checksum_bad", |s| {
        s.ping(End::Client, 5);
        let ip = s.ip(End::Server, if s.v6 { ICMPV6 } else { ICMP });
        let mut bytes = icmp(&ip, if s.v6 { 129 } else { 0 }, 0, [0, 5, 0, 1], b"pong");
        bytes[2] ^= 0x55;
        s.packet(End::Server, &ip, &bytes, "pong with a bad checksum")
            .pong(End::Server, 5);
    });
    c.both("icmp/other_family", |s| {
        let ip = s.ip(End::Client, if s.v6 { ICMP } else { ICMPV6 });
        s.packet(
            End::Client,
            &ip,
            &[8, 0, 0xf7, 0xf9, 0, 5, 0, 1],
            "ICMP of the other family",
        );
        let ip = s.ip(End::Server, if s.v6 { ICMP } else { ICMPV6 });
        s.packet(
            End::Server,
            &ip,
            &[0, 0, 0xff, 0xf9, 0, 5, 0, 1],
            "its answer",
        );
    });
    for cut in [0, 3, 4, 7] {
        c.both(&format!("icmp/cut_at_{cut}"), move |s| {
            let ip = s.ip(End::Client, if s.v6 { ICMPV6 } else { ICMP });
            let bytes = icmp(&ip, if s.v6 { 128 } else { 8 }, 0, [0, 5, 0, 1], b"");
            s.packet(End::Client, &ip, &bytes[..cut], "cut short");
        });
    }
}

/// Every type without a flow, from either end.
fn types(c: &mut Catalogue) {
    for kind in (0..21).chain([30, 37, 41, 253, 255]) {
        c.v4(format!("icmp/type/{kind}"), move |s| {
            s.icmp(End::Client, kind, 0, 5)
                .icmp(End::Server, kind, 0, 5);
        });
    }
    for kind in (0..6).chain([100, 127]).chain(128..162).chain([200, 255]) {
        c.v6(format!("icmp/type/{kind}"), move |s| {
            s.icmp(End::Client, kind, 0, 5)
                .icmp(End::Server, kind, 0, 5);
        });
    }
    for kind in [130, 131, 132, 133, 134, 135, 136, 143] {
        c.v6(format!("icmp/type/{kind}_bad_checksum"), move |s| {
            let ip = s.ip(End::Client, ICMPV6);
            let mut bytes = icmp(&ip, kind, 0, [0; 4], b"sixteen bytes...");
            bytes[2] ^= 0x55;
            s.packet(End::Client, &ip, &bytes, "bad checksum");
        });
    }
}

fn errors(c: &mut Catalogue) {
    for proto in [UDP, TCP, ICMP] {
        for end in [End::Client, End::Server] {
            let other = if end == End::Client {
                End::Server
            } else {
                End::Client
            };
            c.both(&format!("icmp/error/{proto}/about_{end:?}"), move |s| {
                let proto = if proto == ICMP && s.v6 { ICMPV6 } else { proto };
                let (ip, payload) = s.quoted(End::Client, proto);
                s.packet(End::Client, &ip, &payload, "opens");
                let (ip, payload) = s.quoted(end, proto);
                let inner = ip.packet(&payload);
                s.unreachable(other, &inner).unreachable(end, &inner);
            });
        }
    }
    for kind in [3, 4, 5, 11, 12] {
        c.v4(format!("icmp/error/type/{kind}"), move |s| {
            s.open_udp();
            let (ip, payload) = s.quoted(End::Client, UDP);
            s.error(End::Server, kind, 0, &ip.packet(&payload)).error(
                End::Server,
                kind,
                1,
                &ip.packet(&payload),
            );
        });
    }
    for kind in [1, 2, 3, 4, 5, 127, 137] {
        c.v6(format!("icmp/error/type/{kind}"), move |s| {
            s.open_udp();
            let (ip, payload) = s.quoted(End::Client, UDP);
            s.error(End::Server, kind, 0, &ip.packet(&payload)).error(
                End::Server,
                kind,
                1,
                &ip.packet(&payload),
            );
        });
    }
    c.both("icmp/error/unknown_flow", |s| {
        let (ip, payload) = s.quoted(End::Client, UDP);
        let inner = ip.packet(&payload);
        s.unreachable(End::Server, &inner);
    });
    c.both("icmp/error/from_a_third", |s| {
        s.open_udp();
        let (ip, payload) = s.quoted(End::Client, UDP);
        let mut outer = s.ip(End::Server, if s.v6 { ICMPV6 } else { ICMP });
        outer.src = s.address(End::Server, 3);
        let bytes = icmp(
            &outer,
            if s.v6 { 1 } else { 3 },
            1,
            [0; 4],
            &ip.packet(&payload),
        );
        s.packet(End::Server, &outer, &bytes, "error of a router on the way");
        outer.dst = s.address(End::Client, 3);
        let bytes = icmp(
            &outer,
            if s.v6 { 1 } else { 3 },
            1,
            [0; 4],
            &ip.packet(&payload),
        );
        s.packet(End::Server, &outer, &bytes, "to somebody else");
    });
}

fn inner(c: &mut Catalogue) {
    for keep in [0, 3, 4, 8] {
        c.both(&format!("icmp/inner/l4_{keep}_bytes"), move |s| {
            s.open_udp();
            let (ip, payload) = s.quoted(End::Client, UDP);
            let inner = ip.packet(&payload);
            let header = inner.len() - payload.len();
            s.unreachable(End::Server, &inner[..header + keep]);
        });
    }
    for keep in [0, 8, 19] {
        c.both(&format!("icmp/inner/ip_{keep}_bytes"), move |s| {
            s.open_udp();
            let (ip, payload) = s.quoted(End::Client, UDP);
            s.unreachable(End::Server, &ip.packet(&payload)[..keep]);
        });
    }
    c.v4("icmp/inner/later_fragment", |s| {
        s.open_udp();
        let (mut ip, payload) = s.quoted(End::Client, UDP);
        ip.frag = 5;
        s.unreachable(End::Server, &ip.packet(&payload));
        ip.frag = 0x2000;
        s.unreachable(End::Server, &ip.packet(&payload));
    });
    c.v4("icmp/inner/options", |s| {
        s.open_udp();
        let (mut ip, payload) = s.quoted(End::Client, UDP);
        ip.options = vec![1, 1, 1, 0];
        s.unreachable(End::Server, &ip.packet(&payload));
    });
    c.both("icmp/inner/error_about_error", |s| {
        s.open_udp();
        let (ip, payload) = s.quoted(End::Client, UDP);
        let first = s.ip(End::Server, if s.v6 { ICMPV6 } else { ICMP });
        let bytes = icmp(
            &first,
            if s.v6 { 1 } else { 3 },
            1,
            [0; 4],
            &ip.packet(&payload),
        );
        let inner = first.packet(&bytes);
        s.unreachable(End::Client, &inner);
    });
    c.both("icmp/inner/checksum_bad", |s| {
        s.open_udp();
        let (ip, payload) = s.quoted(End::Client, UDP);
        let outer = s.ip(End::Server, if s.v6 { ICMPV6 } else { ICMP });
        let mut bytes = icmp(
            &outer,
            if s.v6 { 1 } else { 3 },
            1,
            [0; 4],
            &ip.packet(&payload),
        );
        bytes[2] ^= 0x55;
        s.packet(End::Server, &outer, &bytes, "error with a bad checksum");
    });
}

/// ICMPv6's redirects: from a router on the link, about a packet it quotes.
fn redirects(c: &mut Catalogue) {
    type Change = fn(&mut Ip, &mut Vec<u8>);
    let cases: [(&str, Change); 9] = [
        ("sound", |_, _| {}),
        ("code_1", |_, bytes| bytes[1] = 1),
        ("global_source", |ip, _| {
            ip.src = "fd00:2::99".parse().expect("an address")
        }),
        ("hop_limit_254", |ip, _| ip.ttl = 254),
        ("other_option", |_, bytes| bytes[40] = 2),
        ("option_without_length", |_, bytes| bytes[41] = 0),
        ("no_option", |_, bytes| bytes.truncate(40)),
        ("short", |_, bytes| bytes.truncate(30)),
        ("inner_ports_only", |_, bytes| {
            bytes.truncate(40 + 8 + 40 + 4)
        }),
    ];
    for (name, change) in cases {
        c.v6(format!("icmp/redirect/{name}"), move |s| {
            s.open_udp();
            for about in [End::Client, End::Server] {
                let (quoted, payload) = s.quoted(about, UDP);
                let mut ip = Ip::new("fe80::1".parse().expect("an address"), quoted.src, ICMPV6);
                ip.ttl = 255;
                let inner = quoted.packet(&payload);
                let mut bytes = vec![137, 0, 0, 0, 0, 0, 0, 0];
                bytes.extend([0xfd; 32]);
                bytes.extend([4, (8 + inner.len()).div_ceil(8) as u8, 0, 0, 0, 0, 0, 0]);
                bytes.extend(inner);
                change(&mut ip, &mut bytes);
                let bytes = ip.seal(bytes, 2);
                s.packet(End::Server, &ip, &bytes, "redirect");
            }
        });
    }
}
