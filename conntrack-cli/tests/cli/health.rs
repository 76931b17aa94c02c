//! How connections are doing, of a live tracker.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;

use crate::netns::Netns;
use crate::replay::File;
use crate::schema;

#[test]
#[ignore = "root"]
fn connections_and_their_sums() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let (mut client, mut server) = netns.connection();
    client.write_all(b"hello").unwrap();
    let mut text = [0; 5];
    server.read_exact(&mut text).unwrap();
    server.write_all(&text).unwrap();
    client.read_exact(&mut text).unwrap();
    let port = server.local_addr().unwrap().port();

    let flows = schema::flows(&netns.run(&["list", "-o", "json"]).ok());
    let health = &flows[0]["health"];
    for key in ["rtt_to_server_ns", "rtt_to_client_ns", "first_byte_ns"] {
        assert!(health[key].as_u64().unwrap() > 0, "{key}: {health}");
    }
    assert_eq!(health["original"]["retransmits"], 0, "{health}");
    assert!(health["duration_ns"].is_null());
    let wide = netns.run(&["list", "--wide"]).ok();
    assert!(wide.contains("RETRANS") && wide.contains("0/0"), "{wide}");
    assert!(!netns.run(&["list"]).ok().contains("RETRANS"));

    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut text).unwrap(), 0);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut text).unwrap(), 0);
    let flows = schema::flows(&netns.run(&["list", "-o", "json"]).ok());
    assert!(flows[0]["health"]["duration_ns"].as_u64().unwrap() > 0);

    let stats = netns.run(&["stats", "--health", "-o", "json"]).ok();
    let stats = schema::document("health", &stats);
    let service = &stats["services"][0];
    assert_eq!(
        (&service["protocol"], &service["port"]),
        (&"tcp".into(), &port.into())
    );
    assert_eq!(
        (&service["flows"], &service["rtt"]["count"]),
        (&1.into(), &1.into())
    );
    assert_eq!(service["duration"]["count"], 1);
    assert!(service["rtt"]["p50_ns"].as_u64().unwrap() > 0);
    assert_eq!(stats["interfaces"][0]["interface"], "lo");
    let table = netns.run(&["stats", "--health"]).ok();
    assert!(
        table.contains(&format!("tcp/{port} round-trip time")),
        "{table}"
    );
    assert!(table.contains("on lo") && table.contains('#'), "{table}");
    let metrics = netns.run(&["stats", "-o", "prometheus"]).ok();
    let sample = format!("conntrack_tcp_connections_total{{service=\"tcp/{port}\"}} 1");
    assert!(metrics.contains(&sample), "{metrics}");
    assert!(metrics.contains("conntrack_packets_total"), "{metrics}");
}

#[test]
#[ignore = "root"]
fn what_is_switched_off_is_said() {
    for (yaml, says) in [
        ("health: {enabled: false}", "(health.enabled)"),
        ("health: {rtt: false}", "switched off health.rtt"),
    ] {
        let netns = Netns::new();
        let yaml = File::new(yaml.as_bytes());
        let yaml = yaml.path.to_str().unwrap();
        netns.run(&["attach", "lo", "--config", yaml]).ok();
        let _open = netns.connection();
        let wide = netns.run(&["list", "--wide"]).ok_saying(says);
        assert!(wide.contains("RTT"), "{wide}");
        let wide = netns.run(&["list", "--wide", "-o", "json"]);
        assert_eq!(schema::flows(&wide.ok_saying(says)).len(), 1);
        // Who did not ask is not told.
        netns.run(&["list"]).ok();
        netns.run(&["list", "-o", "json"]).ok();
        let table = netns.run(&["stats", "--health"]);
        let json = netns.run(&["stats", "--health", "-o", "json"]);
        if says == "(health.enabled)" {
            // There is nothing else to show.
            table.failed(3, says);
            json.failed(3, says);
            continue;
        }
        let table = table.ok_saying(says);
        assert!(table.starts_with("SERVICE"), "{table}");
        schema::document("health", &json.ok_saying(says));
    }
}
