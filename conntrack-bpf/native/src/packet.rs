//! Packets as the parser would hand them on, and what identifies their flow.

use std::net::IpAddr;

use crate::ffi::RawHash;
use crate::ffi::RawPacket;
use crate::ffi::ct_native_hash;
use crate::ffi::ct_native_key;

/// A parsed packet: one segment, without options.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Packet(pub(crate) RawPacket);

fn octets(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V6(addr) => addr.octets(),
        IpAddr::V4(addr) => {
            let mut all = [0; 16];
            all[..4].copy_from_slice(&addr.octets());
            all
        }
    }
}

impl Packet {
    /// A packet of a protocol number between two addresses of one family, 100
    /// bytes long, ports 0.
    pub fn new(src: IpAddr, dst: IpAddr, proto: u8) -> Self {
        Self(RawPacket {
            src: octets(src),
            dst: octets(dst),
            bytes: 100,
            window: 1000,
            family: if src.is_ipv4() { 4 } else { 6 },
            proto,
            ..RawPacket::default()
        })
    }

    /// Sets the ports, in host order.
    pub fn ports(mut self, src: u16, dst: u16) -> Self {
        self.0.src_port = src;
        self.0.dst_port = dst;
        self
    }

    /// Sets ICMP's type, code and identifier.
    pub fn icmp(mut self, kind: u8, code: u8, id: u16) -> Self {
        self.0.icmp_type = kind;
        self.0.icmp_code = code;
        self.0.src_port = id;
        self
    }

    /// Sets the TCP flags.
    pub fn tcp_flags(mut self, flags: u8) -> Self {
        self.0.tcp_flags = flags;
        self
    }

    /// Sets the IP total length.
    pub fn bytes(mut self, bytes: u32) -> Self {
        self.0.bytes = bytes;
        self
    }

    /// Sets the time it is seen at, in nanoseconds.
    pub fn at(mut self, now: u64) -> Self {
        self.0.now = now;
        self
    }

    /// The key of its flow, and whether it was sent by the key's higher end.
    pub fn key(&self) -> (Key, bool) {
        let mut key = Key([0; 37]);
        // SAFETY: the C reads one packet and writes 37 bytes.
        let hi = unsafe { ct_native_key(&raw const self.0, key.0.as_mut_ptr()) };
        (key, hi != 0)
    }

    /// Where its flow may live in a table of `buckets` buckets.
    pub fn hash(&self, seed: &[u32; 12], buckets: u32) -> Hash {
        let mut raw = RawHash::default();
        // SAFETY: the C reads one packet and twelve words, and writes one hash.
        unsafe { ct_native_hash(&raw const self.0, seed.as_ptr(), buckets, &raw mut raw) };
        Hash {
            buckets: raw.bucket,
            home: raw.home,
            tag: raw.tag,
        }
    }
}

/// The bytes of a canonical key: two addresses, two ports, the protocol.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Key(pub(crate) [u8; 37]);

/// Where a key may live.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Hash {
    /// The two buckets; always different if there is more than one.
    pub buckets: [u32; 2],
    /// The preferred slot of the first bucket.
    pub home: u32,
    /// Never 0, below 65,536.
    pub tag: u32,
}
