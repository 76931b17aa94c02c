//! Configuration files that are right, the example before all.
#![cfg(feature = "yaml")]

use conntrack_core::ByteSize;
use conntrack_core::Config;
use conntrack_core::Mode;
use conntrack_core::Sysctls;
use conntrack_core::TableConfig;
use conntrack_core::Threshold;

const EXAMPLE: &str = include_str!("../../conntrack.example.yaml");

#[test]
fn the_example_is_the_default() {
    assert_eq!(Config::from_yaml(EXAMPLE).unwrap(), Config::default());
}

#[test]
fn the_example_has_every_setting_once() {
    for (name, value) in Sysctls::default().iter() {
        let line = format!("  {name}: {value}");
        let found = EXAMPLE.lines().filter(|l| *l == line).count();
        assert_eq!(found, 1, "{line:?}");
    }
}

/// What the example shows in comments works when the `#` is taken away.
#[test]
fn the_commented_parts_of_the_example_parse() {
    let mut text = EXAMPLE
        .replace("interfaces: []\n", "")
        .replace("allow: []\n", "")
        .replace("ips: []\n", "");
    for (comment, code) in [
        (
            "#   interfaces:\n#     - eth0\n#     - 'veth*'\n",
            "interfaces:\n  - eth0\n  - 'veth*'\n",
        ),
        ("  # max_flows_v6: 131072\n", "  max_flows_v6: 131072\n"),
        (
            "#   ips:\n#     - ip: \"192.168.1.10\"\n#       port: 80\n#       mac: \"aa:bb:cc:dd:ee:ff\"\n",
            "ips:\n  - ip: \"192.168.1.10\"\n    port: 80\n    mac: \"aa:bb:cc:dd:ee:ff\"\n",
        ),
        (
            "#   allow:\n#     - 192.0.2.10\n#     - 2001:db8:7::/48\n",
            "allow:\n  - 192.0.2.10\n  - 2001:db8:7::/48\n",
        ),
        ("#   threshold:\n", "threshold:\n"),
        ("#     action: drop\n", "  action: drop\n"),
        ("#     new: 50\n", "  new: 50\n"),
        (
            "#     half_open: 0\n#     half_open_per_prefix: 0\n#     half_open_per_port: 0\n",
            "  half_open: 0\n  half_open_per_prefix: 0\n  half_open_per_port: 0\n",
        ),
        (
            "#     new_per_prefix: 0\n#     new_per_port: 0\n",
            "  new_per_prefix: 0\n  new_per_port: 0\n",
        ),
        ("#     window: 1s\n", "  window: 1s\n"),
        (
            "#     prefix_v4: 24\n#     prefix_v6: 64\n",
            "  prefix_v4: 24\n  prefix_v6: 64\n",
        ),
        ("#     ban_on: handshake\n", "  ban_on: handshake\n"),
        ("#     ban_ttl: 10m,1h,24h\n", "  ban_ttl: 10m,1h,24h\n"),
        ("#     ban_forget: 1d\n", "  ban_forget: 1d\n"),
    ] {
        assert!(text.contains(comment), "{comment}");
        text = text.replace(comment, code);
    }
    let config = Config::from_yaml(&text).unwrap();
    assert_eq!(config.attach.interfaces, ["eth0", "veth*"]);
    assert_eq!(config.table.max_flows_v6, Some(131_072));
    assert_eq!(config.threshold, Some(Threshold::new(50)));
    let allowed = ["192.0.2.10/32", "2001:db8:7::/48"].map(|net| net.parse().unwrap());
    assert_eq!(config.allow, allowed);
    let entry = config.ips[0];
    assert_eq!(entry.ip.to_string(), "192.168.1.10");
    assert_eq!(entry.port, Some(80));
    assert_eq!(entry.mac.unwrap().to_string(), "aa:bb:cc:dd:ee:ff");
}

#[test]
fn empty_texts_and_sections_are_defaults() {
    for text in [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "{}",
        "~",
        "conntrack:\n",
        "table:\nips:\ninterfaces:\nconntrack: ~\nthreshold:\nbans:\nallow:\n",
        "\u{feff}mode: auto\n",
    ] {
        assert_eq!(Config::from_yaml(text), Ok(Config::default()), "{text:?}");
    }
}

#[test]
fn values_arrive() {
    let config = Config::from_yaml(
        "interfaces: [eth0, \"wlan0\"]\n\
         mode: generic\n\
         instance: edge-1\n\
         table: {max_flows: 1000}\n\
         conntrack:\n\
         \x20 tcp_loose: false\n\
         \x20 nf_conntrack_tcp_timeout_established: 7440\n\
         \x20 tcp_max_retrans: 5\n",
    )
    .unwrap();
    assert_eq!(config.attach.interfaces, ["eth0", "wlan0"]);
    assert_eq!(config.attach.mode, Mode::Generic);
    assert_eq!(config.instance, "edge-1");
    assert_eq!(
        (config.table.max_flows, config.table.flows_v6()),
        (1000, 500)
    );
    assert!(!config.conntrack.tcp_loose);
    assert_eq!(config.conntrack.tcp_timeout_established, 7440);
    assert_eq!(config.conntrack.get("tcp_max_retrans"), Ok(5));
}

#[test]
fn yaml_round_trips() {
    let text = "interfaces: [lo]\nmode: tc\ninstance: a.b\n\
                table: {max_flows: 7, max_flows_v6: 9}\n\
                conntrack: {udp_timeout: 1, tcp_be_liberal: 1}\n\
                ips: [{ip: 10.0.0.1}, {ip: '::1', port: 1, mac: '00:01:02:03:04:05'}]\n\
                bans: {max: 5}\nallow: [10.0.0.1, '::/0']\n\
                threshold: {new: 7, action: ban, window: 250ms, ban_ttl: '1m,2h'}\n\
                sketch: {width: 1024, rows: 8}\n\
                health: {enabled: true, max_flows: 100, loss: 0}\n\
                fingerprints: {enabled: false, max_signatures: 1024, max_sources: 2000}\n";
    let config = Config::from_yaml(text).unwrap();
    let again = Config::from_yaml(&config.to_yaml().unwrap()).unwrap();
    assert_eq!(again, config);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
}

#[test]
fn tables_are_sized_by_memory_instead() {
    for (text, bytes) in [
        ("64M", 64 << 20),
        ("\"1GiB\"", 1 << 30),
        ("5000000", 5_000_000),
    ] {
        let config = Config::from_yaml(&format!("table: {{max_memory: {text}}}\n")).unwrap();
        assert_eq!(config.table, TableConfig::within(ByteSize(bytes)), "{text}");
        let again = Config::from_yaml(&config.to_yaml().unwrap()).unwrap();
        assert_eq!(again, config);
    }
    let empty = "table: {max_flows: null, max_memory: 64M}\n";
    let config = Config::from_yaml(empty).unwrap();
    assert_eq!(config.table.max_memory, Some(ByteSize(64 << 20)));
}

#[test]
fn other_formats_name_the_key_too() {
    let error = serde_json::from_str::<Config>(r#"{"conntrack": {"tcp_loose": 2}}"#).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("conntrack.tcp_loose: expected 0 or 1, found 2"),
        "{error}"
    );
}
