//! `lo`, where every packet goes out and comes in: once.

mod support;

use conntrack::Mode;
use support::eventually;
use support::gigabyte;
use support::kernel;
use support::link::Link;
use support::link::Offloads;
use support::netns::Netns;
use support::pair::at;
use support::pair::ip;
use support::peer::Server;
use support::peer::dns_query;
use support::peer::http_get;
use support::peer::iperf;
use support::peer::ping;
use support::tracked;

const ADDRS: [&str; 2] = ["127.0.0.1", "::1"];

/// Without GSO every packet is one to nf_conntrack, to the interface and to us.
#[test]
#[ignore = "root"]
fn loopback_counts_once() {
    let ns = Netns::new();
    let lo = Link::up(&ns, "lo");
    lo.offloads(Offloads::Off);
    kernel::track(&ns);
    let before = lo.counters();
    let tracker = tracked::track(&ns, &["lo"], Mode::Auto);
    for addr in ADDRS {
        let _http = Server::http(&ns, at(addr, 80), 1_000_000);
        let _dns = Server::dns(&ns, at(addr, 53), 200);
        http_get(&ns, at(addr, 80));
        dns_query(&ns, at(addr, 53), 5, 40);
        ping(&ns, ip(addr), 3, 56);
    }
    let rows = tracked::assert_same(&tracker, || kernel::rows(&ns));
    assert_eq!(rows.len(), 6, "{rows:#?}");
    assert!(rows.iter().all(|row| row.seen_reply), "{rows:#?}");
    let (counted, frames) = (
        tracked::counters(&tracker).packets,
        lo.counters().rx_packets,
    );
    assert_eq!(counted, frames - before.rx_packets, "packets on lo");
    tracked::assert_clean(&tracker);
}

/// With GSO a packet of up to 64 KB is several segments: as many as TCP says.
#[test]
#[ignore = "root"]
fn loopback_counts_segments() {
    let ns = Netns::new();
    Link::up(&ns, "lo").mtu(1500).offloads(Offloads::On);
    kernel::track(&ns);
    let tracker = tracked::track(&ns, &["lo"], Mode::Auto);
    iperf(&ns, &ns, ip(ADDRS[0]), gigabyte() / 4, false);
    let packets = |rows: &[support::row::Row]| {
        rows.iter()
            .flat_map(|row| row.counts())
            .map(|c| c.0)
            .sum::<u64>()
    };
    let ours = eventually("every segment is counted once", || {
        let ours = packets(&tracked::rows(&tracker));
        let sent = ns.segments_sent();
        if ours == sent {
            Ok(ours)
        } else {
            Err(format!("{ours} of {sent}"))
        }
    });
    let theirs = packets(&kernel::rows(&ns));
    assert!(ours > 2 * theirs, "no super-packets: {ours} {theirs}");
    tracked::assert_clean(&tracker);
}
