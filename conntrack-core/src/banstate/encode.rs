//! Writing the state.

use std::io;
use std::io::Write;

use serde::Serialize;

use super::BanState;
use super::VERSION;
use super::record::BanRecord;
use super::record::EndRecord;
use super::record::EntryRecord;
use super::record::Header;
use super::record::ListRecord;
use super::record::Record;
use crate::lines::LINE_MAX;
use crate::time::Timestamp;

/// Writes a state to a buffered output.
///
/// # Errors
/// The output failed, or a name or a reason is so long that a line of it would not
/// be read again.
pub fn encode(state: &BanState, saved: Timestamp, out: &mut impl Write) -> io::Result<()> {
    let mut lines = Writer {
        out,
        line: Vec::new(),
        number: 0,
        all: crc32fast::Hasher::new(),
    };
    lines.write(&Header {
        conntrack_bans: VERSION,
        saved: Some(saved),
    })?;
    // What saves the operator comes first: a file that is cut loses it last.
    for allow in &state.allow {
        lines.write(&Record::Allow(allow.into()))?;
    }
    for ban in &state.bans {
        lines.write(&Record::Ban(BanRecord::from(ban)))?;
    }
    for list in &state.lists {
        lines.write(&Record::List(ListRecord::from(list)))?;
        for entry in &list.entries {
            lines.write(&Record::In(EntryRecord::new(&list.name, entry)))?;
        }
    }
    for ban in &state.fingerprints {
        lines.write(&Record::Fingerprint(ban.into()))?;
    }
    let end = EndRecord {
        records: lines.number - 1,
        crc: lines.all.clone().finalize(),
    };
    lines.write(&Record::End(end))
}

struct Writer<'a, W> {
    out: &'a mut W,
    line: Vec<u8>,
    number: u64,
    all: crc32fast::Hasher,
}

impl<W: Write> Writer<'_, W> {
    /// `CRC NUMBER JSON`: the CRC-32 of what follows it up to the end of the line.
    fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        write!(self.line, "{} ", self.number)?;
        serde_json::to_writer(&mut self.line, record)?;
        if self.line.len() + 10 > LINE_MAX {
            let why = "a name or a reason in the state of bans is too long";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let crc = format!("{:08x} ", crc32fast::hash(&self.line));
        self.line.push(b'\n');
        for part in [crc.as_bytes(), &self.line] {
            self.all.update(part);
            self.out.write_all(part)?;
        }
        self.number += 1;
        Ok(())
    }
}
