//! From a packet to the record that the packet path makes of it.

use std::fmt;

use super::Options;
use super::Quirks;
use super::Raw;
use super::Signature;
use super::walk::Walk;
use super::walk::walk;
use super::window::follows_peer;
use crate::protocol::Family;
use crate::protocol::Protocol;
use crate::reference::ip;
use crate::reference::ip::Ip;
use crate::reference::ip::be16;
use crate::reference::ip::be32;
use crate::tcp::flags;

/// IPv4's flags beside the fragment offset.
const DF: u16 = 0x4000;
const RESERVED: u16 = 0x8000;
/// TCP's AE, once NS, beside the data offset (RFC 9768).
const ACCURATE_ECN: u8 = 1;
/// The congestion bits of IPv4's and IPv6's second field.
const CONGESTION: u8 = 3;

/// Why a packet has no signature.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub enum PacketError {
    /// It is no whole IP packet, or its headers lead to no protocol.
    NotIp,
    /// It is not TCP.
    NotTcp,
    /// It is a fragment.
    Fragment,
    /// It ends before its TCP header does.
    Short,
    /// It is neither SYN nor SYN+ACK, or FIN or RST beside.
    NotSyn,
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotIp => "it is no whole IP packet",
            Self::NotTcp => "it is not TCP",
            Self::Fragment => "it is a fragment",
            Self::Short => "it ends before its TCP header does",
            Self::NotSyn => "it is neither a SYN nor a SYN+ACK",
        })
    }
}

impl std::error::Error for PacketError {}

impl Raw {
    /// The record of a packet, from its IP header on. `peer_mss` is the MSS of the
    /// SYN that a SYN+ACK answers, if that is known. Bytes after the packet's end
    /// do not count, and no checksum is looked at.
    ///
    /// # Errors
    ///
    /// The packet is no SYN or SYN+ACK, or not whole.
    pub fn from_packet(packet: &[u8], peer_mss: Option<u16>) -> Result<Self, PacketError> {
        Ok(Self::read(packet, peer_mss)?.0)
    }

    /// The record, and what it means.
    fn read(packet: &[u8], peer_mss: Option<u16>) -> Result<(Self, Options, Quirks), PacketError> {
        let ip = ip::parse(packet).map_err(|_| PacketError::NotIp)?;
        if ip.protocol != Protocol::TCP {
            return Err(PacketError::NotTcp);
        }
        if ip.fragment.is_some() {
            return Err(PacketError::Fragment);
        }
        let (header, payload) = split(ip.payload).ok_or(PacketError::Short)?;
        let answers = match header[13] & (flags::SYN | flags::ACK | flags::FIN | flags::RST) {
            flags::SYN => false,
            SYN_ACK => true,
            _ => return Err(PacketError::NotSyn),
        };
        let mut raw = Self {
            ttl: ip.hop_limit,
            tcp_header: header.len() as u8,
            ..Self::default()
        };
        let walk = walk(&header[20..], answers);
        let quirks = walk.quirks | raw.note_ip(packet, &ip) | raw.note_header(header);
        raw.note_options(&walk);
        raw.bits |= quirks.bits();
        let flags = [
            (Self::SYN_ACK, answers),
            (Self::PAYLOAD, !payload.is_empty()),
        ];
        for (flag, _) in flags.iter().filter(|(_, set)| *set) {
            raw.bits |= flag;
        }
        raw.peer_mss = peer_mss
            .filter(|mss| answers && follows_peer(raw.window, *mss))
            .unwrap_or_default();
        Ok((raw, walk.options, quirks))
    }

    /// What IP's header says, and what is odd about it.
    fn note_ip(&mut self, packet: &[u8], ip: &Ip<'_>) -> Quirks {
        let family = Family::of(ip.src);
        let field = |at| be16(packet, at).unwrap_or_default();
        let (fixed, end, class) = match family {
            Family::Ipv4 => (20, usize::from(field(2)), packet[1]),
            Family::Ipv6 => (40, 40 + usize::from(field(4)), packet[1] >> 4),
        };
        let options = end - ip.payload.len() - fixed;
        self.ip_options = u8::try_from(options).unwrap_or(u8::MAX);
        let quirks = Quirks::ECN.when(class & CONGESTION != 0);
        match family {
            Family::Ipv4 => {
                let (id, flags) = (field(4), field(6));
                let whole = flags & DF != 0;
                quirks
                    | Quirks::RESERVED.when(flags & RESERVED != 0)
                    | Quirks::DF.when(whole)
                    | Quirks::ID.when(whole && id != 0)
                    | Quirks::ZERO_ID.when(!whole && id == 0)
            }
            Family::Ipv6 => {
                self.bits |= Self::IPV6;
                let label = be32(packet, 0).unwrap_or_default() & 0xfffff;
                quirks | Quirks::FLOW.when(label != 0)
            }
        }
    }

    /// What TCP's header says before the options, and what is odd about it.
    fn note_header(&mut self, header: &[u8]) -> Quirks {
        let set = |flag: u8| header[13] & flag != 0;
        let zero = |at: usize, bytes: usize| header[at..at + bytes].iter().all(|byte| *byte == 0);
        self.window = be16(header, 14).unwrap_or_default();
        let accurate = header[12] & ACCURATE_ECN != 0;
        Quirks::ECN.when(set(flags::ECE | flags::CWR) || accurate)
            | Quirks::ZERO_SEQ.when(zero(4, 4))
            | Quirks::ACK_NUMBER.when(!set(flags::ACK) && !zero(8, 4))
            | Quirks::ZERO_ACK.when(set(flags::ACK) && zero(8, 4))
            | Quirks::URGENT_POINTER.when(!set(flags::URG) && !zero(18, 2))
            | Quirks::URG.when(set(flags::URG))
            | Quirks::PSH.when(set(flags::PSH))
    }

    /// What the options say.
    fn note_options(&mut self, walk: &Walk) {
        let kinds = walk.options.kinds();
        self.mss = walk.mss;
        self.scale = walk.scale;
        self.options = kinds.len() as u8;
        self.padding = walk.options.padding();
        self.layout[..kinds.len()].copy_from_slice(kinds);
        if walk.timestamp != 0 {
            self.bits |= Self::TIMESTAMP;
        }
    }
}

const SYN_ACK: u8 = flags::SYN | flags::ACK;

/// TCP's header with its options, and what follows; `None` if it is not whole.
fn split(segment: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(segment.get(12)? >> 4) * 4;
    if length < 20 {
        return None;
    }
    segment.split_at_checked(length)
}

impl Signature {
    /// A packet's signature, without the MSS of a peer: see [`Raw::from_packet`].
    ///
    /// # Errors
    ///
    /// The packet is no SYN or SYN+ACK, or not whole.
    pub fn from_packet(packet: &[u8]) -> Result<Self, PacketError> {
        let (raw, options, quirks) = Raw::read(packet, None)?;
        Ok(Self::new(&raw, options, quirks))
    }
}
