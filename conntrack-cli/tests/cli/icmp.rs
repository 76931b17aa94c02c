//! `icmp`, and `list -p icmp`, with the messages of a real stack and a real router.

use std::net::UdpSocket;
use std::process::Command;

use serde_json::Value;

use crate::netns::Netns;
use crate::run::finish;
use crate::schema;

/// A host with a tracker, a router, and a network beyond it whose MTU is smaller.
struct Scene {
    host: Netns,
    router: Netns,
    _far: Netns,
}

const ROUTER: [&str; 2] = ["10.9.0.1", "fd09::1"];
const HOST: [&str; 2] = ["10.9.0.7", "fd09::7"];
const FAR: [&str; 2] = ["10.8.0.9", "fd08::9"];
const FAR_MTU: u64 = 1300;

impl Scene {
    fn new() -> Self {
        let (host, router, far) = (Netns::new(), Netns::new(), Netns::new());
        host.wire(&router);
        router.ip(&format!(
            "link add beyond type veth peer name end netns {}",
            far.name
        ));
        for (netns, device, addresses) in [
            (&host, "inner", ["10.9.0.7/24", "fd09::7/64"]),
            (&router, "outer", ["10.9.0.1/24", "fd09::1/64"]),
            (&router, "beyond", ["10.8.0.1/24", "fd08::1/64"]),
            (&far, "end", ["10.8.0.9/24", "fd08::9/64"]),
        ] {
            for address in addresses {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                netns.ip(&format!("addr add {address} dev {device}{nodad}"));
            }
            netns.ip(&format!("link set {device} up"));
        }
        for (netns, device) in [(&router, "beyond"), (&far, "end")] {
            netns.ip(&format!("link set {device} mtu {FAR_MTU}"));
        }
        host.ip("route add 10.8.0.0/24 via 10.9.0.1");
        host.ip("-6 route add fd08::/64 via fd09::1");
        far.ip("route add 10.9.0.0/24 via 10.8.0.1");
        far.ip("-6 route add fd09::/64 via fd08::1");
        router.inside(|| {
            for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/net/{path}"), "1").unwrap();
            }
        });
        let _far = far;
        Self { host, router, _far }
    }

    /// One echo request, by ping's options.
    fn ping(&self, options: &str, to: &str) -> bool {
        let mut ping = Command::new("ping");
        ping.args(["-n", "-c", "1", "-W", "2"]);
        ping.args(options.split_whitespace()).arg(to);
        self.host.inside(|| finish(&mut ping)).code == Some(0)
    }

    /// A datagram to a port that nobody has opened; its own port.
    fn knock(&self, from: &str, to: &str) -> u16 {
        self.host.inside(|| {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.connect((to, 33_434)).unwrap();
            socket.send(b"?").unwrap();
            let timeout = std::time::Duration::from_secs(2);
            socket.set_read_timeout(Some(timeout)).unwrap();
            let refused = socket.recv(&mut [0]).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            socket.local_addr().unwrap().port()
        })
    }

    fn errors(&self, options: &[&str]) -> Vec<Value> {
        let args = [&["icmp", "--errors", "-o", "json"], options].concat();
        let errors: Vec<Value> = serde_json::from_str(&self.host.run(&args).ok()).unwrap();
        for error in &errors {
            schema::check("icmp_error", error);
        }
        errors
    }
}

/// How often a type came, by its name and family.
fn packets(counts: &Value, family: &str, name: &str) -> u64 {
    let kinds = counts["kinds"].as_array().unwrap().iter();
    let named = kinds.filter(|it| it["family"] == family && it["type_name"] == name);
    named.map(|it| it["packets"].as_u64().unwrap()).sum()
}

#[test]
#[ignore = "root"]
fn what_routers_and_hosts_say() {
    let scene = Scene::new();
    scene.host.run(&["attach", "inner"]).ok();
    for (index, family) in ["ipv4", "ipv6"].into_iter().enumerate() {
        let (host, router, far) = (HOST[index], ROUTER[index], FAR[index]);
        let icmp = ["icmp", "icmpv6"][index];
        assert!(scene.ping("", far));
        assert!(!scene.ping("-t 1", far));
        assert!(!scene.ping("-M do -s 1400", far));
        let port = scene.knock(host, router);

        let found = scene.errors(&["-f", family]);
        assert_eq!(found.len(), 3, "{found:#?}");
        for error in &found {
            assert_eq!(
                (&error["from"], &error["to"]),
                (&router.into(), &host.into())
            );
            assert_eq!(
                (&error["packets"], &error["related"]),
                (&1.into(), &1.into())
            );
            assert_eq!(error["interface"], "inner");
            assert_eq!(error["about"]["src"], host);
        }
        let of = |name: &str| {
            let mut named = found
                .iter()
                .filter(|it| it["type_name"] == name || it["code_name"] == name);
            named
                .next()
                .unwrap_or_else(|| panic!("{name} in {found:#?}"))
        };
        let large = of(["fragmentation-needed", "packet-too-big"][index]);
        let (refused, late) = (of("port-unreachable"), of("time-exceeded"));
        let about = &refused["about"];
        assert_eq!(
            (&about["protocol"], &about["sport"], &about["dport"]),
            (&"udp".into(), &port.into(), &33_434.into())
        );
        assert_eq!(about["dst"], router);
        assert_eq!(large["mtu"], FAR_MTU);
        assert_eq!(
            (&late["about"]["protocol"], &late["mtu"]),
            (&icmp.into(), &Value::Null)
        );
        assert_eq!(late["about"]["dst"], far);

        let by_type = scene.errors(&["-f", family, "--type", "time-exceeded", "--from", router]);
        assert_eq!(by_type.as_slice(), std::slice::from_ref(late));
        let by_port = scene.errors(&["-f", family, "--protocol", "udp", "--port", "33434"]);
        assert_eq!(by_port.as_slice(), std::slice::from_ref(refused));
        assert_eq!(scene.errors(&["-f", family, "--invalid"]), [] as [Value; 0]);

        let list = scene.host.run(&["list", "-p", icmp, "-o", "json"]).ok();
        let flows = schema::flows(&list);
        // Each ping is a flow; that which was answered has an answer.
        assert_eq!(flows.len(), 3, "{flows:#?}");
        let request = if index == 0 { 8 } else { 128 };
        for flow in &flows {
            assert_eq!(
                (&flow["protocol"], &flow["original"]["type"]),
                (&icmp.into(), &request.into())
            );
            assert!(flow["original"]["id"].is_u64());
        }
        let table = scene.host.run(&["list", "-p", icmp]).ok();
        assert_eq!(table.matches(&format!("{far} id=")).count(), 3, "{table}");
    }
    in_every_form(&scene);
    scene.host.run(&["detach"]).ok();
}

fn in_every_form(scene: &Scene) {
    let run = |args: &[&str]| scene.host.run(args).ok();
    let counts = schema::document("icmp", &run(&["icmp", "-o", "json"]));
    for family in ["ipv4", "ipv6"] {
        assert_eq!(packets(&counts, family, "echo-reply"), 1, "{counts:#}");
        // What is too large leaves the host, and is counted, too.
        assert_eq!(packets(&counts, family, "echo-request"), 3);
        assert_eq!(packets(&counts, family, "time-exceeded"), 1);
    }
    assert!(packets(&counts, "ipv6", "neighbour-solicitation") > 0);
    assert_eq!(packets(&counts, "ipv6", "packet-too-big"), 1);

    let table = run(&["icmp"]);
    assert!(table.starts_with("PROTO"), "{table}");
    assert!(
        table.contains("destination-unreachable: port-unreachable"),
        "{table}"
    );
    let csv = run(&["icmp", "--type", "echo-reply", "-o", "csv"]);
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "family,type,type_name,code,code_name,packets,bytes"
    );
    assert_eq!(
        lines[1..],
        ["ipv4,0,echo-reply,0,,1,84", "ipv6,129,echo-reply,0,,1,104"]
    );
    let lines = run(&["icmp", "--type", "8", "-o", "jsonl", "-f", "ipv4"]);
    let line = schema::document("icmp#count", &lines);
    assert_eq!(line["packets"], 3);
    for line in run(&["icmp", "-o", "jsonl"]).lines() {
        schema::document("icmp#count", line);
    }

    let errors = run(&["icmp", "--errors"]);
    let about = format!(" -> {}:33434", ROUTER[0]);
    assert!(
        errors.contains("icmp port-unreachable") && errors.contains(&about),
        "{errors}"
    );
    let csv = run(&["icmp", "--errors", "-o", "csv"]);
    let columns: Vec<_> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [23; 7], "{csv}");
    let lines = run(&["icmp", "--errors", "-n", "2", "-o", "jsonl"]);
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        schema::document("icmp_error", line);
    }

    let metrics = run(&["stats", "-o", "prometheus"]);
    let metric = "conntrack_icmp_packets_total{family=\"ipv4\",type=\"0\",code=\"0\"} 1\n";
    assert!(metrics.contains(metric), "{metrics}");
    let stats = run(&["stats", "-o", "json", "--interval", "0.1"]);
    let stats = schema::document("stats", &stats);
    assert_eq!(packets(&stats["icmp"], "ipv4", "echo-reply"), 1);
    let stats = run(&["stats", "--interval", "0.1"]);
    assert!(stats.contains("\nICMP "), "{stats}");
    assert!(
        scene.router.run(&["icmp"]).code == Some(3),
        "no tracker there"
    );
}

#[test]
#[ignore = "root"]
fn conditions_on_errors_need_errors() {
    let netns = Netns::new();
    netns.run(&["attach", "lo"]).ok();
    let refused = netns.run(&["icmp", "--from", "10.0.0.1"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--errors"), "{refused:?}");
    let wrong = netns.run(&["icmp", "--type", "pong"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let empty = netns.run(&["icmp", "--type", "redirect", "-o", "csv", "--no-header"]);
    assert_eq!(empty.ok(), "");
    netns.run(&["detach"]).ok();
}
