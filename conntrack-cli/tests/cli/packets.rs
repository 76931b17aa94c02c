//! Packets and captures, written byte by byte.

/// When the first packet of the story is captured: 2026-11-20T17:52:37.123456Z.
pub(crate) const START_US: u64 = 1_795_197_157_123_456;

pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const FIN: u8 = 0x01;

/// An IP packet and when it was captured, in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) time_us: u64,
    pub(crate) ip: Vec<u8>,
}

fn ipv4(protocol: u8, src: [u8; 4], dst: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let mut bytes = vec![0x45, 0];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(src);
    bytes.extend(dst);
    let sum = checksum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn ipv6(protocol: u8, src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([protocol, 64]);
    for end in [src, dst] {
        bytes.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(end.to_be_bytes());
    }
    bytes.extend(payload);
    bytes
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let sum: u32 = words.map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// A segment without options, window 502.
fn tcp(sport: u16, dport: u16, flags: u8, seq: u32, ack: u32, payload: usize) -> Vec<u8> {
    let mut bytes = sport.to_be_bytes().to_vec();
    bytes.extend(dport.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([0x50, flags]);
    bytes.extend(502_u16.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.resize(20 + payload, b'x');
    bytes
}

fn udp(sport: u16, dport: u16, payload: usize) -> Vec<u8> {
    let mut bytes = sport.to_be_bytes().to_vec();
    bytes.extend(dport.to_be_bytes());
    bytes.extend((8 + payload as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.resize(8 + payload, b'x');
    bytes
}

fn echo(kind: u8, id: u16) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(id.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// Datagrams that a host has put together for its network card to cut (UDP GSO), as a capture
/// there has them.
pub(crate) fn super_packet() -> Packet {
    Packet {
        time_us: START_US,
        ip: ipv4(17, [10, 0, 0, 1], [10, 0, 0, 2], &udp(5353, 53, 14_000)),
    }
}

/// A connection from 10.0.0.1:40000 to 10.0.0.2:80 that exchanges data, a
/// question over IPv6 nobody answers, an answered ping; a millisecond apart.
pub(crate) fn story() -> Vec<Packet> {
    let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let there = |flags, seq, ack, payload| {
        ipv4(
            6,
            client,
            server,
            &tcp(40_000, 80, flags, seq, ack, payload),
        )
    };
    let back = |flags, seq, ack, payload| {
        ipv4(
            6,
            server,
            client,
            &tcp(80, 40_000, flags, seq, ack, payload),
        )
    };
    let packets = vec![
        there(SYN, 1000, 0, 0),
        back(SYN | ACK, 5000, 1001, 0),
        there(ACK, 1001, 5001, 0),
        there(ACK | PSH, 1001, 5001, 200),
        back(ACK, 5001, 1201, 0),
        back(ACK | PSH, 5001, 1201, 300),
        there(ACK, 1201, 5301, 0),
        ipv6(17, 1, 2, &udp(5353, 53, 30)),
        ipv4(1, client, server, &echo(8, 77)),
        ipv4(1, server, client, &echo(0, 77)),
    ];
    packets
        .into_iter()
        .zip(0..)
        .map(|(ip, number)| Packet {
            time_us: START_US + number * 1000,
            ip,
        })
        .collect()
}

/// So many flows of a question that nobody answers, at once.
pub(crate) fn questions(count: u16) -> Vec<Packet> {
    let ask = |port| ipv4(17, [10, 0, 0, 1], [10, 0, 0, 2], &udp(port, 53, 30));
    let ports = 1..=count;
    ports
        .map(|port| Packet {
            time_us: START_US,
            ip: ask(port),
        })
        .collect()
}

/// So many SYNs, each of another window, at once.
pub(crate) fn shapes(count: u16) -> Vec<Packet> {
    let syn = |window: u16| {
        let mut segment = tcp(window, 80, SYN, 1, 0, 0);
        segment[14..16].copy_from_slice(&window.to_be_bytes());
        ipv4(6, [10, 0, 0, 1], [10, 0, 0, 2], &segment)
    };
    (1..=count)
        .map(|window| Packet {
            time_us: START_US,
            ip: syn(window),
        })
        .collect()
}

/// The end of the story's connection, some seconds later.
pub(crate) fn good_bye(after_us: u64) -> Vec<Packet> {
    let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    [
        ipv4(
            6,
            client,
            server,
            &tcp(40_000, 80, FIN | ACK, 1201, 5301, 0),
        ),
        ipv4(
            6,
            server,
            client,
            &tcp(80, 40_000, FIN | ACK, 5301, 1202, 0),
        ),
        ipv4(6, client, server, &tcp(40_000, 80, ACK, 1202, 5302, 0)),
    ]
    .into_iter()
    .zip(0..)
    .map(|(ip, number)| Packet {
        time_us: START_US + after_us + number,
        ip,
    })
    .collect()
}

/// Single UDP packets of `count` flows, a microsecond apart.
pub(crate) fn many(count: u16) -> Vec<Packet> {
    (0..count)
        .map(|number| Packet {
            time_us: START_US + u64::from(number),
            ip: ipv4(17, [10, 0, 0, 1], [10, 0, 0, 2], &udp(number, 9, 1)),
        })
        .collect()
}

/// What stands before the IP header in a capture.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Link {
    Ethernet,
    Vlan,
    Raw,
    Cooked,
    Cooked2,
    Loopback,
}

impl Link {
    pub(crate) const ALL: [Self; 6] = [
        Self::Ethernet,
        Self::Vlan,
        Self::Raw,
        Self::Cooked,
        Self::Cooked2,
        Self::Loopback,
    ];

    fn number(self) -> u32 {
        match self {
            Self::Ethernet | Self::Vlan => 1,
            Self::Raw => 101,
            Self::Cooked => 113,
            Self::Cooked2 => 276,
            Self::Loopback => 0,
        }
    }

    fn frame(self, ip: &[u8]) -> Vec<u8> {
        let v6 = ip[0] >> 4 == 6;
        let kind: [u8; 2] = if v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let mut bytes = match self {
            Self::Ethernet => vec![2; 12],
            Self::Vlan => [&[2; 12][..], &[0x81, 0, 0, 5]].concat(),
            Self::Cooked => [&[0, 0, 0, 1, 0, 6][..], &[2; 8]].concat(),
            Self::Raw | Self::Cooked2 | Self::Loopback => Vec::new(),
        };
        match self {
            Self::Raw => {}
            Self::Loopback => bytes.extend([if v6 { 10 } else { 2 }, 0, 0, 0]),
            _ => bytes.extend(kind),
        }
        if matches!(self, Self::Cooked2) {
            bytes.extend([0, 0, 0, 0, 0, 2, 0, 1, 0, 6]);
            bytes.extend([2; 8]);
        }
        bytes.extend(ip);
        bytes
    }
}

/// A pcap file, packets cut to `snap` bytes.
pub(crate) fn pcap(link: Link, packets: &[Packet], snap: usize) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [
        0xa1b2_c3d4_u32,
        0x0004_0002,
        0,
        0,
        snap as u32,
        link.number(),
    ] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let frame = link.frame(&packet.ip);
        let kept = &frame[..frame.len().min(snap)];
        let (seconds, rest) = (packet.time_us / 1_000_000, packet.time_us % 1_000_000);
        for word in [
            seconds as u32,
            rest as u32,
            kept.len() as u32,
            frame.len() as u32,
        ] {
            file.extend(word.to_le_bytes());
        }
        file.extend(kept);
    }
    file
}

/// A pcapng file with one interface, packets cut to `snap` bytes.
pub(crate) fn pcapng(link: Link, packets: &[Packet], snap: usize) -> Vec<u8> {
    let mut file = Vec::new();
    block(
        &mut file,
        0x0a0d_0d0a,
        &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX],
        &[],
    );
    block(&mut file, 1, &[link.number(), snap as u32], &[]);
    for packet in packets {
        let frame = link.frame(&packet.ip);
        let kept = &frame[..frame.len().min(snap)];
        let (high, low) = ((packet.time_us >> 32) as u32, packet.time_us as u32);
        let words = [0, high, low, kept.len() as u32, frame.len() as u32];
        block(&mut file, 6, &words, kept);
    }
    file
}

fn block(file: &mut Vec<u8>, kind: u32, words: &[u32], data: &[u8]) {
    let padded = data.len().next_multiple_of(4);
    let length = (12 + words.len() * 4 + padded) as u32;
    for word in [kind, length].iter().chain(words) {
        file.extend(word.to_le_bytes());
    }
    file.extend(data);
    file.resize(file.len() + padded - data.len(), 0);
    file.extend(length.to_le_bytes());
}
