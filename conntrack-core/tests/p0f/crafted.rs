//! Packets made to try each rule.

use crate::probe::Probe;
use crate::probe::SEEN_ACK;
use crate::shape::*;
use crate::wild;

/// What Windows sends.
const WINDOWS: [u8; 12] = [2, 4, 0x05, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2];

/// Both kinds, both families.
fn kinds() -> [Shape; 4] {
    let v6 = |shape: Shape| Shape { v6: true, ..shape };
    [
        Shape::default(),
        Shape::answer(),
        v6(Shape::default()),
        v6(Shape::answer()),
    ]
}

fn mss(value: u16) -> Vec<u8> {
    let [high, low] = value.to_be_bytes();
    vec![2, 4, high, low]
}

fn stamped(value: u16, own: u8) -> Vec<u8> {
    [mss(value), vec![1, 1, 8, 10, 0, 0, 0, own, 0, 0, 0, 0]].concat()
}

pub(crate) fn probes() -> Vec<Probe> {
    let mut shapes = ways();
    shapes.extend(windows());
    shapes.extend(oddities());
    shapes.extend(layouts());
    shapes.extend(unheard_of());
    let probe = |shape| Probe {
        shape,
        peer_mss: 1400,
    };
    let mut probes: Vec<Probe> = shapes.into_iter().map(probe).collect();
    probes.extend(answers());
    probes
}

/// Every TTL at the edges of the guesses.
fn ways() -> Vec<Shape> {
    const TTLS: [u8; 24] = [
        0, 1, 28, 29, 31, 32, 33, 50, 63, 64, 65, 92, 93, 94, 127, 128, 129, 192, 218, 219, 220,
        221, 254, 255,
    ];
    let mut shapes = Vec::new();
    for plain in kinds() {
        for options in [LINUX.to_vec(), WINDOWS.to_vec()] {
            shapes.extend(TTLS.map(|ttl| Shape {
                ttl,
                options: options.clone(),
                ..plain.clone()
            }));
        }
    }
    shapes
}

/// Windows that are a multiple of something, nearly so, and of nothing.
fn windows() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for plain in kinds() {
        for size in [
            0, 1, 99, 100, 111, 536, 1300, 1440, 1452, 1460, 8960, 65_495,
        ] {
            for options in [mss(size), stamped(size, 1), stamped(size, 0)] {
                let mtu = 40 + if plain.v6 { 20 } else { 0 } + options.len() as u16;
                let of = |by: u16, times: u16| by.wrapping_mul(times);
                let windows = [
                    0,
                    1,
                    of(size, 1),
                    of(size, 7),
                    of(size.wrapping_sub(12), 3),
                    of(size.wrapping_add(mtu), 3),
                    of(size.wrapping_add(40), 5),
                    of(size.wrapping_add(60), 11),
                    of(1460, 3),
                    of(1448, 7),
                    of(1440, 11),
                    of(1428, 13),
                    of(1500, 17),
                    32_768,
                    65_535,
                ];
                shapes.extend(windows.map(|window| Shape {
                    window,
                    options: options.clone(),
                    ..plain.clone()
                }));
            }
        }
    }
    shapes
}

/// Headers with something unusual in them, one and two at a time.
fn oddities() -> Vec<Shape> {
    let changes: [fn(&mut Shape); 25] = [
        |shape| shape.ip_flags = 0,
        |shape| (shape.ip_flags, shape.id) = (0, 0),
        |shape| shape.id = 0x0100,
        |shape| shape.ip_flags = DF | RESERVED,
        |shape| shape.ip_flags = RESERVED,
        |shape| shape.class = 1,
        |shape| shape.class = 2,
        |shape| shape.class = 3,
        |shape| shape.class = 0xb8,
        |shape| shape.label = 1,
        |shape| shape.label = 0xf_0000,
        |shape| shape.seq = 0,
        |shape| shape.ack = 1,
        |shape| shape.ack = SEEN_ACK,
        |shape| shape.ack = 0,
        |shape| shape.urgent = 1,
        |shape| (shape.urgent, shape.flags) = (1, shape.flags | URG),
        |shape| shape.flags |= URG,
        |shape| shape.flags |= PSH,
        |shape| shape.flags |= ECE,
        |shape| shape.flags |= CWR,
        |shape| shape.reserved = 1,
        |shape| shape.reserved = 8,
        |shape| shape.payload = vec![0],
        |shape| shape.payload = vec![b'x'; 1200],
    ];
    let mut shapes = Vec::new();
    for plain in kinds() {
        for first in 0..changes.len() {
            for second in first..changes.len() {
                let mut shape = plain.clone();
                changes[first](&mut shape);
                changes[second](&mut shape);
                shapes.push(shape);
            }
        }
        for words in 1..=10 {
            let mut shape = plain.clone();
            shape.ip_options = vec![1; 4 * words];
            // A multiple of the MTU with all headers that are there.
            shape.window = (1460 + 20 + 4 * words as u16 + 24) * 3;
            // To IPv6 it is a header of its own, of eight bytes at least.
            if plain.v6 {
                shape.ip_options = vec![0; 8 * words];
                (shape.ip_options[0], shape.ip_options[1]) = (6, words as u8 - 1);
            }
            shapes.push(shape);
        }
    }
    shapes
}

/// Options that are right, and ones that are wrong in one place.
fn layouts() -> Vec<Shape> {
    let mut layouts: Vec<Vec<u8>> = vec![
        vec![],
        vec![0; 4],
        vec![1; 24],
        vec![1; 28],
        vec![1; 40],
        vec![0; 40],
        vec![0, 0, 0, 1],
        vec![0, 1, 0, 0],
        vec![1, 1, 1, 0],
        vec![3, 3, 14, 1],
        vec![3, 3, 15, 0],
        vec![3, 3, 255, 1, 3, 3, 2, 1],
        vec![2, 4, 5, 0xb4, 2, 4, 2, 0],
        vec![2, 6, 5, 0xb4, 0, 0, 1, 1],
        vec![2, 0, 5, 0xb4],
        vec![1, 1, 1, 2],
        vec![1, 1, 2, 4],
        vec![1, 2, 4, 5],
        vec![1, 1, 3, 3],
        vec![1, 1, 1, 8],
        vec![4, 3, 1, 1],
        vec![1, 1, 1, 4],
        vec![30, 4, 1, 2, 34, 2, 253, 2],
        vec![30, 1, 1, 1],
        vec![30, 41, 1, 1],
        vec![30, 5, 1, 1],
        vec![1, 1, 1, 30],
        vec![255, 4, 0, 0],
    ];
    for kind in 0..=255 {
        layouts.push(vec![kind; 40]);
    }
    for size in [9, 10, 11, 18, 34, 35] {
        let mut sack = vec![1; 40];
        (sack[0], sack[1]) = (5, size);
        layouts.push(sack);
    }
    for own in [0, 1] {
        for echo in [0, 1] {
            let stamps = [8, 10, 0, 0, 0, own, echo, 0, 0, 0, 1, 1];
            layouts.push(stamps.to_vec());
            // The last one's value counts for the window.
            layouts.push([stamps.as_slice(), &[8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat());
        }
    }
    let shape = |(number, options): (usize, Vec<u8>)| Shape {
        options,
        ..kinds()[number % 4].clone()
    };
    layouts.into_iter().enumerate().map(shape).collect()
}

/// Options that nobody has thought of.
fn unheard_of() -> Vec<Shape> {
    let mut numbers = wild::Numbers(0x2545_f491_4f6c_dd1d);
    let shape = |number: usize| Shape {
        options: wild::options(&mut numbers),
        window: 5 * 1460,
        ..kinds()[number % 4].clone()
    };
    (0..2000).map(shape).collect()
}

/// SYN+ACKs whose window follows from the peer's MSS, or does not.
fn answers() -> Vec<Probe> {
    let mut probes = Vec::new();
    for v6 in [false, true] {
        for peer_mss in [0, 1, 11, 12, 13, 66, 67, 536, 1220, 1331, 1373, 9000] {
            let of = |by: u16, times: u16| by.wrapping_mul(times);
            let windows = [
                of(peer_mss, 1),
                of(peer_mss, 7),
                of(peer_mss.saturating_sub(12), 7),
                9973,
                65_521,
            ];
            for window in windows {
                for options in [mss(1460), mss(1331), mss(99), vec![]] {
                    let shape = Shape {
                        v6,
                        window,
                        options,
                        ..Shape::answer()
                    };
                    probes.push(Probe { shape, peer_mss });
                }
            }
        }
    }
    probes
}
