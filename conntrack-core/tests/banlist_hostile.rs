//! Lists made to break a reader. Each is read to its end in bounded memory, and
//! every item is an entry, bad, or not asked for.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::io;
use std::io::Read;

use conntrack_core::banlist::BadItem;
use conntrack_core::banlist::Format;
use conntrack_core::banlist::Found;
use conntrack_core::banlist::ReadError;
use conntrack_core::banlist::ReadOptions;
use conntrack_core::banlist::Summary;
use conntrack_core::banlist::read;
use proptest::prelude::*;

fn run(
    input: impl Read,
    format: Option<Format>,
) -> Result<(u64, Vec<BadItem>, Summary), ReadError> {
    let mut options = ReadOptions::default();
    options.format = format;
    let (mut entries, mut bad) = (0, Vec::new());
    let summary = read(input, &options, &mut |found| match found {
        Found::Entry(entry) => {
            assert!(entry.net.prefix_len() <= entry.net.max_prefix_len());
            assert!(entry.reason.len() <= 127 && !entry.reason.contains('\n'));
            entries += 1;
        }
        Found::Bad(item) => {
            assert!(!item.why.is_empty() && item.text.chars().count() <= 65);
            bad.push(item);
        }
    })?;
    assert_eq!((summary.entries, summary.bad), (entries, bad.len() as u64));
    Ok((entries, bad, summary))
}

fn plain(list: &[u8]) -> (u64, Vec<BadItem>, Summary) {
    run(list, None).unwrap()
}

#[test]
fn zeros_and_bytes_that_are_no_text() {
    let list = b"192.0.2.1\n\0\0\0\n192.0.2.2\0\n\xff\xfe\xfd\n192.0.2.3 # caf\xe9\n192.0.2.4\n";
    let (entries, bad, summary) = plain(list);
    assert_eq!((entries, summary.lines), (3, 6));
    let at: Vec<String> = bad.iter().map(ToString::to_string).collect();
    let none = "it is neither an address nor a network nor a range";
    assert_eq!(
        at,
        [
            format!("line 2: \"\\0\\0\\0\": {none}"),
            format!("line 3: \"192.0.2.2\\0\": {none}"),
            "line 4: \"\u{fffd}\u{fffd}\u{fffd}\": it is not UTF-8".to_owned(),
        ]
    );
}

#[test]
fn lines_of_ten_megabytes() {
    let long = vec![b'1'; 10 << 20];
    let mut list = b"192.0.2.1\n".to_vec();
    list.extend_from_slice(&long);
    list.extend_from_slice(b"\n192.0.2.2 # ");
    list.extend_from_slice(&long);
    list.extend_from_slice(b"\n192.0.2.3\n");
    let (entries, bad, summary) = plain(&list);
    assert_eq!((entries, bad.len(), summary.lines), (3, 1, 4));
    assert_eq!(bad[0].why, "the line is longer than 65536 bytes");
    for format in [Format::Csv, Format::Ipset, Format::Nft] {
        let head: &[u8] = match format {
            Format::Csv => b"ip,x\n",
            Format::Ipset => b"create s hash:ip\n",
            _ => b"table inet f { set s { type ipv4_addr; elements = { ",
        };
        let list = [head, &long, b"\n"].concat();
        let (entries, bad, _) = run(list.as_slice(), None).unwrap();
        assert_eq!((entries, bad.len()), (0, 1), "{format}");
    }
}

#[test]
fn input_without_end_and_lines() {
    // Of such a text no more than a piece is kept.
    let endless = || io::repeat(b'7').take(20 << 20);
    let (entries, bad, summary) = run(endless(), None).unwrap();
    assert_eq!((entries, bad.len(), summary.lines), (0, 1, 1));
    let (_, bad, _) = run(b"elements = { ".chain(endless()), None).unwrap();
    assert_eq!(bad.len(), 1);
    let error = run(b"[\"".chain(endless()), None).unwrap_err();
    let why = "reading failed after 0 lines: a text of more than a megabyte in one piece";
    assert_eq!(error.to_string(), why);
}

#[test]
fn braces_without_end() {
    let list = [&b"table inet f "[..], &vec![b'{'; 1 << 20]].concat();
    let (_, _, summary) = run(list.as_slice(), None).unwrap();
    assert_eq!(
        summary.cut_off.unwrap(),
        "line 1: braces are nested too deeply"
    );
    for open in ["[", "{\"data\":", "{\"nftables\":[{\"add\":"] {
        let list = open.repeat(100_000);
        let (_, _, summary) = run(list.as_bytes(), Some(Format::Json)).unwrap();
        assert!(summary.cut_off.is_some(), "{open}");
    }
}

#[test]
fn prefixes_and_ranges_that_are_too_large() {
    let list = "1.2.3.4/999999999999999999999\n0.0.0.0-255.255.255.255\n::/0\n::1-::2\n\
        0.0.0.0-255.255.255.254\n::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe\n::ffff:0:0/96\n";
    let (entries, bad, summary) = plain(list.as_bytes());
    assert_eq!((summary.items, bad.len()), (7, 4));
    // A range is at most so many networks.
    assert_eq!(entries, 2 + 32 + 128);
}

#[test]
fn quotes_swallow_no_rows() {
    let list = "ip,why\n192.0.2.1,\"a\n192.0.2.2,b\n192.0.2.3,\"c\n192.0.2.4,d\n";
    let (entries, bad, _) = plain(list.as_bytes());
    assert_eq!((entries, bad.len()), (2, 2));
    let many = ["ip", &",".repeat(600), "\n192.0.2.1\n"].concat();
    let (entries, bad, _) = plain(many.as_bytes());
    assert_eq!((entries, bad.len()), (1, 1));
}

/// An input that fails after some bytes.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("the disk is gone")),
            read => Ok(read),
        }
    }
}

#[test]
fn failing_input_is_no_end() {
    let mut list = "192.0.2.1\n".repeat(20_000);
    let error = run(Failing(list.as_bytes()), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "reading failed after 20000 lines: the disk is gone"
    );
    list.truncate(100);
    let error = run(Failing(list.as_bytes()), None).unwrap_err();
    assert!(matches!(error, ReadError::Io(0, _)));
    let json = format!("[{}", "\"192.0.2.1\", ".repeat(20_000));
    let error = run(Failing(json.as_bytes()), None).unwrap_err();
    assert!(error.to_string().ends_with("the disk is gone"), "{error}");
}

/// Pieces of all languages, in any order.
fn any_list() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "192.0.2.1",
        "2001:db8::/32",
        "10.0.0.0/8",
        "1.2.3.4-1.2.3.9",
        "\n",
        "\n",
        " ",
        ",",
        ";",
        "\t",
        "#",
        "\"",
        "{",
        "}",
        "[",
        "]",
        ":",
        "=",
        "\\",
        "-",
        "/",
        ".",
        "create s hash:net",
        "add s ",
        "timeout 5",
        "comment ",
        "table inet f {",
        "set s {",
        "elements = {",
        "type ipv4_addr",
        "{\"nftables\": [",
        "{\"set\": {\"name\": \"s\", \"elem\": [",
        "{\"elem\": {\"val\": ",
        "\"ip\"",
        "ip,reason\n",
        "nomatch",
        "-exist",
        "\r\n",
        "null",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(pieces.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nothing_is_lost(list in any_list(), format in prop::sample::select(Format::ALL.to_vec())) {
        for format in [None, Some(format)] {
            let Ok((_, _, summary)) = run(list.as_slice(), format) else {
                continue;
            };
            prop_assert!(summary.entries + summary.unselected + summary.bad >= summary.items);
            let mark = list.starts_with(b"\xef\xbb\xbf");
            let text = &list[if mark { 3 } else { 0 }..];
            let newlines = text.iter().filter(|byte| **byte == b'\n').count();
            let open = text.last().is_some_and(|byte| *byte != b'\n');
            let lines = (newlines + usize::from(open)) as u64;
            match summary.format {
                Format::NftJson | Format::Json => {}
                Format::Nft => prop_assert_eq!(summary.lines, lines),
                _ => {
                    prop_assert_eq!(summary.lines, lines);
                    prop_assert_eq!(summary.items + summary.ignored, lines);
                }
            }
        }
    }

    #[test]
    fn lines_are_independent(good in prop::collection::vec(0u8..255, 1..20), junk in "[^\n]{0,30}") {
        // A line of junk between good ones costs none of them, in a plain list.
        let mut list = String::new();
        for low in &good {
            list.push_str(&format!("192.0.2.{low}\n{junk}\n"));
        }
        let (entries, bad, summary) = run(list.as_bytes(), Some(Format::Plain)).unwrap();
        prop_assert!(entries >= good.len() as u64);
        prop_assert!(bad.len() <= good.len());
        prop_assert_eq!(summary.lines, 2 * good.len() as u64);
    }
}
