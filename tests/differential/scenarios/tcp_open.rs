//! Opening: handshakes, what disturbs them, picking up in mid-stream, and SYNs
//! on live entries.

use crate::frame::ACK;
use crate::frame::FIN;
use crate::frame::PSH;
use crate::frame::RST;
use crate::frame::SYN;
use crate::lab::End;
use crate::script::Catalogue;
use crate::script::Script;
use crate::tcp::MSS;
use crate::tcp::SACK_OK;
use crate::tcp::seg;

pub(crate) fn add(catalogue: &mut Catalogue) {
    handshakes(catalogue);
    simultaneous(catalogue);
    mid_stream(catalogue);
    live_syn(catalogue);
    answers(catalogue);
}

fn handshakes(c: &mut Catalogue) {
    c.both("tcp/open/plain", |s| {
        s.talked();
    });
    c.both("tcp/open/scaled", |s| {
        s.handshake_scaled(7)
            .c(seg(ACK).len(10))
            .s(seg(ACK).ack(11));
    });
    c.both("tcp/open/syn_again", |s| {
        s.syn()
            .syn()
            .wait(1.2)
            .syn()
            .s(seg(SYN | ACK).seq(0))
            .c(seg(ACK));
    });
    c.v4("tcp/open/syn_other_seq", |s| {
        s.syn()
            .c(seg(SYN).seq(5000))
            .s(seg(SYN | ACK).seq(0).ack(5001))
            .c(seg(ACK).seq(5001));
    });
    c.v4("tcp/open/syn_older_seq", |s| {
        s.syn()
            .c(seg(SYN).seq(-5000))
            .s(seg(SYN | ACK).seq(0).ack(1))
            .c(seg(ACK));
    });
    c.v4("tcp/open/syn_other_options", |s| {
        s.syn()
            .c(seg(SYN).seq(0).opt(MSS).scale(9))
            .s(seg(SYN | ACK).seq(0).opt(MSS).scale(3))
            .c(seg(ACK))
            .c(seg(ACK).len(100))
            .s(seg(ACK).ack(101).win(10));
    });
    c.v4("tcp/open/synack_again", |s| {
        s.syn_synack()
            .s(seg(SYN | ACK).seq(0))
            .c(seg(ACK))
            .s(seg(SYN | ACK).seq(0))
            .c(seg(ACK));
    });
    c.v4("tcp/open/synack_other_seq", |s| {
        s.syn_synack()
            .s(seg(SYN | ACK).seq(7000))
            .c(seg(ACK).ack(7001))
            .c(seg(ACK));
    });
    c.v4("tcp/open/synack_wrong_ack", |s| {
        s.syn()
            .s(seg(SYN | ACK).seq(0).ack(77))
            .c(seg(RST).seq(77))
            .s(seg(SYN | ACK).seq(0))
            .c(seg(ACK));
    });
    c.v4("tcp/open/synack_old_ack", |s| {
        s.syn()
            .s(seg(SYN | ACK).seq(0).ack(-70_000))
            .s(seg(SYN | ACK).seq(0))
            .c(seg(ACK));
    });
    c.v4("tcp/open/ack_wrong", |s| {
        s.syn_synack()
            .c(seg(ACK).ack(9))
            .c(seg(ACK).seq(900))
            .c(seg(ACK));
    });
    c.v4("tcp/open/fastopen", |s| {
        s.c(seg(SYN).seq(0).len(100))
            .s(seg(SYN | ACK).seq(0).ack(101))
            .c(seg(ACK).seq(101));
    });
    c.v4("tcp/open/fastopen_refused", |s| {
        s.c(seg(SYN).seq(0).len(100))
            .s(seg(SYN | ACK).seq(0).ack(1))
            .c(seg(ACK).len(100))
            .s(seg(ACK).ack(101));
    });
    c.v4("tcp/open/data_in_synack", |s| {
        s.syn()
            .s(seg(SYN | ACK).seq(0).len(50))
            .c(seg(ACK).ack(51))
            .s(seg(ACK).seq(51));
    });
    c.v4("tcp/open/refused", |s| {
        s.syn()
            .s(seg(RST | ACK).seq(0))
            .syn()
            .s(seg(RST | ACK).seq(0));
    });
    c.v4("tcp/open/refused_wrong_ack", |s| {
        s.syn().s(seg(RST | ACK).seq(0).ack(99)).s(seg(RST).seq(0));
    });
    c.v4("tcp/open/given_up", |s| {
        s.syn().c(seg(RST)).s(seg(SYN | ACK).seq(0));
    });
    c.v4("tcp/open/given_up_late", |s| {
        s.syn_synack().c(seg(RST)).syn().s(seg(SYN | ACK).seq(0));
    });
    c.v4("tcp/open/half_open_ack", |s| {
        s.syn()
            .s(seg(ACK).seq(300).ack(-400))
            .c(seg(RST).seq(-400))
            .syn()
            .s(seg(SYN | ACK).seq(0));
    });
    c.v4("tcp/open/zero_window_syn", |s| {
        s.c(seg(SYN).seq(0).win(0))
            .s(seg(SYN | ACK).seq(0).win(0))
            .c(seg(ACK).win(0))
            .c(seg(ACK).len(1))
            .s(seg(ACK).ack(2));
    });
    c.v4("tcp/open/data_before_synack", |s| {
        s.syn()
            .c(seg(ACK).len(10))
            .s(seg(ACK).len(10))
            .s(seg(SYN | ACK).seq(0));
    });
    c.v4("tcp/open/fin_in_syn_recv", |s| {
        s.syn_synack()
            .c(seg(FIN | ACK))
            .s(seg(ACK).ack(2))
            .s(seg(FIN | ACK).ack(2))
            .c(seg(ACK).seq(2).ack(2));
    });
    c.v4("tcp/open/port_zero", |s| {
        s.c(seg(SYN).seq(0).port(0))
            .s(seg(SYN | ACK).seq(0).port(0))
            .c(seg(ACK).port(0));
    });
    c.v4("tcp/open/two_ports", |s| {
        s.syn()
            .c(seg(SYN).seq(0).port(40001))
            .s(seg(SYN | ACK).seq(0).port(40001))
            .s(seg(SYN | ACK).seq(0));
    });
    c.both("tcp/open/both_ways", |s| {
        s.syn_synack()
            .s(seg(ACK).len(20))
            .s(seg(ACK).seq(21).len(20))
            .c(seg(ACK).ack(41))
            .s(seg(ACK).seq(41));
    });
}

fn simultaneous(c: &mut Catalogue) {
    c.both("tcp/simultaneous/full", |s| {
        s.syn()
            .s(seg(SYN).seq(0))
            .c(seg(SYN | ACK).seq(0))
            .s(seg(SYN | ACK).seq(0))
            .c(seg(ACK))
            .s(seg(ACK));
    });
    c.v4("tcp/simultaneous/one_synack", |s| {
        s.syn()
            .s(seg(SYN).seq(0))
            .s(seg(SYN | ACK).seq(0))
            .c(seg(ACK))
            .s(seg(ACK));
    });
    c.v4("tcp/simultaneous/ack_answers", |s| {
        s.syn()
            .s(seg(SYN).seq(0))
            .c(seg(SYN | ACK).seq(0))
            .s(seg(ACK))
            .c(seg(ACK).len(5))
            .s(seg(ACK).ack(6));
    });
    c.v4("tcp/simultaneous/again", |s| {
        s.syn().s(seg(SYN).seq(0)).syn().s(seg(SYN).seq(0)).syn();
    });
    c.v4("tcp/simultaneous/scaled", |s| {
        s.c(seg(SYN).seq(0).scale(4))
            .s(seg(SYN).seq(0).scale(5))
            .c(seg(SYN | ACK).seq(0).scale(4))
            .s(seg(SYN | ACK).seq(0).scale(5))
            .c(seg(ACK).len(1400))
            .s(seg(ACK).ack(1401));
    });
    c.v4("tcp/simultaneous/reset", |s| {
        s.syn().s(seg(SYN).seq(0)).c(seg(RST | ACK)).s(seg(RST));
    });
}

fn mid_stream(c: &mut Catalogue) {
    c.both("tcp/mid_stream/both_ways", |s| {
        s.c(seg(ACK).len(100))
            .s(seg(ACK).ack(101))
            .c(seg(ACK).seq(101).len(100))
            .s(seg(ACK).ack(201))
            .c(seg(ACK).seq(201));
    });
    c.v4("tcp/mid_stream/server_first", |s| {
        s.s(seg(ACK).len(100))
            .c(seg(ACK).ack(101))
            .s(seg(ACK).seq(101).len(9))
            .c(seg(ACK).ack(110));
    });
    c.v4("tcp/mid_stream/one_way", |s| {
        s.c(seg(ACK).len(100))
            .c(seg(ACK).seq(101).len(100))
            .c(seg(ACK).seq(201).len(100))
            .c(seg(ACK).seq(5000));
    });
    c.v4("tcp/mid_stream/fin", |s| {
        s.c(seg(ACK))
            .c(seg(FIN | ACK))
            .s(seg(FIN | ACK).ack(2))
            .c(seg(ACK).seq(2).ack(2));
    });
    c.v4("tcp/mid_stream/fin_first", |s| {
        s.c(seg(FIN | ACK)).s(seg(ACK).ack(2));
    });
    c.v4("tcp/mid_stream/rst", |s| {
        s.c(seg(ACK).len(5)).s(seg(RST)).c(seg(ACK).len(5));
    });
    c.v4("tcp/mid_stream/rst_first", |s| {
        s.c(seg(RST)).s(seg(RST | ACK));
    });
    c.v4("tcp/mid_stream/synack_first", |s| {
        s.s(seg(SYN | ACK).seq(0)).c(seg(ACK)).s(seg(ACK).len(10));
    });
    c.v4("tcp/mid_stream/big_window", |s| {
        s.c(seg(ACK).win(65535))
            .s(seg(ACK).win(65535).len(1400))
            .s(seg(ACK).seq(60_000).len(1400))
            .s(seg(ACK).seq(200_000))
            .c(seg(ACK).ack(200_000));
    });
    c.v4("tcp/mid_stream/zero_window", |s| {
        s.c(seg(ACK).win(0))
            .s(seg(ACK).win(0))
            .c(seg(ACK))
            .s(seg(ACK))
            .c(seg(ACK).len(10))
            .s(seg(ACK).ack(11));
    });
    c.v4("tcp/mid_stream/keep_alive", |s| {
        s.c(seg(ACK).seq(0))
            .s(seg(ACK))
            .c(seg(ACK).len(10))
            .s(seg(ACK).ack(11))
            .c(seg(ACK).seq(11));
    });
    c.v4("tcp/mid_stream/syn_after", |s| {
        s.c(seg(ACK))
            .c(seg(SYN).seq(900_000))
            .s(seg(SYN | ACK).seq(0).ack(900_001))
            .c(seg(ACK).seq(900_001));
    });
    c.v4("tcp/mid_stream/old_ack", |s| {
        s.c(seg(ACK).len(10))
            .s(seg(ACK).ack(-50_000))
            .s(seg(ACK).ack(-70_000))
            .s(seg(ACK).ack(11))
            .c(seg(ACK).seq(11));
    });
}

fn resync(s: &mut Script, back: i64) {
    s.c(seg(SYN).seq(back))
        .s(seg(SYN | ACK).seq(300_000).ack(back + 1))
        .c(seg(ACK).seq(back + 1).ack(300_001));
}

fn live_syn(c: &mut Catalogue) {
    c.both("tcp/live_syn/resync", |s| {
        s.talked();
        resync(s, 500_000);
        s.s(seg(ACK).seq(300_001).ack(500_001).len(7))
            .c(seg(ACK).seq(500_001).ack(300_008));
    });
    c.v4("tcp/live_syn/resync_scaled", |s| {
        s.handshake_scaled(2)
            .c(seg(SYN).seq(90_000).opt(SACK_OK).scale(8))
            .s(seg(SYN | ACK).seq(9).ack(90_001).scale(6))
            .c(seg(ACK).seq(90_001).ack(10))
            .s(seg(ACK).seq(10).ack(90_001).len(1400).win(9))
            .c(seg(ACK).seq(90_001).ack(1410).win(10))
            .c(seg(ACK).seq(90_001).ack(1410).len(577).win(10));
    });
    c.v4("tcp/live_syn/resync_half_scaled", |s| {
        s.handshake_scaled(2)
            .c(seg(SYN).seq(90_000).scale(8))
            .s(seg(SYN | ACK).seq(9).ack(90_001))
            .c(seg(ACK).seq(90_001).ack(10).len(900))
            .s(seg(ACK).seq(10).ack(90_901));
    });
    c.v4("tcp/live_syn/resync_syn_recv", |s| {
        s.syn_synack();
        resync(s, 20_000);
    });
    c.v4("tcp/live_syn/resync_fin_wait", |s| {
        s.handshake().c(seg(FIN | ACK));
        resync(s, 20_000);
        s.c(seg(FIN | ACK).seq(20_001).ack(300_001))
            .s(seg(ACK).seq(300_001).ack(20_002));
    });
    c.v4("tcp/live_syn/resync_close_wait", |s| {
        s.handshake().c(seg(FIN | ACK)).s(seg(ACK).ack(2));
        resync(s, 20_000);
    });
    c.v4("tcp/live_syn/resync_last_ack", |s| {
        s.handshake().close_last_ack();
        resync(s, 20_000);
    });
    c.v4("tcp/live_syn/resync_wrong_ack", |s| {
        s.talked()
            .c(seg(SYN).seq(700))
            .s(seg(SYN | ACK).seq(300_000).ack(700))
            .s(seg(SYN | ACK).seq(300_000).ack(701))
            .c(seg(ACK).seq(701).ack(300_001));
    });
    c.v4("tcp/live_syn/forgotten", |s| {
        s.talked()
            .c(seg(SYN).seq(700))
            .s(seg(ACK).seq(2).ack(2))
            .s(seg(SYN | ACK).seq(300_000).ack(701))
            .c(seg(ACK).seq(2).ack(2));
    });
    c.v4("tcp/live_syn/data_between", |s| {
        s.talked()
            .c(seg(SYN).seq(700))
            .c(seg(ACK).seq(2).ack(2).len(5))
            .s(seg(SYN | ACK).seq(300_000).ack(701));
    });
    c.v4("tcp/live_syn/reset_answers", |s| {
        s.talked()
            .c(seg(SYN).seq(700))
            .s(seg(RST | ACK).seq(0).ack(701))
            .syn();
    });
    c.v4("tcp/live_syn/reset_wrong", |s| {
        s.talked()
            .c(seg(SYN).seq(700))
            .s(seg(RST | ACK).seq(0).ack(700))
            .s(seg(RST).seq(2));
    });
    c.v4("tcp/live_syn/twice", |s| {
        s.talked()
            .c(seg(SYN).seq(700))
            .c(seg(SYN).seq(800))
            .s(seg(SYN | ACK).seq(0).ack(701))
            .s(seg(SYN | ACK).seq(0).ack(801))
            .c(seg(ACK).seq(801));
    });
    c.v4("tcp/live_syn/from_server", |s| {
        s.talked()
            .s(seg(SYN).seq(0))
            .c(seg(SYN | ACK).seq(0))
            .s(seg(ACK));
    });
    c.v4("tcp/live_syn/challenged", |s| {
        s.talked()
            .c(seg(SYN).seq(700))
            .s(seg(ACK).seq(2).ack(2))
            .c(seg(RST).seq(2))
            .c(seg(SYN).seq(700))
            .s(seg(SYN | ACK).seq(0).ack(701));
    });
    c.v4("tcp/live_syn/challenged_last_ack", |s| {
        s.handshake()
            .close_last_ack()
            .c(seg(SYN).seq(700))
            .s(seg(ACK).seq(2).ack(2))
            .c(seg(RST).seq(2))
            .c(seg(SYN).seq(700))
            .s(seg(SYN | ACK).seq(0).ack(701));
    });
    c.v4("tcp/live_syn/challenged_twice", |s| {
        s.handshake()
            .close_last_ack()
            .c(seg(SYN).seq(700))
            .s(seg(ACK).seq(2).ack(2))
            .s(seg(ACK).seq(2).ack(2))
            .c(seg(ACK).seq(2).ack(2));
    });
}

fn answers(c: &mut Catalogue) {
    for from in [End::Client, End::Server] {
        let by = if from == End::Client {
            "client"
        } else {
            "server"
        };
        for (reset_by, name) in [(End::Client, "client"), (End::Server, "server")] {
            c.v4(format!("tcp/reuse/close_by_{name}_syn_by_{by}"), move |s| {
                s.talked()
                    .tcp(reset_by, seg(RST).seq(2))
                    .tcp(from, seg(SYN).seq(9000));
                let other = if from == End::Client {
                    End::Server
                } else {
                    End::Client
                };
                s.tcp(other, seg(SYN | ACK).seq(70_000).ack(9001))
                    .tcp(from, seg(ACK).seq(9001).ack(70_001));
            });
        }
        for gap in [-500, 2, 9000, 500_000] {
            c.v4(format!("tcp/reuse/time_wait_syn_by_{by}_{gap}"), move |s| {
                s.handshake().close().tcp(from, seg(SYN).seq(gap));
                let other = if from == End::Client {
                    End::Server
                } else {
                    End::Client
                };
                s.tcp(other, seg(SYN | ACK).seq(70_000).ack(gap + 1))
                    .tcp(from, seg(ACK | PSH).seq(gap + 1).ack(70_001));
            });
        }
        c.v4(format!("tcp/reuse/last_ack_reset_syn_by_{by}"), move |s| {
            s.handshake()
                .close_last_ack()
                .reset(End::Server)
                .tcp(from, seg(SYN).seq(9000));
        });
    }
    c.v4("tcp/reuse/refused_then_syn", |s| {
        s.syn_synack()
            .s(seg(RST).seq(1))
            .c(seg(SYN).seq(9000))
            .s(seg(SYN | ACK).seq(0).ack(9001))
            .c(seg(ACK).seq(9001));
    });
    c.v4("tcp/reuse/three_times", |s| {
        for n in 0..3 {
            let at = n * 1000;
            s.c(seg(SYN).seq(at))
                .s(seg(SYN | ACK).seq(at).ack(at + 1))
                .c(seg(ACK).seq(at + 1).ack(at + 1))
                .c(seg(FIN | ACK).seq(at + 1).ack(at + 1))
                .s(seg(FIN | ACK).seq(at + 1).ack(at + 2))
                .c(seg(ACK).seq(at + 2).ack(at + 2));
        }
    });
}
