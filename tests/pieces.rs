//! Packets whose headers are not in one piece, as cards hand them over that keep only the
//! first of them where TC looks: all of them are read.

mod support;

use std::net::IpAddr;

use conntrack::L4;
use conntrack::Mode;
use conntrack::Protocol;
use support::eventually;
use support::frame::Injector;
use support::frame::ethernet;
use support::frame::ipv4;
use support::frame::ipv6;
use support::frame::udp;
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
use support::tracked;

/// So that the kernel takes a packet apart: more than a page.
const FILL: usize = 4200;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

struct Place {
    pair: Pair,
    wire: Injector,
}

impl Place {
    fn new() -> Self {
        let pair = Pair::new(Mode::Tc, Offloads::Off, 9000);
        // They are not what is looked at here.
        let setting = "net/netfilter/nf_conntrack_checksum";
        pair.host.sysctl(setting, "0");
        let wire = Injector::in_pieces(&pair.outer);
        Self { pair, wire }
    }

    /// Sends a packet of the peer's, of which the IP header and so many bytes behind it
    /// are where TC looks.
    fn send(&self, v6: bool, protocol: u8, payload: &[u8], first: usize) {
        let packet = match [PEER4, HOST4, PEER6, HOST6].map(ip) {
            [_, _, IpAddr::V6(src), IpAddr::V6(dst)] if v6 => ipv6(src, dst, protocol, payload),
            [IpAddr::V4(src), IpAddr::V4(dst), ..] => ipv4(src, dst, protocol, &[], payload),
            other => panic!("{other:?}"),
        };
        let header = if v6 { 40 } else { 20 };
        let [to, from] = [&self.pair.inner, &self.pair.outer].map(|link| link.mac());
        let frame = ethernet(to, from, &[], &packet);
        self.wire.send_in_pieces(&frame, 14 + header + first);
    }

    fn related(&self) -> u64 {
        tracked::counters(&self.pair.tracker)
            .ct_state
            .total()
            .related
    }
}

/// Filled up behind what matters.
fn filled(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len() + FILL, 0);
    bytes
}

#[test]
#[ignore = "root"]
fn an_icmp_error_is_of_the_flow_inside_it() {
    let place = Place::new();
    let pair = &place.pair;
    for (v6, host, peer) in [(false, HOST4, PEER4), (true, HOST6, PEER6)] {
        let _dns = Server::dns(&pair.peer, at(peer, 53), 30);
        dns_query(&pair.host, at(peer, 53), 1, 30);
        let flows = pair.tracker.flows().map(|flow| flow.expect("a flow"));
        let flow = flows
            .into_iter()
            .find(|flow| flow.protocol == Protocol::UDP && flow.original.tuple.src == ip(host))
            .expect("the question's flow");
        let L4::Ports { src, dst } = flow.original.tuple.l4 else {
            panic!("{flow:?}");
        };
        let question = udp(src, dst, &[0; 30]);
        let inner = match [host, peer].map(ip) {
            [IpAddr::V4(src), IpAddr::V4(dst)] => ipv4(src, dst, 17, &[], &question),
            [IpAddr::V6(src), IpAddr::V6(dst)] => ipv6(src, dst, 17, &question),
            other => panic!("{other:?}"),
        };
        // Host unreachable, address unreachable.
        let (protocol, head) = match v6 {
            false => (ICMP, [3, 1, 0, 0, 0, 0, 0, 0]),
            true => (ICMPV6, [1, 3, 0, 0, 0, 0, 0, 0]),
        };
        let error = filled([&head[..], &inner].concat());
        let before = place.related();
        place.send(v6, protocol, &error, head.len());
        eventually("it is RELATED", || match place.related() - before {
            1 => Ok(()),
            other => Err(format!("{other}")),
        });
    }
    pair.assert_agreement();
    pair.assert_clean();
}

#[test]
#[ignore = "root"]
fn all_options_of_a_syn_are_read() {
    let options = [
        2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
    ];
    let place = Place::new();
    for v6 in [false, true] {
        let mut syn = [40_000_u16, 80].map(u16::to_be_bytes).concat();
        syn.extend([0, 0, 0, 1, 0, 0, 0, 0, 10 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
        syn.extend(options);
        place.send(v6, TCP, &filled(syn), 20);
    }
    let pair = &place.pair;
    let rows = pair.assert_agreement();
    assert_eq!(rows.len(), 2, "{rows:#?}");
    let known = pair.tracker.fingerprints();
    let texts: Vec<_> = known
        .map(|it| it.expect("a fingerprint").signature.to_string())
        .filter(|text| text.ends_with(":+"))
        .collect();
    assert_eq!(texts.len(), 2, "of two SYNs with data: {texts:?}");
    for text in texts {
        assert!(text.contains(":mss,sok,ts,nop,ws:"), "{text}");
        assert!(text.contains(",7:"), "{text}");
    }
    pair.assert_clean();
}

#[test]
#[ignore = "root"]
fn chunks_of_sctp_are_found() {
    let place = Place::new();
    for v6 in [false, true] {
        let mut init = [40_000_u16, 5000].map(u16::to_be_bytes).concat();
        init.extend([0; 8]); // tag, checksum
        let length = u16::try_from(20 + 4 + FILL).expect("a chunk").to_be_bytes();
        init.extend([1, 0, length[0], length[1]]);
        init.extend([0, 0, 0, 7, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
        let length = u16::try_from(4 + FILL).expect("a parameter").to_be_bytes();
        init.extend([0x80, 5, length[0], length[1]]);
        place.send(v6, SCTP, &filled(init), 12);
    }
    let rows = place.pair.assert_agreement();
    let sctp = rows
        .iter()
        .filter(|row| row.protocol == Protocol::SCTP)
        .count();
    assert_eq!(sctp, 2, "{rows:#?}");
    assert_eq!(kernel::invalid(&place.pair.host), 0);
    place.pair.assert_clean();
}
