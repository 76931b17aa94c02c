//! Configuration files that are wrong, in many ways.
#![cfg(feature = "yaml")]

use conntrack_core::Config;
use conntrack_core::ConfigError;
use proptest::prelude::any;
use proptest::prelude::proptest;

const EXAMPLE: &str = include_str!("../../conntrack.example.yaml");

fn refused(text: &str) -> ConfigError {
    Config::from_yaml(text).expect_err(&format!("{:.80?} was accepted", text))
}

/// Text, line, column, key, and words of the message.
const BAD: [(&str, usize, usize, &str, &str); 65] = [
    // unknown keys
    ("mode: auto\nmod: tc\n", 2, 1, "mod", "unknown key"),
    (
        "conntrack:\n  tcp_loos: 1\n",
        2,
        3,
        "conntrack.tcp_loos",
        "unknown key",
    ),
    (
        "conntrack:\n  nf_conntrack_: 1\n",
        2,
        3,
        "conntrack.nf_conntrack_",
        "unknown key",
    ),
    (
        "conntrack: {net.ipv4.nf_conntrack_tcp_loose: 1}",
        1,
        13,
        "conntrack.net.ipv4.nf_conntrack_tcp_loose",
        "unknown key",
    ),
    ("table: {size: 5}\n", 1, 9, "table.size", "unknown key"),
    (
        "ips:\n  - ip: 10.0.0.1\n    name: x\n",
        3,
        5,
        "ips[0].name",
        "unknown key",
    ),
    ("5: x\n", 1, 1, "5", "unknown key"),
    ("~: x\n", 1, 1, "nothing", "unknown key"),
    ("\"a\\e[2Jb\": x\n", 1, 1, "a\\u{1b}[2Jb", "unknown key"),
    // repeated keys
    ("mode: auto\nmode: tc\n", 2, 1, "mode", "twice"),
    (
        "conntrack:\n  tcp_loose: 1\n  nf_conntrack_tcp_loose: 1\n",
        3,
        3,
        "conntrack.nf_conntrack_tcp_loose",
        "twice",
    ),
    (
        "conntrack:\n  nf_conntrack_tcp_loose: 1\n  tcp_loose: 1\n",
        3,
        3,
        "conntrack.tcp_loose",
        "short for nf_conntrack_tcp_loose",
    ),
    (
        "ips: [{ip: 10.0.0.1, ip: 10.0.0.2}]",
        1,
        22,
        "ips[0].ip",
        "twice",
    ),
    // wrong kinds
    (
        "conntrack:\n  nf_conntrack_tcp_loose: maybe\n",
        2,
        27,
        "conntrack.nf_conntrack_tcp_loose",
        "expected 0 or 1, found \"maybe\"",
    ),
    (
        "conntrack:\n  tcp_loose: 2\n",
        2,
        14,
        "conntrack.tcp_loose",
        "found 2",
    ),
    (
        "conntrack:\n  tcp_loose: [1]\n",
        2,
        14,
        "conntrack.tcp_loose",
        "found a list",
    ),
    (
        "conntrack:\n  tcp_loose: {a: 1}\n",
        2,
        14,
        "conntrack.tcp_loose",
        "found a map",
    ),
    (
        "conntrack:\n  tcp_loose: !yes 1\n",
        2,
        14,
        "conntrack.tcp_loose",
        "found a tag",
    ),
    (
        "conntrack:\n  tcp_loose:\n",
        2,
        13,
        "conntrack.tcp_loose",
        "found nothing",
    ),
    (
        "conntrack:\n  udp_timeout: 30s\n",
        2,
        16,
        "conntrack.udp_timeout",
        "found \"30s\"",
    ),
    (
        "conntrack:\n  udp_timeout: \"30\"\n",
        2,
        16,
        "conntrack.udp_timeout",
        "found \"30\"",
    ),
    (
        "conntrack:\n  udp_timeout: true\n",
        2,
        16,
        "conntrack.udp_timeout",
        "found true",
    ),
    (
        "conntrack:\n  udp_timeout: -1\n",
        2,
        16,
        "conntrack.udp_timeout",
        "found -1",
    ),
    (
        "conntrack:\n  udp_timeout: 1.5\n",
        2,
        16,
        "conntrack.udp_timeout",
        "found 1.5",
    ),
    (
        "conntrack: 5\n",
        1,
        12,
        "conntrack",
        "expected keys with values, found 5",
    ),
    (
        "conntrack: [tcp_loose]\n",
        1,
        12,
        "conntrack",
        "found a list",
    ),
    ("table: big\n", 1, 8, "table", "found \"big\""),
    (
        "interfaces: eth0\n",
        1,
        13,
        "interfaces",
        "expected a list, found \"eth0\"",
    ),
    (
        "interfaces: {a: b}\n",
        1,
        13,
        "interfaces",
        "expected a list",
    ),
    (
        "interfaces: [5]\n",
        1,
        14,
        "interfaces[0]",
        "expected an interface name, found 5",
    ),
    (
        "ips: [10.0.0.1]\n",
        1,
        7,
        "ips[0]",
        "expected keys with values",
    ),
    ("mode: 5\n", 1, 7, "mode", "expected a mode, found 5"),
    (
        "- mode: auto\n",
        1,
        1,
        "",
        "expected keys with values, found a list",
    ),
    ("hello\n", 1, 1, "", "found \"hello\""),
    // out of range
    (
        "conntrack:\n  udp_timeout: 2147483648\n",
        2,
        16,
        "conntrack.udp_timeout",
        "from 0 to 2147483647",
    ),
    (
        "conntrack:\n  udp_timeout: 99999999999999999999999\n",
        2,
        16,
        "conntrack.udp_timeout",
        "found 99999999999999999999999",
    ),
    (
        "conntrack:\n  tcp_max_retrans: 256\n",
        2,
        20,
        "conntrack.tcp_max_retrans",
        "from 0 to 255",
    ),
    (
        "table:\n  max_flows: 0\n",
        2,
        14,
        "table.max_flows",
        "from 1 to 67108864",
    ),
    (
        "table:\n  max_flows_v6: 67108865\n",
        2,
        17,
        "table.max_flows_v6",
        "from 1 to 67108864",
    ),
    (
        "table:\n  max_memory: much\n",
        2,
        15,
        "table.max_memory",
        "bytes, or a number with K, M, G or T",
    ),
    (
        "table:\n  max_flows: 262144\n  max_memory: 64M\n",
        2,
        3,
        "table.max_memory",
        "one of both only",
    ),
    ("threshold: 0\n", 1, 12, "threshold", "from 1 to 1000000"),
    ("threshold: many\n", 1, 12, "threshold", "keys with values"),
    (
        "threshold:\n  action: kill\n",
        2,
        11,
        "threshold.action",
        "count, drop or ban",
    ),
    (
        "threshold:\n  new: 5\n  window: 2h\n",
        3,
        11,
        "threshold.window",
        "100ms to 1h",
    ),
    (
        "threshold:\n  action: drop\n",
        2,
        3,
        "threshold.new",
        "there is no limit",
    ),
    (
        "threshold:\n  news: 5\n",
        2,
        3,
        "threshold.news",
        "unknown key",
    ),
    (
        "sketch:\n  width: 1000\n",
        2,
        10,
        "sketch.width",
        "power of two",
    ),
    ("health:\n  rtt: 2\n", 2, 8, "health.rtt", "0 or 1"),
    ("sketch:\n  rows: 9\n", 2, 9, "sketch.rows", "from 1 to 8"),
    (
        "fingerprints:\n  max_sources: 1023\n",
        2,
        16,
        "fingerprints.max_sources",
        "from 1024 to 16777216",
    ),
    (
        "fingerprints:\n  enabled: maybe\n",
        2,
        12,
        "fingerprints.enabled",
        "expected 0 or 1",
    ),
    ("bans:\n  max: 0\n", 2, 8, "bans.max", "from 1 to 16777216"),
    ("bans:\n  min: 1\n", 2, 3, "bans.min", "unknown key"),
    (
        "allow:\n  - host\n",
        2,
        5,
        "allow[0]",
        "an address or a network",
    ),
    ("allow: 10.0.0.1\n", 1, 8, "allow", "expected a list"),
    // bad values
    (
        "mode: xdp\n",
        1,
        7,
        "mode",
        "expected auto, native, generic, offload or tc",
    ),
    ("instance: ../etc\n", 1, 11, "instance", "no instance name"),
    (
        "interfaces:\n  - eth0\n  - \"eth 0\"\n",
        3,
        5,
        "interfaces[1]",
        "no interface name",
    ),
    (
        "ips:\n  - ip: 10.0.0.300\n",
        2,
        9,
        "ips[0].ip",
        "invalid IP address",
    ),
    (
        "ips:\n  - ip: 10.0.0.1\n    mac: aa:bb\n",
        3,
        10,
        "ips[0].mac",
        "six pairs",
    ),
    (
        "ips:\n  - ip: 10.0.0.1\n  - port: 80\n",
        3,
        5,
        "ips[1].ip",
        "missing",
    ),
    (
        "ips:\n  - ip: 10.0.0.1\n    port: 65536\n",
        3,
        11,
        "ips[0].port",
        "from 1 to 65535",
    ),
    (
        "interfaces: [eth0, eth1, eth0]",
        1,
        26,
        "interfaces[2]",
        "listed twice",
    ),
    ("ips:\n  -\n", 2, 4, "ips[0].ip", "missing"),
];

#[test]
fn bad_files_name_line_column_and_key() {
    for (text, line, column, key, words) in BAD {
        let error = refused(text);
        assert_eq!(error.key(), key, "{text:?}: {error}");
        assert!(error.message().contains(words), "{text:?}: {error}");
        let position = (error.line(), error.column());
        assert_eq!(position, (Some(line), Some(column)), "{text:?}: {error}");
    }
}

#[test]
fn an_error_reads_well() {
    let error = refused("conntrack:\n  nf_conntrack_tcp_loose: maybe\n");
    assert_eq!(
        error.to_string(),
        "line 2, column 27: conntrack.nf_conntrack_tcp_loose: expected 0 or 1, found \"maybe\""
    );
}

/// What is no YAML at all: the parser's own words, and where.
#[test]
fn broken_yaml_is_located() {
    for (text, line, column) in [
        ("interfaces: [auto\n", 2, 1),
        ("mode: auto: c\n", 1, 11),
        ("mode: 'auto\n", 2, 1),
        ("\tmode: auto\n", 1, 1),
        ("mode: auto\n- x\n", 2, 1),
        ("%YAML 9.9\n---\n", 1, 1),
        ("mode: *nobody\n", 1, 7),
    ] {
        let error = refused(text);
        let position = (error.line(), error.column());
        assert_eq!(position, (Some(line), Some(column)), "{text:?}: {error}");
        let repeated = format!("at line {line} column {column}");
        assert!(!error.message().contains(&repeated), "{error}");
    }
}

#[test]
fn hostile_texts_are_refused() {
    let bomb: String = (1..20)
        .map(|n| {
            format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{}", n - 1); 10].join(",")
            )
        })
        .collect();
    let texts = [
        "mode: au\0to".to_owned(),
        "\0".to_owned(),
        "mode: \u{7f}\u{1}".to_owned(),
        "[".repeat(4_000),
        "[\n".repeat(100_000),
        "{a: ".repeat(1_000),
        format!("interfaces: {}", "[\n".repeat(5_000)),
        format!("a0: &a0 [x]\n{bomb}"),
        format!("interfaces: &a [{}]", ["*a"; 50].join(",")),
        "ips: &a\n  - *a\n".to_owned(),
        "conntrack: &a\n  tcp_loose: *a\n".to_owned(),
        "<<: {mode: auto}\n".to_owned(),
        "mode: auto\n---\nmode: tc\n".to_owned(),
        "? [a, b]\n: c\n".to_owned(),
        "? {a: b}\n: c\n".to_owned(),
        "!!python/object:os.system x\n".to_owned(),
        format!("mode: {}", "x".repeat(4_000)),
        format!("mode: |\n{}", "  x\n".repeat(30_000)),
        format!("{}: 1", "k".repeat(1_000)),
    ];
    for text in texts {
        let error = refused(&text);
        assert!(
            error.to_string().len() < 400 || text.len() >= 100_000,
            "{error}"
        );
    }
}

#[test]
fn oversized_texts_are_refused() {
    let long = refused(&"#\n".repeat(1 << 18));
    assert!(
        long.message().contains("524288 bytes are too many"),
        "{long}"
    );
    let wide = refused(&format!("mode: auto\n#{}\n", "x".repeat(4_096)));
    assert_eq!(wide.line(), Some(2));
    assert!(wide.message().contains("4097 bytes in a line"), "{wide}");
}

/// An alias may repeat an entry but not stand for more than one.
#[test]
fn aliases_repeat_entries() {
    let config = Config::from_yaml("ips:\n  - &a {ip: 10.0.0.1}\n  - *a\n").unwrap();
    assert_eq!(config.ips.len(), 2);
    let error = refused("ips:\n  - &a [{ip: 10.0.0.1}]\n  - *a\n");
    assert_eq!(error.key(), "ips[0]");
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = Config::from_yaml(&text);
    }

    #[test]
    fn no_cut_or_garbled_example_panics(cut in 0..EXAMPLE.len(), byte in 0x20_u8..0x7f) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        bytes[cut] = byte;
        let _ = Config::from_yaml(&String::from_utf8_lossy(&bytes));
        bytes.truncate(cut);
        let _ = Config::from_yaml(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_yaml_like_text_panics(text in "([a-z_]{1,9}|mode|ips|table|conntrack|[-:?&*!|>{}\\[\\], \n'\"#~0-9]){0,60}") {
        let _ = Config::from_yaml(&text);
    }
}
