use conntrack_core::Timestamp;

use super::codec::is_over;
use super::codec::target_of;
use super::*;

#[test]
fn keys_round_trip() {
    for text in [
        "203.0.113.7",
        "203.0.112.0/23",
        "0.0.0.0/0",
        "2001:db8::/64",
        "2001:db8::1/128",
        "::/0",
    ] {
        for scope in ["any", "icmp", "udp/53"] {
            let target: BanTarget = text.parse().unwrap();
            let target = target.with_scope(scope.parse().unwrap());
            assert_eq!(target_of(&key_of(&target)).unwrap(), target);
        }
    }
    let key = key_of(&"10.1.2.3".parse().unwrap());
    assert_eq!(key.addr[0].to_ne_bytes(), [10, 1, 2, 3]);
    let odd = |family, prefix| {
        net_of(&ct_ban_key {
            family,
            prefix,
            ..ct_ban_key::default()
        })
    };
    assert!(odd(4, 33).is_err() && odd(6, 129).is_err() && odd(5, 1).is_err());
}

#[test]
fn what_is_read_is_what_there_is() {
    let civil = Civil {
        boot: 10_000_000_000,
        mono: 9_000_000_000,
        civil: Timestamp(100_000_000_000),
    };
    let target: BanTarget = "10.0.0.1".parse().unwrap();
    let value = ct_ban {
        until: 12_500_000_000,
        since: 94_000_000_000,
        hits: 3,
        bytes: 180,
        last: 8_000_000_000,
        flags: BAN_DRY_RUN | BAN_BOTH | BAN_UNCONFIRMED,
        origin: number_of(&BanOrigin::Manual),
        ..ct_ban::default()
    };
    let ban = decode(
        &key_of(&target),
        &value,
        "why".to_owned(),
        &Names::default(),
        &civil,
    )
    .unwrap();
    assert_eq!(ban.since, Timestamp(94_000_000_000));
    assert_eq!(ban.until, Some(Timestamp(102_500_000_000)));
    assert_eq!(ban.ttl, Some(Duration::from_millis(2500)));
    assert_eq!(ban.last_hit, Some(Timestamp(99_000_000_000)));
    assert_eq!((ban.hits, ban.bytes, ban.reason.as_str()), (3, 180, "why"));
    assert!(ban.dry_run && ban.unconfirmed);
    assert_eq!(
        (ban.direction, ban.origin),
        (BanDirection::Both, BanOrigin::Manual)
    );
    assert!(!is_over(&value, &civil));
    let late = Civil {
        boot: 12_500_000_000,
        ..civil
    };
    assert!(is_over(&value, &late));
    assert!(!is_over(&ct_ban::default(), &late), "for ever");
}

#[test]
fn scopes_widen() {
    let texts = |scope: &str| -> Vec<String> {
        let wider = wider(scope.parse().unwrap());
        wider.iter().map(ToString::to_string).collect()
    };
    assert_eq!(texts("tcp/22"), ["tcp/22", "tcp", "any"]);
    assert_eq!(texts("tcp"), ["tcp", "any"]);
}
