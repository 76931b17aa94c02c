//! SCTP: associations, and every chunk where it does not belong.

use crate::frame::SCTP;
use crate::frame::sctp;
use crate::lab::End;
use crate::lab::End::Client;
use crate::lab::End::Server;
use crate::script::Catalogue;
use crate::script::Script;

impl Script {
    /// One SCTP packet; `tag` is the verification tag.
    fn sctp(&mut self, from: End, tag: u32, chunks: &[(u8, u8, &[u8])]) -> &mut Self {
        let ip = self.ip(from, SCTP);
        let ports = if from == Client {
            (7000, 8000)
        } else {
            (8000, 7000)
        };
        let kinds: Vec<u8> = chunks.iter().map(|(kind, _, _)| *kind).collect();
        self.packet(
            from,
            &ip,
            &sctp(ports, tag, chunks),
            format!("sctp chunks {kinds:?} tag {tag:#x}"),
        )
    }

    fn association(&mut self) -> &mut Self {
        self.sctp(Client, 0, &[(1, 0, &init(0xc1))])
            .sctp(Server, 0xc1, &[(2, 0, &init(0x51))])
            .sctp(Client, 0x51, &[(10, 0, b"cook")])
            .sctp(Server, 0xc1, &[(11, 0, b"")])
    }
}

/// The value of an INIT or INIT ACK: tag, window, streams, first number.
fn init(tag: u32) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.extend([0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 1]);
    value
}

const DATA: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];

pub(crate) fn add(c: &mut Catalogue) {
    life(c);
    odd(c);
    collisions(c);
    bundles(c);
}

fn life(c: &mut Catalogue) {
    c.both("sctp/association", |s| {
        s.association()
            .sctp(Client, 0x51, &[(0, 3, DATA)])
            .sctp(Server, 0xc1, &[(3, 0, &[0; 12])]);
    });
    c.both("sctp/shutdown", |s| {
        s.association()
            .sctp(Client, 0x51, &[(7, 0, &[0; 4])])
            .sctp(Server, 0xc1, &[(8, 0, b"")])
            .sctp(Client, 0x51, &[(14, 0, b"")]);
    });
    c.both("sctp/shutdown_by_server", |s| {
        s.association()
            .sctp(Server, 0xc1, &[(7, 0, &[0; 4])])
            .sctp(Client, 0x51, &[(8, 0, b"")])
            .sctp(Server, 0xc1, &[(14, 0, b"")]);
    });
    c.both("sctp/abort", |s| {
        s.association()
            .sctp(Client, 0x51, &[(6, 0, b"")])
            .sctp(Server, 0xc1, &[(0, 3, DATA)]);
    });
    c.both("sctp/abort_reflected", |s| {
        s.association()
            .sctp(Server, 0x51, &[(6, 1, b"")])
            .sctp(Client, 0, &[(1, 0, &init(0xd1))]);
    });
    c.both("sctp/abort_init", |s| {
        s.sctp(Client, 0, &[(1, 0, &init(0xc1))])
            .sctp(Server, 0xc1, &[(6, 0, b"")]);
    });
    c.both("sctp/init_again", |s| {
        s.sctp(Client, 0, &[(1, 0, &init(0xc1))])
            .sctp(Client, 0, &[(1, 0, &init(0xc1))])
            .sctp(Client, 0, &[(1, 0, &init(0xc2))])
            .sctp(Server, 0xc1, &[(2, 0, &init(0x51))]);
    });
    c.both("sctp/restart", |s| {
        s.association()
            .sctp(Client, 0, &[(1, 0, &init(0xe1))])
            .sctp(Server, 0xe1, &[(2, 0, &init(0x61))])
            .sctp(Client, 0x61, &[(10, 0, b"cook")])
            .sctp(Server, 0xe1, &[(11, 0, b"")]);
    });
    c.both("sctp/collision", |s| {
        s.sctp(Client, 0, &[(1, 0, &init(0xc1))])
            .sctp(Server, 0, &[(1, 0, &init(0x51))])
            .sctp(Client, 0x51, &[(2, 0, &init(0xc1))])
            .sctp(Server, 0xc1, &[(2, 0, &init(0x51))])
            .sctp(Client, 0x51, &[(10, 0, b"cook")])
            .sctp(Server, 0xc1, &[(11, 0, b"")]);
    });
    c.both("sctp/heartbeat", |s| {
        s.association().sctp(Client, 0x51, &[(4, 0, b"beat")]).sctp(
            Server,
            0xc1,
            &[(5, 0, b"beat")],
        );
    });
    c.both("sctp/bundled", |s| {
        s.sctp(Client, 0, &[(1, 0, &init(0xc1))])
            .sctp(Server, 0xc1, &[(2, 0, &init(0x51))])
            .sctp(Client, 0x51, &[(10, 0, b"cook"), (0, 3, DATA)])
            .sctp(Server, 0xc1, &[(11, 0, b""), (3, 0, &[0; 12])]);
    });
    c.both("sctp/reuse", |s| {
        s.association()
            .sctp(Client, 0x51, &[(7, 0, &[0; 4])])
            .sctp(Server, 0xc1, &[(8, 0, b"")])
            .sctp(Client, 0x51, &[(14, 0, b"")])
            .sctp(Client, 0, &[(1, 0, &init(0xd1))])
            .sctp(Server, 0xd1, &[(2, 0, &init(0x71))]);
    });
}

fn odd(c: &mut Catalogue) {
    for kind in [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 64, 130] {
        c.both(&format!("sctp/first/{kind}"), move |s| {
            s.sctp(Client, 0x99, &[(kind, 0, DATA)])
                .sctp(Server, 0x99, &[(kind, 0, DATA)])
                .sctp(Client, 0x99, &[(0, 3, DATA)]);
        });
        c.both(&format!("sctp/established/{kind}"), move |s| {
            s.association().sctp(Client, 0x51, &[(kind, 0, DATA)]).sctp(
                Server,
                0xc1,
                &[(kind, 0, DATA)],
            );
        });
        c.both(&format!("sctp/wrong_tag/{kind}"), move |s| {
            s.association().sctp(Client, 0x77, &[(kind, 0, DATA)]).sctp(
                Server,
                0x77,
                &[(kind, 0, DATA)],
            );
        });
    }
    c.both("sctp/init_with_tag", |s| {
        s.sctp(Client, 5, &[(1, 0, &init(0xc1))]);
    });
    c.both("sctp/init_bundled", |s| {
        s.sctp(Client, 0, &[(1, 0, &init(0xc1)), (0, 3, DATA)])
            .sctp(Client, 0, &[(0, 3, DATA), (1, 0, &init(0xc1))]);
    });
    c.both("sctp/shutdown_complete_bundled", |s| {
        s.association()
            .sctp(Client, 0x51, &[(14, 0, b""), (0, 3, DATA)]);
    });
    c.both("sctp/no_chunk", |s| {
        s.sctp(Client, 0, &[]).association().sctp(Client, 0x51, &[]);
    });
    c.both("sctp/bad_crc", |s| {
        s.association();
        let ip = s.ip(Client, SCTP);
        let mut bytes = sctp((7000, 8000), 0x51, &[(7, 0, &[0; 4])]);
        bytes[8] ^= 0x55;
        s.packet(Client, &ip, &bytes, "shutdown with a bad checksum");
    });
    for cut in [4, 8, 11, 12, 14] {
        c.both(&format!("sctp/cut_at_{cut}"), move |s| {
            let ip = s.ip(Client, SCTP);
            let bytes = sctp((7000, 8000), 0, &[(1, 0, &init(0xc1))]);
            s.packet(Client, &ip, &bytes[..cut], "cut short");
        });
    }
}

/// Both ends ask at once, or one asks again.
fn collisions(c: &mut Catalogue) {
    for (name, late) in [("same", 0x51), ("other", 0x52)] {
        c.both(&format!("sctp/collision/answer_{name}"), move |s| {
            s.sctp(Client, 0, &[(1, 0, &init(0xc1))])
                .sctp(Server, 0, &[(1, 0, &init(0x51))])
                .sctp(Server, 0xc1, &[(2, 0, &init(late))])
                .sctp(Client, 0x51, &[(2, 0, &init(0xc2))])
                .sctp(Client, 0x51, &[(2, 0, &init(0xc1))])
                .sctp(Client, late, &[(10, 0, b"cook")])
                .sctp(Server, 0xc1, &[(11, 0, b"")]);
        });
        c.both(&format!("sctp/collision/late_answer_{name}"), move |s| {
            s.association()
                .sctp(Client, 0, &[(1, 0, &init(0xc1))])
                .sctp(Server, 0xc1, &[(2, 0, &init(late))])
                .sctp(Client, late, &[(0, 3, DATA)])
                .sctp(Server, 0xc1, &[(0, 3, DATA)]);
        });
        c.both(&format!("sctp/collision/one_asks_{name}"), move |s| {
            s.sctp(Client, 0, &[(1, 0, &init(0xc1))])
                .sctp(Client, 0, &[(1, 0, &init(0xc1))])
                .sctp(Server, 0, &[(1, 0, &init(late))])
                .sctp(Server, 0, &[(1, 0, &init(0x51))])
                .sctp(Client, 0x51, &[(2, 0, &init(0xc9))])
                .sctp(Server, 0xc1, &[(2, 0, &init(0x53))])
                .sctp(Client, 0x53, &[(10, 0, b"cook")]);
        });
    }
}

/// Bundles: what one chunk changed stays when the next one is refused.
fn bundles(c: &mut Catalogue) {
    let pairs: [(&str, [u8; 2]); 8] = [
        ("heartbeat_error", [4, 9]),
        ("error_heartbeat", [9, 4]),
        ("cookie_heartbeat", [10, 4]),
        ("heartbeat_ack_error", [5, 9]),
        ("shutdown_error", [7, 9]),
        ("shutdown_ack_heartbeat", [8, 4]),
        ("heartbeat_shutdown", [4, 7]),
        ("error_shutdown_ack", [9, 8]),
    ];
    for (name, [first, second]) in pairs {
        c.both(&format!("sctp/bundle/first/{name}"), move |s| {
            s.sctp(Client, 0x77, &[(first, 0, &[0; 4]), (second, 0, &[0; 4])])
                .sctp(Server, 0x77, &[(4, 0, b"beat")])
                .sctp(Server, 0x78, &[(0, 3, DATA)])
                .sctp(Client, 0x77, &[(0, 3, DATA)]);
        });
    }
    // Which tags a first packet of two chunks sets.
    for first in [0, 2, 3, 4, 5, 7, 8, 9, 10] {
        for second in [0, 3, 4, 5, 7, 8, 9] {
            c.both(&format!("sctp/bundle/pair/{first}/{second}"), move |s| {
                s.sctp(Client, 0x77, &[(first, 0, &[0; 16]), (second, 0, &[0; 4])])
                    .sctp(Server, 0x52, &[(4, 0, b"beat")])
                    .sctp(Server, 0x77, &[(4, 0, b"beat")])
                    .sctp(Server, 0x52, &[(0, 3, DATA)])
                    .sctp(Client, 0x77, &[(0, 3, DATA)])
                    .sctp(Client, 0x52, &[(5, 0, b"beat")]);
            });
        }
    }
    for (name, first) in [
        ("shutdown", 7),
        ("shutdown_ack", 8),
        ("heartbeat", 4),
        ("error", 9),
    ] {
        c.both(&format!("sctp/bundle/then_refused/{name}"), move |s| {
            s.association()
                .sctp(Client, 0x51, &[(first, 0, &[0; 4]), (6, 0, b"")])
                .association()
                .sctp(Client, 0x99, &[(first, 0, &[0; 4]), (6, 0, b"")])
                .sctp(Server, 0xc1, &[(first, 0, &[0; 4]), (6, 1, b"")])
                .sctp(Server, 0xc1, &[(0, 3, DATA)]);
        });
    }
    c.both("sctp/bundle/many", |s| {
        let beats: [(u8, u8, &[u8]); 12] = [(4, 0, b"beat"); 12];
        s.association()
            .sctp(Client, 0x51, &beats)
            .sctp(Client, 0x66, &beats);
    });
}
