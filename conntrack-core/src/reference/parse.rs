//! From bytes to what the machines see: `nf_ct_get_tuple()` of
//! nf_conntrack_core.c, and what each protocol's file checks of its header.

use super::checksum;
use super::fragment::Fragment;
use super::icmp;
use super::icmp::Class;
use super::ip;
use super::ip::Ip;
use super::ip::Refused;
use super::ip::be16;
use super::ip::be32;
use super::options;
use super::packet::Body;
use super::packet::Bundle;
use super::packet::Chunk;
use super::packet::Packet;
use super::packet::Parsed;
use super::packet::Segment;
use super::sctp_table::chunk;
use crate::protocol::Protocol;
use crate::sysctl::Sysctls;
use crate::tuple::L4;
use crate::tuple::Tuple;

/// PPP in GRE, as PPTP has it.
const GRE_PPP: u16 = 0x880b;

/// ICMPv6's redirect: the target and the destination come before its options.
const REDIRECT_HEADER: usize = 40;
const REDIRECTED_OPTION: u8 = 4;

/// A packet from its IP header on, and which fragment it is, if it is a first one.
pub(super) fn parse(bytes: &[u8], settings: &Sysctls) -> (Parsed, Option<Fragment>) {
    let ip = match ip::parse(bytes) {
        Ok(ip) => ip,
        Err(Refused::ByIp) => return (Parsed::Nothing, None),
        Err(Refused::Invalid) => return (Parsed::Invalid, None),
        Err(Refused::TooDeep) => return (Parsed::Untracked, None),
    };
    if settings.checksum && !checksum::header_good(bytes) {
        return (Parsed::Nothing, None);
    }
    match ip.fragment {
        Some(fragment) if fragment.offset != 0 => (Parsed::Later(fragment), None),
        None if settings.checksum && !checksum::good(&ip) => (Parsed::Invalid, None),
        fragment => (transport(&ip), fragment),
    }
}

fn transport(ip: &Ip<'_>) -> Parsed {
    if ip.protocol.is_icmp() {
        return message(ip);
    }
    let Some(tuple) = tuple(ip) else {
        return Parsed::Invalid;
    };
    let body = match ip.protocol {
        Protocol::TCP => segment(ip.payload).map(Body::Tcp),
        Protocol::SCTP => bundle(ip.payload).map(Body::Sctp),
        Protocol::UDP => datagram(ip).then_some(Body::Plain),
        Protocol::UDPLITE => partial_datagram(ip).then_some(Body::Plain),
        _ => Some(Body::Plain),
    };
    match body {
        Some(body) => Parsed::Packet(Packet {
            tuple,
            bytes: ip.bytes,
            body,
        }),
        None => Parsed::Invalid,
    }
}

/// What tells the packet's flow from others; `None` if it cannot be read.
fn tuple(ip: &Ip<'_>) -> Option<Tuple> {
    let bytes = ip.payload;
    let l4 = match ip.protocol {
        Protocol::TCP | Protocol::UDP | Protocol::UDPLITE | Protocol::SCTP => L4::Ports {
            src: be16(bytes, 0)?,
            dst: be16(bytes, 2)?,
        },
        Protocol::ICMP | Protocol::ICMPV6 => L4::Icmp {
            kind: *bytes.first()?,
            code: *bytes.get(1)?,
            id: bytes.get(..8).and_then(|header| be16(header, 4))?,
        },
        Protocol::GRE => L4::Gre {
            src_key: 0,
            dst_key: call_id(bytes)?,
        },
        _ => L4::None,
    };
    Some(Tuple {
        src: ip.src,
        dst: ip.dst,
        protocol: ip.protocol,
        l4,
    })
}

/// GRE of version 1 has PPTP's call id; of any other version, and if it is too
/// short to tell, the addresses are all there is. Version 1 of anything but PPP
/// has no tuple.
fn call_id(bytes: &[u8]) -> Option<u16> {
    match (be16(bytes, 0), bytes.get(..8)) {
        (Some(flags), Some(header)) if flags & 7 == 1 => match be16(header, 2) {
            Some(GRE_PPP) => be16(header, 6),
            _ => None,
        },
        _ => Some(0),
    }
}

/// `tcp_error()`: the header is whole. Its flags are judged with its flow.
fn segment(bytes: &[u8]) -> Option<Segment> {
    let header = usize::from(bytes.get(12)? >> 4) * 4;
    if header < 20 {
        return None;
    }
    let (header, payload) = (bytes.get(..header)?, &bytes[header..]);
    Some(Segment {
        seq: be32(header, 4)?,
        ack: be32(header, 8)?,
        flags: header[13],
        window: be16(header, 14)?,
        payload: u32::try_from(payload.len()).ok()?,
        options: options::parse(&header[20..]),
    })
}

/// `udp_error()`: the length fits. A first fragment's cannot.
fn datagram(ip: &Ip<'_>) -> bool {
    let length = be16(ip.payload, 4).map_or(0, usize::from);
    ip.payload.len() >= 8 && (ip.fragment.is_some() || (8..=ip.payload.len()).contains(&length))
}

/// `udplite_error()`: the checksum covers as much as it says, and is there. Of a
/// first fragment nobody can tell.
fn partial_datagram(ip: &Ip<'_>) -> bool {
    let bytes = ip.payload;
    let (Some(coverage), Some(sum)) = (be16(bytes, 4), be16(bytes, 6)) else {
        return false;
    };
    let coverage = usize::from(coverage);
    let fits = coverage == 0 || (8..=bytes.len()).contains(&coverage);
    ip.fragment.is_some() || (fits && sum != 0)
}

/// `do_basic_checks()`: INIT, INIT ACK and SHUTDOWN COMPLETE are alone, COOKIE
/// ECHO and COOKIE ACK come first.
fn bundle(bytes: &[u8]) -> Option<Bundle> {
    let tag = be32(bytes.get(..12)?, 4)?;
    let mut bundle = Bundle {
        tag,
        chunks: Vec::new(),
    };
    let mut rest = &bytes[12..];
    let mut alone = false;
    while let [kind, flags, ..] = *rest {
        let Some(length) = be16(rest, 2) else { break };
        alone |= matches!(
            kind,
            chunk::INIT | chunk::INIT_ACK | chunk::SHUTDOWN_COMPLETE
        );
        let first = alone || matches!(kind, chunk::COOKIE_ECHO | chunk::COOKIE_ACK);
        if length == 0 || (first && !bundle.chunks.is_empty()) {
            return None;
        }
        bundle.chunks.push(Chunk {
            kind,
            flags,
            init_tag: rest.get(..20).and_then(|whole| be32(whole, 4)),
        });
        let padded = usize::from(length).next_multiple_of(4);
        rest = rest.get(padded..).unwrap_or_default();
    }
    (!bundle.chunks.is_empty()).then_some(bundle)
}

/// ICMP of the packet's family, or of the other one, which makes no sense.
fn message(ip: &Ip<'_>) -> Parsed {
    let family = crate::protocol::Family::of(ip.src);
    if ip.protocol != icmp::protocol(family) || ip.payload.len() < 8 {
        return Parsed::Invalid;
    }
    let v6 = ip.src.is_ipv6();
    match icmp::classify(family, ip.payload[0]) {
        Class::Untracked => Parsed::Untracked,
        Class::Invalid => Parsed::Invalid,
        Class::Error => error(ip, &ip.payload[8..], v6),
        Class::Redirect => redirect(ip).map_or(Parsed::Invalid, |inner| error(ip, inner, v6)),
        Class::Query => match tuple(ip) {
            Some(tuple) => Parsed::Packet(Packet {
                tuple,
                bytes: ip.bytes,
                body: Body::Plain,
            }),
            None => Parsed::Invalid,
        },
    }
}

/// `nf_conntrack_icmpv6_redirect()`: a router on the link sends it, and its
/// first option is the packet it is about.
fn redirect<'a>(ip: &Ip<'a>) -> Option<&'a [u8]> {
    let link_local = match ip.src {
        std::net::IpAddr::V6(src) => src.is_unicast_link_local(),
        std::net::IpAddr::V4(_) => false,
    };
    let (header, option) = ip.payload.split_at_checked(REDIRECT_HEADER)?;
    let [kind, length, ..] = *option else {
        return None;
    };
    let sound = header[1] == 0 && link_local && ip.hop_limit == 255 && length != 0;
    (sound && kind == REDIRECTED_OPTION)
        .then(|| option.get(8..))
        .flatten()
}

/// `nf_conntrack_inet_error()`, as far as it can be told without the flows.
/// Four bytes of the inner transport header are enough where those are ports.
fn error(ip: &Ip<'_>, inner: &[u8], v6: bool) -> Parsed {
    let Ok(inner) = ip::parse_inner(inner, v6) else {
        return Parsed::Invalid;
    };
    match tuple(&inner) {
        Some(tuple) if tuple.inverted().is_some() => Parsed::Error {
            returned: ip.dst == tuple.src,
            inner: tuple,
        },
        _ => Parsed::Invalid,
    }
}
