//! IP headers: `ipv4_get_l4proto()`, `ipv6_get_l4proto()` of
//! nf_conntrack_core.c, and what IP itself has checked by then.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use super::fragment::Fragment;
use super::fragment::Id;
use crate::protocol::Protocol;

/// Extension headers in a row that are walked. The kernel has no limit.
const DEPTH: usize = 33;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT: u8 = 59;
const DESTINATION: u8 = 60;

/// An IP packet, up to its payload.
#[derive(Clone, Debug)]
pub(crate) struct Ip<'a> {
    pub(crate) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(crate) protocol: Protocol,
    /// IP total length, less IPv6's fragment headers.
    pub(super) bytes: u64,
    pub(crate) hop_limit: u8,
    pub(crate) fragment: Option<Fragment>,
    pub(crate) payload: &'a [u8],
}

/// Why there is no [`Ip`].
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Refused {
    /// IP drops it, or it is no IP.
    ByIp,
    /// Its headers do not lead to a protocol.
    Invalid,
    /// They are too many.
    TooDeep,
}

/// Big-endian 16 bits at an offset.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*field))
}

/// Big-endian 32 bits at an offset.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*field))
}

fn v4_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv4Addr::from(be32(bytes, at)?).into())
}

fn v6_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let field: &[u8; 16] = bytes.get(at..)?.first_chunk()?;
    Some(Ipv6Addr::from(*field).into())
}

/// A packet from the wire; bytes behind it do not count.
pub(crate) fn parse(bytes: &[u8]) -> Result<Ip<'_>, Refused> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => {
            let total = usize::from(be16(bytes, 2).ok_or(Refused::ByIp)?);
            let packet = bytes.get(..total).ok_or(Refused::ByIp)?;
            if bytes.len() < 20 || header_length(bytes) < 20 || total < header_length(bytes) {
                return Err(Refused::ByIp);
            }
            ipv4(packet)
        }
        Some(6) => {
            let mut payload = usize::from(be16(bytes, 4).ok_or(Refused::ByIp)?);
            // Without a length of its own it ends where the frame does.
            if payload == 0 && bytes.get(6) == Some(&HOP_BY_HOP) {
                payload = bytes.len().saturating_sub(40);
            }
            ipv6(bytes.get(..40 + payload).ok_or(Refused::ByIp)?)
        }
        _ => Err(Refused::ByIp),
    }
}

/// The packet that an ICMP error of the same family complains of: nobody has
/// looked at its header yet, and its end may be missing.
pub(super) fn parse_inner(bytes: &[u8], v6: bool) -> Result<Ip<'_>, Refused> {
    let ip = if v6 { ipv6(bytes) } else { ipv4(bytes) }?;
    match ip.fragment {
        Some(fragment) if fragment.offset != 0 => Err(Refused::Invalid),
        _ => Ok(ip),
    }
}

fn header_length(bytes: &[u8]) -> usize {
    usize::from(bytes[0] & 15) * 4
}

fn ipv4(packet: &[u8]) -> Result<Ip<'_>, Refused> {
    let fields = || {
        let (src, dst) = (v4_at(packet, 12)?, v4_at(packet, 16)?);
        let payload = packet.get(header_length(packet)..)?;
        Some((src, dst, be16(packet, 4)?, be16(packet, 6)?, payload))
    };
    let (src, dst, id, offset, payload) = fields().ok_or(Refused::Invalid)?;
    let protocol = Protocol(packet[9]);
    let id = Id {
        src,
        dst,
        id: id.into(),
        protocol: Some(protocol),
    };
    Ok(Ip {
        src,
        dst,
        protocol,
        bytes: packet.len() as u64,
        hop_limit: packet[8],
        // More fragments, or an offset.
        fragment: (offset & 0x3fff != 0).then_some(Fragment {
            id,
            offset: u32::from(offset & 0x1fff) * 8,
            length: length(payload),
            more: offset & 0x2000 != 0,
        }),
        payload,
    })
}

fn ipv6(packet: &[u8]) -> Result<Ip<'_>, Refused> {
    let addresses = || Some((v6_at(packet, 8)?, v6_at(packet, 24)?));
    let (src, dst) = addresses().ok_or(Refused::Invalid)?;
    let mut ip = Ip {
        src,
        dst,
        protocol: Protocol(packet[6]),
        bytes: packet.len() as u64,
        hop_limit: packet[7],
        fragment: None,
        payload: &packet[40..],
    };
    let mut taken_off = false;
    for _ in 0..DEPTH {
        match ip.protocol.0 {
            HOP_BY_HOP | ROUTING | DESTINATION => skip(&mut ip, |len| (len + 1) * 8)?,
            AUTHENTICATION => skip(&mut ip, |len| (len + 2) * 4)?,
            FRAGMENT => {
                let header = ip.payload.get(..8).ok_or(Refused::Invalid)?;
                skip(&mut ip, |_| 8)?;
                // Only the first such header is taken off, and means what it says.
                if taken_off {
                    let offset = be16(header, 2).unwrap_or_default();
                    if offset & 0xfff8 != 0 {
                        return Err(Refused::Invalid);
                    }
                    continue;
                }
                taken_off = true;
                fragment(&mut ip, header);
                // What follows in a later fragment is payload.
                if ip.fragment.is_some_and(|fragment| fragment.offset != 0) {
                    return Ok(ip);
                }
            }
            NO_NEXT => return Err(Refused::Invalid),
            _ => return Ok(ip),
        }
    }
    match ip.protocol.0 {
        HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | FRAGMENT => Err(Refused::TooDeep),
        NO_NEXT => Err(Refused::Invalid),
        _ => Ok(ip),
    }
}

/// Steps over an extension header. Two bytes of it must be there; where it ends may be
/// beyond the packet.
fn skip(ip: &mut Ip<'_>, length: fn(usize) -> usize) -> Result<(), Refused> {
    let [next, len, ..] = ip.payload else {
        return Err(Refused::Invalid);
    };
    ip.protocol = Protocol(*next);
    ip.payload = ip.payload.get(length((*len).into())..).unwrap_or_default();
    Ok(())
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn fragment(ip: &mut Ip<'_>, header: &[u8]) {
    let offset = be16(header, 2).unwrap_or_default();
    // The kernel has taken it off before it counts.
    ip.bytes -= 8;
    // An offset, or more fragments.
    if offset & 0xfff9 == 0 {
        return;
    }
    let id = Id {
        src: ip.src,
        dst: ip.dst,
        id: be32(header, 4).unwrap_or_default(),
        protocol: None,
    };
    ip.fragment = Some(Fragment {
        id,
        offset: u32::from(offset & 0xfff8),
        length: length(ip.payload),
        more: offset & 1 != 0,
    });
}
