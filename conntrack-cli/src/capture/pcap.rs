//! The older format: a header, then packets.

use std::io::Read;

use super::CaptureProblem;
use super::Found;
use super::LinkType;
use super::MAX_PACKET;
use super::input::Input;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Of a patched libpcap around 2000, whose records have eight more bytes.
const MODIFIED: u32 = 0xa1b2_cd34;

/// What the header of the file says.
#[derive(Debug)]
pub(super) struct Pcap {
    big_endian: bool,
    nanos_per_unit: i64,
    extra: u64,
    link: LinkType,
}

impl Pcap {
    /// Reads the header after its first four bytes; `None` if those are not of
    /// this format.
    pub(super) fn open<R: Read>(
        magic: [u8; 4],
        input: &mut Input<R>,
    ) -> Result<Option<Self>, CaptureProblem> {
        let known = [MICROSECONDS, NANOSECONDS, MODIFIED];
        let (big, little) = (u32::from_be_bytes(magic), u32::from_le_bytes(magic));
        let (big_endian, kind) = if known.contains(&big) {
            (true, big)
        } else if known.contains(&little) {
            (false, little)
        } else {
            return Ok(None);
        };
        let rest: [u8; 20] = input
            .array("a file header")
            .map_err(|cut| cut.preceded_by(magic.len() as u64))?;
        let field = |at: usize| word(big_endian, &rest, at);
        Ok(Some(Self {
            big_endian,
            nanos_per_unit: if kind == NANOSECONDS { 1 } else { 1_000 },
            extra: if kind == MODIFIED { 8 } else { 0 },
            // The upper bits tell of frame check sequences.
            link: LinkType(field(16) & 0x03ff_ffff),
        }))
    }

    /// The next packet, `None` at the end.
    pub(super) fn next_packet<R: Read>(
        &self,
        input: &mut Input<R>,
    ) -> Result<Option<Found>, CaptureProblem> {
        let Some(header) = input.header::<16>("a packet header")? else {
            return Ok(None);
        };
        let field = |at: usize| word(self.big_endian, &header, at);
        let (seconds, units) = (i64::from(field(0)), i64::from(field(4)));
        let length = field(8);
        if length as usize > MAX_PACKET {
            return Err(CaptureProblem::Long {
                what: "a packet",
                length: u64::from(length),
            });
        }
        if self.extra > 0 {
            input.skip("a packet header", self.extra)?;
        }
        input.bytes("a packet", length as usize)?;
        Ok(Some(Found {
            time_ns: seconds * 1_000_000_000 + units * self.nanos_per_unit,
            link: self.link,
            data: 0..length as usize,
            wire_len: field(12),
        }))
    }
}

/// Four bytes as a number in the file's byte order.
fn word(big_endian: bool, bytes: &[u8], at: usize) -> u32 {
    let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}
