//! The JSON contract: exact shapes, and the schemas that describe them.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod common;

use std::time::Duration;

use conntrack_core::Counters;
use conntrack_core::Family;
use conntrack_core::Flow;
use conntrack_core::FlowFingerprint;
use conntrack_core::Health;
use conntrack_core::Hook;
use conntrack_core::Hooks;
use conntrack_core::Mode;
use conntrack_core::PressureLevel;
use conntrack_core::Protocol;
use conntrack_core::Stats;
use conntrack_core::Status;
use conntrack_core::Timestamp;
use conntrack_core::stats;
use conntrack_core::stats::CpuCounts;
use conntrack_core::stats::InterfaceCounts;
use conntrack_core::stats::TableCounts;
use conntrack_core::status::InterfaceStatus;
use conntrack_core::status::KernelStatus;
use conntrack_core::status::Namespace;
use conntrack_core::status::ObjectStatus;
use conntrack_core::status::TableStatus;
use jsonschema::Validator;
use serde_json::Value;
use serde_json::json;
use serde_json::to_string;
use serde_json::to_value;

const FLOW: &str = include_str!("../../schemas/flow.schema.json");
const STATS: &str = include_str!("../../schemas/stats.schema.json");
const STATUS: &str = include_str!("../../schemas/status.schema.json");

fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).unwrap();
    assert!(jsonschema::meta::is_valid(&schema), "{}", schema["title"]);
    jsonschema::draft202012::new(&schema).unwrap()
}

#[track_caller]
fn assert_valid(validator: &Validator, value: &Value) {
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{value:#}\n{errors:#?}");
}

/// The value with one part replaced, or taken away.
fn changed(value: &Value, pointer: &str, new: Option<Value>) -> Value {
    let mut value = value.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap();
    match (parent, new) {
        (Value::Object(map), Some(new)) => drop(map.insert(key.to_owned(), new)),
        (Value::Object(map), None) => assert!(map.remove(key).is_some(), "{pointer}"),
        (Value::Array(list), Some(new)) => list[key.parse::<usize>().unwrap()] = new,
        (other, _) => panic!("{pointer} is in {other}"),
    }
    value
}

/// Every object's every key, as a pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let here = format!("{at}/{key}");
                pointers(value, &here, found);
                found.push(here);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Nothing may be missing (but the keys said to be open), nothing may be added,
/// and nothing may be of a kind that no field has.
#[track_caller]
fn assert_closed(validator: &Validator, value: &Value, open: &[&str]) {
    let mut found = Vec::new();
    pointers(value, "", &mut found);
    for pointer in &found {
        let map = pointer.rsplit_once('/').unwrap().0;
        let kind = changed(value, pointer, Some(json!([[1]])));
        assert!(!validator.is_valid(&kind), "{pointer} of another kind");
        if open.contains(&map) {
            continue;
        }
        let missing = changed(value, pointer, None);
        assert!(!validator.is_valid(&missing), "{pointer} missing");
        let extra = changed(value, &format!("{map}/surprise"), Some(json!(1)));
        assert!(!validator.is_valid(&extra), "{map} with another key");
    }
}

#[test]
fn a_tcp_flow_is_the_contract_to_the_letter() {
    assert_eq!(
        to_string(&common::tcp()).unwrap(),
        concat!(
            r#"{"family":"ipv4","protocol":"tcp","protonum":6,"state":"ESTABLISHED","#,
            r#""status":["SEEN_REPLY","ASSURED"],"timeout":431999,"#,
            r#""original":{"src":"10.0.0.1","dst":"10.0.0.2","sport":40000,"dport":80,"#,
            r#""packets":4,"bytes":217,"tcp":{"flags":24,"seq":1,"ack":1,"window":502}},"#,
            r#""reply":{"src":"10.0.0.2","dst":"10.0.0.1","sport":80,"dport":40000,"#,
            r#""packets":3,"bytes":169,"#,
            r#""tcp":{"flags":16,"seq":4294967295,"ack":2,"window":65535}},"#,
            r#""start":"2026-11-20T17:52:37.123456789Z","#,
            r#""last_seen":"2026-11-20T17:52:37.124691356Z","#,
            r#""duration_ns":1234567,"interface":"eth0","health":null,"fingerprint":null}"#,
        )
    );
}

#[test]
fn the_other_protocols_have_their_own_tuples() {
    let sides = |flow: &Flow| {
        let json = to_value(flow).unwrap();
        let text = |side: &str| to_string(&json[side]).unwrap();
        let head = (json["state"].clone(), json["status"].clone());
        (head, text("original"), text("reply"))
    };
    let unreplied = (Value::Null, json!(["UNREPLIED"]));
    let (head, original, reply) = sides(&common::udp());
    assert_eq!(head, unreplied);
    assert!(original.contains(r#""sport":59586"#) && !original.contains("tcp"));
    assert!(reply.contains(r#""dport":59586"#));

    let (head, original, reply) = sides(&common::ping());
    assert_eq!(head, (Value::Null, json!(["SEEN_REPLY"])));
    for (side, kind) in [(original, 8), (reply, 0)] {
        let side: Value = serde_json::from_str(&side).unwrap();
        let want = json!({"src": "127.0.0.1", "dst": "127.0.0.1", "type": kind, "code": 0,
                          "id": 77, "packets": 1, "bytes": 28});
        assert_eq!(side, want);
    }

    let (head, original, _) = sides(&common::unknown());
    assert_eq!(head, unreplied);
    let side: Value = serde_json::from_str(&original).unwrap();
    let want = json!({"src": "10.0.0.1", "dst": "10.0.0.2", "packets": 1, "bytes": 20});
    assert_eq!(side, want);

    let unknown = to_value(common::unknown()).unwrap();
    assert_eq!(
        (&unknown["protocol"], &unknown["protonum"]),
        (&json!("unknown"), &json!(253))
    );
    assert_eq!(unknown["interface"], Value::Null);
    assert_eq!(to_value(common::sctp()).unwrap()["state"], "COOKIE_ECHOED");
}

#[test]
fn flows_read_back() {
    for mut flow in common::all() {
        flow.timeout = Duration::from_secs(flow.timeout.as_secs());
        let back: Flow = serde_json::from_str(&to_string(&flow).unwrap()).unwrap();
        if flow.protocol == Protocol::GRE {
            assert_eq!(to_value(&back).unwrap(), to_value(&flow).unwrap());
        } else {
            assert_eq!(back, flow);
        }
    }
}

#[test]
fn broken_flows_are_not_read() {
    let tcp = to_value(common::tcp()).unwrap();
    for (pointer, new) in [
        ("/original/sport", None),
        ("/family", Some(json!("ipv6"))),
        ("/state", Some(json!("OPEN"))),
        ("/start", Some(json!("yesterday"))),
        ("/protonum", Some(json!(256))),
        ("/protonum", Some(json!(1))),
    ] {
        let broken = changed(&tcp, pointer, new);
        assert!(serde_json::from_value::<Flow>(broken).is_err(), "{pointer}");
    }
}

#[test]
fn flows_meet_their_schema() {
    let validator = validator(FLOW);
    for flow in common::all() {
        let value = to_value(&flow).unwrap();
        assert_valid(&validator, &value);
        assert_closed(&validator, &value, &[]);
    }
}

#[test]
fn health_is_the_contract_to_the_letter() {
    let mut flow = common::tcp();
    let mut health = Health::default();
    health.rtt_to_server = Some(Duration::from_millis(20));
    health.original.retransmits = Some(3);
    health.original.loss_ppm = Some(750_000);
    health.reply.zero_window_time = Some(Duration::from_millis(7));
    health.reply.reset = true;
    flow.health = Some(health);
    let value = to_value(&flow).unwrap();
    let none = r#""srtt_ns":null,"#;
    assert_eq!(
        to_string(&health).unwrap(),
        [
            r#"{"duration_ns":null,"rtt_to_server_ns":20000000,"rtt_to_client_ns":null,"#,
            r#""first_byte_ns":null,"original":{"#,
            none,
            r#""retransmits":3,"retransmitted_bytes":null,"out_of_order":null,"#,
            r#""duplicate_acks":null,"loss_ppm":750000,"zero_windows":null,"#,
            r#""zero_window_ns":null,"window_min":null,"window_max":null,"reset":false},"#,
            r#""reply":{"#,
            none,
            r#""retransmits":null,"retransmitted_bytes":null,"out_of_order":null,"#,
            r#""duplicate_acks":null,"loss_ppm":null,"zero_windows":null,"#,
            r#""zero_window_ns":7000000,"window_min":null,"window_max":null,"reset":true}}"#,
        ]
        .concat()
    );
    let validator = validator(FLOW);
    assert_valid(&validator, &value);
    assert_closed(&validator, &value, &[]);
    let back: Flow = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(back.health, Some(health));
    for (pointer, new) in [
        ("/health", json!({})),
        ("/health/rtt_to_server_ns", json!(-1)),
        ("/health/original/retransmits", json!(1_u64 << 32)),
        ("/health/reply/reset", Value::Null),
    ] {
        let broken = changed(&value, pointer, Some(new));
        assert!(!validator.is_valid(&broken), "{pointer}");
    }
}

#[test]
fn fingerprints_of_flows_are_the_contract_to_the_letter() {
    let client = "4:64+0:0:1460:mss*44,10:mss,sok,ts,nop,ws:df,id+:0";
    let mut flow = common::tcp();
    flow.fingerprint = Some(FlowFingerprint {
        original: Some(client.into()),
        reply: None,
    });
    let value = to_value(&flow).unwrap();
    let contract = json!({"original": client, "reply": null});
    assert_eq!(value["fingerprint"], contract);
    let validator = validator(FLOW);
    assert_valid(&validator, &value);
    assert_closed(&validator, &value, &[]);
    let back: Flow = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(back.fingerprint, flow.fingerprint);
    for (pointer, new) in [
        ("/fingerprint", json!({})),
        ("/fingerprint", json!(client)),
        ("/fingerprint/reply", json!("?")),
    ] {
        let broken = changed(&value, pointer, Some(new));
        assert!(!validator.is_valid(&broken), "{pointer}");
    }
}

#[test]
fn the_flow_schema_refuses_what_cannot_be() {
    let validator = validator(FLOW);
    let [tcp, udp, ping] =
        [common::tcp(), common::udp(), common::ping()].map(|flow| to_value(flow).unwrap());
    let wrong = [
        (&tcp, "/family", json!("ipv6")),
        (&tcp, "/family", json!("inet")),
        (&tcp, "/protocol", json!("udp")),
        (&tcp, "/protonum", json!(17)),
        (&tcp, "/protonum", json!(256)),
        (&tcp, "/state", Value::Null),
        (&tcp, "/state", json!("established")),
        (&tcp, "/state", json!("COOKIE_WAIT")),
        (&tcp, "/status", json!([])),
        (&tcp, "/status", json!(["ASSURED"])),
        (&tcp, "/status", json!(["SEEN_REPLY", "ASSURED", "ASSURED"])),
        (&tcp, "/timeout", json!(1.5)),
        (&tcp, "/timeout", json!(-1)),
        (&tcp, "/original/src", json!("10.0.0")),
        (&tcp, "/original/src", json!("::1")),
        (&tcp, "/original/sport", json!(65_536)),
        (&tcp, "/original/tcp/flags", json!(256)),
        (&tcp, "/original/tcp/seq", json!(1_u64 << 32)),
        (&tcp, "/start", json!("2026-11-20T17:52:37Z")),
        (&tcp, "/start", json!("2026-11-20T17:52:37.123456789+00:00")),
        (&tcp, "/interface", json!("")),
        (&udp, "/state", json!("ESTABLISHED")),
        (
            &udp,
            "/original/tcp",
            json!({"flags": 0, "seq": 0, "ack": 0, "window": 0}),
        ),
        (&udp, "/original/type", json!(8)),
        (&ping, "/original/sport", json!(1)),
        (&ping, "/protonum", json!(58)),
    ];
    for (value, pointer, new) in wrong {
        let broken = changed(value, pointer, Some(new));
        assert!(!validator.is_valid(&broken), "{pointer} in {broken:#}");
    }
}

fn sample_counters() -> Counters {
    let mut counters = Counters {
        packets: 1_000,
        bytes: 64_000,
        drops: stats::by_reason(&stats::DROP_REASONS, &[1]),
        banned: stats::by_reason(&stats::BAN_ORIGINS, &[0, 1]),
        fingerprints_left_out: stats::by_reason(&stats::UNRECORDED, &[2]),
        passed_untracked: stats::by_reason(&stats::PASS_REASONS, &[5]),
        memory_bytes: 1 << 26,
        per_cpu: vec![CpuCounts {
            cpu: 0,
            packets: 1_000,
            bytes: 64_000,
        }],
        interfaces: vec![InterfaceCounts {
            name: "eth0".to_owned(),
            hooks: hooks(),
            packets: 1_000,
            bytes: 64_000,
        }],
        ..Counters::default()
    };
    counters.ct_state.original = [10, 500, 1, 2, 3].into();
    counters.ct_state.reply = [0, 484, 0, 0, 0].into();
    counters.table = TableCounts::new([10, 0], &[3, 0, 0, 2, 1]);
    counters.flows.max = 393_216;
    for flow in common::all() {
        counters.flows.add(&flow);
    }
    counters
}

fn hooks() -> Hooks {
    Hooks {
        ingress: Some(Hook::XdpNative),
        egress: Some(Hook::Tcx),
    }
}

#[test]
fn stats_are_the_contract() {
    let earlier = Counters {
        packets: 800,
        bytes: 60_000,
        ..Counters::default()
    };
    let interval = Duration::from_secs(2);
    let stats = Stats::from_counters(sample_counters(), &earlier, interval);
    let text = to_string(&stats).unwrap();
    assert!(text.starts_with(
        r#"{"packets":1000,"bytes":64000,"packets_per_sec":100.0,"bytes_per_sec":2000.0,"flows":{"active":7,"#
    ), "{text}");
    let value = to_value(&stats).unwrap();
    let classes =
        json!({"new": 10, "established": 984, "related": 1, "invalid": 2, "untracked": 3});
    assert_eq!(value["ct_state"]["total"], classes);
    assert_eq!(
        value["drops"],
        json!({"ban": 1, "threshold": 0, "filter": 0, "fingerprint": 0})
    );
    let banned = json!({"manual": 0, "api": 1, "threshold": 0, "list": 0});
    assert_eq!(value["banned"], banned);
    let limits = json!({"over": 0, "banned": 0, "no_room": 0});
    assert_eq!(value["threshold"], limits);
    let left_out = json!({"signature": 2, "source": 0});
    assert_eq!(value["fingerprints_left_out"], left_out);
    assert_eq!(value["passed_untracked"]["not_ip"], 5);
    assert_eq!(value["evicted"], 2);
    let protocols =
        json!({"tcp": 1, "udp": 1, "icmp": 1, "icmpv6": 1, "sctp": 1, "gre": 1, "253": 1});
    assert_eq!(value["flows"]["by_protocol"], protocols);
    let states = json!({"ESTABLISHED": 1, "COOKIE_ECHOED": 1});
    assert_eq!(value["flows"]["by_state"], states);
    let hooks = json!({"ingress": "xdp-native", "egress": "tcx"});
    let interface = json!({"name": "eth0", "hooks": hooks, "packets": 1_000, "bytes": 64_000});
    assert_eq!(value["interfaces"], json!([interface]));
}

#[test]
fn stats_meet_their_schema() {
    let validator = validator(STATS);
    let empty = Counters {
        drops: stats::by_reason(&stats::DROP_REASONS, &[]),
        banned: stats::by_reason(&stats::BAN_ORIGINS, &[]),
        fingerprints_left_out: stats::by_reason(&stats::UNRECORDED, &[]),
        passed_untracked: stats::by_reason(&stats::PASS_REASONS, &[]),
        table: TableCounts::new([0, 0], &[]),
        ..Counters::default()
    };
    for counters in [sample_counters(), empty] {
        let stats = Stats::from_counters(counters, &Counters::default(), Duration::from_secs(1));
        let value = to_value(&stats).unwrap();
        assert_valid(&validator, &value);
        assert_closed(
            &validator,
            &value,
            &["/flows/by_protocol", "/flows/by_state"],
        );
    }
    let bare = to_value(Stats::default()).unwrap();
    assert!(!validator.is_valid(&bare), "reasons may not be missing");
}

fn sample_status() -> Status {
    Status {
        instance: "default".to_owned(),
        version: "0.1.0".to_owned(),
        abi_version: 1,
        since: Timestamp(1_795_197_157_123_456_789),
        uptime_ns: 86_400_000_000_000,
        namespace: Namespace {
            name: Some("blue".to_owned()),
            inode: 4_026_531_840,
            device: 4,
        },
        interfaces: vec![InterfaceStatus {
            name: "eth0".to_owned(),
            ifindex: 2,
            mode: Some(Mode::Tc),
            hooks: hooks(),
            why: Some("xdp: another program sits there".to_owned()),
            since: Timestamp(1_795_197_157_123_456_789),
        }],
        programs: vec![ObjectStatus {
            name: "ct_xdp".to_owned(),
            id: 17,
        }],
        upgrade_unfinished: false,
        resize_unfinished: false,
        maps: vec![ObjectStatus {
            name: "ct_table4".to_owned(),
            id: 18,
        }],
        kernel: KernelStatus {
            release: "6.18.0".to_owned(),
            facts: [("tcx".to_owned(), true)].into(),
        },
        tables: vec![TableStatus {
            flows: 250_000,
            pressure: Some(PressureLevel::Critical),
            ..TableStatus::new(Family::Ipv4, 262_144, 524_280, 71_582_788)
        }],
        memory_bytes: 79_662_760,
    }
}

#[test]
fn status_meets_its_schema() {
    let validator = validator(STATUS);
    let value = to_value(sample_status()).unwrap();
    assert_eq!(value["tables"][0]["bytes_per_flow"], 274);
    assert_valid(&validator, &value);
    assert_closed(&validator, &value, &["/kernel/facts"]);
    for (pointer, new) in [
        ("/instance", json!("../x")),
        ("/interfaces/0/mode", json!("auto")),
        ("/interfaces/0/hooks/ingress", json!("xdp")),
        ("/interfaces/0/ifindex", json!(0)),
        ("/kernel/facts/tcx", json!("yes")),
        ("/tables/0/family", json!("arp")),
        ("/tables/0/pressure", json!("low")),
        ("/since", json!(5)),
    ] {
        let broken = changed(&value, pointer, Some(new));
        assert!(!validator.is_valid(&broken), "{pointer}");
    }
    for (pointer, new) in [
        ("/tables/0/pressure", Value::Null),
        ("/interfaces/0/why", Value::Null),
        ("/interfaces/0/mode", Value::Null),
        ("/interfaces/0/hooks/egress", Value::Null),
        ("/namespace/name", Value::Null),
    ] {
        assert_valid(&validator, &changed(&value, pointer, Some(new)));
    }
}
