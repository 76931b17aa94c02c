//! Fragments of real stacks: all of a packet's fragments land in its flow.
//!
//! nf_conntrack sees packets whole: reassembled on the way in, not yet cut on
//! the way out. We see fragments: each is a packet of its own, with its own
//! header. Nothing else differs.

mod support;

use conntrack::Mode;
use support::kernel;
use support::link::Offloads;
use support::pair::HOST4;
use support::pair::HOST6;
use support::pair::PEER4;
use support::pair::PEER6;
use support::pair::Pair;
use support::pair::at;
use support::pair::ip;
use support::peer::Server;
use support::peer::dns_query;
use support::peer::ping;
use support::row::Half;
use support::row::Row;
use support::tracked;

const MTU: u64 = 1500;

/// What a direction counts when its packets, all of one size, go in fragments.
fn in_fragments(whole: Half) -> Half {
    let (header, fragment_header) = if whole.src.is_ipv4() {
        (20, 0)
    } else {
        (40, 8)
    };
    let payload = whole.bytes / whole.packets - header;
    let room = (MTU - header - fragment_header) / 8 * 8;
    let fragments = payload.div_ceil(room);
    assert!(fragments > 1, "not in fragments: {whole:?}");
    let bytes = payload + fragments * (header + fragment_header);
    Half {
        packets: whole.packets * fragments,
        bytes: whole.packets * bytes,
        ..whole
    }
}

fn fragments_land(mode: Mode) {
    let pair = Pair::new(mode, Offloads::Off, MTU as u32);
    let both = [
        (&pair.host, &pair.peer, [HOST4, HOST6]),
        (&pair.peer, &pair.host, [PEER4, PEER6]),
    ];
    for (server, client, addrs) in both {
        for addr in addrs {
            let _dns = Server::dns(server, at(addr, 53), 300);
            dns_query(client, at(addr, 53), 4, 8000);
            ping(client, ip(addr), 3, 4000);
        }
    }
    let rows = tracked::assert_same(&pair.tracker, || {
        let cut = |row: Row| Row {
            original: in_fragments(row.original),
            reply: in_fragments(row.reply),
            ..row
        };
        let mut theirs: Vec<Row> = kernel::rows(&pair.host).into_iter().map(cut).collect();
        theirs.sort();
        theirs
    });
    assert_eq!(rows.len(), 8, "{rows:#?}");
    assert_eq!(
        tracked::counters(&pair.tracker).passed_untracked["fragment"],
        0
    );
    pair.assert_wire();
    pair.assert_clean();
}

#[test]
#[ignore = "root"]
fn fragments_by_xdp() {
    fragments_land(Mode::Native);
}

#[test]
#[ignore = "root"]
fn fragments_by_tc() {
    fragments_land(Mode::Tc);
}
