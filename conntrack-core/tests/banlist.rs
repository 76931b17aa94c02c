//! Plain lists, tables and JSON as other programs write them.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

#[path = "common/lists.rs"]
mod lists;

use std::time::Duration;

use conntrack_core::Timestamp;
use conntrack_core::banlist::Column;
use conntrack_core::banlist::Format;
use conntrack_core::banlist::Found;
use conntrack_core::banlist::ReadError;
use conntrack_core::banlist::read;
use conntrack_core::cidr::HostBits;
use lists::options;
use lists::run;
use lists::texts;

#[test]
fn plain_with_comments() {
    let list = "\u{feff}# from somewhere\r\n\
        \r\n\
        203.0.113.7\r\n\
        \t198.51.100.0/24   # scans, often\r\n\
        ; another kind of comment\r\n\
        1.10.16.0/20 ; SBL256894\r\n\
        2001:db8::1\r\n\
        2001:db8:1::/48 ## twice\r\n\
        192.0.2.1 - 192.0.2.2\r\n\
        10.1.2.3/8\r\n\
        evil.example\r\n\
        1.2.3.4 5.6.7.8\r\n\
        0.0.0.0/0\r\n\
        9.9.9.9";
    let (entries, bad, summary) = run(list, &options());
    assert_eq!(
        entries,
        [
            "203.0.113.7",
            "198.51.100.0/24 (scans, often)",
            "1.10.16.0/20 (SBL256894)",
            "2001:db8::1",
            "2001:db8:1::/48 (twice)",
            "192.0.2.1/32",
            "192.0.2.2/32",
            "10.0.0.0/8",
            "9.9.9.9",
        ]
    );
    assert_eq!(
        texts(&bad),
        [
            "line 11: \"evil.example\": it looks like a name, and names are not looked up",
            "line 12: \"1.2.3.4 5.6.7.8\": something follows the address",
            "line 13: \"0.0.0.0/0\": it holds every address there is",
        ]
    );
    assert_eq!(summary.format, Format::Plain);
    assert_eq!((summary.lines, summary.items, summary.ignored), (14, 11, 3));
    assert_eq!(summary.masked, 1);
    assert!(summary.is_complete());

    let mut strict = options();
    strict.host_bits = HostBits::Refuse;
    strict.everything = true;
    let (entries, bad, _) = run(list, &strict);
    assert!(entries.contains(&"0.0.0.0/0".to_owned()));
    let wanted = "line 10: \"10.1.2.3/8\": bits beyond the prefix are set: is 10.0.0.0/8 meant?";
    assert_eq!(bad[0].to_string(), wanted);
}

#[test]
fn netset_says_how_many_there_are() {
    let list = include_str!("data/lists/firehol.netset");
    let (entries, bad, summary) = run(list, &options());
    assert_eq!(
        entries,
        [
            "0.0.0.0/8",
            "192.0.2.0/24",
            "198.51.100.7",
            "203.0.113.8/31"
        ]
    );
    assert!(bad.is_empty());
    assert_eq!(summary.format, Format::Netset);
    assert_eq!(summary.declared, Some(4));
    assert!(summary.is_complete());

    let half = list.strip_suffix("203.0.113.8/31\n").unwrap();
    let (entries, _, summary) = run(half, &options());
    assert_eq!(entries.len(), 3);
    assert!(!summary.is_complete());
}

#[test]
fn table_with_names() {
    let list = "# made today\n\
        first_seen,dst_ip,dst_port,\"description\",ttl\n\
        2026-11-25,192.0.2.1,443,\"a \"\"bad\"\" one, very\",\n\
        2026-11-25,2001:db8::/32,80,,3600\n\
        2026-11-25,192.0.2.9,80,x,soon\n\
        2026-11-25,,80,x,\n\
        2026-11-25,192.0.2.2\n\
        2026-11-25,192.0.2.3,1,\"open\n\
        2026-11-25,192.0.2.4,1,mid\"dle,1h30m\n";
    let (entries, bad, summary) = run(list, &options());
    assert_eq!(
        entries,
        [
            "192.0.2.1 (a \"bad\" one, very)",
            "2001:db8::/32 +3600s",
            "192.0.2.2",
            "192.0.2.4 +5400s (mid\"dle)",
        ]
    );
    let why: Vec<&str> = bad.iter().map(|item| item.why.as_str()).collect();
    assert_eq!(
        why,
        [
            "the time it lasts is neither seconds nor such as 1h30m",
            "there is no address",
            "a quote is not closed",
        ]
    );
    assert_eq!(summary.format, Format::Csv);
    assert_eq!((summary.lines, summary.ignored, summary.items), (9, 2, 7));
}

#[test]
fn table_columns_are_chosen() {
    let list = "when;Source Address;Other IP;ttl\n1;192.0.2.1;192.0.2.7;5\n2;192.0.2.2;x;6\n";
    let with = |column: &str| {
        let mut options = options();
        options.column = Some(column.parse().unwrap());
        run(list, &options).0
    };
    assert_eq!(with("source address"), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(with("2"), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(with("3"), ["192.0.2.7"]);
    // Not known by its name, but by what is in it; other columns by their names.
    assert_eq!(run(list, &options()).0, ["192.0.2.1 +5s", "192.0.2.2 +6s"]);

    let mut missing = options();
    missing.column = Some(Column::Name("ip".to_owned()));
    let error = read(list.as_bytes(), &missing, &mut |_| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no column \"ip\", only \"when\", \"Source Address\", \"Other IP\", \"ttl\"",
    );
    missing.column = Some(Column::Number(5));
    let error = read(list.as_bytes(), &missing, &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "there is no column 5, only 4");
    let error = read("a,b\nc,d\n".as_bytes(), &options(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, ReadError::NoAddresses(names) if names == ["a", "b"]));
    assert!("0".parse::<Column>().is_err());
}

#[test]
fn tables_of_other_shapes() {
    for (list, wanted) in [
        (
            "192.0.2.1,x\n192.0.2.2,y\n",
            &["192.0.2.1", "192.0.2.2"][..],
        ),
        ("1,192.0.2.1\n2,192.0.2.2\n", &["192.0.2.1", "192.0.2.2"]),
        ("192.0.2.1\t10\n192.0.2.2\t9\n", &["192.0.2.1", "192.0.2.2"]),
        (
            "192.0.2.1;x;y\n192.0.2.2;x;y\n",
            &["192.0.2.1", "192.0.2.2"],
        ),
        ("ip\n192.0.2.1\n", &["192.0.2.1"]),
        ("\"IP\"\n\"192.0.2.1\"\n", &["192.0.2.1"]),
        ("cidr,asn\n192.0.2.0/24,1\n", &["192.0.2.0/24"]),
        ("prefix,asn\n192.0.2.0/24,1\n", &["192.0.2.0/24"]),
        (
            "addr,prefix\n192.0.2.0,24\n::1,128\n",
            &["192.0.2.0/24", "::1/128"],
        ),
        (
            "Start\tEnd\tAttacks\n192.0.2.0\t192.0.2.255\t9\n",
            &["192.0.2.0/24"],
        ),
        (
            "192.0.2.0 # a, b\n192.0.2.1 ; c\n",
            &["192.0.2.0 (a, b)", "192.0.2.1 (c)"],
        ),
        (
            "ip,until\n192.0.2.1,60\n",
            &["192.0.2.1 @1970-01-01T00:01:00.000000000Z"],
        ),
    ] {
        let (entries, bad, _) = run(list, &options());
        assert_eq!(entries, wanted, "{list:?}: {:?}", texts(&bad));
    }
}

#[test]
fn json_of_all_shapes() {
    let ban = r#"{"addr":"192.0.2.0","prefix":24,"scope":"tcp/22","reason":"x","origin":"manual",
        "since":"2026-11-25T00:00:00.000000000Z","until":"2026-11-25T01:00:00.000000000Z",
        "ttl_s":1,"hits":1,"bytes":2,"last_hit":null,"dry_run":true,"direction":"both",
        "unconfirmed":false}"#
        .replace('\n', "");
    let shown = "192.0.2.0/24 tcp/22 @2026-11-25T01:00:00.000000000Z dry (x)";
    for (list, wanted) in [
        (format!("[{ban}]"), &[shown][..]),
        // One a line.
        (format!("{ban}\n{ban}\n"), &[shown, shown]),
        (
            r#"["192.0.2.1", "2001:db8::/32"]"#.to_owned(),
            &["192.0.2.1", "2001:db8::/32"],
        ),
        (
            r#"{"data": [{"ip": "192.0.2.1"}]}"#.to_owned(),
            &["192.0.2.1"],
        ),
        ("[]".to_owned(), &[]),
    ] {
        let (entries, bad, summary) = run(&list, &options());
        assert_eq!(entries, wanted, "{list}: {:?}", texts(&bad));
        assert_eq!((summary.format, bad.len()), (Format::Json, 0));
        assert_eq!(summary.cut_off, None);
    }
    let odd = r#"["192.0.2.1", 5, null, [1, [2]], true, {"x": 1}, {"ip": "y"}, "z", -1, 1.5]"#;
    let (entries, bad, summary) = run(odd, &options());
    assert_eq!((entries.len(), bad.len(), summary.items), (1, 9, 10));
    assert_eq!(
        bad[0].to_string(),
        "item 2: \"5\": it is neither an address nor an object"
    );
    for nothing in [r#"{"blocked": ["192.0.2.1"]}"#, "{}"] {
        let (entries, bad, _) = run(nothing, &options());
        assert_eq!(entries.len(), 0);
        let [bad] = &texts(&bad)[..] else {
            panic!("{bad:?}")
        };
        assert!(bad.contains("has no list under `bans`"), "{bad}");
    }
}

#[test]
fn entries_become_bans() {
    let now = Timestamp(1_000_000_000_000);
    let specs = |list: &str, exact: bool| {
        let mut specs = Vec::new();
        read(list.as_bytes(), &options(), &mut |found| match found {
            Found::Entry(entry) => specs.push(entry.spec(exact, now)),
            Found::Bad(bad) => panic!("{bad}"),
        })
        .unwrap();
        specs
    };
    let target = |list: &str, exact| specs(list, exact)[0].clone().unwrap().target.to_string();
    assert_eq!(target("2001:db8::1\n", false), "2001:db8::/64");
    assert_eq!(target("2001:db8::1\n", true), "2001:db8::1");
    // To ipset and nft it is this one address.
    assert_eq!(target("add s 2001:db8::1\n", false), "2001:db8::1");
    assert_eq!(target("2001:db8::1/128\n", false), "2001:db8::1");
    let times = specs(
        "ip,until\n192.0.2.1,1060\n192.0.2.2,1000\n192.0.2.3,\n",
        false,
    );
    assert_eq!(
        times[0].as_ref().unwrap().ttl,
        Some(Duration::from_secs(60))
    );
    assert_eq!(times[1], None);
    assert_eq!(times[2].as_ref().unwrap().ttl, None);
    assert_eq!(specs("add s 192.0.2.1 nomatch\n", false), [None]);
}

#[test]
fn what_is_no_list() {
    for (bytes, what) in [
        (&b"\x1f\x8b\x08\0"[..], "gzip"),
        (b"\xff\xfe1\0", "UTF-16"),
        (b"PK\x03\x04", "zip"),
        (b"\n <!DOCTYPE html><html>", "web site"),
    ] {
        let error = read(bytes, &options(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
    // Nothing at all is an empty list.
    let (entries, _, summary) = run("", &options());
    assert_eq!((entries.len(), summary.lines), (0, 0));
}

#[test]
fn formats_have_names() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert!("xml".parse::<Format>().is_err());
}
