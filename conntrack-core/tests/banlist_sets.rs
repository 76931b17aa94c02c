//! Sets of ipset and nft. The files in `tests/data/lists` of nft (1.0.6) and ipset
//! (7.17) are what these programs wrote.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

#[path = "common/lists.rs"]
mod lists;

use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use conntrack_core::Ban;
use conntrack_core::Timestamp;
use conntrack_core::ban::BanTarget;
use conntrack_core::banlist::Format;
use conntrack_core::banlist::WriteOptions;
use conntrack_core::banlist::write;
use lists::options;
use lists::run;
use lists::texts;

#[test]
fn ipset_saves() {
    let list = include_str!("data/lists/ipset-save.txt");
    let (mut entries, bad, summary) = run(list, &options());
    entries.sort();
    let mut wanted = [
        "1.2.3.4/30 +299s",
        "1.2.3.8/31 +299s",
        "10.0.0.0/24 +2147482s",
        "10.0.0.0/24 +299s (it's, x)",
        // The netmask of its set.
        "10.0.0.0/24",
        "10.0.0.6/32 (back\\slash q)",
        "10.0.0.7/32 except",
        "2001:db8::/32 tcp/80",
        "2001:db8::1/128 gre",
        "2001:db8::1/128 udp/22",
        "2001:db8::1/128 udp/23",
    ];
    wanted.sort_unstable();
    assert_eq!(entries, wanted);
    let mut why: Vec<&str> = bad.iter().map(|item| item.why.as_str()).collect();
    why.sort_unstable();
    assert_eq!(
        why,
        [
            "sets of type hash:ip,port,ip hold other things than sources",
            "sets of type hash:net,iface hold other things than sources",
            "sets of type hash:net,iface hold other things than sources",
            "sets of type list:set hold other things than sources",
            "what follows the protocol is no number of a port",
        ]
    );
    assert_eq!(summary.format, Format::Ipset);
    assert_eq!(summary.ignored + summary.items, summary.lines);

    let mut one = options();
    one.set = Some("b".to_owned());
    let (entries, bad, summary) = run(list, &one);
    assert_eq!((entries.len(), bad.len()), (4, 1));
    assert_eq!(summary.items, summary.unselected + 5);
}

#[test]
fn ipset_scripts() {
    let list = "# restore\n\
        create -exist new hash:ip timeout 60\n\
        flush new\n\
        add new 192.0.2.1 -exist\n\
        add new 192.0.2.2 timeout 0\n\
        add new 192.0.2.3 timeout x\n\
        add new\n\
        add new 192.0.2.4 shiny\n\
        del new 192.0.2.1\n\
        swap new old\n\
        -A older 192.0.2.5\n\
        add ports 192.0.2.6,tcp:0\n\
        add ports 192.0.2.6,tcp:1-2000\n\
        add ports 192.0.2.6,5-4\n\
        add ports 192.0.2.6,icmp:5\n\
        add ports 192.0.2.6,443\n\
        flush new\n\
        COMMIT\n\
        what is this\n";
    let (entries, bad, summary) = run(list, &options());
    let good = [
        "192.0.2.1/32 +60s",
        "192.0.2.2/32",
        "192.0.2.5/32",
        "192.0.2.6/32 tcp/443",
    ];
    assert_eq!(entries, good);
    let at: Vec<String> = bad
        .iter()
        .map(|item| format!("{} {}", item.place, item.why))
        .collect();
    assert_eq!(
        at,
        [
            "line 6 its timeout is no number of seconds",
            "line 7 it adds nothing",
            "line 8 what follows the address is not known",
            "line 9 a list takes nothing away",
            "line 12 port 0 stands for none",
            "line 13 it has more than 1024 ports",
            "line 14 the range of ports ends before it begins",
            "line 15 icmp has no ports",
            "line 17 it takes away what was added before",
            "line 19 it is no command of ipset save",
        ]
    );
    assert_eq!(summary.ignored + summary.items, summary.lines);
}

/// What the sets of the ruleset hold; both of its shapes have the same.
const NFT: [&str; 12] = [
    "1.2.3.4/30",
    "1.2.3.8/31",
    "10.0.0.0/8 tcp",
    "10.0.0.0/8 tcp/80",
    "10.0.0.1/32 udp/53",
    "192.168.1.1/32 +3599s (it's, a } x)",
    "2001:db8::/32",
    "8.0.0.0/6",
    "9.9.9.8/32 +299s",
    "9.9.9.9/32 +1799s",
    "::1/128",
    "1.2.3.4/32",
];

/// Why elements of other sets are none.
const NFT_BAD: [&str; 7] = [
    "it has a port without a protocol",
    "it has a port without a protocol",
    "it holds every address there is",
    "it is an element of a map",
    "it is an element of a map",
    "there is no address",
    "there is no address",
];

#[test]
fn nft_ruleset() {
    let mut wanted = NFT;
    wanted.sort_unstable();
    for (list, format) in [
        (include_str!("data/lists/nft-ruleset.txt"), Format::Nft),
        (include_str!("data/lists/nft-ruleset.json"), Format::NftJson),
    ] {
        let (mut entries, bad, summary) = run(list, &options());
        entries.sort();
        assert_eq!(entries, wanted, "{format}");
        let mut why: Vec<&str> = bad.iter().map(|item| item.why.as_str()).collect();
        why.sort_unstable();
        assert_eq!(why, NFT_BAD, "{format}: {:?}", texts(&bad));
        assert_eq!(summary.format, format);
        assert_eq!(summary.cut_off, None);

        let mut one = options();
        one.set = Some("v6".to_owned());
        let (entries, bad, summary) = run(list, &one);
        assert_eq!(
            entries,
            ["::1/128", "1.2.3.4/32", "2001:db8::/32"],
            "{format}"
        );
        assert!(bad.is_empty());
        assert_eq!(summary.items, 3 + summary.unselected);
    }
}

#[test]
fn nft_scripts() {
    let list = "#!/usr/sbin/nft -f\n\
        define bad = { 192.0.2.1, 192.0.2.2 } # both\n\
        add set inet f s { type ipv4_addr; timeout 1d; flags timeout; }\n\
        add element inet f s { 192.0.2.3 timeout 1m,\\\n\
          192.0.2.4 comment \"no # comment, { none }\" ,\n\
          nonsense, 192.0.2.5 : accept, 192.0.2.6 and more, }\n\
        delete element inet f s { 192.0.2.7 }\n\
        add rule inet f c ip saddr { 192.0.2.8 } drop\n\
        table inet f { set t { typeof ip saddr . tcp dport; elements={ 192.0.2.9 . 22 } }\n\
        set u { typeof ip saddr . tcp sport\n elements =\n { 192.0.2.9 . 22, } } }\n\
        192.0.2.10\n";
    let (entries, bad, summary) = run(list, &options());
    assert_eq!(
        entries,
        [
            "192.0.2.1/32",
            "192.0.2.2/32",
            "192.0.2.3/32 +60s",
            "192.0.2.4/32 (no # comment, { none })",
            "192.0.2.9/32 tcp/22",
        ]
    );
    let at: Vec<String> = bad
        .iter()
        .map(|item| format!("{} {}", item.place, item.why))
        .collect();
    assert_eq!(
        at,
        [
            "line 6 it looks like a name, and names are not looked up",
            "line 6 it is an element of a map",
            "line 6 something follows the address",
            "line 7 a list takes nothing away",
            "line 12 it is more than an address, a protocol and a port",
            "line 13 it is in no set",
        ]
    );
    assert_eq!((summary.lines, summary.cut_off), (13, None));
}

#[test]
fn lists_that_end_too_early() {
    let list = include_str!("data/lists/nft-ruleset.txt");
    let at = list.find("8.0.0.0/6").unwrap();
    let (entries, bad, summary) = run(&list[..at + 5], &options());
    assert_eq!(entries, ["1.2.3.4/30", "1.2.3.8/31"]);
    // `8.0.0` of `8.0.0.0/6`, which might have been an address.
    assert_eq!(bad[0].text, "8.0.0");
    assert_eq!(
        summary.cut_off.unwrap(),
        "line 8: the list ends before its last brace"
    );

    let list = include_str!("data/lists/nft-ruleset.json");
    let at = list.find(r#"{"prefix""#).unwrap();
    let (entries, bad, summary) = run(&list[..at], &options());
    assert_eq!((entries.len(), bad.len()), (2, 0));
    let why = summary.cut_off.as_deref().unwrap();
    assert!(why.starts_with("after item 1: EOF while parsing"), "{why}");
    assert!(!summary.is_complete());
}

/// What nft itself says it has after it was given a list, in a namespace of its own.
fn through_nft(list: &[u8], load: &str, show: &str) -> String {
    let script = format!("nft {load} -f - && nft {show} list ruleset");
    let mut nft = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    nft.stdin.take().unwrap().write_all(list).unwrap();
    let output = nft.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Networks in networks, scopes, times and reasons: the real nft takes what is
/// written, and has the same.
#[test]
#[ignore = "root"]
fn nft_takes_what_is_written() {
    let mut bans = Vec::new();
    for (net, scope, ttl) in [
        ("10.0.0.0/8", "any", None),
        ("10.1.0.0/16", "any", Some(90_000)),
        ("10.1.2.3/32", "any", None),
        ("0.0.0.0/1", "any", None),
        ("10.0.0.0/8", "tcp/22", Some(3600)),
        ("10.1.0.0/16", "tcp/22", None),
        ("10.0.0.0/8", "udp/53", None),
        ("10.0.0.0/8", "gre", None),
        ("10.0.0.0/8", "50", None),
        ("2001:db8::/32", "any", None),
        ("2001:db8::1/128", "any", Some(7200)),
        ("2001:db8::/48", "icmpv6", None),
    ] {
        let target = BanTarget::new(net.parse().unwrap());
        let target = target.with_scope(scope.parse().unwrap());
        let mut ban = Ban::new(target, Timestamp(0));
        ban.ttl = ttl.map(std::time::Duration::from_secs);
        ban.reason = "it's, a } \\ # ; \"reason\"".to_owned();
        bans.push(ban);
    }
    let listed = |list: &str| {
        let (mut entries, bad, summary) = run(list, &options());
        assert!(
            bad.is_empty() && summary.is_complete(),
            "{list}: {:?}",
            texts(&bad)
        );
        entries.sort();
        entries
    };
    // Some of the time is over when nft is asked: what is left is rounded up.
    let rounded = |entries: Vec<String>| -> Vec<String> {
        let entries = entries.into_iter().map(|entry| {
            let Some((net, left)) = entry.split_once(" +") else {
                return entry;
            };
            let (seconds, reason) = left.split_once("s ").unwrap();
            let hundreds = seconds.parse::<u64>().unwrap().div_ceil(100);
            format!("{net} +{hundreds}00s {reason}")
        });
        entries.collect()
    };
    for (format, load) in [(Format::Nft, ""), (Format::NftJson, "-j")] {
        let mut list = Vec::new();
        let said = write(&mut list, format, bans.iter(), &WriteOptions::default()).unwrap();
        assert_eq!(said.written, bans.len() as u64);
        let wanted = listed(std::str::from_utf8(&list).unwrap());
        assert_eq!(wanted.len(), bans.len());
        for show in ["-n", "-n -j"] {
            let found = listed(&through_nft(&list, load, show));
            assert_eq!(rounded(found), rounded(wanted.clone()), "{format} {show}");
        }
    }
}
