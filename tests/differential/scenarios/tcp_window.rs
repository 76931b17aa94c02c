//! Window edges, scaling, SACK, retransmissions, zero windows.

use crate::frame::ACK;
use crate::frame::FIN;
use crate::frame::PSH;
use crate::frame::RST;
use crate::frame::SYN;
use crate::lab::End;
use crate::script::Catalogue;
use crate::tcp::MSS;
use crate::tcp::SACK_OK;
use crate::tcp::seg;

pub(crate) fn add(catalogue: &mut Catalogue) {
    edges(catalogue);
    acks(catalogue);
    scaling(catalogue);
    layouts(catalogue);
    sack(catalogue);
    repeats(catalogue);
    zero(catalogue);
    options(catalogue);
}

/// Windows are 1000: what lies before, at and beyond each edge.
fn edges(c: &mut Catalogue) {
    for (at, len) in [
        (1, 1000),
        (1, 1001),
        (1, 1002),
        (2, 999),
        (1000, 0),
        (1001, 0),
        (1002, 0),
        (1003, 0),
        (1001, 1),
        (1002, 10),
        (1500, 100),
        (1999, 2),
        (2001, 0),
        (2002, 1),
        (5000, 10),
        (-999, 0),
        (-1000, 0),
        (-1001, 0),
        (-998, 1),
        (0, 0),
        (0, 1),
        (-5, 10),
        (-70_000, 0),
        (1_000_000_000, 0),
    ] {
        for from in [End::Client, End::Server] {
            let side = if from == End::Client { "orig" } else { "reply" };
            c.v4(format!("tcp/window/seq/{side}/{at}+{len}"), move |s| {
                let other = if from == End::Client {
                    End::Server
                } else {
                    End::Client
                };
                s.handshake().tcp(from, seg(ACK | PSH).seq(at).len(len));
                s.tcp(other, seg(ACK).ack(at + len as i64))
                    .tcp(from, seg(ACK).len(10))
                    .tcp(other, seg(ACK).ack(11));
            });
        }
    }
}

fn acks(c: &mut Catalogue) {
    for ack in [
        0, 1, 2, 11, 12, 500, -999, -65_989, -65_990, -65_991, -66_000, -80_000,
    ] {
        c.v6(format!("tcp/window/ack/{ack}"), move |s| {
            s.handshake()
                .c(seg(ACK).len(10))
                .s(seg(ACK).ack(ack))
                .s(seg(ACK).ack(11))
                .c(seg(ACK).seq(11));
        });
    }
    c.v4("tcp/window/overshoot_then_ack", |s| {
        s.handshake()
            .c(seg(ACK).seq(1).len(1400))
            .s(seg(ACK).ack(1401))
            .c(seg(ACK).seq(1401).len(10))
            .s(seg(ACK).ack(1411));
    });
    c.v4("tcp/window/overshoot_twice", |s| {
        s.handshake()
            .c(seg(ACK).seq(1002).len(100))
            .c(seg(ACK).seq(1102).len(100))
            .s(seg(ACK).ack(1202))
            .c(seg(ACK).seq(1202));
    });
    c.v4("tcp/window/shrink", |s| {
        s.handshake()
            .s(seg(ACK).win(10))
            .c(seg(ACK).len(900))
            .s(seg(ACK).win(5).ack(901))
            .c(seg(ACK).seq(901).len(100))
            .c(seg(ACK).seq(1001).len(100));
    });
    c.v4("tcp/window/grow", |s| {
        s.handshake()
            .s(seg(ACK).win(60_000))
            .c(seg(ACK).seq(50_000).len(1400))
            .s(seg(ACK).ack(51_400).win(60_000))
            .c(seg(ACK).seq(51_400));
    });
    c.v4("tcp/window/wrap", |s| {
        s.handshake().s(seg(ACK).win(65_535));
        for n in 0..4 {
            let at = 1 + n * 1400;
            s.s(seg(ACK).seq(at).len(1400)).c(seg(ACK).ack(at + 1400));
        }
    });
    c.v4("tcp/window/stale_after_data", |s| {
        s.handshake();
        for n in 0..3 {
            let at = 1 + n * 1000;
            s.c(seg(ACK).seq(at).len(1000)).s(seg(ACK).ack(at + 1000));
        }
        s.c(seg(ACK).seq(1).len(1000))
            .c(seg(ACK).seq(2001).len(1000))
            .c(seg(ACK).seq(1900).len(50));
    });
    c.v4("tcp/window/unseen_data_acked", |s| {
        s.handshake()
            .s(seg(ACK).ack(2))
            .s(seg(ACK).ack(1))
            .c(seg(ACK).len(1))
            .s(seg(ACK).ack(2));
    });
    c.v4("tcp/window/fin_beyond", |s| {
        s.handshake()
            .c(seg(FIN | ACK).seq(5000))
            .s(seg(FIN | ACK).seq(5000))
            .c(seg(ACK))
            .s(seg(ACK));
    });
    c.v4("tcp/window/fin_rst_beyond", |s| {
        s.talked()
            .c(seg(FIN | ACK).seq(50_000).ack(2))
            .s(seg(RST).seq(50_000))
            .c(seg(RST).seq(-50_000))
            .c(seg(ACK).seq(2).ack(2));
    });
    c.v4("tcp/window/rst_fin_beyond", |s| {
        s.talked()
            .s(seg(RST).seq(-50_000))
            .c(seg(FIN | ACK).seq(50_000).ack(2))
            .s(seg(FIN | ACK).seq(90_000).ack(2))
            .s(seg(ACK).seq(2).ack(2));
    });
}

fn scaling(c: &mut Catalogue) {
    for shift in [0, 1, 7, 14, 15, 255] {
        c.v4(format!("tcp/scale/both_{shift}"), move |s| {
            s.handshake_scaled(shift)
                .s(seg(ACK).win(100))
                .c(seg(ACK).seq(1001).len(1))
                .c(seg(ACK).seq(100 << shift.min(16)).len(1))
                .c(seg(ACK).seq((100 << shift.min(16)) + 2).len(1))
                .s(seg(ACK).ack(1002));
        });
    }
    c.v4("tcp/scale/client_only", |s| {
        s.c(seg(SYN).seq(0).scale(7))
            .s(seg(SYN | ACK).seq(0))
            .c(seg(ACK))
            .s(seg(ACK).seq(1500).len(10))
            .s(seg(ACK).seq(50_000));
    });
    c.v4("tcp/scale/server_only", |s| {
        s.syn()
            .s(seg(SYN | ACK).seq(0).scale(7))
            .c(seg(ACK))
            .c(seg(ACK).seq(1500).len(10))
            .c(seg(ACK).seq(50_000));
    });
    c.v4("tcp/scale/not_of_syn", |s| {
        s.c(seg(SYN).seq(0).scale(7))
            .s(seg(SYN | ACK).seq(0).scale(7))
            .c(seg(ACK).seq(1001).len(10))
            .c(seg(ACK).seq(5000).len(10))
            .s(seg(ACK))
            .c(seg(ACK).seq(5000).len(10));
    });
    c.v4("tcp/scale/first_option_wins", |s| {
        s.c(seg(SYN).seq(0).scale(2).scale(9))
            .s(seg(SYN | ACK).seq(0).scale(0))
            .c(seg(ACK).win(1000))
            .s(seg(ACK).seq(4000).len(10))
            .s(seg(ACK).seq(100_000).len(10));
    });
    c.v6("tcp/scale/different", |s| {
        s.c(seg(SYN).seq(0).scale(3))
            .s(seg(SYN | ACK).seq(0).scale(9))
            .c(seg(ACK))
            .s(seg(ACK).seq(8001).len(10))
            .s(seg(ACK).seq(8002).len(10))
            .c(seg(ACK).seq(400_000).len(10))
            .s(seg(ACK))
            .c(seg(ACK).seq(400_000).len(10));
    });
}

/// Options of a SYN as stacks write them, with a scale of 7, and the same with a byte
/// that is wrong: what is read at a glance must be what a walk would find.
const LAYOUTS: [(&str, &[u8]); 10] = [
    (
        "linux",
        &[
            2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
        ],
    ),
    (
        "linux_mss_length",
        &[
            2, 5, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
        ],
    ),
    (
        "linux_sack_length",
        &[
            2, 4, 5, 180, 4, 3, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
        ],
    ),
    (
        "linux_time_length",
        &[2, 4, 5, 180, 4, 2, 8, 9, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7],
    ),
    (
        "linux_ends_early",
        &[
            2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 0, 3, 3, 7,
        ],
    ),
    (
        "linux_scale_length",
        &[
            2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 4, 7,
        ],
    ),
    ("windows", &[2, 4, 5, 180, 1, 3, 3, 7, 1, 1, 4, 2]),
    ("windows_no_sack", &[2, 4, 5, 180, 1, 3, 3, 7, 1, 1, 1, 1]),
    (
        "windows_ends_early",
        &[2, 4, 5, 180, 0, 3, 3, 7, 1, 1, 4, 2],
    ),
    (
        "windows_mss_length",
        &[2, 8, 5, 180, 1, 3, 3, 7, 1, 1, 4, 2],
    ),
];

fn layouts(c: &mut Catalogue) {
    for (name, options) in LAYOUTS {
        c.both(&format!("tcp/scale/layout_{name}"), move |s| {
            s.c(seg(SYN).seq(0).opt(options))
                .s(seg(SYN | ACK).seq(0).opt(options))
                .c(seg(ACK).win(100))
                .s(seg(ACK).seq(1001).len(1))
                .s(seg(ACK).seq(12_801).len(1))
                .c(seg(ACK).len(500))
                .s(seg(ACK).seq(1002).sack(End::Server, &[(201, 501)]))
                .s(seg(ACK).seq(1002).sack(End::Server, &[(201, 90_000)]));
        });
    }
}

fn sack(c: &mut Catalogue) {
    c.v4("tcp/sack/hole", |s| {
        s.handshake_scaled(7)
            .c(seg(ACK).len(100))
            .c(seg(ACK).seq(201).len(100))
            .s(seg(ACK).ack(101).sack(End::Server, &[(201, 301)]))
            .c(seg(ACK).seq(101).len(100))
            .s(seg(ACK).ack(301));
    });
    c.v4("tcp/sack/beyond", |s| {
        s.handshake_scaled(7)
            .c(seg(ACK).len(100))
            .s(seg(ACK).ack(101).sack(End::Server, &[(201, 301)]))
            .s(seg(ACK).ack(101));
    });
    c.v4("tcp/sack/three_blocks", |s| {
        s.handshake_scaled(7)
            .c(seg(ACK).seq(1).len(1000))
            .s(seg(ACK)
                .ack(1)
                .sack(End::Server, &[(101, 201), (301, 401), (501, 601)]))
            .s(seg(ACK)
                .ack(1)
                .sack(End::Server, &[(101, 201), (301, 1002)]));
    });
    c.v4("tcp/sack/not_offered", |s| {
        s.handshake()
            .c(seg(ACK).len(100))
            .s(seg(ACK).ack(1).sack(End::Server, &[(201, 301)]))
            .s(seg(ACK).ack(101))
            .c(seg(ACK).seq(101));
    });
    c.v4("tcp/sack/grows_window", |s| {
        s.handshake_scaled(0)
            .c(seg(ACK).len(1000))
            .s(seg(ACK).ack(1).sack(End::Server, &[(501, 1001)]).win(1000))
            .c(seg(ACK).seq(1501).len(400))
            .c(seg(ACK).seq(2001).len(500));
    });
    c.v4("tcp/sack/mid_stream", |s| {
        s.c(seg(ACK).len(100))
            .s(seg(ACK).ack(1).sack(End::Server, &[(51, 101)]))
            .c(seg(ACK).seq(101))
            .s(seg(ACK).ack(1).sack(End::Server, &[(51, 201)]));
    });
    c.v6("tcp/sack/old_ack_new_sack", |s| {
        s.handshake_scaled(7)
            .c(seg(ACK).len(100))
            .s(seg(ACK).ack(-70_000).sack(End::Server, &[(51, 101)]))
            .s(seg(ACK).ack(101));
    });
    c.v4("tcp/sack/with_timestamp", |s| {
        s.handshake_scaled(7)
            .c(seg(ACK)
                .len(100)
                .opt(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]))
            .s(seg(ACK)
                .ack(1)
                .opt(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])
                .sack(End::Server, &[(51, 101)]))
            .s(seg(ACK)
                .ack(101)
                .opt(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]));
    });
}

fn repeats(c: &mut Catalogue) {
    c.both("tcp/repeat/data", |s| {
        s.handshake();
        for _ in 0..5 {
            s.c(seg(ACK).len(10));
        }
        s.s(seg(ACK).ack(11)).c(seg(ACK).seq(11));
    });
    c.v4("tcp/repeat/ack", |s| {
        s.talked();
        for _ in 0..5 {
            s.c(seg(ACK).seq(2).ack(2));
        }
        s.s(seg(ACK).seq(2).ack(2)).c(seg(ACK).seq(2).ack(2));
    });
    c.v4("tcp/repeat/server_ack", |s| {
        s.talked();
        for _ in 0..5 {
            s.s(seg(ACK).seq(2).ack(2));
        }
        s.c(seg(ACK).seq(2).ack(2).len(1)).s(seg(ACK).seq(2).ack(3));
    });
    c.v4("tcp/repeat/other_window", |s| {
        s.talked();
        for n in 0..5 {
            s.c(seg(ACK).seq(2).ack(2).win(1000 + n));
        }
    });
    c.v4("tcp/repeat/interleaved", |s| {
        s.talked();
        for _ in 0..5 {
            s.c(seg(ACK).seq(2).ack(2)).s(seg(ACK).seq(2).ack(2));
        }
    });
    c.v4("tcp/repeat/fin", |s| {
        s.talked();
        for _ in 0..5 {
            s.c(seg(FIN | ACK).seq(2).ack(2));
        }
        s.s(seg(ACK).seq(2).ack(3));
    });
    c.v4("tcp/repeat/then_fin", |s| {
        s.talked();
        for _ in 0..4 {
            s.c(seg(ACK).seq(2).ack(2));
        }
        s.c(seg(FIN | ACK).seq(2).ack(2))
            .s(seg(ACK).seq(2).ack(3))
            .s(seg(ACK).seq(2).ack(3));
    });
    // Behind a FIN of the same side, the ACK before it is known in part only.
    for (what, again) in [
        ("same", seg(ACK).seq(2).ack(2)),
        ("win_1", seg(ACK).seq(2).ack(2).win(1)),
        ("win_999", seg(ACK).seq(2).ack(2).win(999)),
        ("win_1001", seg(ACK).seq(2).ack(2).win(1001)),
        ("win_65535", seg(ACK).seq(2).ack(2).win(65535)),
        ("win_0", seg(ACK).seq(2).ack(2).win(0)),
        ("ack_1", seg(ACK).seq(2).ack(1)),
        ("longer", seg(ACK).seq(1).len(1).ack(2)),
    ] {
        c.both(&format!("tcp/repeat/behind_fin/{what}"), move |s| {
            s.talked().c(seg(FIN | ACK).seq(2).ack(2)).c(again.clone());
        });
    }
    c.v4("tcp/repeat/syn_recv", |s| {
        s.syn_synack();
        for _ in 0..5 {
            s.s(seg(ACK));
        }
        s.c(seg(ACK));
    });
    c.v4("tcp/repeat/data_mix", |s| {
        s.handshake();
        for _ in 0..3 {
            s.c(seg(ACK).len(10)).c(seg(ACK).seq(11).len(10));
        }
        s.s(seg(ACK).ack(21)).c(seg(ACK).seq(21));
    });
    c.v4("tcp/repeat/unacked", |s| {
        s.handshake()
            .c(seg(ACK).len(10))
            .wait(1.5)
            .s(seg(ACK).ack(1))
            .s(seg(ACK).ack(11))
            .s(seg(ACK).ack(11).len(10))
            .c(seg(ACK).seq(11).ack(11));
    });
}

fn zero(c: &mut Catalogue) {
    c.v4("tcp/zero_window/probe", |s| {
        s.talked()
            .s(seg(ACK).seq(2).ack(2).win(0))
            .c(seg(ACK).seq(1).ack(2))
            .s(seg(ACK).seq(2).ack(2).win(0))
            .c(seg(ACK).seq(2).ack(2).len(1))
            .s(seg(ACK).seq(2).ack(2).win(0))
            .s(seg(ACK).seq(2).ack(2).win(500))
            .c(seg(ACK).seq(2).ack(2).len(100))
            .s(seg(ACK).seq(2).ack(102));
    });
    c.v4("tcp/zero_window/both", |s| {
        s.talked()
            .s(seg(ACK).seq(2).ack(2).win(0))
            .c(seg(ACK).seq(2).ack(2).win(0))
            .s(seg(ACK).seq(2).ack(2).win(9))
            .c(seg(ACK).seq(2).ack(2).win(9));
    });
    c.v4("tcp/zero_window/fin", |s| {
        s.talked()
            .s(seg(ACK).seq(2).ack(2).win(0))
            .c(seg(FIN | ACK).seq(2).ack(2))
            .s(seg(ACK).seq(2).ack(3).win(0));
    });
    c.v4("tcp/zero_window/rst", |s| {
        s.talked()
            .s(seg(ACK).seq(2).ack(2).win(0))
            .s(seg(RST).seq(2).win(0));
    });
    c.v4("tcp/keep_alive/plain", |s| {
        s.talked();
        for _ in 0..4 {
            s.c(seg(ACK).seq(1).ack(2)).s(seg(ACK).seq(2).ack(2));
        }
    });
    c.v4("tcp/keep_alive/with_byte", |s| {
        s.talked();
        for _ in 0..4 {
            s.c(seg(ACK).seq(1).ack(2).len(1)).s(seg(ACK).seq(2).ack(2));
        }
    });
}

fn options(c: &mut Catalogue) {
    let cases: [(&str, &[u8]); 12] = [
        ("eol_hides", &[0, 3, 3, 7]),
        ("length_0", &[2, 0, 3, 3, 7, 1, 1, 1]),
        ("length_1", &[2, 1, 3, 3, 7, 1, 1, 1]),
        ("overrun", &[1, 3, 3, 7, 2, 9, 0, 0]),
        ("overrun_first", &[2, 9, 0, 0]),
        ("scale_wrong_length", &[3, 4, 7, 7]),
        ("sack_wrong_length", &[4, 3, 0, 1]),
        ("unknown", &[99, 4, 1, 2, 1, 3, 3, 7]),
        ("nops", &[1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 7]),
        ("last_byte_kind", &[1, 1, 1, 3]),
        ("timestamp", &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]),
        (
            "full",
            &[
                1, 3, 3, 7, 1, 3, 3, 7, 1, 3, 3, 7, 1, 3, 3, 7, 1, 3, 3, 7, 1, 3, 3, 7, 1, 3, 3, 7,
                1, 3, 3, 7, 1, 3, 3, 7, 1, 3, 3, 2,
            ],
        ),
    ];
    for (name, bytes) in cases {
        c.v4(format!("tcp/options/{name}"), move |s| {
            s.c(seg(SYN).seq(0).opt(bytes))
                .s(seg(SYN | ACK).seq(0).opt(MSS).opt(SACK_OK).scale(7))
                .c(seg(ACK))
                .s(seg(ACK))
                .s(seg(ACK).seq(1500).len(9))
                .s(seg(ACK).seq(100_000).len(9))
                .c(seg(ACK).seq(100_000).len(9));
        });
    }
}
