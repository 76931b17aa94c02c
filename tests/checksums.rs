//! Checksums are verified (`nf_conntrack_checksum` is 1), and real stacks' are
//! good: whole ones, those that are left to a card that is not there, and those
//! of packets that the kernel has put together.

mod support;

use conntrack::Mode;
use support::eventually;
use support::frame;
use support::frame::Injector;
use support::gigabyte;
use support::link::Offloads;
use support::netns::Netns;
use support::pair::HOST4;
use support::pair::HOST6;
use support::pair::PEER4;
use support::pair::PEER6;
use support::pair::Pair;
use support::pair::at;
use support::pair::ip;
use support::peer::Server;
use support::peer::dns_query;
use support::peer::http_get;
use support::peer::iperf;
use support::peer::ping;
use support::tracked;

/// Traffic of all kinds, both ways, of both families; some of it in fragments.
fn converse(pair: &Pair) {
    let both = [
        (&pair.host, &pair.peer, [HOST4, HOST6]),
        (&pair.peer, &pair.host, [PEER4, PEER6]),
    ];
    for (server, client, addrs) in both {
        for addr in addrs {
            let _http = Server::http(server, at(addr, 80), 300_000);
            let _dns = Server::dns(server, at(addr, 53), 301);
            assert_eq!(http_get(client, at(addr, 80)), 300_000);
            for size in [1, 40, 479, 504, 1001, 1400, 8001] {
                dns_query(client, at(addr, 53), 2, size);
            }
            for size in [1, 57, 500, 1001, 4000] {
                ping(client, ip(addr), 2, size);
            }
        }
    }
    for (addr, back) in [(HOST4, false), (HOST6, true)] {
        iperf(&pair.host, &pair.peer, ip(addr), gigabyte() / 20, back);
    }
}

/// Two bad packets from the peer, that are seen to be.
fn assert_judged(pair: &Pair) {
    let injector = Injector::new(&pair.outer);
    let (src, dst) = (PEER4.parse(), HOST4.parse());
    let (src, dst) = (src.expect("an address"), dst.expect("an address"));
    let mut datagram = frame::udp(9, 9, &[0x5a; 999]);
    datagram[7] = 1;
    let syn = frame::tcp(9, 9, 1, 0, 2, &[]);
    for (protocol, bytes) in [(17, datagram), (6, syn)] {
        let packet = frame::ipv4(src, dst, protocol, &[], &bytes);
        let frame = frame::ethernet(pair.inner.mac(), pair.outer.mac(), &[], &packet);
        injector.send(&frame);
    }
    eventually("bad packets are seen", || {
        let counters = tracked::counters(&pair.tracker);
        let bad = counters.passed_untracked["checksum"];
        let invalid = counters.ct_state.total().invalid;
        ((bad, invalid) == (2, 2))
            .then_some(())
            .ok_or_else(|| format!("{bad} {invalid}"))
    });
}

fn real_traffic_is_good(mode: Mode, offloads: Offloads, mtu: u32) {
    let pair = Pair::new(mode, offloads, mtu);
    if offloads == Offloads::Off {
        // Then each checksum is a whole one.
        for link in [&pair.inner, &pair.outer] {
            link.ns.sh(&format!("ethtool -K {} tx off", link.name));
        }
    }
    let set = pair
        .tracker
        .update_sysctls(|sysctls| sysctls.checksum = true);
    assert!(set.expect("change the settings").checksum);
    converse(&pair);
    pair.assert_clean();
    assert_judged(&pair);
}

#[test]
#[ignore = "root"]
fn without_offloads_by_xdp() {
    real_traffic_is_good(Mode::Native, Offloads::Off, 1500);
}

#[test]
#[ignore = "root"]
fn with_offloads_by_xdp() {
    real_traffic_is_good(Mode::Native, Offloads::On, 1500);
}

#[test]
#[ignore = "root"]
fn jumbo_frames_by_xdp() {
    real_traffic_is_good(Mode::Native, Offloads::Off, 9000);
}

#[test]
#[ignore = "root"]
fn with_offloads_by_generic_xdp() {
    real_traffic_is_good(Mode::Generic, Offloads::On, 1500);
}

#[test]
#[ignore = "root"]
fn without_offloads_by_tc() {
    real_traffic_is_good(Mode::Tc, Offloads::Off, 1500);
}

#[test]
#[ignore = "root"]
fn with_offloads_by_tc() {
    real_traffic_is_good(Mode::Tc, Offloads::On, 1500);
}

#[test]
#[ignore = "root"]
fn merged_on_receipt_by_tc() {
    real_traffic_is_good(Mode::Tc, Offloads::Software, 1500);
}

/// Of what goes over `lo` nothing is ever finished by a card.
#[test]
#[ignore = "root"]
fn over_loopback() {
    let ns = Netns::new();
    let tracker = tracked::track(&ns, &["lo"], Mode::Auto);
    let set = tracker.update_sysctls(|sysctls| sysctls.checksum = true);
    assert!(set.expect("change the settings").checksum);
    for addr in ["127.0.0.1", "::1"] {
        let _http = Server::http(&ns, at(addr, 80), 1_000_000);
        let _dns = Server::dns(&ns, at(addr, 53), 200);
        http_get(&ns, at(addr, 80));
        for size in [40, 1001, 60_000] {
            dns_query(&ns, at(addr, 53), 2, size);
            ping(&ns, ip(addr), 2, size);
        }
    }
    tracked::assert_clean(&tracker);
    assert!(tracked::counters(&tracker).packets > 50);
}
