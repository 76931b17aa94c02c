//! Options made to break a parser.

use std::collections::HashSet;

use conntrack_core::p0f::Options;
use conntrack_core::p0f::Quirks;
use conntrack_core::p0f::Raw;
use conntrack_core::p0f::Signature;
use proptest::prelude::*;

use crate::shape::*;
use crate::wild::Numbers;
use crate::wild::options;

/// The options as RFC 9293 and its companions have them, from the front; whether
/// all of them are sound; where they end.
fn strict(bytes: &[u8]) -> (Vec<u8>, bool) {
    let (mut kinds, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if kinds.len() == Options::MAX {
            return (kinds, false);
        }
        kinds.push(bytes[at]);
        let size = match bytes[at] {
            0 => return (kinds, true),
            1 => 1,
            kind => {
                let Some(&size) = bytes.get(at + 1) else {
                    return (kinds, false);
                };
                let right = match kind {
                    2 => size == 4,
                    3 => size == 3,
                    4 => size == 2,
                    5 => (10..=34).contains(&size),
                    8 => size == 10,
                    _ => (2..=40).contains(&size),
                };
                if !right {
                    return (kinds, false);
                }
                usize::from(size)
            }
        };
        at += size;
    }
    (kinds, at == bytes.len())
}

#[test]
fn a_hundred_thousand_strings_are_filed_rightly() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut seen, mut bad) = (HashSet::new(), 0);
    while seen.len() < 100_000 {
        let options = options(&mut numbers);
        if !seen.insert(options.clone()) {
            continue;
        }
        let answers = numbers.below(2) == 1;
        let shape = if answers {
            Shape::answer()
        } else {
            Shape::default()
        };
        let packet = Shape {
            options: options.clone(),
            ..shape
        }
        .bytes();
        let raw = Raw::from_packet(&packet, Some(1460)).unwrap();
        let signature = Signature::from_raw(&raw).unwrap();
        let (kinds, sound) = strict(&options);
        let is_bad = signature.quirks.contains(Quirks::BAD);
        assert_eq!(is_bad, !sound, "{options:02x?}: {signature}");
        // What is read before anything is wrong is the same, and sound ones wholly.
        let read = signature.options.kinds();
        assert!(read.starts_with(&kinds), "{options:02x?}: {signature}");
        assert!(is_bad || read == kinds, "{options:02x?}: {signature}");
        let mut again: Signature = signature.to_string().parse().unwrap();
        again.window = signature.window;
        assert_eq!(again, signature);
        bad += usize::from(is_bad);
    }
    assert!((20_000..80_000).contains(&bad), "one-sided: {bad} bad ones");
}

#[test]
fn forty_bytes_of_one_kind() {
    for kind in 0..=255 {
        let packet = Shape {
            options: vec![kind; 40],
            ..Shape::default()
        }
        .bytes();
        let signature = Signature::from_packet(&packet).unwrap();
        let count = signature.options.kinds().len();
        let (expected, bad) = match kind {
            0 => (1, false),
            1 => (24, true),
            // Fixed sizes, with a wrong length each: 4, 3, 2.
            2 => (10, true),
            3 => (14, true),
            4 => (20, true),
            5 => (1, true),
            8 => (4, true),
            // Its own number as its length, until it overruns the end.
            _ if kind <= 40 => (40_usize.div_ceil(kind.into()), 40 % kind != 0),
            _ => (1, true),
        };
        assert_eq!(count, expected, "{kind}: {signature}");
        assert_eq!(
            signature.quirks.contains(Quirks::BAD),
            bad,
            "{kind}: {signature}"
        );
    }
}

proptest! {
    #[test]
    fn no_packet_is_too_much(
        mut packet in prop::collection::vec(any::<u8>(), 0..200),
        version in 0..4_u8,
        peer in any::<Option<u16>>(),
    ) {
        let length = packet.len();
        if let [first, .., _] = packet.as_mut_slice() {
            *first = [0x45, 0x4f, 0x60, *first][usize::from(version)];
        }
        // Often enough a SYN in a whole packet.
        if length > 60 && version < 3 {
            let total = (length as u16).to_be_bytes();
            let payload = (length as u16 - 40).to_be_bytes();
            match version {
                2 => packet[4..6].copy_from_slice(&payload),
                _ => packet[2..4].copy_from_slice(&total),
            }
            packet[if version == 2 { 6 } else { 9 }] = 6;
            if version != 2 {
                packet[6] &= 0xc0;
                packet[7] = 0;
            }
            let tcp = [20, 60, 40][usize::from(version)];
            if let Some(flags) = packet.get_mut(tcp + 13) {
                *flags = *flags & 0xf8 | SYN;
            }
        }
        if let Ok(raw) = Raw::from_packet(&packet, peer) {
            prop_assert!(Signature::from_raw(&raw).is_ok());
        }
    }
}
