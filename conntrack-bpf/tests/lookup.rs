//! A flow is found by its name: the key and its hash in Rust are those of the C.

mod common;

use std::collections::HashSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use common::Lab;
use common::packet::*;
use conntrack_core::FlowKey;
use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::Tuple;

/// xorshift64*: names of flows without a pattern, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 33) % limit
    }

    fn addr(&mut self, v6: bool) -> IpAddr {
        if v6 {
            let words = [self.next(), self.next()].map(u64::to_ne_bytes);
            let mut octets = [0; 16];
            octets.copy_from_slice(&words.concat());
            // Mostly a shared prefix, so that each word gets to decide the order.
            let shared = self.below(13) as usize;
            octets[..shared].fill(0x20);
            Ipv6Addr::from(octets).into()
        } else {
            Ipv4Addr::from_bits(self.next() as u32).into()
        }
    }

    /// Two addresses, sometimes one.
    fn pair(&mut self) -> (IpAddr, IpAddr) {
        let v6 = self.below(2) == 1;
        let src = self.addr(v6);
        let dst = if self.below(8) == 0 {
            src
        } else {
            self.addr(v6)
        };
        (src, dst)
    }

    /// A packet that opens a flow, and the tuple it shows.
    fn opener(&mut self) -> (Packet, Tuple) {
        let (src, dst) = self.pair();
        let [a, b, id] = [0; 3].map(|_| self.next() as u16);
        let (from, to) = (SocketAddr::new(src, a), SocketAddr::new(dst, b));
        let with_ports = L4::Ports { src: a, dst: b };
        let (packet, protocol, l4) = match self.below(7) {
            0 => (Packet::tcp(from, to).flags(SYN), TCP, with_ports),
            1 => (Packet::udp(from, to), UDP, with_ports),
            2 => (Packet::udplite(from, to), UDPLITE, with_ports),
            3 => (Packet::sctp(from, to, 1), SCTP, with_ports),
            4 => self.query(src, dst, id),
            5 => {
                let l4 = L4::Gre {
                    src_key: 0,
                    dst_key: id,
                };
                (Packet::pptp(src, dst, id), GRE, l4)
            }
            _ => {
                let number = 200 + self.below(40) as u8;
                let packet = Packet::other(src, dst, number, &[0; 8]);
                (packet, number, L4::None)
            }
        };
        let tuple = Tuple {
            src,
            dst,
            protocol: Protocol(protocol),
            l4,
        };
        (packet, tuple)
    }

    fn query(&mut self, src: IpAddr, dst: IpAddr, id: u16) -> (Packet, u8, L4) {
        let code = self.next() as u8;
        let (protocol, kinds) = if src.is_ipv4() {
            (ICMP, &[8, 13, 15, 17][..])
        } else {
            (ICMPV6, &[128, 139][..])
        };
        let kind = kinds[self.below(kinds.len() as u64) as usize];
        let l4 = L4::Icmp { kind, code, id };
        (Packet::icmp(src, dst, [kind, code], id), protocol, l4)
    }
}

#[test]
#[ignore = "root"]
fn every_flow_is_found_by_either_tuple() {
    const FLOWS: usize = 20_000;
    // Few enough for the tables that no flow is pushed out.
    let mut lab = Lab::new(200_000);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let opened: Vec<Tuple> = (0..FLOWS)
        .map(|_| {
            let (packet, tuple) = random.opener();
            lab.send(&packet);
            tuple
        })
        .collect();
    let table = lab.counters().table;
    assert_eq!((table.created, table.evicted()), (FLOWS as u64, 0));
    for tuple in &opened {
        let inverse = tuple.inverted().expect("an inverse");
        for name in [FlowKey::from(tuple), FlowKey::from(&inverse)] {
            let flow = lab.flow(&name).unwrap_or_else(|| panic!("{name} is lost"));
            assert_eq!((flow.original.tuple, flow.reply.tuple), (*tuple, inverse));
            assert_eq!(flow.key(), name);
        }
    }
    let opened: HashSet<Tuple> = opened.into_iter().collect();
    let mut absent = 0;
    for _ in 0..FLOWS {
        let (_, tuple) = random.opener();
        if !opened.contains(&tuple) {
            assert_eq!(lab.flow(&FlowKey::from(&tuple)), None);
            absent += 1;
        }
    }
    assert!(absent > FLOWS / 2);
}

#[test]
#[ignore = "root"]
fn neighbours_in_name_are_not_mistaken() {
    let mut lab = Lab::new(1000);
    let (a, b) = (end("10.0.0.1:1000"), end("10.0.0.2:2000"));
    lab.send(&Packet::udp(a, b));
    lab.send(&Packet::icmp(a.ip(), b.ip(), [8, 0], 77));
    for there in [
        "udp 10.0.0.1:1000 10.0.0.2:2000",
        "udp 10.0.0.2:2000 10.0.0.1:1000",
        "icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=77",
        "icmp 10.0.0.2 10.0.0.1 type=0 code=0 id=77",
    ] {
        let name = there.parse().expect(there);
        assert!(lab.flow(&name).is_some(), "{there}");
    }
    for absent in [
        "udp 10.0.0.1:2000 10.0.0.2:1000",
        "tcp 10.0.0.1:1000 10.0.0.2:2000",
        "udp 10.0.0.1:1000 10.0.0.2:2001",
        "udp [::ffff:10.0.0.1]:1000 [::ffff:10.0.0.2]:2000",
        "icmp 10.0.0.2 10.0.0.1 type=8 code=0 id=77",
        "icmp 10.0.0.1 10.0.0.2 type=0 code=0 id=77",
        "icmp 10.0.0.1 10.0.0.2 type=8 code=1 id=77",
        "icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=78",
        "icmp 10.0.0.1 10.0.0.2 type=3 code=0 id=77",
    ] {
        let name = absent.parse().expect(absent);
        assert_eq!(lab.flow(&name), None, "{absent}");
    }
}
