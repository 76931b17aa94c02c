//! nf_conntrack's side: its table by ctnetlink, its classes by NFLOG.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::time::Duration;

use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::SctpState;
use conntrack_core::TcpState;
use conntrack_core::Tuple;

use crate::lab::Lab;
use crate::netlink::ACK;
use crate::netlink::DUMP;
use crate::netlink::Netlink;
use crate::netlink::REQUEST;
use crate::netlink::array;
use crate::netlink::attribute;
use crate::netlink::put;
use crate::view::Class;
use crate::view::Entry;
use crate::view::Table;

const GET_ENTRIES: u16 = 1 << 8 | 1;
const DELETE_ENTRIES: u16 = 1 << 8 | 2;
const LOG_PACKET: u16 = 4 << 8;
const LOG_CONFIG: u16 = 4 << 8 | 1;
const GROUP: u16 = 7;
const PREFIX: u16 = 10;

/// Every packet that arrives is logged with the class nf_conntrack gave it.
/// Markers are logged as they leave, when all that came before them is done
/// with.
const RULES: &str = "\
table inet differential {
    chain judge {
        ct state untracked log prefix \"untracked\" group 7 accept
        ct state invalid log prefix \"invalid\" group 7 accept
        ct state new log prefix \"new\" group 7 accept
        ct state established ct direction original log prefix \"established\" group 7 accept
        ct state established ct direction reply log prefix \"established reply\" group 7 accept
        ct state related ct direction original log prefix \"related\" group 7 accept
        ct state related ct direction reply log prefix \"related reply\" group 7 accept
    }
    chain arrive {
        type filter hook prerouting priority -100; policy accept;
        ip saddr { 10.1.0.1, 10.2.0.1 } accept
        jump judge
    }
    chain leave {
        type filter hook postrouting priority 0; policy accept;
        ip saddr { 10.1.0.1, 10.2.0.1 } log prefix \"marker\" group 7
    }
}
";

/// The tracker of the router's kernel.
pub(crate) struct Kernel {
    table: Netlink,
    log: Netlink,
}

impl Kernel {
    /// Turns tracking on in the router.
    pub(crate) fn new(lab: &Lab) -> Self {
        lab.nft(RULES);
        lab.sysctl("net.netfilter.nf_conntrack_acct", "1");
        lab.sysctl("net.netfilter.nf_conntrack_timestamp", "1");
        let mut log = Netlink::open(lab.router());
        // Bind to the group; send no payload; send at once.
        for attributes in [
            put(1, &[1]),
            put(2, &[0, 0, 0, 0, 1, 0]),
            put(5, &1_u32.to_be_bytes()),
        ] {
            log.request(LOG_CONFIG, REQUEST | ACK, 0, GROUP, &attributes);
            while log.receive(|_| ()) {}
        }
        Self {
            table: Netlink::open(lab.router()),
            log,
        }
    }

    /// Forgets all flows.
    pub(crate) fn flush(&mut self) {
        self.table.request(DELETE_ENTRIES, REQUEST | ACK, 0, 0, &[]);
        while self.table.receive(|_| ()) {}
    }

    /// Classes of the packets since the last call, up to the next marker.
    pub(crate) fn classes(&mut self) -> Vec<Class> {
        let mut classes = Vec::new();
        let mut marked = false;
        while !marked {
            let came = self.log.receive_within(Duration::from_secs(2), |message| {
                if message.kind != LOG_PACKET {
                    return;
                }
                let prefix = attribute(message.body, PREFIX).unwrap_or_default();
                match prefix.strip_suffix(&[0]).unwrap_or(prefix) {
                    b"marker" => marked = true,
                    other => classes.push(class(other)),
                }
            });
            assert!(came, "a marker got lost");
        }
        classes
    }

    /// All flows.
    pub(crate) fn flows(&mut self) -> Table {
        let mut table = Table::new();
        self.table.request(GET_ENTRIES, REQUEST | DUMP, 0, 0, &[]);
        while self
            .table
            .receive(|message| table.extend(entry(message.body)))
        {}
        table
    }
}

fn class(prefix: &[u8]) -> Class {
    match prefix {
        b"untracked" => Class::Untracked,
        b"invalid" => Class::Invalid,
        b"new" => Class::New,
        b"established" => Class::Established(false),
        b"established reply" => Class::Established(true),
        b"related" => Class::Related(false),
        b"related reply" => Class::Related(true),
        other => panic!("unknown log prefix {:?}", String::from_utf8_lossy(other)),
    }
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(array(bytes))
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(array(bytes))
}

/// Attribute numbers are those of
/// include/uapi/linux/netfilter/nfnetlink_conntrack.h.
fn entry(body: &[u8]) -> Option<(Tuple, Entry)> {
    let tuple = tuple(attribute(body, 1)?)?;
    let status = be32(attribute(body, 3)?);
    let counts = |kind| {
        let nest = attribute(body, kind).unwrap_or_default();
        let count =
            |kind| attribute(nest, kind).map_or(0, |value| u64::from_be_bytes(array(value)));
        (count(1), count(2))
    };
    let (original, reply) = (counts(9), counts(10));
    let entry = Entry {
        state: attribute(body, 4).and_then(state).unwrap_or_default(),
        seen_reply: status & 2 != 0,
        assured: status & 4 != 0,
        timeout: attribute(body, 7).map_or(0, |value| be32(value).into()),
        packets: [original.0, reply.0],
        bytes: [original.1, reply.1],
        birth: attribute(attribute(body, 20)?, 1)
            .map_or(0, |value| u64::from_be_bytes(array(value))),
    };
    Some((tuple, entry))
}

fn state(protoinfo: &[u8]) -> Option<String> {
    let number = |kind| Some(attribute(attribute(protoinfo, kind)?, 1)?[0]);
    let tcp = || Some(TcpState::from_index(number(1)?)?.name());
    let sctp = || Some(SctpState::from_index(number(3)?)?.name());
    tcp().or_else(sctp).map(str::to_owned)
}

fn tuple(nest: &[u8]) -> Option<Tuple> {
    let ip = attribute(nest, 1)?;
    let v4 = |kind| {
        Some(IpAddr::from(Ipv4Addr::from(array::<4>(attribute(
            ip, kind,
        )?))))
    };
    let v6 = |kind| {
        Some(IpAddr::from(Ipv6Addr::from(array::<16>(attribute(
            ip, kind,
        )?))))
    };
    let proto = attribute(nest, 2)?;
    let protocol = Protocol(attribute(proto, 1)?[0]);
    let byte = |kind| attribute(proto, kind).map(|value| value[0]);
    let short = |kind| attribute(proto, kind).map(be16);
    let l4 = match protocol {
        Protocol::ICMP if short(4).is_some() => L4::Icmp {
            kind: byte(5)?,
            code: byte(6)?,
            id: short(4)?,
        },
        Protocol::ICMPV6 if short(7).is_some() => L4::Icmp {
            kind: byte(8)?,
            code: byte(9)?,
            id: short(7)?,
        },
        Protocol::GRE => L4::Gre {
            src_key: short(2)?,
            dst_key: short(3)?,
        },
        Protocol::TCP | Protocol::UDP | Protocol::UDPLITE | Protocol::SCTP => L4::Ports {
            src: short(2)?,
            dst: short(3)?,
        },
        _ => L4::None,
    };
    Some(Tuple {
        src: v4(1).or_else(|| v6(3))?,
        dst: v4(2).or_else(|| v6(4))?,
        protocol,
        l4,
    })
}
