use std::io::Read;

use super::*;

/// A capture that is written here: header, then packets.
fn pcap(magic: u32, big_endian: bool, link: u32, packets: &[(u32, u32, &[u8], u32)]) -> Vec<u8> {
    let word = |value: u32| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let mut file = word(magic).to_vec();
    for value in [0x0004_0002, 0, 0, 262_144, link] {
        file.extend(word(value));
    }
    for (seconds, units, data, wire_len) in packets {
        for value in [*seconds, *units, data.len() as u32, *wire_len] {
            file.extend(word(value));
        }
        file.extend(*data);
    }
    file
}

/// A pcapng block in either byte order.
fn block(big_endian: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let word = |value: u32| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let padded = body.len().next_multiple_of(4);
    let length = word(padded as u32 + 12);
    let mut block = word(kind).to_vec();
    block.extend(length);
    block.extend(body);
    block.resize(8 + padded, 0);
    block.extend(length);
    block
}

/// Fields of 2, 4 or 8 bytes in a byte order.
fn fields(big_endian: bool, values: &[(usize, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (size, value) in values {
        if big_endian {
            bytes.extend(&value.to_be_bytes()[8 - size..]);
        } else {
            bytes.extend(&value.to_le_bytes()[..*size]);
        }
    }
    bytes
}

fn section(big: bool) -> Vec<u8> {
    let body = fields(big, &[(4, 0x1a2b_3c4d), (2, 1), (2, 0), (8, u64::MAX)]);
    block(big, 0x0a0d_0d0a, &body)
}

/// An Ethernet interface with a time resolution and offset.
fn interface(big: bool, link: u64, resolution: u64, offset: i64) -> Vec<u8> {
    let mut body = fields(big, &[(2, link), (2, 0), (4, 0)]);
    body.extend(fields(big, &[(2, 2), (2, 3), (4, 0x6261)])); // if_name, padded
    body.extend(fields(big, &[(2, 9), (2, 1)]));
    body.extend([resolution as u8, 0, 0, 0]);
    body.extend(fields(big, &[(2, 14), (2, 8), (8, offset as u64)]));
    body.extend([0; 4]);
    block(big, 1, &body)
}

fn enhanced(big: bool, index: u64, ticks: u64, data: &[u8], wire_len: u64) -> Vec<u8> {
    let mut body = fields(
        big,
        &[
            (4, index),
            (4, ticks >> 32),
            (4, ticks & 0xffff_ffff),
            (4, data.len() as u64),
            (4, wire_len),
        ],
    );
    body.extend(data);
    block(big, 6, &body)
}

/// Gives one byte at a time, as a slow pipe does.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.len().min(buffer.len()).min(1);
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

type Owned = (i64, u32, Vec<u8>, u32);

/// All packets, and how it ended.
fn read_all(file: &[u8]) -> (Vec<Owned>, Option<CaptureError>) {
    let mut packets = Vec::new();
    let mut capture = match Capture::open(Drip(file)) {
        Ok(capture) => capture,
        Err(error) => return (packets, Some(error)),
    };
    loop {
        match capture.next_packet() {
            Ok(Some(p)) => packets.push((p.time_ns, p.link.0, p.data.to_vec(), p.wire_len)),
            Ok(None) => {
                assert_eq!(capture.position(), file.len() as u64);
                return (packets, None);
            }
            Err(error) => return (packets, Some(error)),
        }
    }
}

fn read_whole(file: &[u8]) -> Vec<Owned> {
    let (packets, error) = read_all(file);
    assert!(error.is_none(), "{}", error.unwrap());
    packets
}

#[test]
fn pcap_in_both_byte_orders_and_units() {
    for big_endian in [false, true] {
        for (magic, nanos) in [(0xa1b2_c3d4, 5_000), (0xa1b2_3c4d, 5)] {
            let packets: [(u32, u32, &[u8], u32); 2] =
                [(7, 5, b"abc", 100), (4_294_967_295, 0, b"", 0)];
            let file = pcap(magic, big_endian, 0xf000_0001, &packets);
            let want = [
                (7_000_000_000 + nanos, 1, b"abc".to_vec(), 100),
                (4_294_967_295_000_000_000, 1, Vec::new(), 0),
            ];
            assert_eq!(read_whole(&file), want, "{magic:x} {big_endian}");
        }
    }
}

#[test]
fn pcap_of_the_patched_libpcap() {
    let mut file = pcap(0xa1b2_cd34, false, 1, &[]);
    for value in [1_u32, 2, 3, 3, 0, 0] {
        file.extend(value.to_le_bytes());
    }
    file.extend(b"xyz");
    let want = [(1_000_002_000, 1, b"xyz".to_vec(), 3)];
    assert_eq!(read_whole(&file), want);
}

#[test]
fn pcapng_sections_interfaces_and_clocks() {
    for big in [false, true] {
        let mut file = section(big);
        file.extend(block(big, 0x0bad_0bad, b"a block of no known kind"));
        file.extend(interface(big, 1, 6, 0));
        file.extend(interface(big, 113, 9, -1));
        file.extend(interface(big, 101, 0x80 | 10, 0));
        file.extend(enhanced(big, 0, 1_500_000, b"micro", 60));
        file.extend(enhanced(big, 1, 2_000_000_007, b"nano", 4));
        file.extend(enhanced(big, 2, 1536, b"binary", 4));
        // Obsolete: interface and drops share the first word.
        let mut body = fields(big, &[(2, 0), (2, 9), (4, 0), (4, 2), (4, 3), (4, 3)]);
        body.extend(b"old");
        file.extend(block(big, 2, &body));
        // Simple: no time of its own.
        let mut body = fields(big, &[(4, 6)]);
        body.extend(b"simple");
        file.extend(block(big, 3, &body));
        // Another section, in the other byte order, has interfaces of its own.
        file.extend(section(!big));
        file.extend(interface(!big, 276, 6, 0));
        file.extend(enhanced(!big, 0, 1, b"other", 5));
        let want = [
            (1_500_000_000, 1, b"micro".to_vec(), 60),
            (1_000_000_007, 113, b"nano".to_vec(), 4),
            (1_500_000_000, 101, b"binary".to_vec(), 6),
            (2_000, 1, b"old".to_vec(), 3),
            (2_000, 1, b"simple".to_vec(), 6),
            (1_000, 276, b"other".to_vec(), 5),
        ];
        assert_eq!(read_whole(&file), want, "big endian: {big}");
    }
}

#[test]
fn a_file_cut_anywhere_gives_its_whole_packets() {
    let data: &[u8] = b"0123456789";
    let old = [
        pcap(0xa1b2_c3d4, false, 1, &[]),
        pcap(0xa1b2_c3d4, false, 1, &[(1, 0, data, 10)])[24..].to_vec(),
        pcap(0xa1b2_c3d4, false, 1, &[(2, 0, data, 10)])[24..].to_vec(),
    ];
    let new = [
        [section(false), interface(false, 1, 6, 0)].concat(),
        enhanced(false, 0, 1, data, 10),
        enhanced(false, 0, 2, data, 10),
    ];
    // A pcapng file may also end between its two first blocks.
    for ([head, first, second], also) in [(old, 24), (new, section(false).len())] {
        let ends = [
            head.len(),
            head.len() + first.len(),
            head.len() + first.len() + second.len(),
        ];
        let file = [head, first, second].concat();
        for length in 1..=file.len() {
            let (packets, error) = read_all(&file[..length]);
            let whole = ends[1..].iter().filter(|end| **end <= length).count();
            assert_eq!(packets.len(), whole, "{length}");
            let at_an_end = ends.contains(&length) || length == also;
            match error {
                None => assert!(at_an_end, "{length} of {}", file.len()),
                Some(error) => {
                    assert!(!at_an_end, "{length} of {}: {error}", file.len());
                    assert_eq!(error.packets, whole as u64);
                    if length > ends[0] {
                        assert_eq!(error.position, ends[whole] as u64);
                    }
                }
            }
        }
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let data: &[u8] = b"0123456789";
    let mut long = pcap(0xa1b2_c3d4, false, 1, &[(1, 0, data, 10), (2, 0, data, 10)]);
    long[50 + 8..50 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut new = section(false);
    new.extend(interface(false, 1, 6, 0));
    let good = new.len();
    let with = |block: Vec<u8>| [new.clone(), block].concat();
    let mut unequal = with(enhanced(false, 0, 1, data, 10));
    let last = unequal.len() - 4;
    unequal[last] ^= 4;
    let mut short = with(enhanced(false, 0, 1, data, 10));
    short[good + 20..good + 24].copy_from_slice(&99_u32.to_le_bytes());
    for (file, position, text) in [
        (long, 50, "4294967295 bytes"),
        (unequal, good, "at its end"),
        (short, good, "99 bytes"),
        (with(enhanced(false, 7, 1, data, 10)), good, "interface 7"),
        (with(block(false, 6, b"tiny")), good, "without its fields"),
        (with(fields(false, &[(4, 6), (4, 13)])), good, "13 bytes"),
        (
            with(enhanced(false, 0, u64::MAX, data, 10)),
            good,
            "time stamp",
        ),
    ] {
        let (_, error) = read_all(&file);
        let error = error.expect(text);
        assert_eq!(error.position, position as u64, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn foreign_files_are_named() {
    for (bytes, text) in [
        (&b""[..], "empty"),
        (b"GIF89a", "47 49 46 38"),
        (b"ab", "61 62 00 00"),
        (b"\x1f\x8b\x08\x00rest", "gzip"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
    ] {
        let error = read_all(bytes).1.expect(text).to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn any_bytes_end_in_an_answer() {
    let mut good = section(false);
    good.extend(interface(false, 1, 6, 0));
    good.extend(enhanced(false, 0, 1, b"0123456789", 10));
    for at in 0..good.len() {
        for value in [0, 1, 4, 0x7f, 0x80, 0xff] {
            let mut file = good.clone();
            file[at] = value;
            let (packets, _) = read_all(&file);
            assert!(packets.len() <= 1);
        }
    }
}

/// What a packet of a link type becomes: the frame, its length on the wire.
fn frame(link: u32, data: &[u8], wire_len: u32) -> Option<(Vec<u8>, u32)> {
    let mut space = Vec::new();
    LinkType(link)
        .ethernet(data, wire_len, &mut space)
        .map(|(frame, length)| (frame.to_vec(), length))
}

#[test]
fn every_link_type_becomes_ethernet() {
    let ether = |kind: [u8; 2], payload: &[u8]| {
        let mut frame = vec![0; 12];
        frame.extend(kind);
        frame.extend(payload);
        frame
    };
    let (v4, v6) = ([0x08, 0x00], [0x86, 0xdd]);
    let sll = |kind: [u8; 2]| [&[0; 14][..], &kind, b"Ex"].concat();
    let sll2 = |kind: [u8; 2]| [&kind[..], &[0; 18], b"Ex"].concat();
    for (link, header, data, want) in [
        (101, 0, b"Ex".to_vec(), ether(v4, b"Ex")),
        (12, 0, b"`x".to_vec(), ether(v6, b"`x")),
        (14, 0, b"Ex".to_vec(), ether(v4, b"Ex")),
        (228, 0, b"Ex".to_vec(), ether(v4, b"Ex")),
        (229, 0, b"`x".to_vec(), ether(v6, b"`x")),
        (113, 16, sll(v4), ether(v4, b"Ex")),
        (113, 16, sll([0x81, 0x00]), ether([0x81, 0x00], b"Ex")),
        (276, 20, sll2(v6), ether(v6, b"Ex")),
        (0, 4, b"\x02\0\0\0Ex".to_vec(), ether(v4, b"Ex")),
        (0, 4, b"\0\0\0\x1eEx".to_vec(), ether(v6, b"Ex")),
        (108, 4, b"\0\0\0\x02Ex".to_vec(), ether(v4, b"Ex")),
        (0, 4, b"\x07\0\0\0Ex".to_vec(), ether([0xff, 0xff], b"Ex")),
        (101, 0, b"".to_vec(), ether([0xff, 0xff], b"")),
        (113, 16, b"short".to_vec(), ether([0xff, 0xff], b"")),
    ] {
        let wire_len = 1000 + header;
        assert_eq!(frame(link, &data, wire_len), Some((want, 1014)), "{link}");
    }
    assert_eq!(frame(1, b"as it is", 99), Some((b"as it is".to_vec(), 99)));
    for link in [9, 105, 127] {
        assert_eq!(frame(link, b"x", 1), None);
    }
}
