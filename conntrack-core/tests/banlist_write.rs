//! Lists that are written are read again as the same bans.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use conntrack_core::Ban;
use conntrack_core::Timestamp;
use conntrack_core::ban::BanDirection;
use conntrack_core::ban::BanOrigin;
use conntrack_core::ban::BanScope;
use conntrack_core::ban::BanTarget;
use conntrack_core::banlist::Format;
use conntrack_core::banlist::Found;
use conntrack_core::banlist::ListEntry;
use conntrack_core::banlist::ReadOptions;
use conntrack_core::banlist::WriteOptions;
use conntrack_core::banlist::Written;
use conntrack_core::banlist::read;
use conntrack_core::banlist::write;
use ipnet::IpNet;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

fn ban(net: &str) -> Ban {
    let net: IpNet = net.parse().unwrap();
    Ban::new(BanTarget::new(net), NOW)
}

fn with_scope(net: &str, scope: &str) -> Ban {
    let mut ban = ban(net);
    ban.target = ban.target.with_scope(scope.parse().unwrap());
    ban
}

fn lasting(net: &str, ttl: Duration, reason: &str) -> Ban {
    let mut ban = ban(net);
    ban.ttl = Some(ttl);
    ban.until = Some(Timestamp(NOW.0 + i64::try_from(ttl.as_nanos()).unwrap()));
    ban.reason = reason.to_owned();
    ban
}

fn written(format: Format, bans: &[Ban]) -> (String, Written) {
    let mut out = Vec::new();
    let written = write(&mut out, format, bans.iter(), &WriteOptions::default()).unwrap();
    (String::from_utf8(out).unwrap(), written)
}

fn read_again(format: Format, list: &str) -> Vec<ListEntry> {
    let mut options = ReadOptions::default();
    options.everything = true;
    let mut entries = Vec::new();
    let summary = read(list.as_bytes(), &options, &mut |found| match found {
        Found::Entry(entry) => entries.push(entry),
        Found::Bad(bad) => panic!("{format}: {bad}"),
    });
    let summary = summary.unwrap();
    assert!(summary.is_complete(), "{format}: {summary:?}");
    if !entries.is_empty() {
        assert_eq!(summary.format, format, "{list}");
    }
    entries
}

fn some() -> Vec<Ban> {
    let mut both = ban("203.0.113.0/24");
    both.direction = BanDirection::Both;
    both.origin = BanOrigin::List("a, \"b\"".to_owned());
    let mut dry = ban("192.0.2.200/32");
    dry.dry_run = true;
    vec![
        both,
        dry,
        lasting(
            "198.51.100.7/32",
            Duration::from_millis(60_500),
            "say \"no\", ok\nnow",
        ),
        with_scope("10.0.0.0/8", "tcp/22"),
        with_scope("10.0.0.0/8", "gre"),
        ban("2001:db8::/64"),
        ban("2001:db8::1/128"),
    ]
}

#[test]
fn plain_and_netset() {
    let (list, said) = written(Format::Plain, &some());
    assert_eq!(
        list,
        "203.0.113.0/24\n198.51.100.7\n2001:db8::/64\n2001:db8::1/128\n"
    );
    assert_eq!(
        (said.written, said.dry_run, said.scoped, said.one_way),
        (4, 1, 2, 1)
    );
    let (list, again) = written(Format::Netset, &some());
    assert!(list.contains("# Entries         : 4 subnets\n"), "{list}");
    assert_eq!(again, said);
    assert_eq!(read_again(Format::Netset, &list).len(), 4);
}

#[test]
fn csv_has_everything() {
    let (list, said) = written(Format::Csv, &some());
    assert_eq!(said.written, 7);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(
        lines[0],
        "addr,prefix,scope,reason,origin,since,until,ttl_s,hits,bytes,last_hit,dry_run,direction,\
         unconfirmed"
    );
    assert_eq!(
        lines[1],
        "203.0.113.0,24,any,,\"list:a, \"\"b\"\"\",2027-01-15T08:00:00.000000000Z,,,0,0,,false,\
         both,false"
    );
    assert!(
        lines[3].contains(",\"say \"\"no\"\", ok now\","),
        "{}",
        lines[3]
    );
}

#[test]
fn ipset_restores() {
    let (list, said) = written(Format::Ipset, &some());
    assert_eq!(
        list,
        "create banned_v4 hash:net family inet hashsize 1024 maxelem 65536 timeout 0 comment\n\
         add banned_v4 198.51.100.7 timeout 61 comment \"say 'no', ok now\"\n\
         add banned_v4 203.0.113.0/24\n\
         create banned_v4_ports hash:net,port family inet hashsize 1024 maxelem 65536\n\
         add banned_v4_ports 10.0.0.0/8,tcp:22\n\
         create banned_v6 hash:net family inet6 hashsize 1024 maxelem 65536\n\
         add banned_v6 2001:db8::/64\n\
         add banned_v6 2001:db8::1\n"
    );
    assert_eq!((said.written, said.scoped, said.dry_run), (5, 1, 1));
    let (list, _) = written(Format::Ipset, &[ban("0.0.0.0/0"), ban("::/0")]);
    assert!(
        list.contains("add banned_v4 0.0.0.0/1\nadd banned_v4 128.0.0.0/1\n"),
        "{list}"
    );
    let forever = [lasting("192.0.2.1/32", Duration::from_secs(1 << 32), "")];
    assert!(
        written(Format::Ipset, &forever)
            .0
            .contains(" timeout 2147483\n")
    );
    // Nearly over is not for ever.
    let over = [lasting("192.0.2.1/32", Duration::ZERO, "")];
    assert!(written(Format::Ipset, &over).0.contains(" timeout 1\n"));
}

#[test]
fn nft_has_no_overlap_in_a_set() {
    let bans = [
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3/32",
        "10.2.0.0/16",
        "11.0.0.0/8",
    ]
    .map(ban);
    let (list, _) = written(Format::Nft, &bans);
    assert_eq!(
        list,
        "table inet conntrack {\n\
         \tset banned_v4 {\n\
         \t\ttype ipv4_addr\n\
         \t\tflags interval\n\
         \t\telements = { 10.0.0.0/8,\n\
         \t\t\t     11.0.0.0/8 }\n\
         \t}\n\
         \n\
         \tset banned_v4_2 {\n\
         \t\ttype ipv4_addr\n\
         \t\tflags interval\n\
         \t\telements = { 10.1.0.0/16,\n\
         \t\t\t     10.2.0.0/16 }\n\
         \t}\n\
         \n\
         \tset banned_v4_3 {\n\
         \t\ttype ipv4_addr\n\
         \t\tflags interval\n\
         \t\telements = { 10.1.2.3 }\n\
         \t}\n\
         \n\
         }\n"
    );
}

#[test]
fn names_of_sets_are_names() {
    let mut options = WriteOptions::default();
    options.name = "7 b{d}; drop table \"x\" — a very long name".to_owned();
    let name = |format| {
        let mut out = Vec::new();
        write(&mut out, format, [ban("192.0.2.1/32")].iter(), &options).unwrap();
        String::from_utf8(out).unwrap()
    };
    // 31 bytes, the most that ipset takes, with `_ports`.
    assert!(name(Format::Ipset).starts_with("create s7_b_d___drop_table__x_v4 hash:net "));
    assert!(name(Format::Nft).contains("\tset s7_b_d___drop_table__x____a_very_long_name_v4 {\n"));
    assert!(name(Format::Netset).lines().count() == 8);
}

#[test]
fn only_one_of_a_target() {
    let bans = [
        lasting("192.0.2.1/32", Duration::from_secs(5), ""),
        ban("192.0.2.1/32"),
        lasting("192.0.2.1/32", Duration::from_secs(9), ""),
    ];
    let (list, said) = written(Format::Ipset, &bans);
    assert!(
        list.ends_with("add banned_v4 192.0.2.1\n") && said.twice == 2,
        "{list}"
    );
}

fn any_ban() -> impl Strategy<Value = Ban> {
    let addr = prop_oneof![
        (0u32..64).prop_map(|low| std::net::IpAddr::from((0x0a00_0000 | low).to_be_bytes())),
        (0u128..64).prop_map(|low| std::net::IpAddr::from(((0xfd00 << 112) | low).to_be_bytes())),
    ];
    let scope = prop_oneof![
        4 => Just("any"),
        1 => Just("tcp/22"),
        1 => Just("udp/53"),
        1 => Just("icmp"),
        1 => Just("50"),
    ];
    let ttl = prop_oneof![Just(None), (1u64..1_000_000).prop_map(Some)];
    let some = (
        addr,
        0u8..=8,
        any::<bool>(),
        scope,
        ttl,
        "\\PC{0,20}",
        any::<bool>(),
    );
    some.prop_map(|(addr, host_bits, all, scope, ttl, reason, dry_run)| {
        let bits = if addr.is_ipv4() { 32 } else { 128 };
        let net = IpNet::new(addr, if all { 0 } else { bits - host_bits })
            .unwrap()
            .trunc();
        let mut ban = match ttl {
            Some(ttl) => lasting(&net.to_string(), Duration::from_secs(ttl), &reason),
            None => with_scope(&net.to_string(), "any"),
        };
        ban.reason = reason.trim().to_owned();
        ban.target = ban.target.with_scope(scope.parse().unwrap());
        ban.dry_run = dry_run;
        ban
    })
}

/// What is left of each target after an export: how long, why, whether it only counts.
type Kept = BTreeMap<BanTarget, (Option<Duration>, String, bool)>;

proptest! {
    #[test]
    fn what_is_written_is_read(bans in prop::collection::vec(any_ban(), 0..30)) {
        let bans: BTreeMap<BanTarget, Ban> = bans.into_iter().map(|it| (it.target, it)).collect();
        let bans: Vec<Ban> = bans.into_values().collect();
        for format in Format::ALL {
            let (list, said) = written(format, &bans);
            let everything = matches!(format, Format::Csv | Format::Json);
            let scoped = |scope: BanScope| match format {
                Format::Plain | Format::Netset => scope == BanScope::Any,
                Format::Ipset => !matches!(scope, BanScope::Protocol(_)),
                _ => true,
            };
            let bare = matches!(format, Format::Plain | Format::Netset);
            let wanted: Kept = bans.iter()
                .filter(|ban| (everything || !ban.dry_run) && scoped(ban.target.scope))
                .map(|ban| {
                    let reason = match (bare, everything) {
                        (true, _) => String::new(),
                        (false, true) => ban.reason.clone(),
                        (false, false) => ban.reason.replace('"', "'"),
                    };
                    (ban.target, (ban.ttl.filter(|_| !bare), reason, ban.dry_run))
                })
                .collect();
            prop_assert_eq!(said.written, wanted.len() as u64);
            let left = said.written + said.scoped + if everything { 0 } else { said.dry_run };
            prop_assert_eq!(left, bans.len() as u64);
            let found: Kept = read_again(format, &list).into_iter().map(|entry| {
                let ttl = entry.expiry.ttl(NOW);
                let target = entry.target(false);
                // ipset's halves of everything.
                let net = target.net();
                let target = match (format, net.prefix_len()) {
                    (Format::Ipset, 1) => BanTarget::new(net.supernet().unwrap())
                        .with_scope(target.scope),
                    _ => target,
                };
                (target, (ttl, entry.reason, entry.dry_run))
            }).collect();
            prop_assert_eq!(found, wanted, "{}: {}", format, list);
        }
    }
}
