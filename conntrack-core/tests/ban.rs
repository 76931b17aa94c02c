//! The JSON contract of bans: exact shape and schema.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::time::Duration;

use conntrack_core::Ban;
use conntrack_core::BanDirection;
use conntrack_core::BanOrigin;
use conntrack_core::Timestamp;
use serde_json::Value;
use serde_json::json;

const SCHEMA: &str = include_str!("../../schemas/ban.schema.json");

fn is_valid(value: &Value) -> bool {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator.is_valid(value)
}

#[test]
fn bans_have_this_shape() {
    let mut ban = Ban::new("2001:db8::1".parse().unwrap(), Timestamp(0));
    let plain = json!({
        "addr": "2001:db8::", "prefix": 64, "scope": "any", "reason": "", "origin": "api",
        "since": "1970-01-01T00:00:00.000000000Z", "until": null, "ttl_s": null,
        "hits": 0, "bytes": 0, "last_hit": null, "dry_run": false,
        "direction": "in", "unconfirmed": false, "lists": [],
    });
    assert_eq!(serde_json::to_value(&ban).unwrap(), plain);
    assert!(is_valid(&plain));

    ban.target = ban.target.with_scope("tcp/22".parse().unwrap());
    ban.reason = "why".to_owned();
    ban.origin = BanOrigin::List("a b".to_owned());
    ban.until = Some(Timestamp(1_000_000_000));
    ban.ttl = Some(Duration::from_secs(1));
    (ban.hits, ban.bytes) = (u64::MAX, 1);
    ban.last_hit = Some(Timestamp(5));
    (ban.dry_run, ban.unconfirmed) = (true, true);
    ban.direction = BanDirection::Both;
    let value = serde_json::to_value(&ban).unwrap();
    assert!(is_valid(&value), "{value:#}");
    assert_eq!(
        (&value["scope"], &value["origin"]),
        (&json!("tcp/22"), &json!("list:a b"))
    );
    assert_eq!(
        (&value["ttl_s"], &value["direction"]),
        (&json!(1), &json!("both"))
    );
    assert_eq!(serde_json::from_value::<Ban>(value).unwrap(), ban);
}

#[test]
fn what_is_no_ban() {
    let ban = Ban::new("10.0.0.1".parse().unwrap(), Timestamp(0));
    let value = serde_json::to_value(&ban).unwrap();
    for (key, bad) in [
        ("addr", json!("host")),
        ("prefix", json!(129)),
        ("scope", json!("tcp/0")),
        ("origin", json!("list:")),
        ("direction", json!("out")),
        ("since", json!("now")),
        ("hits", json!(-1)),
    ] {
        let mut value = value.clone();
        value[key] = bad;
        assert!(!is_valid(&value), "{value:#}");
        assert!(serde_json::from_value::<Ban>(value).is_err(), "{key}");
    }
    let mut value = value;
    value["prefix"] = json!(33);
    assert!(
        serde_json::from_value::<Ban>(value).is_err(),
        "an IPv4 prefix"
    );
}
