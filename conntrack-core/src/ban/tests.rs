use super::*;

#[test]
fn scopes_round_trip() {
    for (text, scope) in [
        ("any", BanScope::Any),
        ("tcp", BanScope::Protocol(Protocol::TCP)),
        ("50", BanScope::Protocol(Protocol(50))),
        ("udp/53", BanScope::Port(Protocol::UDP, 53)),
        ("sctp/65535", BanScope::Port(Protocol::SCTP, 65_535)),
    ] {
        assert_eq!(text.parse(), Ok(scope));
        assert_eq!(scope.to_string(), text);
    }
    for bad in [
        "",
        "all",
        "0",
        "tcp/",
        "tcp/0",
        "tcp/65536",
        "tcp/+1",
        "/22",
        "icmp/8",
        "50/1",
        "tcp/22 ",
        "tcp/22/23",
        "Any",
    ] {
        assert!(bad.parse::<BanScope>().is_err(), "{bad:?}");
    }
}

#[test]
fn an_ipv6_address_stands_for_its_64() {
    for (text, shown) in [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7/32", "203.0.113.7"),
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:db8::7/128", "2001:db8::7"),
        ("2001:db8:1:2:3::/47", "2001:db8::/47"),
        ("::ffff:10.0.0.1", "::/64"),
    ] {
        let target: BanTarget = text.parse().unwrap();
        assert_eq!(target.to_string(), shown, "{text}");
        assert_eq!(target.net(), target.net().trunc(), "{text}");
    }
    let target: BanTarget = "10.0.0.1".parse().unwrap();
    let scoped = target.with_scope(BanScope::Port(Protocol::TCP, 22));
    assert_eq!(scoped.to_string(), "10.0.0.1 tcp/22");
    for bad in ["", "10.0.0", "10.0.0.1/33", "10.0.0.1-5", "::/129", "host"] {
        assert!(bad.parse::<BanTarget>().is_err(), "{bad:?}");
    }
}

#[test]
fn words_round_trip() {
    for direction in [BanDirection::In, BanDirection::Both] {
        assert_eq!(direction.name().parse(), Ok(direction));
    }
    for text in ["manual", "api", "threshold", "list:firehol-1"] {
        let origin: BanOrigin = text.parse().unwrap();
        assert_eq!(origin.to_string(), text);
    }
    for bad in ["", "list:", "list", "Manual"] {
        assert!(bad.parse::<BanOrigin>().is_err(), "{bad:?}");
    }
    assert!("out".parse::<BanDirection>().is_err());
}

#[test]
fn a_spec_is_what_is_said() {
    let spec: BanSpec = "10.0.0.0/8".parse().unwrap();
    assert_eq!(spec, BanSpec::new("10.0.0.0/8".parse().unwrap()));
    let said = spec
        .ttl(Duration::from_secs(1))
        .reason("why")
        .scope(BanScope::Protocol(Protocol::TCP))
        .direction(BanDirection::Both)
        .dry_run(true)
        .confirm(Duration::from_secs(2))
        .force(true);
    assert_eq!(said.target.to_string(), "10.0.0.0/8 tcp");
    assert_eq!(
        (said.ttl, said.confirm.map(|it| it.as_secs())),
        (Some(Duration::from_secs(1)), Some(2))
    );
    assert_eq!(
        (said.reason.as_str(), said.direction),
        ("why", BanDirection::Both)
    );
    assert!(said.dry_run && said.force);
}
