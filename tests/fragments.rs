//! Fragments of real stacks: they make up their packet.
//!
//! nf_conntrack sees packets whole: reassembled on the way in, not yet cut on
//! the way out. We see fragments, and count what it counts.

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
use support::tracked;

const MTU: u32 = 1500;

fn fragments_land(mode: Mode) {
    let pair = Pair::new(mode, Offloads::Off, MTU);
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
    let rows = tracked::assert_same(&pair.tracker, || kernel::rows(&pair.host));
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
