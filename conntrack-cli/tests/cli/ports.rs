//! `ports`, with connections of real clients.

use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::netns::Netns;
use crate::replay::File;
use crate::schema;

const SERVERS: [&str; 2] = ["10.9.0.1", "fd09::1"];
const CLIENTS: [[&str; 2]; 2] = [["10.9.0.7", "10.9.0.8"], ["fd09::7", "fd09::8"]];

/// A server and clients of two addresses of both families.
struct Scene {
    server: Netns,
    clients: Netns,
    _listeners: Vec<TcpListener>,
}

impl Scene {
    fn new() -> Self {
        let (server, clients) = (Netns::new(), Netns::new());
        server.wire(&clients);
        for (netns, device, addresses) in [
            (&server, "inner", &["10.9.0.1/24", "fd09::1/64"][..]),
            (
                &clients,
                "outer",
                &["10.9.0.7/24", "10.9.0.8/24", "fd09::7/64", "fd09::8/64"],
            ),
        ] {
            for address in addresses {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                netns.ip(&format!("addr add {address} dev {device}{nodad}"));
            }
        }
        let listeners = server.inside(|| {
            let ports = [22, 80, 443].into_iter();
            let listen = |port| ["0.0.0.0", "::"].map(|addr| (addr, port));
            let all = ports.flat_map(listen);
            all.map(|(addr, port)| {
                let addr = SocketAddr::new(addr.parse().unwrap(), port);
                listen_only(addr)
            })
            .collect()
        });
        Self {
            server,
            clients,
            _listeners: listeners,
        }
    }

    /// A connection from an address of a client.
    fn connect(&self, from: &str, to: &str, port: u16) {
        self.clients.inside(|| {
            let [from, to] = [(from, 0), (to, port)]
                .map(|(addr, port)| SocketAddr::new(addr.parse().unwrap(), port));
            drop(connect_from(from, to));
        });
    }

    fn rows(&self, options: &[&str]) -> Vec<Value> {
        let args = [&["ports", "-o", "json"], options].concat();
        let rows: Vec<Value> = serde_json::from_str(&self.server.run(&args).ok()).unwrap();
        rows.iter().for_each(|row| schema::check("port", row));
        rows
    }

    /// The sources of a port, by family.
    fn sources(&self, family: &str, port: u16, options: &[&str]) -> Option<u64> {
        let rows = self.rows(options);
        let mut rows = rows.iter();
        let row = rows.find(|row| row["family"] == family && row["port"] == port)?;
        row["sources"].as_u64()
    }
}

/// A listener of one family only.
fn listen_only(addr: SocketAddr) -> TcpListener {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::AddressFamily;
    use nix::sys::socket::Backlog;
    use nix::sys::socket::SockFlag;
    use nix::sys::socket::SockType;
    use nix::sys::socket::SockaddrStorage;
    use nix::sys::socket::bind;
    use nix::sys::socket::listen;
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::socket;
    use nix::sys::socket::sockopt::Ipv6V6Only;

    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, SockType::Stream, SockFlag::empty(), None).unwrap();
    if addr.is_ipv6() {
        setsockopt(&socket, Ipv6V6Only, &true).unwrap();
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(addr)).unwrap();
    listen(&socket, Backlog::new(64).unwrap()).unwrap();
    TcpListener::from(socket)
}

fn connect_from(from: SocketAddr, to: SocketAddr) -> TcpStream {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::AddressFamily;
    use nix::sys::socket::SockFlag;
    use nix::sys::socket::SockType;
    use nix::sys::socket::SockaddrStorage;
    use nix::sys::socket::bind;
    use nix::sys::socket::connect;
    use nix::sys::socket::socket;

    let family = match from {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(socket.as_raw_fd(), &SockaddrStorage::from(from)).unwrap();
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    TcpStream::from(socket)
}

#[test]
#[ignore = "root"]
fn clients_count_on_every_port_they_reach() {
    let scene = Scene::new();
    let server = &scene.server;
    server.run(&["attach", "inner", "lo"]).ok();
    assert_eq!(scene.rows(&[]), [] as [Value; 0]);
    for (index, family) in ["ipv4", "ipv6"].into_iter().enumerate() {
        let (to, [one, other]) = (SERVERS[index], CLIENTS[index]);
        // One client touches three ports within a second.
        for port in [22, 80, 443] {
            scene.connect(one, to, port);
        }
        for port in [22, 80, 443] {
            assert_eq!(scene.sources(family, port, &[]), Some(1), "{family} {port}");
        }
        scene.connect(one, to, 80);
        scene.connect(other, to, 80);
        assert_eq!(scene.sources(family, 80, &[]), Some(2));
        assert_eq!(scene.sources(family, 80, &["--dst", "local"]), Some(2));
        assert_eq!(scene.sources(family, 80, &["--dst", to]), Some(2));
        assert_eq!(scene.sources(family, 80, &["--dst", one]), None);
        assert_eq!(scene.sources(family, 80, &["--port", "22,400-500"]), None);
    }
    // A datagram; and what this host does itself, which is asked for.
    scene.clients.inside(|| {
        let socket = UdpSocket::bind(("10.9.0.7", 0)).unwrap();
        socket.send_to(b"?", ("10.9.0.1", 53)).unwrap();
    });
    server.inside(|| drop(TcpStream::connect(("127.0.0.1", 22)).unwrap()));
    let udp = scene.rows(&["--protocol", "udp"]);
    assert_eq!((udp.len(), &udp[0]["port"]), (1, &53.into()));
    let of_lo = ["--dst", "127.0.0.1"];
    assert_eq!(scene.sources("ipv4", 22, &of_lo), None);
    let with = [&of_lo[..], &["--with-local"]].concat();
    assert_eq!(scene.sources("ipv4", 22, &with), Some(1));

    let args = [
        "ports", "--list", "--port", "80", "-f", "ipv4", "-o", "jsonl",
    ];
    let lines = server.run(&args).ok();
    let found: Vec<Value> = lines
        .lines()
        .map(|line| schema::document("port_source", line))
        .collect();
    let mut found: Vec<_> = found
        .iter()
        .map(|it| {
            (
                it["addr"].as_str().unwrap(),
                it["connections"].as_u64().unwrap(),
            )
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("10.9.0.7", 2), ("10.9.0.8", 1)]);
    in_every_form(server);

    // Other programs and other tables know them as well.
    let upgrade = server.run(&["upgrade"]);
    assert_eq!(upgrade.code, Some(0), "{upgrade:?}");
    let resize = server.run(&["resize", "--max-flows", "1000"]);
    assert_eq!(resize.code, Some(0), "{resize:?}");
    scene.connect("10.9.0.8", "10.9.0.1", 443);
    assert_eq!(scene.sources("ipv4", 443, &[]), Some(2));

    // Nobody has come within the last second by then.
    thread::sleep(Duration::from_millis(1300));
    assert_eq!(scene.rows(&["--window", "1s"]), [] as [Value; 0]);
    server.run(&["detach"]).ok();
}

fn in_every_form(server: &Netns) {
    let table = server.run(&["ports", "--protocol", "tcp"]).ok();
    assert!(
        table.starts_with("FAMILY  PROTO  PORT  SOURCES  PRECISION"),
        "{table}"
    );
    assert!(
        table.contains("ipv4    tcp      80        2  exact "),
        "{table}"
    );
    let csv = server
        .run(&["ports", "-f", "ipv6", "--port", "80", "-o", "csv"])
        .ok();
    let mut lines = csv.lines();
    let columns = "family,protocol,port,sources,precision,standard_error,last";
    assert_eq!(lines.next(), Some(columns));
    assert!(
        lines.next().unwrap().starts_with("ipv6,tcp,80,2,exact,0,"),
        "{csv}"
    );
    let list = server.run(&["ports", "--port", "80", "--list"]).ok();
    assert!(list.starts_with("PROTO  PORT  SOURCE"), "{list}");
    assert!(list.contains("fd09::8") && list.contains("inner"), "{list}");
    let csv = server
        .run(&["ports", "--list", "-o", "csv", "--no-header", "-n", "1"])
        .ok();
    assert_eq!(csv.trim().split(',').count(), 8, "{csv}");
}

#[test]
#[ignore = "root"]
fn ports_may_be_left_alone() {
    let netns = Netns::new();
    let yaml = File::new(b"ports:\n  enabled: false\n");
    netns
        .run(&["attach", "lo", "-c", yaml.path.to_str().unwrap()])
        .ok();
    netns.run(&["ports"]).failed(3, "ports.enabled");
    netns.run(&["detach"]).ok();
    for (args, says) in [
        (["ports", "--window", "0"], "10m"),
        (["ports", "--dst", "everywhere"], "local"),
        (["ports", "--protocol", "icmp"], "udp"),
    ] {
        let wrong = netns.run(&args);
        assert_eq!(wrong.code, Some(2), "{wrong:?}");
        assert!(wrong.stderr.contains(says), "{wrong:?}");
    }
}
