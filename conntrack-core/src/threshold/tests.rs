use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

#[test]
fn texts_round_trip() {
    let mut threshold = Threshold::new(50);
    for (key, value) in [
        ("action", "ban"),
        ("new_per_prefix", "500"),
        ("new_per_port", "7"),
        ("half_open", "20"),
        ("half_open_per_prefix", "200"),
        ("half_open_per_port", "1000000"),
        ("window", "1500ms"),
        ("prefix_v4", "25"),
        ("prefix_v6", "128"),
        ("ban_on", "syn"),
        ("ban_ttl", "90s,10m,1h,2d"),
        ("ban_forget", "1w"),
    ] {
        threshold.set(key, value).unwrap();
        assert_eq!(threshold.get(key).unwrap(), value);
    }
    assert_eq!(threshold.validate(), Ok(()));
    let mut copy = Threshold::default();
    for (key, value) in threshold.iter() {
        copy.set(key, &value).unwrap();
    }
    assert_eq!(copy, threshold);
}

#[test]
fn what_cannot_be() {
    let mut threshold = Threshold::new(50);
    for (key, value) in [
        ("new", ""),
        ("new", "-1"),
        ("new", "+1"),
        ("new", "1000001"),
        ("new", "99999999999"),
        ("window", "99ms"),
        ("window", "0"),
        ("window", "3601s"),
        ("window", "1.5s"),
        ("prefix_v4", "23"),
        ("prefix_v4", "33"),
        ("prefix_v6", "63"),
        ("prefix_v6", "129"),
        ("action", "BAN"),
        ("ban_on", "ack"),
        ("ban_ttl", ""),
        ("ban_ttl", "1m,,1h"),
        ("ban_ttl", "1m,1m,1m,1m,1m"),
        ("ban_forget", "0"),
    ] {
        let error = threshold.set(key, value).unwrap_err();
        assert_eq!(error.key(), key, "{error}");
        assert!(error.is_known());
    }
    let error = threshold.set("news", "1").unwrap_err();
    assert!(!error.is_known());
    assert_eq!(threshold, Threshold::new(50), "nothing has changed");
    assert_eq!(Threshold::default().validate().unwrap_err().key(), "new");
    threshold.ban_ttl.clear();
    assert_eq!(threshold.validate().unwrap_err().key(), "ban_ttl");
    threshold = Threshold::new(50);
    threshold.window = Duration::from_nanos(100_500_000);
    assert_eq!(threshold.validate(), Ok(()), "100 ms and a half");
}

#[test]
fn several_or_none() {
    let mut threshold = Threshold::default();
    let set = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs.map(|(k, v)| (k.to_string(), v.to_string())).collect()
    };
    assert!(apply(&mut threshold, &set(&[("action", "ban")])).is_err());
    assert!(apply(&mut threshold, &set(&[("new", "5"), ("window", "0")])).is_err());
    assert_eq!(threshold, Threshold::default());
    apply(&mut threshold, &set(&[("new", "5"), ("window", "2s")])).unwrap();
    assert_eq!(threshold.new, 5);
}

#[test]
fn sketches() {
    assert_eq!(SketchConfig::default().fault(), None);
    assert_eq!(SketchConfig::default().bytes(), 2 << 20);
    for (width, rows, key) in [
        (1 << 9, 4, "width"),
        (65_535, 4, "width"),
        (1 << 25, 1, "width"),
        (1 << 10, 0, "rows"),
        (1 << 10, 9, "rows"),
    ] {
        let fault = SketchConfig { width, rows }.fault();
        assert_eq!(fault.map(|(key, _)| key), Some(key));
    }
}
