//! Captures, packet by packet: pcap and pcapng, from files and pipes, in
//! constant memory.
//!
//! The formats are read here rather than by a crate because every error names
//! the byte and the packet it is about, a cut file gives all its whole packets,
//! and input that comes in small pieces (a pipe) is nothing special.

mod error;
mod input;
mod link;
mod pcap;
mod pcapng;

use std::io::Read;
use std::ops::Range;

pub(crate) use self::error::CaptureError;
pub(crate) use self::error::CaptureProblem;
use self::input::Input;
pub(crate) use self::link::LinkType;
use self::pcap::Pcap;
use self::pcapng::Pcapng;

/// The longest packet that is read, in bytes. libpcap writes at most 262,144
/// for the link types read here; a length above this is a damaged file.
const MAX_PACKET: usize = 1 << 20;

/// One captured packet.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Packet<'a> {
    /// When it was captured: nanoseconds since 1970-01-01T00:00:00Z.
    pub(crate) time_ns: i64,
    /// What its first header is.
    pub(crate) link: LinkType,
    /// What was kept of it.
    pub(crate) data: &'a [u8],
    /// Its length on the wire in bytes, at least that of `data`.
    pub(crate) wire_len: u32,
}

/// Where in the record read last a packet is.
struct Found {
    time_ns: i64,
    link: LinkType,
    data: Range<usize>,
    wire_len: u32,
}

/// A capture that is being read.
#[derive(Debug)]
pub(crate) struct Capture<R> {
    input: Input<R>,
    format: Format,
    packets: u64,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl<R: Read> Capture<R> {
    /// Reads the file's header, which tells the format.
    ///
    /// # Errors
    /// It is no capture, it ends within its header, or it can't be read.
    pub(crate) fn open(reader: R) -> Result<Self, CaptureError> {
        let mut input = Input::new(reader);
        match Self::header(&mut input) {
            Ok(format) => Ok(Self {
                input,
                format,
                packets: 0,
            }),
            Err(problem) => Err(problem.at(0, 0)),
        }
    }

    fn header(input: &mut Input<R>) -> Result<Format, CaptureProblem> {
        let magic = input.magic()?;
        if magic == pcapng::SECTION_HEADER.to_be_bytes() {
            return Pcapng::open(input).map(Format::Pcapng);
        }
        match Pcap::open(magic, input)? {
            Some(pcap) => Ok(Format::Pcap(pcap)),
            None => Err(CaptureProblem::foreign(magic)),
        }
    }

    /// The next packet, or `None` at the end of the file.
    ///
    /// # Errors
    /// The file is cut or damaged, or it can't be read. Nothing after that
    /// place can be read either.
    pub(crate) fn next_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        let found = match &mut self.format {
            Format::Pcap(pcap) => pcap.next_packet(&mut self.input),
            Format::Pcapng(pcapng) => pcapng.next_packet(&mut self.input),
        };
        let found = found.map_err(|problem| problem.at(self.input.begin(), self.packets))?;
        let Some(found) = found else {
            return Ok(None);
        };
        self.packets += 1;
        let data = &self.input.record()[found.data];
        Ok(Some(Packet {
            time_ns: found.time_ns,
            link: found.link,
            data,
            wire_len: found.wire_len.max(data.len() as u32),
        }))
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> u64 {
        self.input.position()
    }
}

#[cfg(test)]
mod tests;
