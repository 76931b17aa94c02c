//! Closing: FINs in every order, and what a RST must be to count.

use crate::frame::ACK;
use crate::frame::FIN;
use crate::frame::PSH;
use crate::frame::RST;
use crate::frame::SYN;
use crate::lab::End;
use crate::script::Catalogue;
use crate::tcp::seg;

pub(crate) fn add(catalogue: &mut Catalogue) {
    fins(catalogue);
    resets(catalogue);
    rst_numbers(catalogue);
}

fn fins(c: &mut Catalogue) {
    c.both("tcp/fin/client_first", |s| {
        s.handshake().close().c(seg(ACK).seq(2).ack(2));
    });
    c.both("tcp/fin/server_first", |s| {
        s.handshake()
            .s(seg(FIN | ACK))
            .c(seg(ACK).ack(2))
            .c(seg(FIN | ACK).ack(2))
            .s(seg(ACK).seq(2).ack(2));
    });
    c.v4("tcp/fin/crossing", |s| {
        s.handshake()
            .c(seg(FIN | ACK))
            .s(seg(FIN | ACK))
            .c(seg(ACK).seq(2).ack(2))
            .s(seg(ACK).seq(2).ack(2));
    });
    c.v4("tcp/fin/half_close_data", |s| {
        s.handshake()
            .c(seg(FIN | ACK))
            .s(seg(ACK).ack(2).len(500))
            .c(seg(ACK).seq(2).ack(501))
            .s(seg(FIN | ACK).seq(501).ack(2))
            .c(seg(ACK).seq(2).ack(502));
    });
    c.v4("tcp/fin/with_data", |s| {
        s.handshake()
            .c(seg(FIN | ACK | PSH).len(100))
            .s(seg(FIN | ACK | PSH).ack(102).len(100))
            .c(seg(ACK).seq(102).ack(102));
    });
    c.v4("tcp/fin/data_after_fin", |s| {
        s.handshake()
            .c(seg(FIN | ACK))
            .c(seg(ACK).seq(2).len(10))
            .s(seg(ACK).ack(2))
            .s(seg(ACK).ack(12));
    });
    c.v4("tcp/fin/again_after_time_wait", |s| {
        s.handshake()
            .close()
            .s(seg(FIN | ACK).ack(2))
            .c(seg(ACK).seq(2).ack(2))
            .s(seg(ACK).seq(2).ack(2));
    });
    c.v4("tcp/fin/reset_after_fin", |s| {
        s.handshake()
            .c(seg(FIN | ACK))
            .s(seg(RST).seq(1))
            .c(seg(RST).seq(2));
    });
    c.v4("tcp/fin/reset_in_time_wait", |s| {
        s.handshake()
            .close()
            .c(seg(RST).seq(77))
            .s(seg(RST).seq(-90_000));
    });
    c.v4("tcp/fin/mid_handshake", |s| {
        s.syn_synack()
            .s(seg(FIN | ACK))
            .c(seg(ACK).ack(2))
            .c(seg(FIN | ACK).ack(2))
            .s(seg(ACK).seq(2).ack(2));
    });
    c.v4("tcp/fin/old_fin", |s| {
        s.talked()
            .c(seg(FIN | ACK).seq(-2000).ack(2))
            .c(seg(FIN | ACK).seq(2).ack(2));
    });
    c.v4("tcp/fin/unassured", |s| {
        s.handshake()
            .c(seg(FIN | ACK))
            .s(seg(FIN | ACK).ack(2))
            .s(seg(FIN | ACK).ack(2))
            .c(seg(ACK).seq(2).ack(2));
    });
}

fn resets(c: &mut Catalogue) {
    c.both("tcp/rst/client", |s| {
        s.talked().c(seg(RST).seq(2)).s(seg(ACK).seq(2).ack(2));
    });
    c.both("tcp/rst/server_with_ack", |s| {
        s.talked()
            .s(seg(RST | ACK).seq(2).ack(2))
            .c(seg(ACK).seq(2).ack(2));
    });
    c.v4("tcp/rst/both", |s| {
        s.talked()
            .s(seg(RST).seq(2))
            .c(seg(RST).seq(2))
            .s(seg(RST | ACK).seq(2).ack(2));
    });
    c.v4("tcp/rst/after_own_data", |s| {
        s.talked()
            .c(seg(ACK | PSH).seq(2).ack(2).len(100))
            .c(seg(RST).seq(102))
            .s(seg(ACK).seq(2).ack(102));
    });
    c.v4("tcp/rst/after_unacked_data", |s| {
        s.talked()
            .c(seg(ACK).seq(2).ack(2).len(100))
            .c(seg(ACK).seq(102).ack(2).len(100))
            .c(seg(RST).seq(102))
            .c(seg(RST).seq(202));
    });
    c.v4("tcp/rst/ahead_then_data", |s| {
        s.talked()
            .c(seg(RST).seq(500))
            .wait(1.2)
            .c(seg(ACK).seq(2).ack(2).len(5))
            .s(seg(ACK).seq(2).ack(7));
    });
    c.v4("tcp/rst/ahead_then_exact", |s| {
        s.talked()
            .s(seg(RST).seq(300))
            .c(seg(ACK).seq(2).ack(2))
            .s(seg(RST).seq(2));
    });
    c.v4("tcp/rst/zero_seq", |s| {
        s.talked()
            .s(seg(RST).seq(0x1000))
            .s(seg(RST | ACK).seq(0x1000).ack(2));
    });
    c.v4("tcp/rst/zero_seq_unassured", |s| {
        s.syn_synack().s(seg(RST | ACK).seq(0x1000)).c(seg(ACK));
    });
    c.v4("tcp/rst/unassured_old", |s| {
        s.handshake()
            .s(seg(ACK).len(1))
            .s(seg(RST).seq(-5))
            .s(seg(RST).seq(2));
    });
    c.v4("tcp/rst/answers_ignored_ack", |s| {
        s.syn().s(seg(ACK).seq(300).ack(-400)).c(seg(RST).seq(-400));
    });
    c.v4("tcp/rst/in_syn_recv_exact", |s| {
        s.syn_synack().c(seg(RST)).syn().s(seg(SYN | ACK).seq(0));
    });
    c.v4("tcp/rst/in_syn_recv_ahead", |s| {
        s.syn_synack()
            .c(seg(RST).seq(400))
            .syn()
            .s(seg(SYN | ACK).seq(0));
    });
    c.v4("tcp/rst/in_syn_recv_beyond", |s| {
        s.syn_synack().c(seg(RST).seq(40_000)).c(seg(ACK));
    });
    c.v4("tcp/rst/with_data", |s| {
        s.talked()
            .s(seg(RST | ACK).seq(2).ack(2).len(20))
            .s(seg(RST).seq(22));
    });
    c.v4("tcp/rst/one_way", |s| {
        s.c(seg(ACK)).c(seg(RST)).c(seg(ACK));
    });
    c.v4("tcp/rst/unreplied_reply", |s| {
        s.c(seg(ACK)).s(seg(RST).seq(1)).s(seg(RST).seq(1));
    });
}

/// ESTABLISHED and ASSURED; the next expected byte of either end is 2.
fn rst_numbers(c: &mut Catalogue) {
    for seq in [
        -70_000,
        -1001,
        -1,
        1,
        2,
        3,
        500,
        1001,
        1002,
        1003,
        2000,
        70_000,
        1_500_000_000,
    ] {
        for from in [End::Client, End::Server] {
            let side = if from == End::Client { "orig" } else { "reply" };
            for (flags, name) in [(RST, "rst"), (RST | ACK, "rstack")] {
                c.v4(format!("tcp/rst/numbers/{side}/{name}/{seq}"), move |s| {
                    s.talked().tcp(from, seg(flags).seq(seq).ack(2));
                    s.s(seg(ACK).seq(2).ack(2)).c(seg(ACK).seq(2).ack(2).len(1));
                });
            }
        }
    }
    for ack in [-70_000, 1, 2, 3, 1000] {
        c.v6(format!("tcp/rst/numbers/ack/{ack}"), move |s| {
            s.talked()
                .s(seg(RST | ACK).seq(2).ack(ack))
                .c(seg(ACK).seq(2).ack(2));
        });
    }
}
