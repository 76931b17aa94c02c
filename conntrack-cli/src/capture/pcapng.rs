//! The newer format: blocks, of which some are packets
//! (draft-ietf-opsawg-pcapng).

use std::io::Read;

use super::CaptureProblem;
use super::Found;
use super::LinkType;
use super::MAX_PACKET;
use super::input::Input;

/// Type of the block that begins a section; the same in both byte orders.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
/// The packet block of before 2009.
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;

/// Bytes around the body: type and length before it, length again after it.
const FRAME: u64 = 12;
/// The longest block of a kind that is looked into: a packet and its options.
const MAX_BLOCK: u64 = MAX_PACKET as u64 + (1 << 16);
/// More interfaces than any machine has; a damaged file may say anything.
const MAX_INTERFACES: usize = 1 << 16;

/// The section being read.
#[derive(Debug)]
pub(super) struct Pcapng {
    big_endian: bool,
    interfaces: Vec<Interface>,
    last_ns: i64,
}

/// What a section says of one of its interfaces.
#[derive(Copy, Clone, Debug)]
struct Interface {
    link: LinkType,
    snap_len: u32,
    units: Units,
    offset_s: i64,
}

/// Units of time per second.
#[derive(Copy, Clone, Debug)]
enum Units {
    /// Ten to the power of it.
    Decimal(u8),
    /// Two to the power of it.
    Binary(u8),
}

fn damaged(what: impl Into<String>) -> CaptureProblem {
    CaptureProblem::Damaged(format!("damaged: {}", what.into()))
}

impl Pcapng {
    /// Reads the first section header, after its first four bytes.
    pub(super) fn open<R: Read>(input: &mut Input<R>) -> Result<Self, CaptureProblem> {
        let mut section = Self {
            big_endian: false,
            interfaces: Vec::new(),
            last_ns: 0,
        };
        let length = input.array("a section header")?;
        section.begin(length, input)?;
        Ok(section)
    }

    /// Begins a section: the byte order, and no interfaces.
    fn begin<R: Read>(
        &mut self,
        length: [u8; 4],
        input: &mut Input<R>,
    ) -> Result<(), CaptureProblem> {
        let order: [u8; 4] = input.array("a section header")?;
        self.big_endian = match BYTE_ORDER {
            magic if u32::from_be_bytes(order) == magic => true,
            magic if u32::from_le_bytes(order) == magic => false,
            _ => return Err(damaged("a section header without its byte order mark")),
        };
        let version: [u8; 4] = input.array("a section header")?;
        let major = self.u16(&version);
        if major != 1 {
            return Err(damaged(format!("pcapng of version {major}, not 1")));
        }
        self.interfaces.clear();
        let length = u64::from(self.u32(&length));
        if length < 28 || length % 4 != 0 {
            return Err(damaged(format!("a section header of {length} bytes")));
        }
        input.skip("a section header", length - 20)?;
        self.end(length, input.array("a section header")?)
    }

    /// Compares the length at the end of a block with that at its beginning.
    fn end(&self, length: u64, again: [u8; 4]) -> Result<(), CaptureProblem> {
        let again = u64::from(self.u32(&again));
        if again == length {
            return Ok(());
        }
        Err(damaged(format!(
            "a block of {length} bytes that says {again} at its end"
        )))
    }

    /// The next packet, `None` at the end.
    pub(super) fn next_packet<R: Read>(
        &mut self,
        input: &mut Input<R>,
    ) -> Result<Option<Found>, CaptureProblem> {
        while let Some(header) = input.header("a block header")? {
            if let Some(found) = self.block(header, input)? {
                self.last_ns = found.time_ns;
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Reads one block.
    fn block<R: Read>(
        &mut self,
        header: [u8; 8],
        input: &mut Input<R>,
    ) -> Result<Option<Found>, CaptureProblem> {
        let [a, b, c, d, length @ ..] = header;
        let kind = self.u32(&[a, b, c, d]);
        if kind == SECTION_HEADER {
            self.begin(length, input)?;
            return Ok(None);
        }
        let length = u64::from(self.u32(&length));
        if length < FRAME || length % 4 != 0 {
            return Err(damaged(format!("a block of {length} bytes")));
        }
        let wanted = [
            INTERFACE_DESCRIPTION,
            OBSOLETE_PACKET,
            SIMPLE_PACKET,
            ENHANCED_PACKET,
        ];
        if !wanted.contains(&kind) {
            input.skip("a block", length - FRAME)?;
            self.end(length, input.array("a block")?)?;
            return Ok(None);
        }
        if length > MAX_BLOCK {
            return Err(CaptureProblem::Long {
                what: "a packet",
                length,
            });
        }
        let what = if kind == INTERFACE_DESCRIPTION {
            "an interface description"
        } else {
            "a packet"
        };
        let record = input.bytes(what, (length - 8) as usize)?;
        let (body, again) = record.split_at(record.len() - 4);
        self.end(length, [again[0], again[1], again[2], again[3]])?;
        match kind {
            INTERFACE_DESCRIPTION => self.interface(body).map(|()| None),
            SIMPLE_PACKET => self.simple_packet(body).map(Some),
            kind => self.packet(body, kind == OBSOLETE_PACKET).map(Some),
        }
    }

    fn interface(&mut self, body: &[u8]) -> Result<(), CaptureProblem> {
        if body.len() < 8 || self.interfaces.len() >= MAX_INTERFACES {
            return Err(damaged("an interface description too many or too short"));
        }
        let mut interface = Interface {
            link: LinkType(u32::from(self.u16(body))),
            snap_len: self.u32(&body[4..]),
            units: Units::Decimal(6),
            offset_s: 0,
        };
        let mut options = &body[8..];
        while options.len() >= 4 {
            let (code, length) = (self.u16(options), usize::from(self.u16(&options[2..])));
            let padded = 4 + length.next_multiple_of(4);
            let Some(value) = options.get(4..4 + length) else {
                return Err(damaged("an option longer than its interface description"));
            };
            match (code, value) {
                (0, _) => break,
                (OPTION_TSRESOL, &[units]) if units & 0x80 == 0 => {
                    interface.units = Units::Decimal(units);
                }
                (OPTION_TSRESOL, &[units]) => interface.units = Units::Binary(units & 0x7f),
                (OPTION_TSOFFSET, value) => {
                    let value = value.try_into().map_err(|_| damaged("a time offset"))?;
                    interface.offset_s = if self.big_endian {
                        i64::from_be_bytes(value)
                    } else {
                        i64::from_le_bytes(value)
                    };
                }
                _ => {}
            }
            options = options.get(padded..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// A packet with interface and time; the obsolete kind has a count of
    /// drops in the upper half of its first word.
    fn packet(&self, body: &[u8], obsolete: bool) -> Result<Found, CaptureProblem> {
        if body.len() < 20 {
            return Err(damaged("a packet without its fields"));
        }
        let index = if obsolete {
            u32::from(self.u16(body))
        } else {
            self.u32(body)
        };
        let interface = self.interface_of(index)?;
        let ticks = u64::from(self.u32(&body[4..])) << 32 | u64::from(self.u32(&body[8..]));
        let length = self.u32(&body[12..]) as usize;
        if length > body.len() - 20 || length > MAX_PACKET {
            return Err(damaged(format!(
                "a packet of {length} bytes in a block with {}",
                body.len() - 20
            )));
        }
        Ok(Found {
            time_ns: interface
                .nanoseconds(ticks)
                .ok_or_else(|| damaged("a time stamp outside the years 1677 to 2262"))?,
            link: interface.link,
            data: 20..20 + length,
            wire_len: self.u32(&body[16..]),
        })
    }

    /// A packet of the first interface, without a time: it gets that of the
    /// packet before it.
    fn simple_packet(&self, body: &[u8]) -> Result<Found, CaptureProblem> {
        if body.len() < 4 {
            return Err(damaged("a packet without its length"));
        }
        let interface = self.interface_of(0)?;
        let wire_len = self.u32(body);
        let limit = match interface.snap_len {
            0 => u32::MAX,
            limit => limit,
        };
        let length = (wire_len.min(limit) as usize).min(body.len() - 4);
        Ok(Found {
            time_ns: self.last_ns,
            link: interface.link,
            data: 4..4 + length,
            wire_len,
        })
    }

    fn interface_of(&self, index: u32) -> Result<Interface, CaptureProblem> {
        self.interfaces
            .get(index as usize)
            .copied()
            .ok_or_else(|| damaged(format!("a packet of interface {index}, never described")))
    }

    fn u16(&self, bytes: &[u8]) -> u16 {
        let bytes = [bytes[0], bytes[1]];
        if self.big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    }

    fn u32(&self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }
}

impl Interface {
    /// Nanoseconds since 1970, if they fit.
    fn nanoseconds(&self, ticks: u64) -> Option<i64> {
        let ticks = i128::from(ticks);
        let nanos = match self.units {
            Units::Decimal(power @ 0..=9) => ticks * 10_i128.pow(9 - u32::from(power)),
            Units::Decimal(power) => match 10_i128.checked_pow(u32::from(power) - 9) {
                Some(divisor) => ticks / divisor,
                None => 0,
            },
            Units::Binary(power) => (ticks * 1_000_000_000) >> power,
        };
        let offset = i128::from(self.offset_s) * 1_000_000_000;
        i64::try_from(nanos + offset).ok()
    }
}
