//! What a list looks like, by how it begins.

use super::Format;
use super::ReadError;
use super::record;
use super::record::Field;
use crate::cidr::Block;
use crate::cidr::HostBits;

/// So many bytes are looked at.
pub(crate) const HEAD: usize = 64 << 10;

/// How files begin that hold a list at best after another program has read them.
const OTHERS: [(&[u8], &str); 8] = [
    (b"\x1f\x8b", "a file compressed by gzip"),
    (b"\x28\xb5\x2f\xfd", "a file compressed by zstd"),
    (b"\xfd7zXZ\0", "a file compressed by xz"),
    (b"BZh", "a file compressed by bzip2"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x7fELF", "a program"),
    (b"\xff\xfe", "a text in UTF-16"),
    (b"\xfe\xff", "a text in UTF-16"),
];

/// How long the mark of UTF-8 is at the beginning: 0 or 3 bytes.
///
/// # Errors
/// It begins as something that is no list.
pub(crate) fn mark(head: &[u8]) -> Result<usize, ReadError> {
    let mut others = OTHERS.iter();
    if let Some((_, what)) = others.find(|(start, _)| head.starts_with(start)) {
        return Err(ReadError::NoList(what));
    }
    match head.trim_ascii_start().first() {
        Some(b'<') => Err(ReadError::NoList("a page of a web site, or XML")),
        _ if head.starts_with(b"\xef\xbb\xbf") => Ok(3),
        _ => Ok(0),
    }
}

/// The shape of a list.
pub(crate) fn format(head: &[u8]) -> Format {
    let lines = || head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    if lines()
        .next()
        .is_some_and(|line| line.starts_with(b"#!") && line.ends_with(b"nft -f"))
    {
        return Format::Nft;
    }
    let comment = |line: &&[u8]| line.is_empty() || matches!(line[0], b'#' | b';');
    let Some(first) = lines().find(|line| !comment(line)) else {
        return match lines().any(is_netset) {
            true => Format::Netset,
            false => Format::Plain,
        };
    };
    match first[0] {
        b'{' | b'[' => return json(first, head),
        _ if is_ipset(first) => return Format::Ipset,
        _ if is_nft(first) => return Format::Nft,
        _ => {}
    }
    if delimiter(first).is_some() || is_column(first) {
        Format::Csv
    } else if lines().take_while(comment).any(is_netset) {
        Format::Netset
    } else {
        Format::Plain
    }
}

/// The line of FireHOL's header that says what the list is.
fn is_netset(line: &[u8]) -> bool {
    line.starts_with(b"#") && line.ends_with(b" ipset") && line.windows(6).any(|it| it == b" hash:")
}

fn json(first: &[u8], head: &[u8]) -> Format {
    let next = first[1..].trim_ascii_start().first();
    // `[2001:db8::1]` is no JSON.
    if first[0] == b'[' && !matches!(next, None | Some(b'"' | b'{' | b'[' | b']')) {
        return Format::Plain;
    }
    match head.windows(10).any(|it| it == b"\"nftables\"") {
        true => Format::NftJson,
        false => Format::Json,
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = line.split(u8::is_ascii_whitespace);
    words.filter(|word| !word.is_empty())
}

fn is_ipset(line: &[u8]) -> bool {
    let mut words = words(line);
    match words.next() {
        Some(b"create" | b"add" | b"flush" | b"destroy") => {
            // nft has these commands, too, for things that ipset has not.
            let of_nft = [
                &b"table"[..],
                b"set",
                b"map",
                b"element",
                b"chain",
                b"rule",
                b"ruleset",
            ];
            words.next().is_some_and(|word| !of_nft.contains(&word))
        }
        Some(b"-N" | b"-A" | b"--create" | b"--add" | b"-exist" | b"-!") => true,
        _ => false,
    }
}

fn is_nft(line: &[u8]) -> bool {
    let mut words = words(line);
    let what = match words.next() {
        Some(b"add" | b"create" | b"flush" | b"delete" | b"destroy") => words.next(),
        Some(b"define" | b"elements" | b"elements={" | b"include") => return true,
        first => first,
    };
    let things = [
        &b"table"[..],
        b"set",
        b"map",
        b"element",
        b"chain",
        b"rule",
        b"ruleset",
    ];
    // A header of a table may have such a name: `set,reason`, or `set` alone.
    what.is_some_and(|word| things.contains(&word)) && words.next().is_some()
}

/// Whether it is the header of a table with one column.
fn is_column(line: &[u8]) -> bool {
    let name = std::str::from_utf8(line).ok();
    let field = name.and_then(|name| record::field(name.trim_matches('"')));
    matches!(field, Some((_, Field::Addr)))
}

/// What is between the columns of a line; `None` if it has only one.
pub(crate) fn delimiter(line: &[u8]) -> Option<u8> {
    let has = |byte: u8| line.contains(&byte);
    let text = line.split(|byte| *byte == b'#').next().unwrap_or(line);
    let is_block = std::str::from_utf8(text).is_ok_and(|text| {
        let text = text.split(';').next().unwrap_or(text);
        Block::parse(text, HostBits::Mask).is_ok()
    });
    if is_block && !text.trim_ascii().contains(&b'\t') {
        // An address and a comment that has commas; or after a semicolon, columns.
        let tight = text
            .windows(2)
            .any(|two| two[1] == b';' && !two[0].is_ascii_whitespace());
        return (tight && text.len() == line.len()).then_some(b';');
    }
    match (has(b'\t'), has(b','), has(b';')) {
        (true, false, _) => Some(b'\t'),
        (_, true, false) => Some(b','),
        (_, true, true) => {
            let count = |wanted: u8| line.iter().filter(|byte| **byte == wanted).count();
            Some(if count(b';') > count(b',') {
                b';'
            } else {
                b','
            })
        }
        (false, false, true) => Some(b';'),
        (false, false, false) => None,
    }
}
