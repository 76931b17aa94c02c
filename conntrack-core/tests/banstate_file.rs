//! The file on the disk: what is left when a save is killed or fails, and what
//! happens to a damaged one.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use conntrack_core::Ban;
use conntrack_core::Timestamp;
use conntrack_core::banstate::BanFile;
use conntrack_core::banstate::BanState;
use conntrack_core::banstate::Outcome;
use conntrack_core::banstate::SavedList;

const NOW: Timestamp = Timestamp(1_795_197_157_123_456_789);

fn state(bans: u32) -> BanState {
    let mut state = BanState::default();
    for low in 0..bans {
        let addr = std::net::Ipv4Addr::from(0x0a00_0000 | low);
        let mut ban = Ban::new(addr.to_string().parse().unwrap(), NOW);
        ban.reason = format!("number {low} of {bans}");
        state.bans.push(ban);
    }
    state
}

fn names(folder: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<OsString> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn saves_and_loads() {
    let folder = tempfile::tempdir().unwrap();
    let file = BanFile::new(folder.path().join("bans"));
    let loaded = file.load(NOW).unwrap();
    assert!(matches!(loaded.outcome, Outcome::Missing) && loaded.state.is_empty());
    for bans in [3, 0, 500] {
        file.save(&state(bans), NOW).unwrap();
        let loaded = file.load(NOW).unwrap();
        assert!(
            matches!(loaded.outcome, Outcome::Sound),
            "{}",
            loaded.outcome
        );
        assert_eq!((loaded.state, loaded.saved), (state(bans), Some(NOW)));
    }
    assert_eq!(names(folder.path()), ["bans"]);
    let mode = fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn damaged_file_is_kept_aside() {
    let folder = tempfile::tempdir().unwrap();
    let file = BanFile::new(folder.path().join("bans"));
    file.save(&state(10), NOW).unwrap();
    let mut broken = fs::read(file.path()).unwrap();
    let middle = broken.len() / 2;
    broken[middle] ^= 0x10;
    fs::write(file.path(), &broken).unwrap();

    let loaded = file.load(NOW).unwrap();
    assert_eq!(loaded.state.bans.len(), 9);
    let told = loaded.outcome.to_string();
    let Outcome::Damaged {
        damage,
        aside,
        repaired,
    } = loaded.outcome
    else {
        panic!("{told}");
    };
    assert_eq!(
        (damage.recovered, damage.lost, damage.lost_at_least),
        (9, 1, false)
    );
    repaired.unwrap();
    let aside = aside.unwrap();
    assert_eq!(aside, folder.path().join("bans.damaged-20261120T175237Z"));
    assert_eq!(fs::read(&aside).unwrap(), broken);
    assert!(
        told.starts_with("the file of bans is damaged: line "),
        "{told}"
    );
    let end = format!(
        "9 records are read, 1 are lost; it is kept as {}",
        aside.display()
    );
    assert!(told.ends_with(&end), "{told}");

    // What was sound is in the file now, and the loss is told once.
    let again = file.load(NOW).unwrap();
    assert!(matches!(again.outcome, Outcome::Sound), "{}", again.outcome);
    assert_eq!(again.state, loaded.state);

    // In the same second again, and with nothing in it.
    fs::write(file.path(), "").unwrap();
    let loaded = file.load(NOW).unwrap();
    assert!(matches!(loaded.outcome, Outcome::Damaged { .. }) && loaded.state.is_empty());
    let second = "bans.damaged-20261120T175237Z-2";
    assert_eq!(
        names(folder.path()),
        ["bans", "bans.damaged-20261120T175237Z", second]
    );
}

#[test]
fn file_of_a_newer_program_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = BanFile::new(folder.path().join("bans"));
    let text = "0 {\"conntrack_bans\":7,\"saved\":null}";
    let newer = format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()));
    fs::write(file.path(), &newer).unwrap();
    let loaded = file.load(NOW).unwrap();
    let told = loaded.outcome.to_string();
    let wanted = "the file of bans is not read: it is of version 7, this program knows 1; it is \
                  kept as ";
    assert!(told.starts_with(wanted), "{told}");
    assert_eq!(fs::read_to_string(file.path()).unwrap(), newer);
    // The next save costs nothing.
    file.save(&state(1), NOW).unwrap();
    let kept = folder.path().join("bans.newer-20261120T175237Z");
    assert_eq!(fs::read_to_string(kept).unwrap(), newer);
}

#[test]
fn failed_save_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = BanFile::new(folder.path().join("bans"));
    file.save(&state(3), NOW).unwrap();
    let mut unwritable = state(5);
    unwritable.lists.push(SavedList {
        name: "x".repeat(1 << 16),
        source: String::new(),
        updated: NOW,
        entries: vec![],
        complete: true,
    });
    let error = file.save(&unwritable, NOW).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("writing /"), "{error}");
    assert_eq!(file.load(NOW).unwrap().state, state(3));
    assert_eq!(names(folder.path()), ["bans"]);

    let gone = BanFile::new(folder.path().join("no/such/bans"));
    let error = gone.save(&state(1), NOW).unwrap_err();
    assert!(error.to_string().starts_with("creating "), "{error}");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_is_no_file_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let file = BanFile::new(folder.path().join("bans"));
    fs::create_dir(file.path()).unwrap();
    let error = file.load(NOW).unwrap_err().to_string();
    assert!(error.ends_with("it is no regular file"), "{error}");
    let error = file.save(&state(1), NOW).unwrap_err().to_string();
    assert!(error.starts_with("renaming "), "{error}");
    assert_eq!(names(folder.path()), ["bans"]);
    fs::remove_dir(file.path()).unwrap();
    // A pipe is not waited for.
    let made = Command::new("mkfifo").arg(file.path()).status().unwrap();
    assert!(made.success());
    assert!(file.load(NOW).is_err());
}

#[test]
fn name_that_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = BanFile::new(folder.path().join("bans"));
    fs::write(file.path(), "rubbish").unwrap();
    fs::create_dir(folder.path().join("bans.damaged-20261120T175237Z")).unwrap();
    let loaded = file.load(NOW).unwrap();
    let Outcome::Damaged { aside, .. } = loaded.outcome else {
        panic!("{}", loaded.outcome);
    };
    assert_eq!(fs::read(aside.unwrap()).unwrap(), b"rubbish");
}

/// The variables that make this test the process that is killed.
const KILLED: &str = "BANSTATE_SAVES_TO";
const FIRST: &str = "BANSTATE_FIRST";

/// A process that saves all the time is killed at any moment: the file is always
/// there, sound, and one of the two that it saves.
#[test]
fn killed_at_any_moment() {
    let sizes = [100, 2000];
    if let Some(path) = std::env::var_os(KILLED) {
        let file = BanFile::new(path);
        let first: usize = std::env::var(FIRST).unwrap().parse().unwrap();
        let states = sizes.map(state);
        // It is killed long before.
        for turn in first..2000 {
            file.save(&states[turn % 2], NOW).unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = BanFile::new(folder.path().join("bans"));
    file.save(&state(7), NOW).unwrap();
    let mut halves = 0;
    for turn in 0..40 {
        let before = fs::metadata(file.path()).unwrap().ino();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed_at_any_moment"])
            .env(KILLED, file.path())
            .env(FIRST, (turn % 2).to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Until it saves; then some moments more.
        while fs::metadata(file.path()).unwrap().ino() == before {
            assert_eq!(child.try_wait().unwrap(), None);
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_micros(turn * 533));
        child.kill().unwrap();
        child.wait().unwrap();

        halves += names(folder.path()).len() - 1;
        let loaded = file.load(NOW).unwrap();
        assert!(
            matches!(loaded.outcome, Outcome::Sound),
            "{}",
            loaded.outcome
        );
        let size = u32::try_from(loaded.state.bans.len()).unwrap();
        assert!(
            sizes.contains(&size) && loaded.state == state(size),
            "{size}"
        );
        // What was half written is gone.
        assert_eq!(names(folder.path()), ["bans"]);
    }
    assert!(halves > 0, "no save was killed in its middle");
}
