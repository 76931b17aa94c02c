//! nf_conntrack's table by ctnetlink. Attribute numbers are those of
//! include/uapi/linux/netfilter/nfnetlink_conntrack.h.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use conntrack::L4;
use conntrack::Protocol;
use conntrack::SctpState;
use conntrack::TcpState;
use conntrack::Tuple;

use super::entry::Entry;
use super::entry::Table;
use super::netlink::ACK;
use super::netlink::DUMP;
use super::netlink::Netlink;
use super::netlink::REQUEST;
use super::netlink::array;
use super::netlink::attribute;

const GET_ENTRIES: u16 = 1 << 8 | 1;
const DELETE_ENTRIES: u16 = 1 << 8 | 2;

/// All flows.
pub(crate) fn flows(socket: &mut Netlink) -> Table {
    let mut table = Table::new();
    socket.request(GET_ENTRIES, REQUEST | DUMP, 0, 0, &[]);
    while socket.receive(|message| table.extend(entry(message.body))) {}
    table
}

/// Forgets all flows.
pub(crate) fn flush(socket: &mut Netlink) {
    socket.request(DELETE_ENTRIES, REQUEST | ACK, 0, 0, &[]);
    while socket.receive(|_| ()) {}
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(array(bytes))
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(array(bytes))
}

fn entry(body: &[u8]) -> Option<(Tuple, Entry)> {
    let [original, reply] = [tuple(attribute(body, 1)?)?, tuple(attribute(body, 2)?)?];
    let status = be32(attribute(body, 3)?);
    let counts = |kind| {
        let nest = attribute(body, kind).unwrap_or_default();
        let count =
            |kind| attribute(nest, kind).map_or(0, |value| u64::from_be_bytes(array(value)));
        (count(1), count(2))
    };
    let counts = [counts(9), counts(10)];
    let entry = Entry {
        reply,
        state: attribute(body, 4).and_then(state).unwrap_or_default(),
        seen_reply: status & 2 != 0,
        assured: status & 4 != 0,
        timeout: attribute(body, 7).map_or(0, |value| be32(value).into()),
        packets: counts.map(|(packets, _)| packets),
        bytes: counts.map(|(_, bytes)| bytes),
        birth: attribute(attribute(body, 20)?, 1)
            .map_or(0, |value| u64::from_be_bytes(array(value))),
    };
    Some((original, entry))
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
