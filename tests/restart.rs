//! Bans over a restart, by the library.

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::Name;
use common::link::veth;
use common::netns::Netns;
use common::present;
use conntrack::Config;
use conntrack::ErrorKind;
use conntrack::Keep;
use conntrack::ListSpec;
use conntrack::Listed;
use conntrack::NetnsRef;
use conntrack::Tracker;
use tempfile::TempDir;

/// A tracker that keeps its bans in this folder.
fn track(name: &Name, ns: &Netns, state: &Path, keep: Keep) -> Tracker {
    track_as(Config::default(), name, ns, state, keep)
}

fn track_as(mut config: Config, name: &Name, ns: &Netns, state: &Path, keep: Keep) -> Tracker {
    config.state_dir = Some(state.to_owned());
    let builder = Tracker::builder().config(config).instance(&name.0);
    let builder = builder.netns(NetnsRef::Path(ns.path())).interface("wire");
    builder.max_flows(1000).keep(keep).attach().expect("attach")
}

fn bans(tracker: &Tracker) -> Vec<String> {
    let bans = tracker.bans().map(|ban| ban.expect("a ban"));
    let mut bans: Vec<_> = bans
        .map(|ban| format!("{} {}", ban.target, ban.origin))
        .collect();
    bans.sort();
    bans
}

fn ban(tracker: &Tracker, target: &str) {
    tracker.ban(target.parse().expect(target)).expect("ban");
}

fn wire() -> (Netns, Netns) {
    let (here, there) = (Netns::new(), Netns::new());
    veth((&here, "wire"), (&there, "wire"));
    (here, there)
}

#[test]
#[ignore = "root"]
fn a_program_keeps_its_bans_once_it_is_persisted() {
    let (here, _there) = wire();
    let (name, state) = (Name::new(), TempDir::new().expect("a folder"));
    let first = track(&name, &here, state.path(), Keep::Pinned);
    ban(&first, "203.0.113.1");
    first.detach().expect("detach");

    // Its own alone: nothing is restored, and nothing written.
    let own = track(&name, &here, state.path(), Keep::Process);
    assert_eq!(bans(&own), [""; 0]);
    ban(&own, "203.0.113.2");
    let listed = Listed::new("198.51.100.0/24".parse().expect("a network"));
    let spec = ListSpec::new("drop");
    own.load_list(&spec, &[listed], |_| ()).expect("load");
    assert!(!state.path().join(&name.0).join("list-drop").exists());
    let all = [
        "198.51.100.0/24 list:drop",
        "203.0.113.1 api",
        "203.0.113.2 api",
    ];
    own.persist().expect("persist");
    assert_eq!(bans(&own), all, "what was kept before as well");
    own.detach().expect("detach");

    let last = track(&name, &here, state.path(), Keep::Visible);
    assert_eq!(bans(&last), all);
    last.detach().expect("detach");
}

#[test]
#[ignore = "root"]
fn what_cannot_be_written_is_told_and_in_force() {
    let (here, _there) = wire();
    let (name, state) = (Name::new(), TempDir::new().expect("a folder"));
    // A file in the folder's place.
    fs::write(state.path().join(&name.0), "").expect("write");
    let tracker = track(&name, &here, state.path(), Keep::Process);
    ban(&tracker, "203.0.113.1");
    let error = tracker
        .persist()
        .expect_err("there is no folder to write to");
    let path = state.path().join(&name.0).display().to_string();
    assert!(format!("{error:#}").contains(&path), "{error:#}");
    // It is pinned all the same, and so is what comes later in force.
    tracker.persist().expect("it is");
    drop(tracker);
    let opened = Tracker::open(&name.0).expect("open");
    let wish = "203.0.113.2".parse().expect("an address");
    let error = opened.ban(wish).expect_err("it cannot be kept");
    assert!(error.to_string().contains("it is in force"), "{error:#}");
    assert_eq!(bans(&opened), ["203.0.113.1 api", "203.0.113.2 api"]);
    assert_eq!(present(&here, "wire").len(), 2);
    opened.detach().expect("detach");
}

#[test]
#[ignore = "root"]
fn who_holds_a_tracker_that_was_detached_does_not_write_over_the_next_ones_bans() {
    let (here, _there) = wire();
    let (name, state) = (Name::new(), TempDir::new().expect("a folder"));
    drop(track(&name, &here, state.path(), Keep::Pinned));
    let stale = Tracker::open(&name.0).expect("open");
    let other = Tracker::open(&name.0).expect("open");
    other.detach().expect("detach");
    let next = track(&name, &here, state.path(), Keep::Pinned);
    ban(&next, "203.0.113.1");
    let file = || fs::read(state.path().join(&name.0).join("bans")).expect("kept");
    let kept = file();
    let wish = "203.0.113.2".parse().expect("an address");
    let errors = [
        stale.save_bans().expect_err("it is detached"),
        stale.ban(wish).expect_err("it is detached"),
        stale.unban_all().expect_err("it is detached"),
        stale.set_threshold(None).expect_err("it is detached"),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    }
    assert_eq!(file(), kept);
    assert_eq!(bans(&next), ["203.0.113.1 api"]);
    next.detach().expect("detach");
}

/// With the time that they have left.
#[test]
#[ignore = "root"]
fn fingerprints_stay_banned() {
    const PATTERN: &str = "4:64:0:*:1024,0:mss::0";
    const FOR_EVER: &str = "*:64:0:*:mss*10,7:mss,sok,ts,nop,ws:df,id+:0";
    let (here, _there) = wire();
    let (name, state) = (Name::new(), TempDir::new().expect("a folder"));
    let banned = |tracker: &Tracker| {
        let mut all = tracker.fingerprint_bans().expect("bans");
        all.sort_by_key(|ban| ban.until.is_none());
        all
    };
    let first = track(&name, &here, state.path(), Keep::Pinned);
    let hour = Some(Duration::from_secs(3600));
    let put = |ttl, dry_run, pattern| first.ban_fingerprint(pattern, ttl, dry_run);
    put(hour, false, PATTERN).expect("ban");
    put(None, true, FOR_EVER).expect("ban");
    let all = banned(&first);
    first.detach().expect("detach");

    let second = track(&name, &here, state.path(), Keep::Pinned);
    let kept = banned(&second);
    assert_eq!(kept.len(), 2);
    for (kept, was) in kept.iter().zip(&all) {
        assert_eq!(kept.pattern, was.pattern);
        assert_eq!((kept.since, kept.dry_run), (was.since, was.dry_run));
        match (kept.until, was.until) {
            (Some(one), Some(other)) => assert!(one.0.abs_diff(other.0) < 1_000_000_000),
            (one, other) => assert_eq!(one, other),
        }
    }
    second.detach().expect("detach");

    // Where there can be none they wait.
    let mut config = Config::default();
    config.fingerprints.enabled = false;
    let off = track_as(config, &name, &here, state.path(), Keep::Process);
    off.persist().expect("persist");
    assert_eq!(banned(&off), []);
    off.detach().expect("detach");

    let own = track(&name, &here, state.path(), Keep::Process);
    assert_eq!(banned(&own), [], "its own alone");
    own.persist().expect("persist");
    assert_eq!(banned(&own).len(), 2);
    assert!(own.unban_fingerprint(PATTERN).expect("unban"));
    own.detach().expect("detach");

    let third = track(&name, &here, state.path(), Keep::Pinned);
    assert_eq!(banned(&third)[..], kept[1..]);
    assert_eq!(third.unban_all().expect("unban"), 1);
    assert!(!state.path().join(&name.0).join("fingerprints").exists());
    third.detach().expect("detach");

    let last = track(&name, &here, state.path(), Keep::Pinned);
    assert_eq!(banned(&last), []);
    last.detach().expect("detach");
}
