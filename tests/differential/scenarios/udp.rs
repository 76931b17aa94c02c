//! UDP and UDP-Lite.

use crate::frame::UDP;
use crate::frame::UDPLITE;
use crate::frame::udp;
use crate::lab::End;
use crate::script::Catalogue;
use crate::script::Script;

impl Script {
    /// A datagram between the usual ports.
    fn udp(&mut self, from: End, payload: usize) -> &mut Self {
        self.datagram(from, UDP, (5000, 53), payload)
    }

    /// A datagram; ports are the client's and the server's.
    fn datagram(&mut self, from: End, proto: u8, ports: (u16, u16), payload: usize) -> &mut Self {
        let ip = self.ip(from, proto);
        let ports = if from == End::Client {
            ports
        } else {
            (ports.1, ports.0)
        };
        let bytes = udp(&ip, ports, payload);
        self.packet(
            from,
            &ip,
            &bytes,
            format!("datagram {ports:?} of {payload}"),
        )
    }

    /// A datagram that is changed after its checksum was set.
    fn broken(&mut self, from: End, what: &str, change: impl Fn(&mut Vec<u8>)) -> &mut Self {
        let ip = self.ip(from, UDP);
        let ports = if from == End::Client {
            (5000, 53)
        } else {
            (53, 5000)
        };
        let mut bytes = udp(&ip, ports, 20);
        change(&mut bytes);
        self.packet(from, &ip, &bytes, what)
    }
}

pub(crate) fn add(c: &mut Catalogue) {
    streams(c);
    headers(c);
    for coverage in [0, 7, 8, 12, 28, 29, 200] {
        c.both(&format!("udplite/coverage/{coverage}"), move |s| {
            let ip = s.ip(End::Client, UDPLITE);
            let mut bytes = udp(&ip, (6, 7), 20);
            bytes[5] = coverage;
            s.packet(End::Client, &ip, &bytes, format!("covers {coverage} bytes"))
                .datagram(End::Server, UDPLITE, (6, 7), 10);
        });
    }
    c.both("udplite/no_checksum", |s| {
        let ip = s.ip(End::Client, UDPLITE);
        let mut bytes = udp(&ip, (6, 7), 20);
        bytes[6..8].fill(0);
        s.packet(End::Client, &ip, &bytes, "without checksum");
    });
    c.both("udplite/query", |s| {
        s.datagram(End::Client, UDPLITE, (6, 7), 10)
            .datagram(End::Server, UDPLITE, (6, 7), 10)
            .datagram(End::Client, UDPLITE, (6, 7), 10);
    });
}

fn streams(c: &mut Catalogue) {
    c.both("udp/query", |s| {
        s.udp(End::Client, 30).udp(End::Server, 100);
    });
    c.both("udp/one_way", |s| {
        s.udp(End::Client, 30)
            .udp(End::Client, 30)
            .wait(2.4)
            .udp(End::Client, 30);
    });
    c.both("udp/stream", |s| {
        s.udp(End::Client, 30)
            .udp(End::Server, 30)
            .wait(2.4)
            .udp(End::Client, 30)
            .udp(End::Server, 30);
    });
    c.both("udp/stream_by_reply", |s| {
        s.udp(End::Client, 30)
            .udp(End::Server, 30)
            .wait(2.4)
            .udp(End::Server, 30)
            .udp(End::Client, 1);
    });
    c.both("udp/late_reply", |s| {
        s.udp(End::Client, 30)
            .wait(2.4)
            .udp(End::Server, 30)
            .udp(End::Server, 30)
            .udp(End::Client, 30);
    });
    c.both("udp/young", |s| {
        s.udp(End::Client, 30)
            .udp(End::Server, 30)
            .wait(1.2)
            .udp(End::Client, 30)
            .udp(End::Server, 30);
    });
    c.both("udp/server_opens", |s| {
        s.udp(End::Server, 30)
            .udp(End::Client, 30)
            .udp(End::Server, 30);
    });
    c.both("udp/pause_then_stream", |s| {
        s.udp(End::Client, 1)
            .udp(End::Server, 1)
            .wait(2.4)
            .udp(End::Client, 1)
            .wait(1.2)
            .udp(End::Server, 1);
    });
    c.both("udp/ports_zero", |s| {
        s.datagram(End::Client, UDP, (0, 0), 5)
            .datagram(End::Server, UDP, (0, 0), 5);
    });
    c.both("udp/same_ports", |s| {
        s.datagram(End::Client, UDP, (9, 9), 5)
            .datagram(End::Server, UDP, (9, 9), 5);
    });
    c.both("udp/two_flows", |s| {
        s.datagram(End::Client, UDP, (9, 9), 5)
            .datagram(End::Client, UDP, (10, 9), 5)
            .datagram(End::Server, UDP, (10, 9), 5);
    });
    for payload in [0, 1, 17, 18, 19, 500, 1452] {
        c.both(&format!("udp/size/{payload}"), move |s| {
            s.udp(End::Client, payload).udp(End::Server, payload);
        });
    }
}

fn headers(c: &mut Catalogue) {
    c.both("udp/header/no_checksum", |s| {
        s.broken(End::Client, "no checksum", |b| b[6..8].fill(0))
            .udp(End::Server, 1);
    });
    c.both("udp/header/length_short", |s| {
        s.broken(End::Client, "length 7", |b| b[5] = 7)
            .udp(End::Server, 1);
    });
    c.both("udp/header/length_long", |s| {
        s.broken(End::Client, "length beyond the packet", |b| b[4] = 3)
            .udp(End::Server, 1);
    });
    c.both("udp/header/length_zero", |s| {
        s.broken(End::Client, "length 0", |b| b[4..6].fill(0))
            .udp(End::Server, 1);
    });
    c.v4("udp/header/length_less", |s| {
        s.broken(End::Client, "length 10, no checksum", |b| {
            b[4..6].copy_from_slice(&[0, 10]);
            b[6..8].fill(0);
        })
        .udp(End::Server, 1);
    });
    for cut in [0, 1, 4, 7] {
        c.both(&format!("udp/header/cut_at_{cut}"), move |s| {
            s.broken(End::Client, "cut", |b| b.truncate(cut))
                .udp(End::Server, 1);
        });
    }
    c.both("udp/checksum/bad", |s| {
        s.broken(End::Client, "bad checksum", |b| b[6] ^= 0x55)
            .udp(End::Client, 1)
            .broken(End::Server, "bad checksum", |b| b[7] ^= 1)
            .udp(End::Server, 1);
    });
    c.both("udp/checksum/bad_payload", |s| {
        s.udp(End::Client, 1)
            .broken(End::Server, "bad payload", |b| b[12] ^= 0x55)
            .udp(End::Server, 1);
    });
}
