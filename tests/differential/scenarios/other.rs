//! GRE, generic protocols, extension headers, and packets
//! that IP itself refuses.

use crate::frame::ACK;
use crate::frame::GRE;
use crate::frame::Ip;
use crate::frame::SYN;
use crate::frame::TCP;
use crate::frame::UDP;
use crate::frame::checksum;
use crate::frame::udp;
use crate::lab::End;
use crate::lab::End::Client;
use crate::lab::End::Server;
use crate::script::Catalogue;
use crate::script::Script;
use crate::tcp::seg;

impl Script {
    fn proto(&mut self, from: End, proto: u8, payload: &[u8]) -> &mut Self {
        let ip = self.ip(from, proto);
        self.packet(from, &ip, payload, format!("protocol {proto}"))
    }

    fn gre(&mut self, from: End, header: &[u8]) -> &mut Self {
        self.proto(from, GRE, header)
    }
}

pub(crate) fn add(c: &mut Catalogue) {
    gre(c);
    generic(c);
    extensions(c);
    sanity(c);
}

fn gre(c: &mut Catalogue) {
    c.both("gre/plain", |s| {
        s.gre(Client, &[0, 0, 8, 0, 1, 2, 3, 4])
            .gre(Server, &[0, 0, 8, 0, 1, 2, 3, 4])
            .gre(Client, &[0, 0, 8, 0, 1, 2, 3, 4]);
    });
    c.both("gre/key", |s| {
        s.gre(Client, &[0x20, 0, 8, 0, 0, 0, 0, 7])
            .gre(Server, &[0x20, 0, 8, 0, 0, 0, 0, 9]);
    });
    c.both("gre/pptp", |s| {
        s.gre(
            Client,
            &[0x30, 1, 0x88, 0x0b, 0, 4, 0, 7, 0, 0, 0, 1, 1, 2, 3, 4],
        )
        .gre(
            Server,
            &[0x30, 1, 0x88, 0x0b, 0, 4, 0, 9, 0, 0, 0, 1, 1, 2, 3, 4],
        );
    });
    c.both("gre/version_2", |s| {
        s.gre(Client, &[0, 2, 8, 0, 1, 2, 3, 4])
            .gre(Server, &[0, 7, 8, 0]);
    });
    c.both("gre/pptp_wrong_protocol", |s| {
        s.gre(Client, &[0x30, 1, 8, 0, 0, 4, 0, 7, 0, 0, 0, 1]);
    });
    for cut in [0, 3, 4, 7] {
        c.v4(format!("gre/cut_at_{cut}"), move |s| {
            s.gre(Client, &[0x30, 1, 0x88, 0x0b, 0, 4, 0, 7][..cut]);
        });
    }
    c.both("gre/one_way", |s| {
        for _ in 0..3 {
            s.gre(Client, &[0, 0, 8, 0, 1]);
        }
    });
}

fn generic(c: &mut Catalogue) {
    for proto in [2, 33, 41, 50, 89, 94, 112, 253, 255] {
        c.both(&format!("generic/{proto}"), move |s| {
            s.proto(Client, proto, &[0x45; 24])
                .proto(Server, proto, &[0x45; 24])
                .proto(Client, proto, &[0x45; 24]);
        });
    }
    c.v4("generic/empty", |s| {
        s.proto(Client, 253, &[]).proto(Server, 253, &[]);
    });
    c.v4("generic/ah", |s| {
        s.proto(Client, 51, &[4, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1])
            .proto(Server, 51, &[4; 12]);
    });
    c.v4("generic/zero", |s| {
        s.proto(Client, 0, &[4; 12]).proto(Server, 0, &[4; 12]);
    });
    c.v6("generic/no_next_header", |s| {
        s.proto(Client, 59, &[4; 12]).proto(Server, 59, &[]);
    });
}

fn extensions(c: &mut Catalogue) {
    type Headers = &'static [(u8, &'static [u8])];
    let cases: [(&str, Headers); 8] = [
        ("hop_by_hop", &[(0, &[0, 0, 1, 4, 0, 0, 0, 0])]),
        ("destination", &[(60, &[0, 0, 1, 4, 0, 0, 0, 0])]),
        ("routing_spent", &[(43, &[0, 0, 4, 0, 0, 0, 0, 0])]),
        (
            "hop_and_destination",
            &[
                (0, &[0, 0, 1, 4, 0, 0, 0, 0]),
                (60, &[0, 0, 1, 4, 0, 0, 0, 0]),
            ],
        ),
        ("ah", &[(51, &[0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1])]),
        (
            "long_destination",
            &[(60, &[0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
        ),
        (
            "six_destinations",
            &[
                (60, &[0, 0, 1, 4, 0, 0, 0, 0]),
                (60, &[0, 0, 1, 4, 0, 0, 0, 0]),
                (60, &[0, 0, 1, 4, 0, 0, 0, 0]),
                (60, &[0, 0, 1, 4, 0, 0, 0, 0]),
                (60, &[0, 0, 1, 4, 0, 0, 0, 0]),
                (60, &[0, 0, 1, 4, 0, 0, 0, 0]),
            ],
        ),
        ("mobility", &[(135, &[0, 0, 1, 4, 0, 0, 0, 0])]),
    ];
    for (name, headers) in cases {
        for proto in [UDP, TCP] {
            c.v6(format!("extension/{name}/{proto}"), move |s| {
                for from in [Client, Server] {
                    let mut ip = s.ip(from, proto);
                    ip.extensions = headers
                        .iter()
                        .map(|(kind, bytes)| (*kind, bytes.to_vec()))
                        .collect();
                    let bytes = if proto == UDP {
                        udp(
                            &ip,
                            if from == Client {
                                (5000, 53)
                            } else {
                                (53, 5000)
                            },
                            20,
                        )
                    } else {
                        seg(if from == Client { SYN } else { SYN | ACK })
                            .seq(0)
                            .wire(from)
                            .bytes(&ip)
                    };
                    s.packet(from, &ip, &bytes, "with extension headers");
                }
            });
        }
    }
}

fn change(s: &mut Script, what: &str, edit: impl Fn(&mut Vec<u8>)) {
    let ip = s.ip(Client, UDP);
    let mut packet = ip.packet(&udp(&ip, (5000, 53), 20));
    edit(&mut packet);
    s.raw(Client, &packet, what);
}

fn header_sum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let header = usize::from(packet[0] & 15) * 4;
    let sum = checksum(0, &packet[..header]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn sanity(c: &mut Catalogue) {
    c.v4("sanity/bad_ip_checksum", |s| {
        change(s, "bad IP checksum", |p| p[10] ^= 0x55)
    });
    c.v4("sanity/bad_ip_checksum_in_a_flow", |s| {
        change(s, "sound", |_| ());
        change(s, "bad IP checksum", |p| p[11] ^= 1);
        change(s, "sound again", |_| ());
    });
    for words in 1..=10 {
        let options = move |p: &mut Vec<u8>| {
            p.splice(20..20, vec![1; words * 4]);
            p[0] = 0x45 + words as u8;
            let total = p.len() as u16;
            p[2..4].copy_from_slice(&total.to_be_bytes());
            header_sum(p);
        };
        c.v4(format!("sanity/ip_checksum_of_options/{words}"), move |s| {
            change(s, "the last option is not what it was", |p| {
                options(p);
                p[19 + words * 4] = 0;
            });
            change(s, "its sum is right", options);
        });
    }
    c.v4("sanity/version_5", |s| {
        change(s, "version 5", |p| {
            p[0] = 0x55;
            header_sum(p);
            p[0] = 0x55;
        })
    });
    c.v4("sanity/ihl_4", |s| {
        change(s, "IHL 4", |p| {
            p[0] = 0x44;
            header_sum(p);
        })
    });
    c.v4("sanity/ihl_15", |s| {
        change(s, "IHL beyond the packet", |p| p[0] = 0x4f)
    });
    c.v4("sanity/length_long", |s| {
        change(s, "total length beyond the frame", |p| {
            p[2] = 9;
            header_sum(p);
        })
    });
    c.v4("sanity/length_short", |s| {
        change(s, "total length below the header", |p| {
            p[3] = 12;
            header_sum(p);
        })
    });
    c.both("sanity/trailer", |s| {
        change(s, "bytes behind the packet", |p| p.extend([0xee; 30]))
    });
    c.both("sanity/tos", |s| {
        change(s, "traffic class", |p| {
            p[1] |= 0x10;
            if p[0] >> 4 == 4 {
                header_sum(p);
            }
        })
    });
    c.v6("sanity/length_long", |s| {
        change(s, "payload length beyond the frame", |p| p[4] = 9)
    });
    c.v6("sanity/version_5", |s| {
        change(s, "version 5", |p| p[0] = 0x50)
    });
    c.v4("sanity/options_nop", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.options = vec![1, 1, 1, 0];
        udp_with(s, &ip);
    });
    c.v4("sanity/options_record_route", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
        udp_with(s, &ip);
    });
    c.v4("sanity/reserved_bit", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.frag = 0x8000;
        udp_with(s, &ip);
    });
    c.v4("sanity/dont_fragment", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.frag = 0x4000;
        udp_with(s, &ip);
    });
    c.both("sanity/ttl_2", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.ttl = 2;
        udp_with(s, &ip);
    });
    c.both("path/ttl_1", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.ttl = 1;
        udp_with(s, &ip);
    });
    c.both("path/ttl_1_of_a_flow", |s| {
        let mut ip = s.ip(Client, UDP);
        udp_with(s, &ip);
        ip.ttl = 1;
        udp_with(s, &ip);
    });
    c.v4("path/options_malformed", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.options = vec![7, 1, 4, 0];
        udp_with(s, &ip);
    });
    c.v4("path/source_route", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.options = vec![131, 7, 8, 10, 2, 9, 9, 0];
        udp_with(s, &ip);
    });
    c.v4("path/martian", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.src = "127.0.0.1".parse().expect("an address");
        udp_with(s, &ip);
    });
    for (name, ports) in [("ports", (9, 10)), ("same_port", (9, 9))] {
        c.both(&format!("sanity/to_itself/{name}"), move |s| {
            let mut ip = s.ip(Client, UDP);
            ip.src = ip.dst;
            for ports in [ports, ports, (ports.1, ports.0), ports] {
                let bytes = udp(&ip, ports, 20);
                s.packet(Client, &ip, &bytes, "to itself");
            }
        });
        c.both(&format!("sanity/to_itself/tcp_{name}"), move |s| {
            let mut ip = s.ip(Client, TCP);
            ip.src = ip.dst;
            for (flags, seq, ack) in [(SYN, 0, 0), (SYN | ACK, 0, 1), (ACK, 1, 1)] {
                let mut segment = seg(flags).seq(seq).ack(ack).wire(Client);
                segment.ports = ports;
                let bytes = segment.bytes(&ip);
                s.packet(Client, &ip, &bytes, format!("flags {flags:#x} to itself"));
            }
        });
    }
    c.both("sanity/to_itself/generic", |s| {
        let mut ip = s.ip(Client, 253);
        ip.src = ip.dst;
        for _ in 0..3 {
            s.packet(Client, &ip, &[1, 2, 3, 4], "to itself");
        }
    });
    c.both("sanity/same_address", |s| {
        let mut ip = s.ip(Client, UDP);
        ip.src = ip.dst;
        udp_with(s, &ip);
    });
}

fn udp_with(s: &mut Script, ip: &Ip) {
    let bytes = udp(ip, (5000, 53), 20);
    s.packet(Client, ip, &bytes, "datagram");
}
