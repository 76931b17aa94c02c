//! What TCP's machine remembers of segments it let through, and what an INVALID
//! segment may still change.

use crate::frame::ACK;
use crate::frame::FIN;
use crate::frame::PSH;
use crate::frame::RST;
use crate::frame::SYN;
use crate::frame::TCP;
use crate::lab::End;
use crate::script::Catalogue;
use crate::tcp::CLIENT;
use crate::tcp::MSS;
use crate::tcp::SACK_OK;
use crate::tcp::SERVER;
use crate::tcp::seg;

pub(crate) fn add(c: &mut Catalogue) {
    remembered(c);
    counted(c);
    refused(c);
}

/// The end of a remembered segment outlives the next segment of its sender.
fn remembered(c: &mut Catalogue) {
    // An RST without ACK has an ack of 0: as long as nothing was remembered, so
    // has the memory.
    for seq in [0, 5000] {
        c.both(&format!("tcp/memory/rst_after_syns/{seq}"), move |s| {
            s.syn()
                .s(seg(ACK).seq(77).ack(500))
                .s(seg(SYN).seq(0))
                .c(seg(RST).seq(seq))
                .c(seg(ACK))
                .s(seg(SYN | ACK).seq(0));
        });
    }
    // A RST answers the SYN of the other end, not the one of its own.
    for (name, seq) in [("inside", 1), ("ahead", 4), ("far_ahead", 900_000)] {
        c.both(&format!("tcp/memory/rst_behind_syns/{name}"), move |s| {
            s.syn().s(seg(SYN).seq(0)).s(seg(RST).seq(seq));
        });
    }
    c.both("tcp/memory/rst_to_a_crossing_syn", |s| {
        s.syn().s(seg(SYN).seq(0)).c(seg(RST).seq(900_000));
    });
    let apart = i64::from(CLIENT.wrapping_sub(SERVER));
    c.both("tcp/memory/rst_behind_ignored_syn", move |s| {
        s.talked()
            .c(seg(SYN).seq(5000))
            .c(seg(RST | ACK).seq(900_000).ack(5001 + apart));
    });
    c.both("tcp/memory/rst_behind_ignored_ack", move |s| {
        s.syn()
            .s(seg(SYN).seq(0))
            .s(seg(ACK).seq(5).ack(500))
            .s(seg(RST | ACK).seq(900_000).ack(5 - apart));
    });
    c.both("tcp/memory/rst_acks_what_is_remembered", |s| {
        s.syn()
            .s(seg(ACK).seq(77).ack(500))
            .s(seg(SYN).seq(0))
            .c(seg(RST | ACK).seq(9000).ack(77));
    });
    c.both("tcp/memory/rst_behind_data_and_fin", |s| {
        s.talked()
            .c(seg(ACK | PSH).seq(2).ack(2).len(10))
            .c(seg(FIN | ACK).seq(12).ack(2))
            .c(seg(RST).seq(12));
    });
    c.both("tcp/memory/resync_after_refused_fin", |s| {
        s.talked()
            .c(seg(SYN).seq(5000))
            .s(seg(FIN | ACK).seq(900_000).ack(2))
            .s(seg(SYN | ACK).seq(7000).ack(5001))
            .c(seg(SYN).seq(5000))
            .s(seg(SYN | ACK).seq(7000).ack(5001));
    });
}

/// Identical ACKs in a row, with something in between.
fn counted(c: &mut Catalogue) {
    c.both("tcp/memory/acks_around_a_fin", |s| {
        s.talked();
        for _ in 0..2 {
            s.c(seg(ACK).seq(2).ack(2));
        }
        s.c(seg(FIN | ACK).seq(2).ack(2));
        for _ in 0..3 {
            s.c(seg(ACK).seq(2).ack(2));
        }
    });
    c.both("tcp/memory/acks_around_a_syn", |s| {
        s.talked();
        for _ in 0..2 {
            s.c(seg(ACK).seq(2).ack(2));
        }
        s.c(seg(SYN).seq(2).win(1000));
        for _ in 0..4 {
            s.c(seg(ACK).seq(2).ack(2).len(1));
        }
    });
    c.both("tcp/memory/acks_around_a_refused_rst", |s| {
        s.talked();
        for _ in 0..2 {
            s.c(seg(ACK).seq(2).ack(2));
        }
        s.c(seg(RST).seq(-5)).c(seg(ACK).seq(2).ack(2));
        s.s(seg(FIN | ACK).seq(900_000).ack(2));
        for _ in 0..4 {
            s.c(seg(ACK).seq(2).ack(2));
        }
    });
    c.both("tcp/memory/acks_of_both_opens", |s| {
        s.syn().s(seg(SYN).seq(0));
        for _ in 0..2 {
            s.s(seg(ACK).seq(1));
        }
        s.c(seg(SYN | ACK).seq(0).ack(1));
        for _ in 0..5 {
            s.s(seg(ACK).seq(1));
        }
    });
    c.v4("tcp/memory/so_often_that_the_count_is_none", |s| {
        let again = seg(ACK).seq(2).ack(2);
        let ip = s.ip(End::Client, TCP);
        let packet = ip.packet(&again.wire(End::Client).bytes(&ip));
        s.talked()
            .train(End::Client, &vec![packet; 254], "the same ACK 254 times");
        for _ in 0..5 {
            s.c(again.clone());
        }
    });
}

/// What a SYN/ACK offers is taken down before its numbers are judged.
fn refused(c: &mut Catalogue) {
    let offers = || seg(SYN).seq(0).opt(MSS).opt(SACK_OK).scale(7);
    for (name, ack) in [("ahead", 5000), ("behind", -90_000)] {
        c.both(&format!("tcp/refused/synack_{name}"), move |s| {
            s.c(offers())
                .s(seg(SYN | ACK)
                    .seq(0)
                    .ack(ack)
                    .opt(MSS)
                    .opt(SACK_OK)
                    .scale(3))
                .s(seg(SYN | ACK).seq(0).opt(MSS))
                .c(seg(ACK))
                .s(seg(ACK | PSH).len(900))
                .c(seg(ACK).ack(901).win(65_535))
                .s(seg(ACK | PSH).seq(901).len(1400))
                .c(seg(ACK).ack(901).sack(End::Client, &[(1901, 2901)]))
                .c(seg(ACK).ack(901).sack(End::Client, &[(2300, 2301)]));
        });
        c.both(
            &format!("tcp/refused/synack_{name}_without_options"),
            move |s| {
                s.c(offers())
                    .s(seg(SYN | ACK).seq(0).ack(ack))
                    .s(seg(SYN | ACK).seq(0).opt(MSS).opt(SACK_OK).scale(3))
                    .c(seg(ACK))
                    .s(seg(ACK | PSH).len(1000))
                    .c(seg(ACK).ack(1001));
            },
        );
    }
    c.both("tcp/refused/resync", move |s| {
        s.talked()
            .c(offers().seq(5000))
            .s(seg(SYN | ACK).seq(8000).ack(5001).len(5))
            .s(seg(SYN | ACK).seq(7000).ack(5001))
            .c(seg(ACK).seq(5001).ack(7001));
    });
    c.both("tcp/refused/simultaneous", move |s| {
        s.c(offers())
            .s(seg(SYN).seq(0))
            .s(seg(SYN).seq(-5).len(1))
            .c(seg(SYN | ACK).seq(0).ack(9000))
            .c(seg(SYN | ACK).seq(0).ack(1))
            .s(seg(ACK).seq(1).ack(1));
    });
}
