//! One address, network or range a line.

use std::io::BufRead;
use std::iter;

use super::Format;
use super::ReadError;
use super::entry::Place;
use super::sink::Draft;
use super::sink::Sink;
use crate::ban::BanScope;
use crate::cidr::Block;
use crate::lines::Line;
use crate::lines::Lines;
use crate::parse::decimal;

/// What is said of a line of which not everything was kept.
pub(crate) const TOO_LONG: &str = "the line is longer than 65536 bytes";

/// Why the text of an item cannot be read.
pub(crate) const NO_TEXT: &str = "it is not UTF-8";

pub(crate) fn read(input: impl BufRead, sink: &mut Sink<'_>) -> Result<(), ReadError> {
    let mut lines = Lines::new(input);
    loop {
        let read = lines.count();
        let line = lines.next().map_err(|error| ReadError::Io(read, error))?;
        let Some(line) = line else { break };
        sink.summary.lines = line.number;
        one(&line, sink);
    }
    Ok(())
}

fn one(line: &Line<'_>, sink: &mut Sink<'_>) {
    let text = line.bytes.trim_ascii();
    let comment = text.iter().position(|byte| matches!(byte, b'#' | b';'));
    let (text, comment) = text.split_at(comment.unwrap_or(text.len()));
    let text = text.trim_ascii_end();
    if text.is_empty() && !(line.cut && comment.is_empty()) {
        sink.summary.ignored += 1;
        if sink.summary.format == Format::Netset && sink.summary.declared.is_none() {
            sink.summary.declared = declared(comment);
        }
        return;
    }
    let place = Place::Line(line.number);
    if line.cut && comment.is_empty() {
        return sink.bad(place, line.bytes, TOO_LONG);
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return sink.bad(place, line.bytes, NO_TEXT);
    };
    let made = match Block::parse(text, sink.options.host_bits) {
        Ok(block) => {
            let reason = comment.trim_ascii_start();
            let start = reason.iter().position(|byte| !matches!(byte, b'#' | b';'));
            let reason = &reason[start.unwrap_or(reason.len())..];
            let draft = Draft {
                reason: String::from_utf8_lossy(reason),
                ..Draft::new(block)
            };
            Ok((draft, iter::once(BanScope::Any)))
        }
        Err(_) if second_word(text) => Err("something follows the address".into()),
        Err(error) => Err(error.problem().to_string().into()),
    };
    sink.item(place, made, || line.bytes.into());
}

/// Whether the first word alone would be an address or a network.
fn second_word(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    words.next().is_some() && Block::parse(first, crate::cidr::HostBits::Mask).is_ok()
}

/// `# Entries         : 4436 subnets, 611678452 unique IPs`.
fn declared(comment: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(comment).ok()?;
    let value = text
        .trim_start_matches('#')
        .trim_start()
        .strip_prefix("Entries")?;
    let value = value.trim_start().strip_prefix(':')?;
    decimal(value.split_ascii_whitespace().next()?)
}
