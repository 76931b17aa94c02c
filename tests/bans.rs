//! Bans on real traffic: sockets in namespaces, over a wire, as other programs see it.

mod support;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use conntrack::BanSpec;
use conntrack::Mode;
use conntrack::Tracker;
use support::eventually;
use support::link::Offloads;
use support::pair::HOST4;
use support::pair::HOST6;
use support::pair::PEER4;
use support::pair::PEER6;
use support::pair::Pair;
use support::pair::at;
use support::pair::ip;

/// Long enough for what would come, where nothing may.
const SILENCE: Duration = Duration::from_millis(300);

fn pair(mode: Mode) -> Pair {
    Pair::new(mode, Offloads::Software, 1500)
}

fn spec(text: &str) -> BanSpec {
    text.parse().expect(text)
}

/// Two datagram sockets that know each other: the host's, and the peer's.
fn sockets(pair: &Pair, [host, peer]: [&str; 2], port: u16) -> [UdpSocket; 2] {
    let bind = |addr| UdpSocket::bind(at(addr, port)).expect("bind");
    let ours = pair.host.run(|| bind(host));
    let theirs = pair.peer.run(|| bind(peer));
    ours.connect(at(peer, port)).expect("connect");
    theirs.connect(at(host, port)).expect("connect");
    [ours, theirs]
}

/// Whether a datagram gets from one to the other.
fn arrives(from: &UdpSocket, to: &UdpSocket, patience: Duration) -> bool {
    from.send(b"?").expect("send");
    to.set_read_timeout(Some(patience)).expect("a timeout");
    match to.recv(&mut [0; 8]) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
#[ignore = "root"]
fn datagrams_stop_and_go_on() {
    for (mode, addrs) in [
        (Mode::Native, [HOST4, PEER4]),
        (Mode::Tc, [HOST4, PEER4]),
        (Mode::Tc, [HOST6, PEER6]),
    ] {
        let pair = pair(mode);
        let [host, peer] = sockets(&pair, addrs, 4000);
        assert!(arrives(&peer, &host, support::PATIENCE), "{mode}");
        assert!(arrives(&host, &peer, support::PATIENCE));
        let target = format!("{}/{}", addrs[1], if addrs[1] == PEER4 { 32 } else { 128 });
        pair.tracker.ban(spec(&target)).expect("ban");
        for _ in 0..3 {
            assert!(!arrives(&peer, &host, SILENCE), "{mode}");
        }
        assert!(arrives(&host, &peer, support::PATIENCE), "the other way");
        let both = spec(&target).direction(conntrack::BanDirection::Both);
        pair.tracker.ban(both).expect("ban");
        assert!(!arrives(&host, &peer, SILENCE));
        let bans: Vec<_> = pair.tracker.bans().map(|ban| ban.expect("a ban")).collect();
        assert_eq!((bans.len(), bans[0].hits), (1, 4), "{mode}");
        assert_eq!(pair.tracker.stats().expect("stats").drops["ban"], 4);

        let net = spec(&target).target.net();
        let unbanned = pair.tracker.unban(net, None).expect("unban");
        assert_eq!(unbanned.removed.len(), 1);
        assert!(arrives(&peer, &host, support::PATIENCE), "{mode}");
        assert!(arrives(&host, &peer, support::PATIENCE));
        assert_eq!(pair.tracker.bans().count(), 0);
    }
}

#[test]
#[ignore = "root"]
fn a_connection_stalls_and_survives() {
    let pair = pair(Mode::Native);
    let listener = pair
        .host
        .run(|| TcpListener::bind(at(HOST4, 80)).expect("bind"));
    let mut client = pair
        .peer
        .run(|| TcpStream::connect(at(HOST4, 80)).expect("connect"));
    let (mut server, _) = listener.accept().expect("accept");
    let exchange = |client: &mut TcpStream, server: &mut TcpStream| {
        std::io::Write::write_all(client, b"?").expect("write");
        std::io::Read::read_exact(server, &mut [0]).expect("read");
    };
    exchange(&mut client, &mut server);
    pair.tracker.ban(spec(PEER4)).expect("ban");
    std::io::Write::write_all(&mut client, b"!").expect("into the socket's buffer");
    let hits = || {
        pair.tracker
            .bans()
            .next()
            .map_or(0, |ban| ban.expect("a ban").hits)
    };
    // It is sent, and sent again.
    eventually("segments are dropped", || match hits() {
        0 | 1 => Err("not yet".to_owned()),
        _ => Ok(()),
    });
    let refused = pair
        .peer
        .run(|| TcpStream::connect_timeout(&at(HOST4, 80), SILENCE).map_err(|error| error.kind()));
    assert_eq!(refused.err(), Some(ErrorKind::TimedOut), "a new one");
    pair.tracker.unban(ip(PEER4), None).expect("unban");
    std::io::Read::read_exact(&mut server, &mut [0]).expect("what was written meanwhile");
    exchange(&mut client, &mut server);
    assert_eq!(
        pair.tracker
            .stats()
            .expect("stats")
            .ct_state
            .total()
            .invalid,
        0
    );
}

#[test]
#[ignore = "root"]
fn what_was_not_confirmed_ends_by_itself() {
    let pair = pair(Mode::Native);
    let [host, peer] = sockets(&pair, [HOST4, PEER4], 4000);
    let soon = Duration::from_secs(2);
    pair.tracker.ban(spec(PEER4).confirm(soon)).expect("ban");
    assert!(!arrives(&peer, &host, SILENCE));
    eventually("it ends", || match arrives(&peer, &host, SILENCE) {
        true => Ok(()),
        false => Err("not yet".to_owned()),
    });
    assert_eq!(pair.tracker.bans().count(), 0);
    assert_eq!(
        pair.tracker.confirm().expect("confirm"),
        0,
        "it is too late"
    );
    assert!(arrives(&peer, &host, support::PATIENCE));

    pair.tracker.ban(spec(PEER4).confirm(soon)).expect("ban");
    assert_eq!(pair.tracker.confirm().expect("confirm"), 1);
    thread::sleep(soon);
    assert!(!arrives(&peer, &host, SILENCE));
}

#[test]
#[ignore = "root"]
fn ours_and_the_gateway_are_guarded() {
    let pair = pair(Mode::Native);
    for (target, says) in [
        (HOST4, "an address of this host"),
        ("10.7.0.0/24", "an address of this host"),
        ("0.0.0.0/0", "this host"),
        ("127.0.0.2", "loopback"),
        ("::1/128", "this host"),
        (HOST6, "an address of this host"),
    ] {
        let error = pair.tracker.ban(spec(target)).expect_err(target);
        assert_eq!(error.kind(), conntrack::ErrorKind::Guarded, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    pair.tracker.ban(spec(PEER4)).expect("ban");
    pair.tracker.unban(ip(PEER4), None).expect("unban");
    for (route, gateway) in [
        (format!("ip route add default via {PEER4}"), PEER4),
        (format!("ip -6 route add default via {PEER6}"), PEER6),
    ] {
        pair.host.sh(&route);
        // Itself: its /64 is ours as well.
        let itself = ipnet::IpNet::from(ip(gateway)).to_string();
        let error = pair.tracker.ban(spec(&itself)).expect_err(gateway);
        assert!(error.to_string().contains("a default gateway"), "{error}");
    }
    // Forced, it is made, and the gateway passes all the same.
    let [host, peer] = sockets(&pair, [HOST4, PEER4], 4000);
    pair.tracker
        .ban(spec("10.7.0.0/24").force(true))
        .expect("ban");
    assert!(arrives(&peer, &host, support::PATIENCE));
    // It is a gateway no more, as of the next command.
    pair.host.sh("ip route del default");
    let guarded = |addr: &str| {
        let allowed = pair.tracker.allowed().expect("allowed").into_iter();
        let mut guarded = allowed.filter(|it| it.guard);
        guarded.any(|it| it.net == ip(addr).into())
    };
    assert!(guarded(HOST4) && guarded(PEER6) && !guarded(PEER4));
    assert!(!arrives(&peer, &host, SILENCE));
    assert!(pair.tracker.allow(ip(PEER4)).expect("allow"));
    assert!(arrives(&peer, &host, support::PATIENCE));
    let error = pair.tracker.ban(spec("10.7.0.2")).expect_err("allowed");
    assert!(
        error.to_string().contains("allowed by the operator"),
        "{error}"
    );
    assert!(pair.tracker.disallow(ip(PEER4)).expect("disallow"));
    assert!(!arrives(&peer, &host, SILENCE));
    pair.tracker.except(ip(PEER4)).expect("an exception");
    assert!(arrives(&peer, &host, support::PATIENCE));
    pair.tracker
        .ban(spec("10.7.0.0/25").force(true))
        .expect("a larger one");
    assert!(arrives(&peer, &host, support::PATIENCE));
}

#[test]
#[ignore = "root"]
fn unbanning_names_what_covers() {
    let pair = pair(Mode::Tc);
    let tracker = &pair.tracker;
    for target in ["203.0.113.7", "203.0.113.0/24", "203.0.112.0/20"] {
        tracker.ban(spec(target)).expect("ban");
    }
    let unban = |net: &str| {
        let unbanned = tracker.unban(spec(net).target.net(), None).expect("unban");
        let text = |ban: conntrack::Ban| ban.target.to_string();
        let removed: Vec<_> = unbanned.removed.into_iter().map(text).collect();
        (
            removed.join(" "),
            unbanned.covered.map(text).unwrap_or_default(),
        )
    };
    let said = |removed: &str, covered: &str| (removed.to_owned(), covered.to_owned());
    assert_eq!(unban("203.0.113.7"), said("203.0.113.7", "203.0.113.0/24"));
    assert_eq!(unban("203.0.113.7"), said("", "203.0.113.0/24"));
    tracker
        .ban(spec("203.0.113.0/28").dry_run(true))
        .expect("ban");
    assert_eq!(
        unban("203.0.113.7"),
        said("", "203.0.113.0/24"),
        "what only counts covers nothing"
    );
    assert_eq!(
        unban("203.0.113.0/28"),
        said("203.0.113.0/28", "203.0.113.0/24")
    );
    assert_eq!(
        unban("203.0.113.0/24"),
        said("203.0.113.0/24", "203.0.112.0/20")
    );
    assert_eq!(unban("203.0.113.0/24"), said("", "203.0.112.0/20"));
    assert_eq!(
        unban("203.0.0.0/16"),
        said("", ""),
        "what is larger is not covered"
    );
    assert_eq!(unban("203.0.112.0/20"), said("203.0.112.0/20", ""));
    assert_eq!(unban("203.0.113.7"), said("", ""));
}

/// A pinned instance, which goes with the test.
struct Pinned(String);

impl Drop for Pinned {
    fn drop(&mut self) {
        // The test may have failed before it was pinned.
        let _ = conntrack::detach(&self.0);
    }
}

#[test]
#[ignore = "root"]
fn bans_outlive_whoever_made_them_and_upgrades() {
    let pair = pair(Mode::Native);
    let pinned = Pinned(pair.tracker.name().to_owned());
    let [host, peer] = sockets(&pair, [HOST4, PEER4], 4000);
    pair.tracker.persist().expect("persist");
    {
        let other = Tracker::open(&pinned.0).expect("open");
        let day = Duration::from_secs(86_400);
        other.ban(spec(PEER4).ttl(day).reason("why")).expect("ban");
        other.allow(ip("192.0.2.7")).expect("allow");
    }
    assert!(!arrives(&peer, &host, SILENCE));
    conntrack::upgrade(&pinned.0).expect("upgrade");
    assert!(!arrives(&peer, &host, SILENCE));
    let ban = pair.tracker.bans().next().expect("one").expect("a ban");
    assert_eq!((ban.reason.as_str(), ban.hits), ("why", 2));
    let allowed = pair.tracker.allowed().expect("allowed");
    assert!(
        allowed
            .iter()
            .any(|it| it.listed && it.net.addr() == ip("192.0.2.7"))
    );
    pair.tracker.unban(ip(PEER4), None).expect("unban");
    assert!(arrives(&peer, &host, support::PATIENCE));
}

#[test]
#[ignore = "root"]
fn the_configuration_allows() {
    let pair = pair(Mode::Tc);
    let mut config = conntrack::Config::default();
    config.allow = vec![ip("203.0.113.7").into()];
    config.bans.max = 2;
    let tracker = support::tracked::builder(&pair.peer, &[], Mode::Tc)
        .config(config)
        .interface("outer")
        .max_flows(100)
        .attach()
        .expect("attach");
    let error = tracker.ban(spec("203.0.113.0/24")).expect_err("allowed");
    assert!(
        error.to_string().contains("allowed by the operator"),
        "{error}"
    );
    for target in ["198.51.100.1", "198.51.100.2"] {
        tracker
            .ban(spec(target).ttl(Duration::from_millis(1)))
            .expect("ban");
    }
    thread::sleep(Duration::from_millis(2));
    // There is room for two; these have expired.
    for target in ["198.51.100.3", "198.51.100.4"] {
        tracker.ban(spec(target)).expect("room is made");
    }
    let error = tracker.ban(spec("198.51.100.5")).expect_err("no room");
    assert!(
        format!("{error:#}").contains("2 bans, and room for no more"),
        "{error:#}"
    );
    let bans = tracker
        .bans()
        .map(|ban| ban.expect("a ban").target.to_string());
    let mut left: Vec<_> = bans.collect();
    left.sort_unstable();
    assert_eq!(left, ["198.51.100.3", "198.51.100.4"]);
}
