//! Packets become records: what each field and quirk comes from.

use conntrack_core::p0f::Kind;
use conntrack_core::p0f::PacketError;
use conntrack_core::p0f::Raw;
use conntrack_core::p0f::Signature;

use crate::shape::*;

fn raw(shape: &Shape) -> Raw {
    Raw::from_packet(&shape.bytes(), None).unwrap()
}

fn text(shape: &Shape) -> String {
    let signature = Signature::from_packet(&shape.bytes()).unwrap();
    assert_eq!(Signature::from_raw(&raw(shape)), Ok(signature.clone()));
    signature.to_string()
}

#[test]
fn the_record_of_a_packet() {
    let shape = Shape {
        ttl: 57,
        window: 29_200,
        options: LINUX.to_vec(),
        payload: vec![1],
        ..Shape::default()
    };
    let mut layout = [0; 24];
    layout[..5].copy_from_slice(&[2, 4, 8, 1, 3]);
    let expected = Raw {
        bits: 3 | Raw::PAYLOAD | Raw::TIMESTAMP,
        mss: 1460,
        window: 29_200,
        peer_mss: 0,
        ttl: 57,
        ip_options: 0,
        tcp_header: 40,
        scale: 7,
        options: 5,
        padding: 0,
        layout,
    };
    assert_eq!(raw(&shape), expected);
    assert_eq!(
        text(&shape),
        "4:57+7:0:1460:mss*20,7:mss,sok,ts,nop,ws:df,id+:+"
    );
    assert_eq!(raw(&shape).kind(), Kind::Syn);
    assert_eq!(raw(&Shape::answer()).kind(), Kind::SynAck);
}

fn plain() -> Shape {
    Shape {
        ip_flags: 0,
        ..Shape::default()
    }
}

fn v6() -> Shape {
    Shape {
        v6: true,
        ..plain()
    }
}

fn answer() -> Shape {
    Shape {
        ip_flags: 0,
        id: 1,
        ..Shape::answer()
    }
}

fn stamps(own: u8, echo: u8) -> Vec<u8> {
    vec![1, 1, 8, 10, 0, 0, 0, own, 0, 0, echo, 0]
}

/// A plain segment, a change of it, and the quirks that it then has.
type Cause = (fn() -> Shape, fn(&mut Shape), &'static str);

const CAUSES: [Cause; 31] = [
    (plain, |_| {}, ""),
    (plain, |syn| syn.ip_flags = DF, "df,id+"),
    (plain, |syn| (syn.ip_flags, syn.id) = (DF, 0), "df"),
    (plain, |syn| syn.id = 0, "id-"),
    (plain, |syn| syn.class = 1, "ecn"),
    (v6, |syn| syn.class = 2, "ecn"),
    (v6, |syn| syn.class = 0xfc, ""),
    (plain, |syn| syn.flags |= ECE, "ecn"),
    (v6, |syn| syn.flags |= CWR, "ecn"),
    (plain, |syn| syn.reserved = 1, "ecn"),
    (plain, |syn| syn.reserved = 14, ""),
    (plain, |syn| syn.ip_flags = RESERVED, "0+"),
    (v6, |syn| syn.label = 0x8_0000, "flow"),
    (v6, |syn| (syn.ip_flags, syn.id) = (DF, 0), ""),
    (plain, |syn| syn.seq = 0, "seq-"),
    (plain, |syn| syn.ack = 1, "ack+"),
    (answer, |_| {}, ""),
    (answer, |answer| answer.ack = 0, "ack-"),
    (plain, |syn| syn.urgent = 256, "uptr+"),
    (
        plain,
        |syn| (syn.urgent, syn.flags) = (1, SYN | URG),
        "urgf+",
    ),
    (plain, |syn| syn.flags |= PSH, "pushf+"),
    (plain, |syn| syn.options = stamps(1, 0), ""),
    (plain, |syn| syn.options = stamps(0, 0), "ts1-"),
    (plain, |syn| syn.options = stamps(1, 1), "ts2+"),
    (answer, |answer| answer.options = stamps(1, 1), ""),
    (plain, |syn| syn.options = vec![0, 0, 0, 0], ""),
    (plain, |syn| syn.options = vec![0, 1, 0, 0], "opt+"),
    (plain, |syn| syn.options = vec![0, 0, 0, 1], "opt+"),
    (plain, |syn| syn.options = vec![1, 3, 3, 14], ""),
    (plain, |syn| syn.options = vec![1, 3, 3, 15], "exws"),
    (plain, |syn| syn.options = vec![1, 2, 4, 5], "bad"),
];

#[test]
fn each_quirk_has_its_cause() {
    for (plain, change, quirks) in CAUSES {
        let mut shape = plain();
        change(&mut shape);
        let signature = Signature::from_packet(&shape.bytes()).unwrap();
        assert_eq!(signature.quirks.to_string(), quirks, "{shape:?}");
    }
}

#[test]
fn what_has_no_signature() {
    let shape = Shape::default();
    let error = |shape: &Shape| Raw::from_packet(&shape.bytes(), None).unwrap_err();
    for flags in [0, ACK, SYN | 1, SYN | 4, SYN | ACK | 4, 1, 4, PSH] {
        assert_eq!(
            error(&Shape {
                flags,
                ..shape.clone()
            }),
            PacketError::NotSyn
        );
    }
    for ip_flags in [0x2000, 1, DF | 0x1fff] {
        assert_eq!(
            error(&Shape {
                ip_flags,
                ..shape.clone()
            }),
            PacketError::Fragment
        );
    }
    let whole = shape.bytes();
    for end in 0..whole.len() {
        assert_eq!(
            Raw::from_packet(&whole[..end], None),
            Err(PacketError::NotIp)
        );
    }
    let mut odd = whole.clone();
    odd[9] = 17;
    assert_eq!(Raw::from_packet(&odd, None), Err(PacketError::NotTcp));
    let mut odd = whole.clone();
    odd[32] = 0x40;
    assert_eq!(Raw::from_packet(&odd, None), Err(PacketError::Short));
    odd[32] = 0x70;
    assert_eq!(Raw::from_packet(&odd, None), Err(PacketError::Short));
    // What the link adds behind the packet is none of its data.
    let padded = [&whole[..], &[7; 10]].concat();
    assert_eq!(
        Raw::from_packet(&padded, None),
        Raw::from_packet(&whole, None)
    );
}

#[test]
fn headers_before_tcp_are_measured() {
    let v4 = Shape {
        ip_options: vec![1; 8],
        ..Shape::default()
    };
    assert_eq!(raw(&v4).ip_options, 8);
    let mut destination = vec![0; 16];
    (destination[0], destination[1]) = (6, 1);
    let v6 = Shape {
        v6: true,
        ip_options: destination,
        ..Shape::default()
    };
    assert_eq!(raw(&v6).ip_options, 16);
    assert_eq!(text(&v6), "6:64+0:16:1460:mss*10,0:mss::0");
    let mut long = vec![0; 2048];
    (long[0], long[1]) = (6, 255);
    let v6 = Shape {
        ip_options: long,
        ..v6
    };
    assert_eq!(raw(&v6).ip_options, 255);
}

#[test]
fn the_peers_mss_counts_where_the_window_follows_from_it() {
    let answer = Shape {
        window: 5 * 1331,
        ..Shape::answer()
    };
    let with = |shape: &Shape, peer| {
        let raw = Raw::from_packet(&shape.bytes(), Some(peer)).unwrap();
        let signature = Signature::from_raw(&raw).unwrap();
        (raw.peer_mss, signature.window.to_string())
    };
    assert_eq!(with(&answer, 1331), (1331, "mss*5".to_owned()));
    assert_eq!(with(&answer, 1343), (1343, "mss*5".to_owned()));
    assert_eq!(with(&answer, 1332), (0, "6655".to_owned()));
    assert_eq!(with(&answer, 0), (0, "6655".to_owned()));
    // 6655 times is more than a signature can say.
    assert_eq!(with(&answer, 1), (0, "6655".to_owned()));
    let syn = Shape {
        window: 5 * 1331,
        ..Shape::default()
    };
    assert_eq!(with(&syn, 1331), (0, "6655".to_owned()));
}
