//! Tables: columns between commas, semicolons or tabs.
//!
//! A row is one line. A quoted field that goes on in the next line is reported, so
//! that a stray quote swallows no rows.

use std::borrow::Cow;
use std::io::BufRead;

use csv_core::ReadRecordResult;
use csv_core::Reader;
use csv_core::ReaderBuilder;
use csv_core::Terminator;

use super::Column;
use super::ReadError;
use super::detect;
use super::entry::Place;
use super::plain::NO_TEXT;
use super::plain::TOO_LONG;
use super::record;
use super::record::Field;
use super::record::Record;
use super::sink::Sink;
use crate::cidr::Block;
use crate::cidr::HostBits;
use crate::lines::Line;
use crate::lines::Lines;

/// The most columns of a row.
const COLUMNS: usize = 512;

pub(crate) fn read(input: impl BufRead, sink: &mut Sink<'_>) -> Result<(), ReadError> {
    let mut lines = Lines::new(input);
    let mut table: Option<Table> = None;
    loop {
        let read = lines.count();
        let line = lines.next().map_err(|error| ReadError::Io(read, error))?;
        let Some(line) = line else { break };
        sink.summary.lines = line.number;
        if matches!(line.bytes.trim_ascii(), [] | [b'#', ..]) {
            sink.summary.ignored += 1;
            continue;
        }
        if line.cut {
            sink.bad(Place::Line(line.number), line.bytes, TOO_LONG);
            continue;
        }
        let table = table.get_or_insert_with(|| Table::new(line.bytes));
        table.line(&line, sink)?;
    }
    match table {
        Some(table) => table.end(),
        None => Ok(()),
    }
}

struct Table {
    reader: Reader,
    /// The fields of the row, one after the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    names: Vec<String>,
    layout: Layout,
}

/// Which columns hold what.
enum Layout {
    /// Nothing was seen yet.
    Unknown,
    /// Names that do not tell where addresses are were seen; a row may.
    Named,
    Known(Vec<(usize, Field)>),
}

impl Table {
    fn new(first: &[u8]) -> Self {
        let semicolon = first.contains(&b';').then_some(b';');
        let delimiter = detect::delimiter(first).or(semicolon).unwrap_or(b',');
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .terminator(Terminator::Any(b'\n'))
            .build();
        Self {
            reader,
            text: vec![0; crate::lines::LINE_MAX + 1],
            ends: vec![0; COLUMNS],
            names: Vec::new(),
            layout: Layout::Unknown,
        }
    }

    /// Splits a row; how many fields it has.
    fn split(&mut self, line: &[u8]) -> Result<usize, &'static str> {
        self.reader.reset();
        let Self {
            reader, text, ends, ..
        } = self;
        let (result, _, written, fields) = reader.read_record(line, text, ends);
        if result != ReadRecordResult::InputEmpty {
            return Err("it has more than 512 columns");
        }
        // Where fields end is counted from the beginning of the row.
        let rest = &mut text[written..];
        let (result, _, _, last) = reader.read_record(b"\n", rest, &mut ends[fields..]);
        match result {
            ReadRecordResult::Record => Ok(fields + last),
            ReadRecordResult::InputEmpty => Err("a quote is not closed"),
            _ => Err("it has more than 512 columns"),
        }
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.text.get(start..self.ends[index]).unwrap_or_default()
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink<'_>) -> Result<(), ReadError> {
        let place = Place::Line(line.number);
        let bytes = line.bytes.strip_suffix(b"\r").unwrap_or(line.bytes);
        let fields = match self.split(bytes) {
            Ok(fields) => fields,
            Err(why) => {
                sink.bad(place, line.bytes, why);
                return Ok(());
            }
        };
        if let Layout::Unknown = self.layout
            && self.header(fields, sink.options.column.as_ref())?
        {
            sink.summary.ignored += 1;
            return Ok(());
        }
        if let Layout::Unknown | Layout::Named = self.layout {
            match self.first_block(fields) {
                Some(column) => self.layout = self.known(column),
                None => {
                    sink.bad(place, line.bytes, "no column holds an address");
                    return Ok(());
                }
            }
        }
        self.row(fields, line, sink);
        Ok(())
    }

    fn row(&self, fields: usize, line: &Line<'_>, sink: &mut Sink<'_>) {
        let place = Place::Line(line.number);
        let Layout::Known(columns) = &self.layout else {
            return;
        };
        let mut record = Record::default();
        for (column, field) in columns.iter().filter(|(column, _)| *column < fields) {
            let value = match (std::str::from_utf8(self.field(*column)), field) {
                (Ok(value), _) => Cow::Borrowed(value),
                (Err(_), Field::Reason) => String::from_utf8_lossy(self.field(*column)),
                (Err(_), _) => return sink.bad(place, line.bytes, NO_TEXT),
            };
            record.set(*field, value);
        }
        let made = record.draft(sink.options.host_bits);
        sink.item(place, made, || line.bytes.into());
    }

    /// Whether the first row is a header; finds the columns if it tells them.
    fn header(&mut self, fields: usize, wanted: Option<&Column>) -> Result<bool, ReadError> {
        let is_header = self.first_block(fields).is_none();
        let names =
            (0..fields).map(|index| String::from_utf8_lossy(self.field(index)).into_owned());
        self.names = names.collect();
        let column = match wanted {
            None if is_header => {
                self.layout = self.by_names();
                return Ok(true);
            }
            None => return Ok(false),
            Some(Column::Number(number)) => Some(number - 1).filter(|index| *index < fields),
            Some(Column::Name(name)) => {
                let is_it = |known: &String| known.trim().eq_ignore_ascii_case(name.trim());
                self.names.iter().position(is_it)
            }
        };
        match (column, wanted) {
            (Some(column), _) => {
                self.layout = Layout::Known(vec![(column, Field::Addr)]);
                // A chosen column may say itself that its first row is a name.
                Ok(is_header || matches!(wanted, Some(Column::Name(_))))
            }
            (None, Some(wanted)) => Err(ReadError::NoColumn(wanted.clone(), self.names.clone())),
            (None, None) => Ok(is_header),
        }
    }

    /// The layout by the names of columns.
    fn by_names(&self) -> Layout {
        let mut known: Vec<(usize, usize, Field)> = Vec::new();
        for (column, name) in self.names.iter().enumerate() {
            let Some((rank, field)) = record::field(name) else {
                continue;
            };
            match known.iter_mut().find(|(_, _, other)| *other == field) {
                Some(other) if other.0 > rank => *other = (rank, column, field),
                Some(_) => {}
                None => known.push((rank, column, field)),
            }
        }
        let has = |wanted: Field| known.iter().any(|(_, _, field)| *field == wanted);
        let addresses = has(Field::Addr) || has(Field::First) && has(Field::Last);
        match addresses || has(Field::Prefix) {
            true => Layout::Known(
                known
                    .into_iter()
                    .map(|(_, column, it)| (column, it))
                    .collect(),
            ),
            false => Layout::Named,
        }
    }

    /// The layout if this column holds addresses; others by their names.
    fn known(&self, addresses: usize) -> Layout {
        let mut columns = vec![(addresses, Field::Addr)];
        if let Layout::Named = self.layout {
            let others = self.names.iter().enumerate();
            columns.extend(others.filter_map(|(column, name)| {
                let (_, field) = record::field(name)?;
                let more = !matches!(field, Field::First | Field::Last);
                (more && column != addresses).then_some((column, field))
            }));
        }
        Layout::Known(columns)
    }

    /// The first column that holds an address, a network or a range.
    fn first_block(&self, fields: usize) -> Option<usize> {
        (0..fields).find(|index| {
            let text = std::str::from_utf8(self.field(*index));
            text.is_ok_and(|text| Block::parse(text, HostBits::Mask).is_ok())
        })
    }

    /// Names were seen and never an address.
    fn end(self) -> Result<(), ReadError> {
        match self.layout {
            Layout::Named => Err(ReadError::NoAddresses(self.names)),
            Layout::Unknown | Layout::Known(_) => Ok(()),
        }
    }
}
