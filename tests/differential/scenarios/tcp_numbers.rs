//! Segments whose numbers are those of a memory that is still empty, that wrap, or are
//! half the world apart, and headers with odd lengths and bits.

use crate::frame::ACK;
use crate::frame::FIN;
use crate::frame::PSH;
use crate::frame::RST;
use crate::frame::SYN;
use crate::frame::Segment;
use crate::frame::TCP;
use crate::lab::End;
use crate::lab::End::Client;
use crate::lab::End::Server;
use crate::script::Catalogue;
use crate::script::Script;
use crate::tcp::SERVER;
use crate::tcp::flags_text;
use crate::tcp::seg;

pub(crate) fn add(c: &mut Catalogue) {
    empty(c);
    offsets(c);
    wrapping(c);
    half_way(c);
}

/// A segment by the numbers on the wire: flags, seq, ack, window, payload.
fn wire(s: &mut Script, from: End, (flags, seq, ack, window, payload): (u8, u32, u32, u16, usize)) {
    let segment = Segment {
        ports: if from == Client {
            (40000, 80)
        } else {
            (80, 40000)
        },
        seq,
        ack,
        flags,
        window,
        options: Vec::new(),
        payload,
    };
    let ip = s.ip(from, TCP);
    let what = format!(
        "{} seq {seq:#x} ack {ack:#x} win {window} len {payload}",
        flags_text(flags)
    );
    s.packet(from, &ip, &segment.bytes(&ip), what);
}

/// Before a segment is remembered all numbers of the memory are 0, and the client's.
fn empty(c: &mut Catalogue) {
    for count in [1, 2, 3] {
        for (name, window) in [("closed", 0)] {
            for (last, flags) in [("ack", ACK), ("fin", FIN | ACK), ("rst", RST)] {
                for from in [Client, Server] {
                    c.both(
                        &format!("tcp/repeat/empty/{count}_{name}_{last}_{from:?}"),
                        move |s| {
                            for _ in 0..count {
                                wire(s, Client, (ACK, 0, 0, window, 0));
                            }
                            wire(s, Server, (FIN | ACK, 0, 0, window, 0));
                            wire(s, from, (flags, u32::from(from == Server), 0, window, 0));
                            wire(s, Client, (ACK, 0, 1, window, 0));
                            wire(s, Client, (ACK, 0, 1, window, 0));
                        },
                    );
                }
            }
        }
    }
    for isn in [u32::MAX, u32::MAX - 1, 0] {
        c.both(&format!("tcp/repeat/empty/handshake_{isn}"), move |s| {
            let (x, y) = (isn, isn);
            let next = isn.wrapping_add(1);
            wire(s, Client, (SYN, x, 0, 0, 0));
            wire(s, Server, (SYN | ACK, y, next, 0, 0));
            for _ in 0..3 {
                wire(s, Server, (ACK, next, next, 0, 0));
            }
            for _ in 0..3 {
                wire(s, Client, (ACK, next, next, 0, 0));
            }
            wire(s, Server, (FIN | ACK, next, next, 0, 0));
            wire(s, Client, (ACK, next, next, 0, 0));
        });
    }
}

fn offsets(c: &mut Catalogue) {
    for words in [0, 4, 5, 6, 10, 15_u8] {
        for length in [20, 60] {
            c.v4(format!("tcp/offset/{words}/{length}"), move |s| {
                s.handshake();
                for (flags, seq) in [(ACK, 1), (SYN, 5000), (FIN | ACK, 1)] {
                    let ip = s.ip(Client, TCP);
                    let mut bytes = seg(flags).seq(seq).wire(Client).bytes(&ip);
                    bytes.resize(length, 1);
                    bytes[12] = words << 4;
                    let bytes = ip.seal(bytes, 16);
                    s.packet(
                        Client,
                        &ip,
                        &bytes,
                        format!("offset {words}, {length} bytes"),
                    );
                }
                s.s(seg(ACK)).c(seg(ACK));
            });
        }
    }
    for low in [1, 8, 15_u8] {
        c.v6(format!("tcp/offset/reserved_{low}"), move |s| {
            for (from, flags, seq) in [
                (Client, SYN, 0),
                (Server, SYN | ACK, 0),
                (Client, ACK, 1),
                (Client, FIN | ACK, 1),
                (Server, RST | ACK, 1),
            ] {
                let ip = s.ip(from, TCP);
                let mut bytes = seg(flags).seq(seq).wire(from).bytes(&ip);
                bytes[12] |= low;
                let bytes = ip.seal(bytes, 16);
                s.packet(
                    from,
                    &ip,
                    &bytes,
                    format!("{} with {low}", flags_text(flags)),
                );
            }
        });
    }
    for cut in [0, 3, 4, 7, 13, 19] {
        c.v6(format!("tcp/offset/cut_at_{cut}"), move |s| {
            s.handshake();
            let ip = s.ip(Client, TCP);
            let bytes = seg(ACK).wire(Client).bytes(&ip);
            s.packet(Client, &ip, &bytes[..cut], "cut short")
                .c(seg(ACK));
        });
    }
}

/// Whole connections with numbers that wrap at each of their steps.
fn wrapping(c: &mut Catalogue) {
    for (name, x) in [
        ("zero", 0),
        ("syn", u32::MAX),
        ("first_byte", u32::MAX - 1),
        ("data", u32::MAX - 50),
        ("fin", u32::MAX - 101),
        ("last", u32::MAX - 102),
        ("half_syn", i32::MAX as u32),
        ("half_data", i32::MAX as u32 - 50),
        ("half_fin", i32::MAX as u32 - 101),
    ] {
        for (other, y) in [("zero", 0), ("max", u32::MAX)] {
            c.v4(format!("tcp/wrap/{name}_{other}"), move |s| {
                let (a, b) = (x.wrapping_add(1), y.wrapping_add(1));
                let (c, d) = (a.wrapping_add(100), b.wrapping_add(100));
                let steps = [
                    (Client, (SYN, x, 0, 1000, 0)),
                    (Server, (SYN | ACK, y, a, 1000, 0)),
                    (Client, (ACK, a, b, 1000, 0)),
                    (Client, (ACK | PSH, a, b, 1000, 100)),
                    (Server, (ACK, b, a, 0, 0)),
                    (Server, (ACK | PSH, b, c, 1000, 100)),
                    (Client, (ACK, c, d, 1000, 0)),
                    (Server, (RST, 0, 0, 0, 0)),
                    (Client, (FIN | ACK, c, d, 1000, 0)),
                    (Server, (ACK, d, c.wrapping_add(1), 1000, 0)),
                    (Server, (FIN | ACK, d, c.wrapping_add(1), 1000, 0)),
                    (Client, (ACK, c.wrapping_add(1), d.wrapping_add(1), 1000, 0)),
                    (Server, (SYN, d.wrapping_add(9), 0, 1000, 0)),
                    (
                        Client,
                        (SYN | ACK, c.wrapping_add(9), d.wrapping_add(10), 1000, 0),
                    ),
                    (Server, (RST, d.wrapping_add(10), 0, 0, 0)),
                ];
                for (from, numbers) in steps {
                    wire(s, from, numbers);
                }
            });
        }
    }
}

/// Of two numbers that are 2^31 apart each is behind the other.
fn half_way(c: &mut Catalogue) {
    for off in [-1, 0, 1] {
        for blocks in 1..3 {
            c.both(&format!("tcp/sack/half_way_{off}_{blocks}"), move |s| {
                let far = (1 << 31) + off;
                s.handshake_scaled(0)
                    .s(seg(ACK).len(100))
                    .c(seg(ACK).ack(101));
                let edges = [(100, 101), (far - 1, far)];
                let segment = seg(ACK).ack(101 - far).sack(Client, &edges[..blocks]);
                s.c(segment).s(seg(ACK).seq(101));
            });
        }
    }
    c.both("tcp/sack/half_way", |s| {
        s.handshake_scaled(0)
            .s(seg(ACK).len(100))
            .c(seg(ACK).ack(101));
        let ack = SERVER.wrapping_add(101) ^ 1 << 31;
        let mut options = vec![1, 1, 5, 10];
        options.extend(SERVER.wrapping_add(100).to_be_bytes());
        options.extend(SERVER.wrapping_add(101).to_be_bytes());
        let ip = s.ip(Client, TCP);
        let mut segment = seg(ACK).opt(&options).wire(Client);
        segment.ack = ack;
        let bytes = segment.bytes(&ip);
        s.packet(Client, &ip, &bytes, "an ack half way from what it selects")
            .packet(Client, &ip, &bytes, "once more");
    });
}
