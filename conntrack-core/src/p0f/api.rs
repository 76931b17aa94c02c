//! What p0f's API socket speaks: a query of 21 bytes and a response of 232, numbers in the
//! machine's order.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use super::Found;
use crate::fingerprint::SourceFingerprint;

const QUERY_MAGIC: u32 = 0x5030_4601;
const RESPONSE_MAGIC: u32 = 0x5030_4602;
/// Room for a text, its end included.
const TEXT: usize = 32;
/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// Bytes of a query.
pub const QUERY_BYTES: usize = 21;
/// Bytes of a response.
pub const RESPONSE_BYTES: usize = 40 + 6 * TEXT;

/// What became of a query.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Status {
    Bad = 0x00,
    Ok = 0x10,
    NoMatch = 0x20,
}

/// Whom a query asks about; `None` if it is none.
pub fn query(bytes: &[u8; QUERY_BYTES]) -> Option<IpAddr> {
    let (magic, rest) = bytes.split_first_chunk()?;
    let (family, addr) = rest.split_first()?;
    match (u32::from_ne_bytes(*magic), family) {
        (QUERY_MAGIC, 4) => {
            let octets: [u8; 4] = *addr.first_chunk()?;
            Some(Ipv4Addr::from(octets).into())
        }
        (QUERY_MAGIC, 6) => {
            let octets: [u8; 16] = *addr.first_chunk()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

fn respond(status: Status) -> [u8; RESPONSE_BYTES] {
    let mut bytes = [0; RESPONSE_BYTES];
    bytes[..4].copy_from_slice(&RESPONSE_MAGIC.to_ne_bytes());
    bytes[4..8].copy_from_slice(&(status as u32).to_ne_bytes());
    bytes
}

/// To what is no query.
pub fn bad_query() -> [u8; RESPONSE_BYTES] {
    respond(Status::Bad)
}

/// To a query about somebody unknown.
pub fn unknown() -> [u8; RESPONSE_BYTES] {
    respond(Status::NoMatch)
}

/// What is known of an address: its last signature, how many connections there were, and
/// what p0f's file says. What p0f concludes from times, HTTP or changes is left empty, as
/// where p0f has not seen it.
pub fn known(source: &SourceFingerprint, count: u64, found: &Found<'_>) -> [u8; RESPONSE_BYTES] {
    let mut bytes = respond(Status::Ok);
    let seconds = |nanos: i64| u32::try_from(nanos / SECOND).unwrap_or(0);
    let numbers = [
        seconds(source.first_seen.0),
        seconds(source.last_seen.0),
        u32::try_from(count).unwrap_or(u32::MAX),
    ];
    for (to, number) in bytes[8..20].chunks_exact_mut(4).zip(numbers) {
        to.copy_from_slice(&number.to_ne_bytes());
    }
    bytes[36..38].copy_from_slice(&i16::from(found.distance).to_ne_bytes());
    // A program that makes its own packets is no system.
    if let Some(matched) = found.matched.filter(|matched| !matched.label.is_tool()) {
        bytes[39] = matched.quality as u8;
        text(&mut bytes, 0, &matched.label.name);
        text(&mut bytes, 1, &matched.label.flavour);
    }
    text(&mut bytes, 4, found.link.unwrap_or_default());
    bytes
}

/// Puts a text in its place, cut to the room there is.
fn text(bytes: &mut [u8; RESPONSE_BYTES], place: usize, text: &str) {
    let room = &mut bytes[40 + place * TEXT..][..TEXT - 1];
    let length = text.len().min(room.len());
    room[..length].copy_from_slice(&text.as_bytes()[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(magic: u32, family: u8, addr: [u8; 16]) -> Option<IpAddr> {
        let mut bytes = [0; QUERY_BYTES];
        bytes[..4].copy_from_slice(&magic.to_ne_bytes());
        bytes[4] = family;
        bytes[5..].copy_from_slice(&addr);
        query(&bytes)
    }

    #[test]
    fn queries_are_read() {
        let mut addr = [0; 16];
        addr[..4].copy_from_slice(&[192, 0, 2, 7]);
        assert_eq!(of(QUERY_MAGIC, 4, addr), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(
            of(QUERY_MAGIC, 6, addr),
            Some("c000:207::".parse().unwrap())
        );
        assert_eq!(of(QUERY_MAGIC, 5, addr), None);
        assert_eq!(of(RESPONSE_MAGIC, 4, addr), None);
    }

    #[test]
    fn responses_have_their_size() {
        assert_eq!(RESPONSE_BYTES, 232);
        assert_eq!(unknown()[4], 0x20);
        let mut bytes = bad_query();
        text(&mut bytes, 5, &"x".repeat(99));
        assert_eq!(bytes[RESPONSE_BYTES - 2..], [b'x', 0]);
    }
}
