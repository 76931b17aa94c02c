//! Real stacks against the kernel's own tracker, on one wire: XDP ingress and
//! TC egress, and TC both ways. No offloads: each frame is a packet to
//! everybody, so every flow equals nf_conntrack's entry (tuples, packets,
//! bytes, state, flags, seconds left), and the interface's counters equal ours.

mod support;

use conntrack::Mode;
use support::gigabyte;
use support::link::Offloads;
use support::pair::HOST4;
use support::pair::HOST6;
use support::pair::PEER4;
use support::pair::PEER6;
use support::pair::Pair;
use support::pair::at;
use support::pair::ip;
use support::peer::Server;
use support::peer::curl;
use support::peer::dns_query;
use support::peer::http_get;
use support::peer::iperf;
use support::peer::ping;
use support::peer::ping_with;
use support::socket;

/// Pages, queries and pings both ways, of both families: two connections, a
/// socket with queries and a ping in each of four places.
fn converse(pair: &Pair) {
    let body = 300_000;
    let both = [
        (&pair.host, &pair.peer, [HOST4, HOST6]),
        (&pair.peer, &pair.host, [PEER4, PEER6]),
    ];
    for (server, client, addrs) in both {
        for addr in addrs {
            let _http = Server::http(server, at(addr, 80), body);
            let _dns = Server::dns(server, at(addr, 53), 200);
            assert_eq!(http_get(client, at(addr, 80)), body);
            assert_eq!(curl(client, at(addr, 80)), body);
            dns_query(client, at(addr, 53), 5, 40);
            ping(client, ip(addr), 3, 56);
        }
    }
}

fn conversation_agrees(mode: Mode) {
    let pair = Pair::new(mode, Offloads::Off, 1500);
    converse(&pair);
    let rows = pair.assert_agreement();
    assert_eq!(rows.len(), 16, "{rows:#?}");
    assert!(rows.iter().all(|row| row.seen_reply), "{rows:#?}");
    pair.assert_wire();
    pair.assert_clean();
}

#[test]
#[ignore = "root"]
fn conversation_by_xdp() {
    conversation_agrees(Mode::Native);
}

#[test]
#[ignore = "root"]
fn conversation_by_tc() {
    conversation_agrees(Mode::Tc);
}

/// A stream each way; what it leaves is compared before its time is up.
fn stream_agrees(mode: Mode) {
    let pair = Pair::new(mode, Offloads::Off, 1500);
    let streams = [(HOST4, gigabyte(), false), (HOST6, gigabyte() / 10, true)];
    for (addr, bytes, back) in streams {
        iperf(&pair.host, &pair.peer, ip(addr), bytes, back);
        let rows = pair.assert_agreement();
        let of_stream = rows.iter().filter(|row| row.original.dst == ip(addr));
        let most = of_stream.map(|row| row.counts()[usize::from(back)].1).max();
        assert!(most > Some(bytes), "no stream: {rows:#?}");
    }
    pair.assert_wire();
    pair.assert_clean();
}

#[test]
#[ignore = "root"]
fn gigabyte_by_xdp() {
    stream_agrees(Mode::Native);
}

#[test]
#[ignore = "root"]
fn gigabyte_by_tc() {
    stream_agrees(Mode::Tc);
}

/// Frames of several pages, which need multi-buffer XDP.
#[test]
#[ignore = "root"]
fn jumbo_frames_by_xdp() {
    let pair = Pair::new(Mode::Native, Offloads::Off, 9000);
    for addr in [HOST4, HOST6] {
        let _http = Server::http(&pair.host, at(addr, 80), 1_000_000);
        let _dns = Server::dns(&pair.host, at(addr, 53), 500);
        http_get(&pair.peer, at(addr, 80));
        dns_query(&pair.peer, at(addr, 53), 3, 8000);
        ping(&pair.peer, ip(addr), 3, 8000);
    }
    let rows = pair.assert_agreement();
    assert_eq!(rows.len(), 6, "{rows:#?}");
    pair.assert_wire();
    pair.assert_clean();
}

/// IPv4 options and IPv6 extension headers that the stack itself puts there.
fn options_agree(mode: Mode) {
    let pair = Pair::new(mode, Offloads::Off, 1500);
    let (host, peer) = (&pair.host, &pair.peer);
    let _servers = [HOST4, HOST6].map(|addr| Server::dns(host, at(addr, 53), 20));
    let _pages = [HOST4, HOST6].map(|addr| Server::http(host, at(addr, 80), 50_000));
    ping_with(peer, ip(HOST4), 3, "-R");
    ping_with(peer, ip(HOST4), 3, "-T tsandaddr");
    for option in socket::Extra::ALL {
        let addr = if option.is_v4() { HOST4 } else { HOST6 };
        socket::dns_query(peer, at(addr, 53), option);
        assert_eq!(socket::http_get(peer, at(addr, 80), option), 50_000);
    }
    let rows = pair.assert_agreement();
    assert_eq!(rows.len(), 2 + 2 * socket::Extra::ALL.len(), "{rows:#?}");
    pair.assert_wire();
    pair.assert_clean();
}

#[test]
#[ignore = "root"]
fn options_by_xdp() {
    options_agree(Mode::Native);
}

#[test]
#[ignore = "root"]
fn options_by_tc() {
    options_agree(Mode::Tc);
}
