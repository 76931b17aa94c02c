//! Bytes of a capture, counted.

use std::io;
use std::io::ErrorKind;
use std::io::Read;

use super::CaptureProblem;

/// Read at a time from the file, in bytes.
const CHUNK: usize = 1 << 18;

/// A byte source that knows where it is and tells a clean end from a cut.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: io::BufReader<R>,
    position: u64,
    begin: u64,
    record: Vec<u8>,
}

impl<R: Read> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader: io::BufReader::with_capacity(CHUNK, reader),
            position: 0,
            begin: 0,
            record: Vec::new(),
        }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Where the record being read begins.
    pub(super) fn begin(&self) -> u64 {
        self.begin
    }

    /// Fills `buffer` as far as there are bytes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, CaptureProblem> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(CaptureProblem::Read(error)),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }

    /// The first bytes of the file.
    pub(super) fn magic(&mut self) -> Result<[u8; 4], CaptureProblem> {
        let mut magic = [0; 4];
        match self.fill(&mut magic)? {
            0 => Err(CaptureProblem::Empty),
            4 => Ok(magic),
            _ => Err(CaptureProblem::foreign(magic)),
        }
    }

    /// The first `N` bytes of a record, or `None` if the file ends before it.
    pub(super) fn header<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<Option<[u8; N]>, CaptureProblem> {
        self.begin = self.position;
        self.some(what)
    }

    /// The next `N` bytes, or `None` if the file ends before the first.
    fn some<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<Option<[u8; N]>, CaptureProblem> {
        let mut bytes = [0; N];
        match self.fill(&mut bytes)? {
            0 => Ok(None),
            have if have == N => Ok(Some(bytes)),
            have => Err(CaptureProblem::Cut {
                what,
                want: N as u64,
                have: have as u64,
            }),
        }
    }

    /// The next `N` bytes, which must be there.
    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], CaptureProblem> {
        self.some(what)?.ok_or(CaptureProblem::Cut {
            what,
            want: N as u64,
            have: 0,
        })
    }

    /// The next `length` bytes, which must be there. Whoever calls it has
    /// checked that the length is sane.
    pub(super) fn bytes(
        &mut self,
        what: &'static str,
        length: usize,
    ) -> Result<&[u8], CaptureProblem> {
        let mut record = std::mem::take(&mut self.record);
        record.resize(length, 0);
        let have = self.fill(&mut record);
        self.record = record;
        let have = have?;
        if have < length {
            return Err(CaptureProblem::Cut {
                what,
                want: length as u64,
                have: have as u64,
            });
        }
        Ok(&self.record)
    }

    /// What [`Input::bytes`] read last.
    pub(super) fn record(&self) -> &[u8] {
        &self.record
    }

    /// Passes over `length` bytes, which must be there.
    pub(super) fn skip(&mut self, what: &'static str, length: u64) -> Result<(), CaptureProblem> {
        let skipped = io::copy(&mut self.reader.by_ref().take(length), &mut io::sink())
            .map_err(CaptureProblem::Read)?;
        self.position += skipped;
        if skipped < length {
            return Err(CaptureProblem::Cut {
                what,
                want: length,
                have: skipped,
            });
        }
        Ok(())
    }
}
