//! The file of bans: what is written is read, and damage of every kind is found,
//! named by its place, and costs no more than what it hit.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::collections::BTreeSet;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::time::Duration;

use conntrack_core::Ban;
use conntrack_core::FingerprintBan;
use conntrack_core::Timestamp;
use conntrack_core::ban::BanDirection;
use conntrack_core::ban::BanOrigin;
use conntrack_core::banstate::AllowKind;
use conntrack_core::banstate::BanState;
use conntrack_core::banstate::Damage;
use conntrack_core::banstate::Decoded;
use conntrack_core::banstate::SavedAllow;
use conntrack_core::banstate::SavedEntry;
use conntrack_core::banstate::SavedList;
use conntrack_core::banstate::decode;
use conntrack_core::banstate::encode;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_795_197_157_123_456_789);

fn later(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1_000_000_000)
}

/// One of everything.
fn some() -> BanState {
    let mut scan = Ban::new("203.0.113.0/24".parse().unwrap(), NOW);
    scan.reason = "a \"scan\"\n\u{1f980}".to_owned();
    scan.origin = BanOrigin::Manual;
    scan.until = Some(later(60));
    scan.hits = u64::MAX;
    scan.bytes = 7;
    scan.last_hit = Some(later(1));
    let mut ssh = Ban::new("2001:db8::/64".parse().unwrap(), NOW);
    ssh.target = ssh.target.with_scope("tcp/22".parse().unwrap());
    ssh.direction = BanDirection::Both;
    ssh.dry_run = true;
    ssh.unconfirmed = true;
    let mut except = SavedEntry::new("192.0.2.1".parse().unwrap());
    except.except = true;
    except.until = Some(later(5));
    let mut more = SavedEntry::new("192.0.2.0/24".parse().unwrap());
    more.reason = "SBL1".to_owned();
    let pattern = "4:64:0:*:1024,0:mss::0".to_owned();
    let mut scanner = FingerprintBan::new(pattern, NOW, Some(later(90)));
    scanner.dry_run = true;
    BanState {
        bans: vec![scan, ssh],
        lists: vec![
            SavedList {
                name: "drop".to_owned(),
                source: "/etc/drop.txt".to_owned(),
                updated: NOW,
                entries: vec![more, except],
                complete: true,
            },
            SavedList {
                name: "empty".to_owned(),
                source: String::new(),
                updated: NOW,
                entries: vec![],
                complete: true,
            },
        ],
        allow: vec![SavedAllow {
            net: "198.51.100.0/24".parse().unwrap(),
            kind: AllowKind::Except,
            since: NOW,
            until: None,
            reason: "the office".to_owned(),
        }],
        fingerprints: vec![scanner],
    }
}

/// The records of the state above: 2 bans, 2 lists, 2 entries, 1 allowed, 1
/// fingerprint.
const RECORDS: u64 = 8;

fn encoded(state: &BanState) -> Vec<u8> {
    let mut file = Vec::new();
    encode(state, NOW, &mut file).unwrap();
    file
}

fn decoded(file: &[u8]) -> Decoded {
    decode(file).unwrap()
}

/// Everything of a state that is a record, as texts.
fn records(state: &BanState) -> BTreeSet<String> {
    let bans = state.bans.iter().map(|ban| format!("{ban:?}"));
    let allow = state.allow.iter().map(|allow| format!("{allow:?}"));
    let entries = state.lists.iter().flat_map(|list| {
        let of = |entry| format!("{} {entry:?}", list.name);
        list.entries.iter().map(of)
    });
    let prints = state.fingerprints.iter().map(|ban| format!("{ban:?}"));
    bans.chain(allow).chain(entries).chain(prints).collect()
}

/// Lists whose own record was read.
fn list_records(state: &BanState) -> u64 {
    let known = |list: &&SavedList| list.updated == NOW && list.source == source(&list.name);
    state.lists.iter().filter(known).count() as u64
}

fn source(name: &str) -> &str {
    if name == "drop" { "/etc/drop.txt" } else { "" }
}

/// Of the file of [`some`]: nothing is read that was not written, and what is told
/// of the damage is so.
fn check(file: &[u8], what: &str) -> Option<Damage> {
    let read = match decode(file) {
        Ok(read) => read,
        Err(newer) => panic!("{what}: {newer}"),
    };
    let all = some();
    let Some(damage) = read.damage else {
        assert_eq!(read.state, all, "{what}");
        return None;
    };
    assert!(
        records(&read.state).is_subset(&records(&all)),
        "{what}: {:?}",
        read.state
    );
    let found = records(&read.state).len() as u64 + list_records(&read.state);
    // A list without its own record may look like one with it, if it is `empty`.
    assert!(
        damage.recovered <= found && found <= RECORDS,
        "{what}: {damage}"
    );
    for list in &read.state.lists {
        let whole = all.lists.contains(list);
        assert!(whole || !list.complete, "{what}: {list:?}");
    }
    if !damage.lost_at_least {
        assert_eq!(damage.recovered + damage.lost, RECORDS, "{what}: {damage}");
    }
    assert!(damage.count >= 1 && !damage.places.is_empty(), "{what}");
    assert!(
        damage
            .places
            .iter()
            .all(|place| place.offset <= file.len() as u64)
    );
    Some(damage)
}

#[test]
fn what_is_written_is_read() {
    let file = encoded(&some());
    let read = decoded(&file);
    assert_eq!(read.state, some());
    assert_eq!((read.saved, read.damage), (Some(NOW), None));
    let empty = decoded(&encoded(&BanState::default()));
    assert!(empty.state.is_empty() && empty.damage.is_none());
}

/// The shape on the disk: changing it means a new version.
#[test]
fn the_file_is_this_text() {
    let text = String::from_utf8(encoded(&some())).unwrap();
    let json: Vec<&str> = text.lines().map(|line| &line[9..]).collect();
    let now = NOW.to_string();
    assert_eq!(
        json,
        [
            format!("0 {{\"conntrack_bans\":1,\"saved\":\"{now}\"}}"),
            format!(
                "1 {{\"allow\":{{\"net\":\"198.51.100.0/24\",\"kind\":\"except\",\
                 \"since\":\"{now}\",\"reason\":\"the office\"}}}}"
            ),
            format!(
                "2 {{\"ban\":{{\"net\":\"203.0.113.0/24\",\"origin\":\"manual\",\
                 \"since\":\"{now}\",\"until\":\"{}\",\
                 \"reason\":\"a \\\"scan\\\"\\n\u{1f980}\",\"hits\":18446744073709551615,\
                 \"bytes\":7,\"last_hit\":\"{}\"}}}}",
                later(60),
                later(1)
            ),
            format!(
                "3 {{\"ban\":{{\"net\":\"2001:db8::/64\",\"scope\":\"tcp/22\",\
                 \"origin\":\"api\",\"since\":\"{now}\",\"direction\":\"both\",\
                 \"dry_run\":true,\"unconfirmed\":true}}}}"
            ),
            format!(
                "4 {{\"list\":{{\"name\":\"drop\",\"source\":\"/etc/drop.txt\",\
                 \"updated\":\"{now}\",\"entries\":2}}}}"
            ),
            "5 {\"in\":{\"list\":\"drop\",\"net\":\"192.0.2.0/24\",\"reason\":\"SBL1\"}}"
                .to_owned(),
            format!(
                "6 {{\"in\":{{\"list\":\"drop\",\"net\":\"192.0.2.1/32\",\"except\":true,\
                 \"until\":\"{}\"}}}}",
                later(5)
            ),
            format!("7 {{\"list\":{{\"name\":\"empty\",\"updated\":\"{now}\",\"entries\":0}}}}"),
            format!(
                "8 {{\"fingerprint\":{{\"pattern\":\"4:64:0:*:1024,0:mss::0\",\
                 \"since\":\"{now}\",\"until\":\"{}\",\"dry_run\":true}}}}",
                later(90)
            ),
            json[9].to_owned(),
        ]
    );
    assert!(
        json[9].starts_with("9 {\"end\":{\"records\":8,\"crc\":"),
        "{}",
        json[8]
    );
    // The checksum is the usual CRC-32, as zlib has it.
    assert!(text.starts_with("53b1fae3 0 "), "{text}");
}

#[test]
fn cut_at_every_byte() {
    let file = encoded(&some());
    let lines: Vec<usize> = (0..file.len()).filter(|at| file[*at] == b'\n').collect();
    for length in 0..file.len() {
        let damage = check(&file[..length], &format!("cut at {length}")).unwrap();
        // All lines before the cut but the first are read; and the one that is cut, if
        // only its end is missing.
        let whole = lines.iter().filter(|end| **end <= length).count() as u64;
        let wanted = whole.saturating_sub(1).min(RECORDS);
        assert_eq!(damage.recovered, wanted, "cut at {length}: {damage}");
        assert_eq!(damage.places.len(), 1);
        assert!(damage.places[0].offset <= length as u64);
    }
}

#[test]
fn every_bit_flipped() {
    let file = encoded(&some());
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut broken = file.clone();
            broken[at] ^= 1 << bit;
            let what = format!("bit {bit} of byte {at}");
            let damage = check(&broken, &what).expect(&what);
            // A line, or two if the newline between them is gone.
            let most = if file[at] == b'\n' { 2 } else { 1 };
            assert!(damage.lost <= most, "{what}: {damage}");
            assert!(damage.recovered + most >= RECORDS, "{what}: {damage}");
            let first = &damage.places[0];
            assert!(first.offset <= at as u64, "{what}: {damage}");
            let line = 1 + file[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
            assert_eq!(first.line, line, "{what}: {damage}");
        }
    }
}

#[test]
fn damage_is_told_in_a_line() {
    let mut file = encoded(&some());
    let at = file.iter().position(|byte| *byte == b'\n').unwrap();
    file[at + 30] ^= 1;
    assert_eq!(
        check(&file, "").unwrap().to_string(),
        format!(
            "line 2 (byte {}): its checksum does not fit; 7 records are read, 1 are lost",
            at + 1
        ),
    );
    file.pop();
    assert_eq!(
        check(&file, "").unwrap().to_string(),
        format!(
            "line 2 (byte {}): its checksum does not fit; 1 more place; 7 records are read, \
             1 are lost",
            at + 1
        ),
    );
    let told = check(b"", "").unwrap().to_string();
    let wanted = "line 1 (byte 0): the file is empty; 0 records are read, how many are \
                  lost is not known";
    assert_eq!(told, wanted);
}

#[test]
fn lines_that_move() {
    let text = String::from_utf8(encoded(&some())).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for one in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(one);
        let damage = check(without.concat().as_bytes(), "removed").unwrap();
        assert!(damage.lost <= 1);
        for two in 0..lines.len() {
            let mut doubled = lines.clone();
            doubled.insert(two, lines[one]);
            check(doubled.concat().as_bytes(), "doubled").unwrap();
            if one != two {
                let mut swapped = lines.clone();
                swapped.swap(one, two);
                check(swapped.concat().as_bytes(), "swapped").unwrap();
            }
        }
    }
    check([text.as_str(), &text].concat().as_bytes(), "twice").unwrap();
    check([text.as_str(), "\n"].concat().as_bytes(), "a line more").unwrap();
    // A line of another save, sound in itself, in the place of one.
    let mut other = some();
    other.bans[0].hits = 8;
    let other = String::from_utf8(encoded(&other)).unwrap();
    let mut mixed = lines.clone();
    mixed[2] = other.split_inclusive('\n').nth(2).unwrap();
    let damage = decoded(mixed.concat().as_bytes()).damage.unwrap();
    assert_eq!(
        damage.places[0].why,
        "the checksum of the whole does not fit"
    );
    assert_eq!((damage.recovered, damage.lost), (RECORDS, 0));
}

/// A line of the file with its checksum.
fn line(text: &str) -> String {
    format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()))
}

#[test]
fn other_versions_and_unknown_things() {
    let newer = line("0 {\"conntrack_bans\":2,\"saved\":null,\"colour\":\"red\"}") + "anything\n";
    assert_eq!(decode(newer.as_bytes()).unwrap_err().0, 2);
    // Damaged, it is not taken for a newer one.
    let broken = newer.replace("red", "rad");
    assert!(decode(broken.as_bytes()).unwrap().damage.is_some());

    let header = line("0 {\"conntrack_bans\":1,\"saved\":null}");
    let known = "\"net\":\"10.0.0.0/8\",\"origin\":\"api\",\"since\":\"2026-11-25T00:00:00Z\"";
    for (unknown, why) in [
        (
            format!("1 {{\"ban\":{{{known},\"only_on\":\"eth0\"}}}}"),
            "unknown field `only_on`",
        ),
        (
            format!("1 {{\"ban\":{{{known},\"scope\":\"7/7\"}}}}"),
            "is not a valid scope",
        ),
        ("1 {\"rule\":{}}".to_owned(), "unknown variant `rule`"),
        ("1 {\"ban\":{}}".to_owned(), "missing field `net`"),
        ("1 nonsense".to_owned(), "expected value"),
        ("1".to_owned(), "its checksum does not fit"),
    ] {
        let file = [header.as_str(), &line(&unknown)].concat();
        let read = decoded(file.as_bytes());
        assert!(read.state.is_empty());
        let told = read.damage.unwrap().places[0].to_string();
        assert!(
            told.starts_with("line 2 (byte 45): ") && told.contains(why),
            "{told}"
        );
    }
    let zero = line("0 {\"conntrack_bans\":0,\"saved\":null}");
    assert!(decoded(zero.as_bytes()).damage.is_some());
}

#[test]
fn lists_with_lost_entries_are_incomplete() {
    let text = String::from_utf8(encoded(&some())).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let without = |gone: usize| {
        let mut lines = lines.clone();
        lines[gone] = "?\n";
        decoded(lines.concat().as_bytes()).state
    };
    let drop = &without(5).lists[0];
    assert_eq!((drop.complete, drop.entries.len()), (false, 1));
    // Its own record is lost: the entries are still of it.
    let state = without(4);
    let drop = state.lists.iter().find(|list| list.name == "drop").unwrap();
    assert_eq!(
        (drop.complete, drop.entries.len(), drop.updated),
        (false, 2, NOW)
    );
    // That it is not complete is kept.
    let again = decoded(&encoded(&state));
    assert_eq!((again.state, again.damage), (state, None));
}

#[test]
fn a_line_without_end_is_one_place() {
    let mut file = encoded(&some());
    file.extend(std::iter::repeat_n(b'x', 10 << 20));
    let damage = check(&file, "long").unwrap();
    assert_eq!(
        (damage.recovered, damage.lost, damage.count),
        (RECORDS, 0, 1)
    );
}

#[test]
fn what_cannot_be_read_again_is_not_written() {
    let mut state = some();
    state.lists[0].name = "x".repeat(1 << 16);
    let error = encode(&state, NOW, &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

/// A disk that fails at a byte.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("Input/output error")),
            read => Ok(read),
        }
    }
}

#[test]
fn disk_that_fails_costs_only_the_rest() {
    let file = encoded(&some());
    let read = decode(BufReader::new(Failing(&file[..file.len() / 2]))).unwrap();
    let damage = read.damage.unwrap();
    assert!(damage.recovered >= 2 && damage.lost_at_least);
    assert_eq!(
        damage.places[0].why,
        "it cannot be read: Input/output error"
    );
}

#[test]
fn time_goes_on() {
    let mut state = some();
    assert_eq!(state.resume(later(10)), 1);
    assert_eq!(state.bans[0].ttl, Some(Duration::from_secs(50)));
    assert_eq!(state.bans[1].ttl, None);
    assert_eq!(state.lists[0].entries.len(), 1);
    assert_eq!(state.resume(later(60)), 1);
    assert_eq!((state.bans.len(), state.len()), (1, 4));
    assert_eq!(state.resume(later(90)), 1);
    assert_eq!(state.fingerprints, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever is done to a file.
    #[test]
    fn any_damage(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40,
            prop::collection::vec(any::<u8>(), 0..40)), 1..4),
    ) {
        let mut file = encoded(&some());
        for (at, length, bytes) in edits {
            if file.is_empty() {
                break;
            }
            let start = at.index(file.len());
            let end = (start + length).min(file.len());
            file.splice(start..end, bytes);
        }
        check(&file, "edited");
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let read = decoded(&bytes);
        prop_assert!(read.state.is_empty() && read.damage.is_some());
    }
}
