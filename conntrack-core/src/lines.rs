//! Lines of any input, of which a hostile one has no end and no text.

use std::io;
use std::io::BufRead;

/// The most bytes kept of a line.
pub(crate) const LINE_MAX: usize = 64 << 10;

/// One line.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: u64,
    /// Where it begins, in bytes from 0.
    pub(crate) offset: u64,
    /// Without its end; at most [`LINE_MAX`] bytes of it.
    pub(crate) bytes: &'a [u8],
    /// It was longer.
    pub(crate) cut: bool,
    /// It ends with a newline, not with the input.
    pub(crate) ended: bool,
}

/// Reads lines one at a time, however long they are, in bounded memory.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    offset: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            number: 0,
            offset: 0,
        }
    }

    /// How many lines were read.
    pub(crate) fn count(&self) -> u64 {
        self.number
    }

    /// How many bytes were read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let offset = self.offset;
        let (mut cut, mut ended) = (false, false);
        while !ended {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                break;
            }
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            let text = &chunk[..newline.unwrap_or(chunk.len())];
            let kept = text.len().min(LINE_MAX - self.line.len());
            self.line.extend_from_slice(&text[..kept]);
            cut |= kept < text.len();
            ended = newline.is_some();
            let used = text.len() + usize::from(ended);
            self.offset += used as u64;
            self.input.consume(used);
        }
        if self.offset == offset {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(Line {
            number: self.number,
            offset,
            bytes: &self.line,
            cut,
            ended,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_kinds() {
        let long = vec![b'x'; LINE_MAX + 1];
        let mut text = b"a\n\n".to_vec();
        text.extend_from_slice(&long);
        text.extend_from_slice(b"\n\xff\0");
        let small = io::BufReader::with_capacity(7, text.as_slice());
        let mut lines = Lines::new(small);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((
                line.number,
                line.offset,
                line.bytes.to_vec(),
                line.cut,
                line.ended,
            ));
        }
        let kept = long[..LINE_MAX].to_vec();
        let rest = 3 + long.len() as u64 + 1;
        assert_eq!(all[0], (1, 0, b"a".to_vec(), false, true));
        assert_eq!(all[1], (2, 2, vec![], false, true));
        assert_eq!(all[2], (3, 3, kept, true, true));
        assert_eq!(all[3], (4, rest, b"\xff\0".to_vec(), false, false));
        assert_eq!((all.len(), lines.count()), (4, 4));
        assert_eq!(lines.offset(), text.len() as u64);
    }
}
