//! SCTP packets of very many chunks, and of chunks whose lengths are odd.

use crate::frame::SCTP;
use crate::frame::crc32c;
use crate::frame::sctp;
use crate::lab::End;
use crate::lab::End::Client;
use crate::lab::End::Server;
use crate::script::Catalogue;
use crate::script::Script;

/// Type, flags and value.
type Chunk<'a> = (u8, u8, &'a [u8]);

const NONE: &[u8] = &[];

fn init(tag: u8) -> [u8; 16] {
    [0, 0, 0, tag, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 1]
}

fn ports(from: End) -> (u16, u16) {
    match from {
        Client => (7000, 8000),
        Server => (8000, 7000),
    }
}

fn bundle(s: &mut Script, from: End, tag: u32, chunks: &[Chunk<'_>]) {
    let ip = s.ip(from, SCTP);
    let kinds: Vec<_> = chunks
        .iter()
        .map(|(kind, flags, _)| (*kind, *flags))
        .collect();
    let bytes = sctp(ports(from), tag, chunks);
    s.packet(from, &ip, &bytes, format!("tag {tag:#x} chunks {kinds:?}"));
}

fn associate(s: &mut Script) {
    bundle(s, Client, 0, &[(1, 0, &init(0xc1))]);
    bundle(s, Server, 0xc1, &[(2, 0, &init(0x51))]);
    bundle(s, Client, 0x51, &[(10, 0, b"cook")]);
    bundle(s, Server, 0xc1, &[(11, 0, NONE)]);
}

fn ask(s: &mut Script) {
    bundle(s, Client, 0x51, &[(0, 3, &[0; 12])]);
    bundle(s, Server, 0xc1, &[(0, 3, &[0; 12])]);
}

pub(crate) fn add(c: &mut Catalogue) {
    many(c);
    lengths(c);
    flags(c);
    paths(c);
}

fn many(c: &mut Catalogue) {
    for count in [7, 8, 9, 31, 32, 40] {
        for (name, first) in [("shutdown", 7), ("abort", 6)] {
            // The one that matters is the first of so many, or the last.
            c.v4(
                format!("sctp/many/{count}_heartbeats_behind/{name}"),
                move |s| {
                    associate(s);
                    let mut chunks: Vec<Chunk<'_>> = vec![(first, 0, NONE)];
                    chunks.extend(vec![(4, 0, NONE); count]);
                    bundle(s, Client, 0x51, &chunks);
                    ask(s);
                    bundle(s, Server, 0xc1, &chunks);
                    ask(s);
                },
            );
            c.v6(format!("sctp/many/{count}_data_before/{name}"), move |s| {
                associate(s);
                let mut chunks: Vec<Chunk<'_>> = vec![(0, 3, NONE); count];
                chunks.push((first, 0, NONE));
                bundle(s, Client, 0x51, &chunks);
                ask(s);
                bundle(s, Server, 0xc1, &chunks);
                ask(s);
            });
            c.v6(format!("sctp/many/{count}_other_before/{name}"), move |s| {
                associate(s);
                let mut chunks: Vec<Chunk<'_>> = vec![(3, 0, NONE); count];
                chunks.push((first, 0, NONE));
                bundle(s, Client, 0x77, &chunks);
                ask(s);
                bundle(s, Server, 0x77, &chunks);
                ask(s);
            });
        }
        for (name, last) in [("init", 1), ("cookie_ack", 11)] {
            c.v4(format!("sctp/many/{count}_data_before/{name}"), move |s| {
                associate(s);
                let mut chunks: Vec<Chunk<'_>> = vec![(0, 3, NONE); count];
                chunks.push((last, 0, NONE));
                bundle(s, Client, 0x51, &chunks);
            });
        }
        c.v4(format!("sctp/many/{count}_first"), move |s| {
            let mut chunks: Vec<Chunk<'_>> = vec![(8, 0, NONE)];
            chunks.extend(vec![(4, 0, NONE); count]);
            bundle(s, Client, 0x77, &chunks);
            ask(s);
        });
        c.v4(format!("sctp/many/{count}_first_then_data"), move |s| {
            let mut chunks: Vec<Chunk<'_>> = vec![(4, 0, NONE); count];
            chunks.push((0, 3, NONE));
            bundle(s, Client, 0x77, &chunks);
        });
        c.v4(format!("sctp/many/{count}_then_no_length"), move |s| {
            associate(s);
            let chunks: Vec<Chunk<'_>> = vec![(0, 3, NONE); count];
            let mut bytes = sctp(ports(Client), 0x51, &chunks);
            bytes.extend([4, 0, 0, 0, 0, 0, 0, 0]);
            seal(s, bytes, "a chunk without a length at the end");
        });
        // A wrong tag in the first of many.
        c.v4(format!("sctp/many/{count}_wrong_tag"), move |s| {
            associate(s);
            let chunks: Vec<Chunk<'_>> = vec![(4, 0, NONE); count];
            bundle(s, Client, 0x99, &chunks[..1]);
            bundle(s, Client, 0x99, &chunks);
            let mut chunks: Vec<Chunk<'_>> = vec![(10, 0, NONE)];
            chunks.extend(vec![(8, 0, NONE); count]);
            bundle(s, Client, 0x99, &chunks);
            ask(s);
        });
    }
}

/// Sends what was changed, with the right checksum.
fn seal(s: &mut Script, mut bytes: Vec<u8>, what: &str) {
    bytes[8..12].fill(0);
    let crc = crc32c(&bytes).to_le_bytes();
    bytes[8..12].copy_from_slice(&crc);
    let ip = s.ip(Client, SCTP);
    s.packet(Client, &ip, &bytes, what);
}

fn lengths(c: &mut Catalogue) {
    for length in [0, 1, 3, 5, 20, 1000, 0xfffd_u16] {
        for kind in [0, 1, 7] {
            c.v4(format!("sctp/length/{length}/{kind}"), move |s| {
                associate(s);
                let chunks: [(u8, u8, &[u8]); 3] =
                    [(kind, 0, &[0; 4]), (9, 0, NONE), (7, 0, &[0; 4])];
                let mut bytes = sctp(ports(Client), if kind == 1 { 0 } else { 0x51 }, &chunks);
                bytes[14..16].copy_from_slice(&length.to_be_bytes());
                seal(s, bytes, "a chunk of another length");
                ask(s);
            });
        }
    }
    for trailer in 1..5 {
        c.v4(format!("sctp/length/trailer_{trailer}"), move |s| {
            associate(s);
            let mut bytes = sctp(ports(Client), 0x51, &[(4, 0, b"beat")]);
            bytes.extend(vec![0; trailer]);
            seal(s, bytes, "bytes behind the last chunk");
        });
    }
    for cut in [16, 19, 20, 27, 31] {
        c.v6(format!("sctp/length/init_cut_at_{cut}"), move |s| {
            let bytes = sctp(ports(Client), 0, &[(1, 0, &init(0xc1))]);
            seal(s, bytes[..cut].to_vec(), "an INIT that is cut");
            associate(s);
            seal(s, bytes[..cut].to_vec(), "an INIT that is cut");
            ask(s);
        });
    }
}

/// Tags and T bits of what ends an association, in each of its states.
fn flags(c: &mut Catalogue) {
    for kind in [6, 14] {
        for flags in [0, 1] {
            for from in [Client, Server] {
                for stage in [0, 2, 5] {
                    c.v4(
                        format!("sctp/ends/{kind}_{flags}_{from:?}_{stage}"),
                        move |s| {
                            let steps: [(End, u32, Chunk<'_>); 6] = [
                                (Client, 0, (1, 0, &init(0xc1))),
                                (Server, 0xc1, (2, 0, &init(0x51))),
                                (Client, 0x51, (10, 0, b"cook")),
                                (Server, 0xc1, (11, 0, NONE)),
                                (Client, 0x51, (7, 0, &[0; 4])),
                                (Server, 0xc1, (8, 0, NONE)),
                            ];
                            for (from, tag, chunk) in &steps[..=stage] {
                                bundle(s, *from, *tag, &[*chunk]);
                            }
                            for tag in [0x77, 0, 0xc1, 0x51] {
                                bundle(s, from, tag, &[(kind, flags, NONE)]);
                            }
                            ask(s);
                            bundle(s, Client, 0, &[(1, 0, &init(0xd1))]);
                            bundle(s, Server, 0xd1, &[(2, 0, &init(0x71))]);
                        },
                    );
                }
            }
        }
    }
}

/// Further paths, which begin with a HEARTBEAT.
fn paths(c: &mut Catalogue) {
    for (name, tag) in [("same", 0x77), ("other", 0x78), ("zero", 0)] {
        c.both(&format!("sctp/path/{name}"), move |s| {
            bundle(s, Client, 0x77, &[(4, 0, b"beat")]);
            bundle(s, Server, tag, &[(5, 0, b"beat")]);
            bundle(s, Client, 0x77, &[(0, 3, &[0; 12])]);
            bundle(s, Server, tag, &[(0, 3, &[0; 12])]);
            bundle(s, Client, tag, &[(4, 0, b"beat")]);
            bundle(s, Server, 0x79, &[(5, 0, b"beat")]);
            bundle(s, Server, 0x79, &[(4, 0, b"beat")]);
            bundle(s, Client, 0x70, &[(5, 0, b"beat")]);
            bundle(s, Client, 0x70, &[(0, 3, &[0; 12])]);
            bundle(s, Server, 0x79, &[(0, 3, &[0; 12])]);
        });
        c.both(&format!("sctp/path/data_with_it_{name}"), move |s| {
            bundle(s, Client, 0x77, &[(4, 0, b"beat"), (3, 0, &[0; 12])]);
            bundle(s, Client, 0x77, &[(4, 0, b"beat")]);
            bundle(s, Server, tag, &[(5, 0, b"beat"), (0, 3, &[0; 12])]);
            bundle(s, Server, tag, &[(7, 0, &[0; 4])]);
            bundle(s, Client, 0x77, &[(8, 0, NONE)]);
            bundle(s, Server, tag, &[(14, 0, NONE)]);
            bundle(s, Client, 0, &[(1, 0, &init(0xc1))]);
        });
    }
}
