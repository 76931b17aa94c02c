//! Lists of bans, and bans over a restart, on running trackers.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::netns::Netns;
use crate::run::Run;
use crate::schema;

const PLAIN: &str = "# bad ones\n203.0.113.7\n198.51.100.0/24 # scans\nnonsense!\n2001:db8::7\n";

/// It did what it was asked for, and said so.
#[track_caller]
fn done(run: Run) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
}

impl Netns {
    fn file(&self, name: &str, text: &str) -> String {
        let path = std::env::temp_dir().join(format!("{}-{name}", self.name));
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Loads a list from a file that is removed then.
    fn load(&self, text: &str, args: &[&str]) -> Run {
        let path = self.file("list.txt", text);
        let run = self.run(&[&["ban", "--file", &path], args].concat());
        fs::remove_file(path).unwrap();
        run
    }

    /// The bans there are, as `ADDR/PREFIX`, sorted.
    fn bans(&self, args: &[&str]) -> Vec<String> {
        let bans = self.banned(args);
        let mut nets: Vec<_> = bans
            .iter()
            .map(|ban| format!("{}/{}", ban["addr"].as_str().unwrap(), ban["prefix"]))
            .collect();
        nets.sort();
        nets
    }

    fn banned(&self, args: &[&str]) -> Vec<Value> {
        let args = [&["banned", "-o", "json"], args].concat();
        let bans: Vec<Value> = serde_json::from_str(&self.run(&args).ok()).unwrap();
        bans.iter().for_each(|ban| schema::check("ban", ban));
        bans
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.state_dir().join(&self.name).join(name)
    }
}

#[test]
#[ignore = "root"]
fn a_list_is_loaded_replaced_and_ended() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    let run = netns.load(PLAIN, &["--list", "drop", "--reason", "feed"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.stderr.contains("line 4: \"nonsense!\""), "{run:?}");
    assert!(
        run.stderr.contains("list drop: 3 bans in force, 0 before"),
        "{run:?}"
    );
    let all = ["198.51.100.0/24", "2001:db8::/64", "203.0.113.7/32"];
    assert_eq!(netns.bans(&["--origin", "list:drop"]), all);
    let reasons: Vec<_> = netns
        .banned(&[])
        .iter()
        .map(|ban| ban["reason"].clone())
        .collect();
    assert!(
        reasons.contains(&"scans".into()) && reasons.contains(&"feed".into()),
        "{reasons:?}"
    );

    // Added to, then replaced.
    done(netns.load("203.0.113.8\n203.0.113.7\n", &["--list", "drop"]));
    assert_eq!(netns.bans(&[]).len(), 4);
    let run = netns.load(
        "203.0.113.8\n192.0.2.0/25\n",
        &["--list", "drop", "--replace"],
    );
    assert!(
        run.stderr.contains("list drop: 2 bans in force, 4 before"),
        "{run:?}"
    );
    assert_eq!(netns.bans(&[]), ["192.0.2.0/25", "203.0.113.8/32"]);
    let lists = netns.run(&["banned", "--lists"]).ok();
    assert!(
        lists.lines().nth(1).unwrap().starts_with("drop "),
        "{lists}"
    );

    // A list that is cut off replaces nothing.
    let cut = "table inet t {\n set drop {\n  type ipv4_addr\n  elements = { 10.9.0.1,\n   10.9.0.2, 10.9.0";
    let run = netns.load(cut, &["--list", "drop", "--replace", "--format", "nft"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    // Nor does what a failed download leaves.
    let run = netns.load("", &["--list", "drop", "--replace"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert_eq!(netns.bans(&[]), ["192.0.2.0/25", "203.0.113.8/32"]);

    // Nor one that cannot be read.
    let unread = ["ban", "--file", "/proc/self/mem", "--list", "drop"];
    let replace = [&unread[..], &["--replace"]].concat();
    netns.run(&replace).failed(2, "/proc/self/mem: ");
    assert_eq!(netns.bans(&[]), ["192.0.2.0/25", "203.0.113.8/32"]);

    assert_eq!(netns.run(&["unban", "--list", "drop"]).code, Some(0));
    assert_eq!(netns.run(&["unban", "--list", "drop"]).code, Some(1));
    assert_eq!(netns.bans(&[]), [""; 0]);
}

#[test]
#[ignore = "root"]
fn a_dry_run_is_tried_beside_what_drops() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    let old = "203.0.113.7\n";
    done(netns.load(old, &["--list", "drop"]));
    // What drops goes on, and is not what is tried.
    for args in [
        &["--list", "drop", "--dry-run", "--replace"][..],
        &["--list", "drop", "--dry-run"],
        &["--list", "drop", "--direction", "both"],
    ] {
        netns
            .load("203.0.113.8\n", args)
            .failed(2, "the list drop drops");
    }
    let [ban] = &netns.banned(&[])[..] else {
        panic!()
    };
    assert_eq!(
        (&ban["addr"], &ban["dry_run"]),
        (&"203.0.113.7".into(), &false.into())
    );

    // A list that is tried is replaced as any other, then put in force.
    let tried = ["--list", "new", "--replace", "--dry-run"];
    done(netns.load("192.0.2.1\n", &tried));
    let run = netns.load("192.0.2.2\n192.0.2.3\n", &tried);
    run.ok_saying("list new: 2 bans counted, not dropped, 1 before");
    let of_new = || {
        let bans = netns.banned(&["--origin", "list:new"]);
        bans.iter()
            .map(|ban| ban["dry_run"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of_new(), vec![Value::from(true); 2]);
    let run = netns.load("192.0.2.4\n", &["--list", "new"]);
    run.failed(2, "the list new is a dry run");
    let run = netns.load("192.0.2.2\n", &["--list", "new", "--replace"]);
    run.ok_saying("list new: 1 ban in force, 2 before");
    assert_eq!(of_new(), vec![Value::from(false)]);
}

#[test]
#[ignore = "root"]
fn lists_say_where_they_come_from_and_since_when() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    let list = || {
        let lists = netns.run(&["banned", "--lists", "-o", "json"]).ok();
        let lists: Vec<Value> = serde_json::from_str(&lists).unwrap();
        lists.iter().for_each(|it| schema::check("ban_list", it));
        let [list] = &lists[..] else {
            panic!("{lists:?}")
        };
        list.clone()
    };
    assert_eq!(netns.run(&["banned", "--lists", "-o", "json"]).ok(), "[]\n");
    let file = netns.file("list.txt", "203.0.113.7\n203.0.113.8\n");
    let load = ["ban", "--file", &file, "--list", "drop"];
    done(netns.run(&load));
    fs::remove_file(&file).unwrap();
    let first = list();
    assert_eq!(
        (&first["source"], &first["bans"]),
        (&file.clone().into(), &2.into())
    );
    // Somebody adds one.
    let add = ["ban", "--file", "-", "--list", "drop"];
    done(netns.feed(&add, b"203.0.113.9\n"));
    let added = list();
    let both = format!("{file}, standard input");
    assert_eq!(
        (&added["source"], &added["bans"]),
        (&both.into(), &3.into())
    );
    assert!(added["updated"].as_str() > first["updated"].as_str());
    done(netns.feed(&add, b"203.0.113.10\n"));
    let again = list();
    assert_eq!(again["source"], added["source"], "told once");

    netns.run(&["detach"]).ok();
    netns.run(&["attach", "lo"]).ok_saying("in force again, 4");
    assert_eq!(list(), again, "a restart loads nothing new");
    let line = netns.run(&["banned", "--lists", "-o", "jsonl"]).ok();
    assert_eq!(schema::document("ban_list", &line), again);
    let updated = &again["updated"].as_str().unwrap()[..19];
    let table = netns.run(&["banned", "--lists", "--no-header"]).ok();
    assert!(
        table.starts_with("drop  ") && table.contains(updated),
        "{table}"
    );
    let csv = netns.run(&["banned", "--lists", "-o", "csv"]).ok();
    assert!(
        csv.starts_with("name,bans,") && csv.contains("\ndrop,4,"),
        "{csv}"
    );
    let nft = netns.run(&["banned", "--lists", "-o", "nft"]);
    nft.failed(2, "--origin list:NAME");

    // In the place of it comes what is read then.
    done(netns.feed(
        &["ban", "--file", "-", "--list", "drop", "--replace"],
        b"192.0.2.1\n",
    ));
    assert_eq!(list()["source"], "standard input");
}

#[test]
#[ignore = "root"]
fn a_ban_has_several_owners() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    netns.run(&["ban", "203.0.113.7", "--ttl", "1h", "--reason", "mine"]);
    done(netns.load("203.0.113.7\n", &["--list", "a"]));
    done(netns.load("203.0.113.7\n", &["--list", "b", "--dry-run"]));
    let [ban] = &netns.banned(&[])[..] else {
        panic!()
    };
    assert_eq!(
        (&ban["origin"], &ban["until"]),
        (&"manual".into(), &Value::Null)
    );
    assert_eq!(ban["lists"], Value::from(vec!["a", "b"]));
    assert_eq!(ban["dry_run"], false);

    let run = netns.run(&["unban", "203.0.113.7"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.stderr.contains("is banned still, by the list a"),
        "{run:?}"
    );
    assert_eq!(netns.run(&["unban", "--list", "a"]).code, Some(0));
    let [ban] = &netns.banned(&[])[..] else {
        panic!()
    };
    assert_eq!(
        (&ban["origin"], &ban["dry_run"]),
        (&"list:b".into(), &true.into())
    );

    // What is somebody's own goes on without the list.
    netns.run(&["ban", "203.0.113.7", "--ttl", "1h"]);
    netns.run(&["unban", "--list", "b"]);
    let [ban] = &netns.banned(&[])[..] else {
        panic!()
    };
    assert!(
        ban["ttl_s"].as_u64().is_some_and(|left| left <= 3600),
        "{ban}"
    );
    assert_eq!(
        (&ban["origin"], &ban["dry_run"]),
        (&"manual".into(), &false.into())
    );
}

#[test]
#[ignore = "root"]
fn what_is_never_dropped_is_not_by_lists() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    let (mut client, mut server) = netns.connection();
    let preview = netns.load("127.0.0.0/8\n", &["--preview"]);
    assert!(
        preview.stdout.starts_with("0 live flows of 0 hosts"),
        "{preview:?}"
    );
    let run = netns.load("127.0.0.0/8\n203.0.113.0/24\n", &["--list", "all"]);
    assert!(
        run.stderr.contains("1 of them touch what is never dropped"),
        "{run:?}"
    );
    netns.talk(&mut client, &mut server);
}

#[test]
#[ignore = "root"]
fn what_would_be_cut_is_told() {
    let netns = Netns::new();
    netns.ip("addr add 10.7.0.1/32 dev lo");
    netns.run(&["attach", "lo"]).ok();
    netns.datagrams_from("10.7.0.1");
    // Addresses of the host itself are guarded.
    let preview = netns.load("10.7.0.1\n", &["--preview"]);
    assert!(preview.stdout.starts_with("0 live flows"), "{preview:?}");
    netns.ip("addr del 10.7.0.1/32 dev lo");
    let preview = netns.load("10.7.0.0/24\n192.0.2.1\n", &["--preview"]);
    assert_eq!(preview.code, Some(0), "{preview:?}");
    assert!(
        preview.stdout.starts_with("1 live flow of 1 host "),
        "{preview:?}"
    );
    assert_eq!(netns.bans(&[]), [""; 0], "only said");
    done(netns.run(&["ban", "10.7.0.1"]));
    let preview = netns.load("10.7.0.0/24\n", &["--preview"]);
    assert!(
        preview.stdout.starts_with("0 live flows"),
        "cut already: {preview:?}"
    );
}

#[test]
#[ignore = "root"]
fn bans_are_kept_over_a_restart() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    netns.run(&["ban", "203.0.113.7", "--ttl", "1h", "--reason", "scan"]);
    netns.run(&["ban", "203.0.113.9", "--confirm", "60s"]);
    netns.run(&["allow", "192.0.2.10"]);
    done(netns.load("198.51.100.0/24\n", &["--list", "drop"]));
    let before = netns.banned(&["203.0.113.7"]);
    netns.run(&["detach"]).ok();
    let again = netns.run(&["attach", "lo"]);
    again.ok_saying("bans of an earlier run are in force again, 2: ");
    assert_eq!(
        netns.bans(&[]),
        ["198.51.100.0/24", "203.0.113.7/32"],
        "unconfirmed is over"
    );
    let after = netns.banned(&["203.0.113.7"]);
    for field in ["reason", "origin", "since"] {
        assert_eq!(after[0][field], before[0][field]);
    }
    let until = |ban: &Value| ban["until"].as_str().unwrap()[..18].to_owned();
    assert_eq!(until(&after[0]), until(&before[0]), "to ten seconds");
    assert_eq!(netns.bans(&["--origin", "list:drop"]), ["198.51.100.0/24"]);
    assert!(netns.run(&["allow"]).ok().contains("192.0.2.10"));

    // What is ended is not restored; nor is anything, if it is not to be.
    done(netns.run(&["unban", "203.0.113.7"]));
    netns.run(&["detach"]).ok();
    netns.run(&["attach", "lo", "--no-persist"]).ok();
    assert_eq!(netns.bans(&[]), [""; 0]);
    done(netns.run(&["ban", "203.0.113.8"]));
    netns.run(&["detach"]).ok();
    let again = netns.run(&["attach", "lo"]);
    again.ok_saying("in force again, 1: ");
    assert_eq!(netns.bans(&[]), ["198.51.100.0/24"]);
    done(netns.run(&["unban", "--all"]));
    assert!(!netns.kept("list-drop").exists());
}

#[test]
#[ignore = "root"]
fn a_damaged_file_is_set_aside_and_told() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    for last in 1..=20 {
        done(netns.run(&["ban", &format!("203.0.113.{last}")]));
    }
    netns.run(&["detach"]).ok();
    let kept = netns.kept("bans");
    let mut bytes = fs::read(&kept).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&kept, bytes).unwrap();
    let run = netns.run(&["attach", "lo"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stderr.contains("the file of bans is damaged"),
        "{run:?}"
    );
    let left = netns.bans(&[]).len();
    assert!((18..20).contains(&left), "{left}");
    let aside = fs::read_dir(kept.parent().unwrap()).unwrap();
    let aside = aside
        .flatten()
        .any(|it| it.file_name().to_string_lossy().contains("damaged"));
    assert!(aside, "it is kept");
}
