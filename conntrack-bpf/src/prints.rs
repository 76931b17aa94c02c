//! What SYNs and SYN+ACKs have told of their senders: `bpf/print.h` keeps it.

mod bans;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::sync::Arc;

use conntrack_core::Endpoint;
use conntrack_core::Fingerprint;
use conntrack_core::FingerprintsConfig;
use conntrack_core::Seen;
use conntrack_core::SourceFingerprint;
use conntrack_core::p0f::Kind;
use conntrack_core::p0f::Raw;
use conntrack_core::p0f::RawError;
use libbpf_rs::MapCore;

pub use self::bans::PrintBans;
use crate::clock::Clock;
use crate::datapath::Maps;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::hash::Cursor;
use crate::hash::Hash;
use crate::wire::Wire;
use crate::wire::ct_print;
use crate::wire::ct_print_key;
use crate::wire::ct_print_of;
use crate::wire::ct_printed;

/// Whether a data path keeps them.
pub fn are_kept(maps: &Maps) -> bool {
    maps.prints.max_entries() > 1
}

/// What the maps of a data path were made by.
pub(crate) fn config(maps: &Maps) -> FingerprintsConfig {
    match are_kept(maps) {
        true => FingerprintsConfig {
            enabled: true,
            max_signatures: maps.prints.max_entries(),
            max_sources: maps.print_of.max_entries(),
        },
        false => FingerprintsConfig {
            enabled: false,
            ..FingerprintsConfig::default()
        },
    }
}

/// Entries of a map, one after the other. One that is there all the time comes exactly
/// once. An error in reading is the last item.
#[derive(Debug)]
struct Walk<K, V> {
    maps: Arc<Maps>,
    clock: Clock,
    cursor: Cursor,
    entries: Vec<(K, V)>,
    failed: bool,
}

impl<K: Wire, V: Wire> Walk<K, V> {
    fn new(maps: &Arc<Maps>, clock: Clock) -> Self {
        Self {
            maps: Arc::clone(maps),
            clock,
            cursor: Cursor::default(),
            entries: Vec::new(),
            failed: !are_kept(maps),
        }
    }

    fn next(&mut self, hash: fn(&Maps) -> Hash<'_, K, V>) -> Option<Result<(K, V)>> {
        if self.entries.is_empty() && !self.failed {
            let next = self.cursor.next(&hash(&self.maps), &mut self.entries);
            if let Err(error) = next.context("read fingerprints") {
                self.failed = true;
                return Some(Err(error));
            }
        }
        self.entries.pop().map(Ok)
    }
}

fn signatures_of(maps: &Maps) -> Hash<'_, ct_print, ct_printed> {
    Hash::new(maps.prints.as_fd())
}

fn sources_of(maps: &Maps) -> Hash<'_, ct_print_key, ct_print_of> {
    Hash::new(maps.print_of.as_fd())
}

/// Signatures, in no order.
#[derive(Debug)]
#[must_use = "signatures are read as they are asked for"]
pub struct Signatures(Walk<ct_print, ct_printed>);

impl Signatures {
    /// Those of a data path, whose times a clock makes civil.
    pub fn new(maps: &Arc<Maps>, clock: Clock) -> Self {
        Self(Walk::new(maps, clock))
    }
}

impl Iterator for Signatures {
    type Item = Result<Fingerprint>;

    fn next(&mut self) -> Option<Result<Fingerprint>> {
        let walk = &mut self.0;
        Some(match walk.next(signatures_of)? {
            Ok((key, value)) => {
                let value = settled(&walk.maps, &key, value);
                fingerprint(&key, &value, &walk.clock)
            }
            Err(error) => Err(error),
        })
    }
}

/// The last signatures of sources, in no order.
#[derive(Debug)]
#[must_use = "sources are read as they are asked for"]
pub struct Sources(Walk<ct_print_key, ct_print_of>);

impl Sources {
    /// Those of a data path, whose times a clock makes civil.
    pub fn new(maps: &Arc<Maps>, clock: Clock) -> Self {
        Self(Walk::new(maps, clock))
    }
}

impl Iterator for Sources {
    type Item = Result<SourceFingerprint>;

    fn next(&mut self) -> Option<Result<SourceFingerprint>> {
        let walk = &mut self.0;
        Some(match walk.next(sources_of)? {
            Ok((key, value)) => source(&key, &value, &walk.clock),
            Err(error) => Err(error),
        })
    }
}

/// The last signature of an address, of its SYNs or of its SYN+ACKs.
///
/// # Errors
/// What the kernel says.
pub fn find(
    maps: &Maps,
    addr: IpAddr,
    kind: Kind,
    clock: &Clock,
) -> Result<Option<SourceFingerprint>> {
    if !are_kept(maps) {
        return Ok(None);
    }
    let key = key_of(addr, kind);
    let found = sources_of(maps).get(&key).context("read a fingerprint")?;
    found.map(|value| source(&key, &value, clock)).transpose()
}

/// The value, read again as long as a packet is writing its last source.
fn settled(maps: &Maps, key: &ct_print, mut value: ct_printed) -> ct_printed {
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        if value.turn == value.turns {
            break;
        }
        match signatures_of(maps).get(key) {
            Ok(Some(again)) => value = again,
            // It has gone, or cannot be read: what was read is all there is.
            Ok(None) | Err(_) => break,
        }
    }
    value
}

fn key_of(addr: IpAddr, kind: Kind) -> ct_print_key {
    let mut key = ct_print_key {
        synack: u8::from(kind == Kind::SynAck),
        ..ct_print_key::default()
    };
    match addr {
        IpAddr::V4(addr) => {
            key.family = 4;
            key.addr[0] = u32::from_ne_bytes(addr.octets());
        }
        IpAddr::V6(addr) => {
            key.family = 6;
            let octets = addr.octets();
            let (words, _) = octets.as_chunks::<4>();
            for (to, word) in key.addr.iter_mut().zip(words) {
                *to = u32::from_ne_bytes(*word);
            }
        }
    }
    key
}

fn addr_of(words: &[u32; 4], v6: bool) -> IpAddr {
    if !v6 {
        return Ipv4Addr::from(words[0].to_ne_bytes()).into();
    }
    let mut octets = [0; 16];
    for (to, word) in octets.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    Ipv6Addr::from(octets).into()
}

/// The packet path's record, as p0f's module has it.
fn record(print: &ct_print) -> Raw {
    Raw {
        bits: print.bits,
        mss: print.mss,
        window: print.window,
        peer_mss: print.peer_mss,
        ttl: print.ttl,
        ip_options: print.ip_options,
        tcp_header: print.tcp_header,
        scale: print.scale,
        options: print.options,
        padding: print.padding,
        layout: print.layout,
    }
}

fn wrong(error: RawError) -> Error {
    Error::new(ErrorKind::Other, error.to_string()).context("read a fingerprint")
}

fn fingerprint(key: &ct_print, value: &ct_printed, clock: &Clock) -> Result<Fingerprint> {
    let record = record(key);
    let seen = Seen {
        count: value.count,
        first: clock.civil(value.first),
        last: clock.civil(value.last),
    };
    let addr = addr_of(&value.addr, record.bits & Raw::IPV6 != 0);
    let last_source = Endpoint::new(addr, u16::from_be(value.port_be));
    Fingerprint::new(record, seen, last_source, value.id).map_err(wrong)
}

fn source(key: &ct_print_key, value: &ct_print_of, clock: &Clock) -> Result<SourceFingerprint> {
    let seen = Seen {
        count: value.count,
        first: clock.civil(value.first),
        last: clock.civil(value.last),
    };
    let addr = addr_of(&key.addr, key.family == 6);
    SourceFingerprint::new(addr, record(&value.print), seen).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        for text in ["192.0.2.7", "::", "2001:db8::1:2", "::ffff:1.2.3.4"] {
            let addr: IpAddr = text.parse().unwrap();
            let key = key_of(addr, Kind::SynAck);
            assert_eq!(addr_of(&key.addr, key.family == 6), addr);
            assert_eq!(key.synack, 1);
        }
    }
}
