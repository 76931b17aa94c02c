//! A packet for each signature in p0f's own file, read where it is installed.

use crate::probe::Probe;
use crate::probe::SEEN_ACK;
use crate::shape::*;

/// Packets that p0f's file knows, and their likes: as near as they can be, some
/// routers away, of the other family, with quirks gone and come.
pub(crate) fn probes(file: &str) -> Vec<Probe> {
    let mut probes = Vec::new();
    let mut section = "";
    for line in file.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let Some(signature) = line
            .strip_prefix("sig")
            .map(|rest| rest.trim_start_matches([' ', '=']))
        else {
            continue;
        };
        let plain = match section {
            "[tcp:request]" => Shape::default(),
            "[tcp:response]" => Shape::answer(),
            _ => continue,
        };
        let near = shape(plain, signature);
        let far = Shape {
            ttl: near.ttl.saturating_sub(7),
            ..near.clone()
        };
        let lost = Shape {
            ttl: near.ttl.saturating_sub(40),
            ..near.clone()
        };
        let cleared = Shape {
            ip_flags: 0,
            id: 0,
            ..near.clone()
        };
        let congested = Shape {
            flags: near.flags | ECE | CWR,
            ..near.clone()
        };
        let v6 = Shape {
            v6: true,
            label: 0,
            ..near.clone()
        };
        let worse = Shape {
            ttl: far.ttl,
            ..congested.clone()
        };
        for shape in [near, far, lost, cleared, congested, worse, v6] {
            probes.push(Probe {
                shape,
                peer_mss: 1400,
            });
        }
    }
    probes
}

fn shape(plain: Shape, signature: &str) -> Shape {
    let parts: Vec<&str> = signature.split(':').collect();
    let [_, ttl, ip_options, mss, size, layout, quirks, payload] = parts[..] else {
        panic!("{signature}");
    };
    let (window, scale) = size.split_once(',').unwrap();
    let number = |text: &str, other| text.parse().unwrap_or(other);
    let mss: u16 = number(mss, 1460);
    let scale = u8::try_from(number(scale, 6)).unwrap();
    let mut shape = Shape {
        ttl: u8::try_from(number(ttl.trim_end_matches('-'), 0)).unwrap(),
        ip_options: vec![1; ip_options.parse().unwrap()],
        window: match window.split_once('*') {
            Some(("mss", times)) => mss * times.parse::<u16>().unwrap(),
            Some(("mtu", times)) => (mss + 40) * times.parse::<u16>().unwrap(),
            _ => number(window.trim_start_matches('%'), 12_345),
        },
        options: options(layout, mss, scale),
        payload: vec![0; usize::from(payload == "+")],
        ip_flags: 0,
        id: 1,
        ..plain
    };
    for quirk in quirks.split(',') {
        match quirk {
            "" => {}
            "df" => (shape.ip_flags, shape.id) = (DF, 0),
            "id+" => shape.id = 1,
            "id-" => shape.id = 0,
            "ecn" => shape.flags |= ECE | CWR,
            "ack+" => shape.ack = SEEN_ACK,
            "uptr+" => shape.urgent = 1,
            "pushf+" => shape.flags |= PSH,
            "seq-" => shape.seq = 0,
            "ack-" => shape.ack = 0,
            "ts1-" => clear_timestamp(&mut shape.options),
            other => panic!("{other} in {signature}"),
        }
    }
    shape
}

fn options(layout: &str, mss: u16, scale: u8) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    let mut options: Vec<u8> = Vec::new();
    for name in layout.split(',').filter(|name| !name.is_empty()) {
        match name {
            "nop" => options.push(1),
            "mss" => options.extend([2, 4, high, low]),
            "ws" => options.extend([3, 3, scale]),
            "sok" => options.extend([4, 2]),
            "ts" => options.extend([8, 10, 0, 0, 0, 9, 0, 0, 0, 0]),
            end => {
                let padding = end.strip_prefix("eol+").unwrap().parse().unwrap();
                options.push(0);
                options.extend(vec![0; padding]);
            }
        }
    }
    // Some signatures of programs are of headers that end within a word: the
    // padding that remains is theirs.
    while !options.len().is_multiple_of(4) {
        options.push(0);
    }
    options
}

fn clear_timestamp(options: &mut [u8]) {
    let at = options
        .windows(2)
        .position(|option| option == [8, 10])
        .unwrap();
    options[at + 2..at + 6].fill(0);
}
