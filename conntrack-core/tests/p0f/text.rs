//! Signatures as texts.

use conntrack_core::p0f::Multiple;
use conntrack_core::p0f::Options;
use conntrack_core::p0f::Quirks;
use conntrack_core::p0f::Raw;
use conntrack_core::p0f::RawError;
use conntrack_core::p0f::Signature;
use proptest::prelude::*;

/// Each of the README's examples of p0f, and others that it describes.
const SOUND: [&str; 8] = [
    "4:120+8:0:1452:65535,0:mss,nop,nop,sok:df,id+:0",
    "4:64+0:0:1460:mss*10,0:mss,nop,nop,sok:df:0",
    "6:90+?:8:1440:mtu*2,7:mss,sok,ts,nop,ws:flow,ecn:+",
    "4:255+0:40:0:0,0:::0",
    "4:0+32:0:0:5,255:eol+39:opt+,bad:0",
    "4:50+14:0:1:mss*1000,0:?255,?30,sack:seq-,ack+,uptr+,pushf+:0",
    "4:219+?:0:65535:65535,15:ws:id-,0+,ack-,urgf+,ts1-,ts2+,exws:0",
    "4:220+35:0:536:1,0:mss,nop,eol+0::0",
];

#[test]
fn sound_texts_read_back() {
    for text in SOUND {
        let signature: Signature = text.parse().unwrap();
        let printed = signature.to_string();
        assert_eq!(printed.parse::<Signature>().unwrap(), signature, "{text}");
        let sorted = |text: &str| {
            let mut parts: Vec<Vec<String>> = text
                .split(':')
                .map(|part| part.split(',').map(str::to_owned).collect())
                .collect();
            parts[6].sort();
            parts
        };
        assert_eq!(sorted(&printed), sorted(text));
    }
    let signature: Signature = SOUND[2].parse().unwrap();
    assert_eq!(signature.window.multiple, Some(Multiple::Mtu(2)));
    assert_eq!(signature.window.bytes, None);
    assert_eq!(signature.quirks, Quirks::FLOW | Quirks::ECN);
    assert!(signature.payload && signature.distance().is_excessive());
    assert_eq!(signature.options.kinds(), [2, 4, 8, 1, 3]);
}

/// A wrong text, and the field that is to blame.
const WRONG: [(&str, &str); 34] = [
    ("", "signature"),
    ("4:64+0:0:1460:mss*10,0:mss:df", "signature"),
    ("4:64+0:0:1460:mss*10,0:mss:df:0:0", "signature"),
    ("5:64+0:0:1460:1,0:mss:df:0", "IP version"),
    ("*:64+0:0:1460:1,0:mss:df:0", "IP version"),
    ("4:64:0:1460:1,0:mss:df:0", "TTL"),
    ("4:64+1:0:1460:1,0:mss:df:0", "TTL"),
    ("4:64-:0:1460:1,0:mss:df:0", "TTL"),
    ("4:90+38:0:1460:1,0:mss:df:0", "TTL"),
    ("4:256+0:0:1460:1,0:mss:df:0", "TTL"),
    ("4:64+?:0:1460:1,0:mss:df:0", "TTL"),
    ("4:64+0:256:1460:1,0:mss:df:0", "IP option length"),
    ("4:64+0::1460:1,0:mss:df:0", "IP option length"),
    ("4:64+0:0:*:1,0:mss:df:0", "MSS"),
    ("4:64+0:0:65536:1,0:mss:df:0", "MSS"),
    ("4:64+0:0:-1:1,0:mss:df:0", "MSS"),
    ("4:64+0:0:1460:1:mss:df:0", "window"),
    ("4:64+0:0:1460:65536,0:mss:df:0", "window"),
    ("4:64+0:0:1460:%8,0:mss:df:0", "window"),
    ("4:64+0:0:1460:mss*0,0:mss:df:0", "window"),
    ("4:64+0:0:1460:mtu*1001,0:mss:df:0", "window"),
    ("4:64+0:0:1460:mss*+1,0:mss:df:0", "window"),
    ("4:64+0:0:1460:1,256:mss:df:0", "window scale"),
    ("4:64+0:0:1460:1,*:mss:df:0", "window scale"),
    ("4:64+0:0:1460:1,0:mss,:df:0", "option layout"),
    ("4:64+0:0:1460:1,0:eol:df:0", "option layout"),
    ("4:64+0:0:1460:1,0:eol+1,nop:df:0", "option layout"),
    ("4:64+0:0:1460:1,0:?256:df:0", "option layout"),
    ("4:64+0:0:1460:1,0:?0:df:0", "option layout"),
    ("4:64+0:0:1460:1,0:mss:df,odd:0", "quirk"),
    ("4:64+0:0:1460:1,0:mss:flow:0", "quirks"),
    ("6:64+0:0:1460:1,0:mss:df:0", "quirks"),
    ("4:64+0:0:1460:1,0:mss:df:*", "payload class"),
    ("4:64+0:0:1460:1,0:mss:df:1", "payload class"),
];

#[test]
fn errors_name_the_field() {
    for (text, field) in WRONG {
        let error = text.parse::<Signature>().unwrap_err();
        assert_eq!(error.what(), field, "{text}: {error}");
        assert!(error.to_string().contains(field));
    }
    let nops = |count| format!("4:64+0:0:0:1,0:{}::0", vec!["nop"; count].join(","));
    assert!(nops(24).parse::<Signature>().is_ok());
    let error = nops(25).parse::<Signature>().unwrap_err();
    assert_eq!(error.what(), "option layout");
    let error = nops(20_000).parse::<Signature>().unwrap_err();
    assert_eq!(error.what(), "signature");
    assert!(error.to_string().len() < 300);
}

/// What makes a sound record impossible.
type Change = fn(&mut Raw);

#[test]
fn impossible_records_are_refused() {
    let sound = Raw {
        tcp_header: 24,
        mss: 1460,
        window: 2000,
        options: 2,
        padding: 1,
        ..Raw::default()
    };
    let with = |change: &dyn Fn(&mut Raw)| {
        let mut raw = sound;
        raw.layout[0] = 2;
        change(&mut raw);
        Signature::from_raw(&raw).map(|signature| signature.to_string())
    };
    assert_eq!(with(&|_| {}).unwrap(), "4:0+32:0:1460:2000,0:mss,eol+1::0");
    let cases: [(Change, RawError); 10] = [
        (|raw| raw.bits = 1 << 17, RawError::Bits),
        (|raw| raw.bits = 1 << 28, RawError::Bits),
        (
            |raw| raw.bits = Raw::IPV6 | Quirks::DF.bits(),
            RawError::Bits,
        ),
        (|raw| raw.bits = Quirks::FLOW.bits(), RawError::Bits),
        (|raw| raw.options = 25, RawError::Layout),
        (|raw| raw.layout[3] = 1, RawError::Layout),
        (|raw| raw.options = 1, RawError::Layout),
        (|raw| raw.tcp_header = 22, RawError::Header),
        (|raw| raw.peer_mss = 1000, RawError::Peer),
        (
            |raw| (raw.bits, raw.peer_mss) = (Raw::SYN_ACK, 999),
            RawError::Peer,
        ),
    ];
    for (change, error) in cases {
        assert_eq!(with(&change), Err(error));
    }
    // 1012 less 12.
    let peer = with(&|raw| (raw.bits, raw.peer_mss) = (Raw::SYN_ACK, 1012));
    assert!(peer.unwrap().contains(":mss*2,0:"));
}

/// A record that the packet path might make.
fn raw() -> impl Strategy<Value = Raw> {
    let kind = prop_oneof![1..=8_u8, any::<u8>()];
    let layout = (prop::collection::vec(kind, 0..=24), 0..40_u8);
    let numbers = (any::<u32>(), any::<u16>(), any::<u16>(), 5..=15_u8);
    let few = prop_oneof![Just(1460), Just(1440), 90..2000_u16];
    (layout, numbers, few, 1..50_u16, any::<[u8; 3]>()).prop_map(
        |((mut kinds, padding), (bits, odd, peer, words), mss, times, [ttl, length, scale])| {
            kinds.retain(|kind| *kind != 0);
            let ends = bits & 1 << 31 != 0 && kinds.len() < 24;
            if ends {
                kinds.push(0);
            }
            let mut layout = [0; Options::MAX];
            layout[..kinds.len()].copy_from_slice(&kinds);
            let family = if bits & Raw::IPV6 != 0 {
                0x1_ffe8
            } else {
                0x1_ffdf
            };
            let even = bits & 1 << 30 != 0;
            Raw {
                bits: bits & (family | 0x0f00_0000),
                mss,
                window: if even { mss.saturating_mul(times) } else { odd },
                peer_mss: if peer == odd { peer } else { 0 },
                ttl,
                ip_options: length,
                tcp_header: words * 4,
                scale,
                options: kinds.len() as u8,
                padding: if ends { padding } else { 0 },
                layout,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(raw in raw()) {
        let mut signature = Signature::from_raw(&raw).unwrap();
        let text = signature.to_string();
        prop_assert!(text.len() <= 512);
        let read: Signature = text.parse().unwrap();
        prop_assert_eq!(read.to_string(), text);
        prop_assert_eq!(signature.window.bytes, Some(raw.window));
        if signature.window.multiple.is_some() {
            signature.window.bytes = None;
        }
        prop_assert_eq!(read, signature);
    }

    #[test]
    fn no_text_is_too_much(text in "[456*:,+?0-9mstuwokepladf-]{0,80}") {
        if let Ok(signature) = text.parse::<Signature>() {
            prop_assert_eq!(&signature.to_string().parse::<Signature>().unwrap(), &signature);
        }
    }
}
