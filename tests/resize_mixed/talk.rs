//! Traffic of all kinds, in both families, until it is enough. Whoever sends waits for
//! the answer, so that nothing may be lost on the way.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;

use crate::sctp::Ends;
use crate::support::PATIENCE;
use crate::support::pair::HOST4;
use crate::support::pair::HOST6;
use crate::support::pair::PEER4;
use crate::support::pair::PEER6;
use crate::support::pair::Pair;
use crate::support::pair::at;
use crate::support::pair::ip;
use crate::support::peer::Server;
use crate::support::peer::dns_query;
use crate::support::peer::http_get;
use crate::support::peer::iperf;
use crate::support::peer::ping;
use crate::support::peer::query_from;

/// Between two that need no time by themselves: flows stay, and they are to fit.
const PAUSE: Duration = Duration::from_millis(5);

const PAGE: usize = 20_000;

/// What goes on.
pub(crate) struct Talk {
    stop: Arc<AtomicBool>,
    threads: Vec<(String, JoinHandle<u64>)>,
    _servers: Vec<Server>,
}

impl Talk {
    pub(crate) fn start(pair: &Pair) -> Self {
        let mut this = Self {
            stop: Arc::default(),
            threads: Vec::new(),
            _servers: Vec::new(),
        };
        for [host, peer] in [[HOST4, PEER4], [HOST6, PEER6]] {
            this._servers
                .push(Server::http(&pair.host, at(host, 80), PAGE));
            this._servers
                .push(Server::dns(&pair.host, at(host, 53), 100));
            this.datagrams(pair, host);
            this.connections(pair, host);
            let ends = Ends::new([&pair.peer, &pair.host], [peer, host]);
            let mut ports = 1024..u16::MAX;
            this.again("associations", host, move || {
                ends.associate(ports.next().expect("a port"));
                thread::sleep(PAUSE);
            });
        }
        this
    }

    fn datagrams(&mut self, pair: &Pair, host: &'static str) {
        let peer = pair.peer.clone();
        self.again("queries", host, move || {
            dns_query(&peer, at(host, 53), 300, 40)
        });
        let peer = pair.peer.clone();
        self.again("fragments", host, move || {
            dns_query(&peer, at(host, 53), 4, 8000);
            ping(&peer, ip(host), 2, 4000);
        });
        let peer = pair.peer.clone();
        self.again("pings", host, move || ping(&peer, ip(host), 5, 56));
    }

    fn connections(&mut self, pair: &Pair, host: &'static str) {
        let peer = pair.peer.clone();
        self.again("pages", host, move || {
            assert_eq!(http_get(&peer, at(host, 80)), PAGE);
            thread::sleep(PAUSE);
        });
        let peer = pair.peer.clone();
        self.again("resets", host, move || peer.run(|| reset(ip(host))));
        let (here, peer) = (pair.host.clone(), pair.peer.clone());
        let mut back = false;
        self.again("streams", host, move || {
            iperf(&here, &peer, ip(host), 20_000_000, back);
            back = !back;
        });
    }

    /// Does something again and again.
    pub(crate) fn again(&mut self, what: &str, to: &str, mut once: impl FnMut() + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        let thread = thread::spawn(move || {
            let mut times = 0;
            while !stop.load(Ordering::Relaxed) {
                once();
                times += 1;
            }
            times
        });
        self.threads.push((format!("{what} to {to}"), thread));
    }

    /// Ends it; each has been done, so often.
    pub(crate) fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for (what, thread) in self.threads.drain(..) {
            let times = thread.join().unwrap_or_else(|_| panic!("{what}"));
            println!("{what}: {times}");
            assert!(times > 0, "{what}");
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A connection that nobody takes, and one that ends in a RST of the client's.
fn reset(host: IpAddr) {
    let refused = TcpStream::connect_timeout(&(host, 81).into(), PATIENCE);
    assert_eq!(
        refused.expect_err("nobody is there").kind(),
        ErrorKind::ConnectionRefused
    );
    let stream = TcpStream::connect_timeout(&(host, 80).into(), PATIENCE).expect("connect");
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream, Linger, &at_once).expect("a RST at its end");
    thread::sleep(PAUSE);
}

/// A socket that has been heard once, and is banned from then on.
#[derive(Debug)]
pub(crate) struct Banned {
    socket: UdpSocket,
    pub(crate) addr: IpAddr,
}

impl Banned {
    pub(crate) fn new(pair: &Pair, [host, own]: [&str; 2]) -> Self {
        let addr = ip(own);
        let whole = if addr.is_ipv4() { 32 } else { 128 };
        // Deprecated: nobody else sends from it.
        pair.outer.addr(&format!("{addr}/{whole} preferred_lft 0"));
        let socket = pair
            .peer
            .run(|| UdpSocket::bind(at(own, 4000)).expect("bind"));
        socket.connect(at(host, 54)).expect("connect");
        let _server = Server::dns(&pair.host, at(host, 54), 100);
        query_from(&socket, at(host, 54), 1, 40);
        let target = format!("{addr}/{whole}");
        pair.tracker
            .ban(target.parse().expect("a ban"))
            .expect("ban");
        Self { socket, addr }
    }

    /// Sends and sends; how many datagrams is what `sent` says.
    pub(crate) fn send(self, talk: &mut Talk, sent: Arc<AtomicU64>) {
        let to = self.addr.to_string();
        talk.again("in vain", &to, move || {
            self.socket.send(b"?").expect("send");
            sent.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PAUSE / 10);
        });
    }
}
