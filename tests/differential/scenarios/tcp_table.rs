//! Every cell of the transition table: a way into each state, then each kind
//! of segment from either end, then an ACK from either end to see what stayed.

use crate::frame::ACK;
use crate::frame::CWR;
use crate::frame::ECE;
use crate::frame::FIN;
use crate::frame::PSH;
use crate::frame::RST;
use crate::frame::SYN;
use crate::frame::URG;
use crate::lab::End;
use crate::script::Catalogue;
use crate::script::Script;
use crate::tcp::Seg;
use crate::tcp::seg;

/// A way into a state: what it sends, and where that leaves each end's
/// sequence numbers.
#[derive(Copy, Clone)]
struct Way {
    name: &'static str,
    enter: fn(&mut Script),
    client: i64,
    server: i64,
}

const WAYS: [Way; 10] = [
    Way {
        name: "none",
        enter: |_| (),
        client: 0,
        server: 0,
    },
    Way {
        name: "syn_sent",
        enter: |s| {
            s.syn();
        },
        client: 1,
        server: 0,
    },
    Way {
        name: "syn_sent2",
        enter: |s| {
            s.syn().s(seg(SYN).seq(0));
        },
        client: 1,
        server: 1,
    },
    Way {
        name: "syn_recv",
        enter: |s| {
            s.syn_synack();
        },
        client: 1,
        server: 1,
    },
    Way {
        name: "established",
        enter: |s| {
            s.handshake();
        },
        client: 1,
        server: 1,
    },
    Way {
        name: "fin_wait",
        enter: |s| {
            s.handshake().c(seg(FIN | ACK));
        },
        client: 2,
        server: 1,
    },
    Way {
        name: "close_wait",
        enter: |s| {
            s.handshake().c(seg(FIN | ACK)).s(seg(ACK).ack(2));
        },
        client: 2,
        server: 1,
    },
    Way {
        name: "last_ack",
        enter: |s| {
            s.handshake().close_last_ack();
        },
        client: 2,
        server: 2,
    },
    Way {
        name: "time_wait",
        enter: |s| {
            s.handshake().close();
        },
        client: 2,
        server: 2,
    },
    Way {
        name: "close",
        enter: |s| {
            s.handshake().reset(End::Client);
        },
        client: 1,
        server: 1,
    },
];

/// Kinds of segments: name, flags, payload. SYNs begin anew, the rest go on
/// where the way ended.
const KINDS: [(&str, u8, usize); 10] = [
    ("syn", SYN, 0),
    ("synack", SYN | ACK, 0),
    ("fin", FIN | ACK, 0),
    ("ack", ACK, 0),
    ("rst", RST, 0),
    ("rstack", RST | ACK, 0),
    ("data", ACK | PSH, 100),
    ("null", 0, 0),
    ("fin_without_ack", FIN, 0),
    ("syn_fin", SYN | FIN, 0),
];

fn segment(way: Way, from: End, flags: u8, payload: usize) -> Seg {
    let (own, peer) = match from {
        End::Client => (way.client, way.server),
        End::Server => (way.server, way.client),
    };
    let seq = if flags & SYN != 0 { 0 } else { own };
    seg(flags).seq(seq).ack(peer).len(payload)
}

fn side(from: End) -> &'static str {
    match from {
        End::Client => "orig",
        End::Server => "reply",
    }
}

pub(crate) fn add(catalogue: &mut Catalogue) {
    for way in WAYS {
        for from in [End::Client, End::Server] {
            for (kind, flags, payload) in KINDS {
                let name = format!("tcp/table/{}/{}/{kind}", way.name, side(from));
                catalogue.v4(name, move |s| {
                    (way.enter)(s);
                    s.tcp(from, segment(way, from, flags, payload));
                    s.s(segment(way, End::Server, ACK, 0));
                    s.c(segment(way, End::Client, ACK, 0));
                });
            }
        }
    }
    flags(catalogue);
}

/// Every combination of the six old flags, and ECN's with a SYN, to an open
/// connection and to none.
fn flags(catalogue: &mut Catalogue) {
    for flags in (0..64).chain([
        SYN | ECE,
        SYN | ECE | CWR,
        SYN | ACK | ECE,
        ACK | URG | ECE | CWR,
    ]) {
        let text = crate::tcp::flags_text(flags);
        catalogue.v6(
            format!("tcp/flags/established/{flags:02x}-{text}"),
            move |s| {
                s.handshake().c(seg(flags)).s(seg(ACK)).c(seg(ACK));
            },
        );
        catalogue.v4(format!("tcp/flags/none/{flags:02x}-{text}"), move |s| {
            s.c(seg(flags)).s(seg(ACK)).c(seg(ACK));
        });
    }
}
