//! Traffic that goes on while something happens, every packet of it counted: by
//! who sends it, and by the interface it crosses.

use std::collections::BTreeSet;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use conntrack::Endpoint;
use conntrack::FlowKey;
use conntrack::Protocol;
use conntrack::Tracker;

use super::link::Link;
use super::link::LinkCounters;
use super::link::Offloads;
use super::link::veth;
use super::netns::Netns;

/// Where the host is, and its peer.
#[derive(Clone, Copy, Debug)]
struct Network {
    hosts: [&'static str; 2],
    length: u8,
    v6: bool,
}

const V4: Network = Network {
    hosts: ["10.8.0.1", "10.8.0.2"],
    length: 24,
    v6: false,
};
const V6: Network = Network {
    hosts: ["fd08::1", "fd08::2"],
    length: 64,
    v6: true,
};

/// Longest wait for an answer, or for counters to come to rest.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than TCP holds an acknowledgement back (`TCP_DELACK_MAX`, 200 ms).
const SILENCE: Duration = Duration::from_millis(400);

/// Where datagrams are answered; the first also those of the flow at full speed.
const ECHOES: [u16; 9] = [9000, 9002, 9003, 9004, 9005, 9006, 9007, 9008, 9009];

/// Datagrams under way at a time: fewer than veth queues, so that none is lost.
const WINDOW: u64 = 32;

/// A host whose interface `wire` is tracked, and its peer. Nothing has crossed
/// the wire before there are addresses.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) here: Netns,
    pub(crate) there: Netns,
    inner: Link,
    outer: Link,
    network: Network,
}

impl Wire {
    /// For IPv4.
    pub(crate) fn new() -> Self {
        Self::of(V4)
    }

    /// For IPv6.
    pub(crate) fn v6() -> Self {
        Self::of(V6)
    }

    fn of(network: Network) -> Self {
        let (here, there) = (Netns::new(), Netns::new());
        for ns in [&here, &there] {
            ns.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        }
        let (inner, outer) = veth((&here, "wire"), (&there, "wire"));
        for link in [&inner, &outer] {
            link.offloads(Offloads::Off);
        }
        Self {
            here,
            there,
            inner,
            outer,
            network,
        }
    }

    /// Starts the traffic: a UDP flow at full speed, a TCP connection that is
    /// open all the time, and a new UDP flow every millisecond, 50,000 at the most.
    pub(crate) fn start(&self) -> Traffic {
        self.start_to(&ECHOES[..1])
    }

    /// The same, and nine times as many flows at the most.
    pub(crate) fn start_long(&self) -> Traffic {
        self.start_to(&ECHOES)
    }

    fn start_to(&self, echoes: &'static [u16]) -> Traffic {
        let before = self.inner.counters();
        let Network { hosts, length, v6 } = self.network;
        let [host, peer] = hosts;
        for (ns, link, addr) in [
            (&self.here, &self.inner, host),
            (&self.there, &self.outer, peer),
        ] {
            if v6 {
                ns.sysctl("net/ipv6/conf/wire/disable_ipv6", "0");
            }
            link.addr(&format!("{addr}/{length}"));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let listener = self.here.run(|| TcpListener::bind((host, 9001)));
        let listener = listener.expect("a TCP server");
        let answered = Arc::new(AtomicBool::new(false));
        let servers = echoes.iter().map(|port| self.answer(*port, &answered));
        let servers = servers.collect();
        // It ends with its client.
        self.here.spawn(move || echo_stream(&listener));
        let (fast, client) = self.there.run(|| {
            let fast = UdpSocket::bind((peer, 0)).expect("a socket");
            fast.connect((host, ECHOES[0])).expect("an address");
            let client = TcpStream::connect((host, 9001)).expect("a connection");
            (fast, client)
        });
        let udp = fast.local_addr().expect("an address");
        let tcp = client.local_addr().expect("an address");
        fast.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let stopped = [(); 3].map(|()| Arc::clone(&stop));
        let [for_fast, for_tcp, for_short] = stopped;
        Traffic {
            inner: self.inner.clone(),
            before,
            stop,
            answered,
            servers,
            fast: Some(self.there.spawn(move || keep_sending(&fast, &for_fast))),
            stream: Some(self.there.spawn(move || keep_talking(client, &for_tcp))),
            short: Some(
                self.there
                    .spawn(move || open_flows(hosts, echoes, &for_short)),
            ),
            udp: key(udp, (host, ECHOES[0]), Protocol::UDP),
            tcp: key(tcp, (host, 9001), Protocol::TCP),
        }
    }

    /// Answers datagrams to a port until it is done.
    fn answer(&self, port: u16, done: &Arc<AtomicBool>) -> JoinHandle<()> {
        let [host, _] = self.network.hosts;
        let echo = self.here.run(|| UdpSocket::bind((host, port)));
        let echo = echo.expect("an echo server");
        echo.set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a time limit");
        let done = Arc::clone(done);
        self.here.spawn(move || echo_datagrams(&echo, &done))
    }
}

fn key(from: SocketAddr, to: (&str, u16), protocol: Protocol) -> FlowKey {
    let to = Endpoint::new(to.0.parse().expect("an address"), to.1);
    FlowKey::new(Endpoint::new(from.ip(), from.port()), to, protocol)
}

/// What is under way; [`Traffic::finish`] ends it.
#[derive(Debug)]
pub(crate) struct Traffic {
    inner: Link,
    before: LinkCounters,
    stop: Arc<AtomicBool>,
    /// Nobody waits for an answer of the server any more.
    answered: Arc<AtomicBool>,
    servers: Vec<JoinHandle<()>>,
    fast: Option<JoinHandle<u64>>,
    stream: Option<JoinHandle<(u64, TcpStream)>>,
    short: Option<JoinHandle<u64>>,
    /// The UDP flow at full speed.
    pub(crate) udp: FlowKey,
    /// The TCP connection.
    pub(crate) tcp: FlowKey,
}

/// What was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Datagrams of the fast flow, each of them answered.
    pub(crate) datagrams: u64,
    /// Bytes that went to and fro through the connection.
    pub(crate) stream: u64,
    /// Flows that were opened, the two long ones not among them.
    pub(crate) flows: u64,
    /// Frames that have crossed the wire, both ways.
    pub(crate) frames: u64,
    /// Still open.
    _connection: TcpStream,
}

impl Traffic {
    /// Ends it. Everything that was sent has been answered.
    pub(crate) fn finish(&mut self, tracker: &Tracker) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        let (stream, connection) = end(&mut self.stream);
        let (datagrams, flows) = (end(&mut self.fast), end(&mut self.short));
        self.answered.store(true, Ordering::Relaxed);
        for server in self.servers.drain(..) {
            server.join().expect("its end");
        }
        Sent {
            datagrams,
            stream,
            flows,
            frames: self.settle(tracker),
            _connection: connection,
        }
    }

    /// Every frame that crossed the wire was counted by us, as a packet or as
    /// ARP, and no more come; how many they were.
    fn settle(&self, tracker: &Tracker) -> u64 {
        let end = Instant::now() + PATIENCE;
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let (link, before) = (self.inner.counters(), self.before);
            let received = link.rx_packets - before.rx_packets;
            let wire = received + link.tx_packets - before.tx_packets;
            let counters = tracker.stats().expect("counters");
            let seen = counters.interfaces[0].packets;
            let arp = counters.passed_untracked["not_ip"];
            if wire != last {
                (last, since) = (wire, Instant::now());
            }
            if seen + arp == wire && since.elapsed() > SILENCE {
                return wire;
            }
            let passed = counters.passed_untracked;
            assert!(
                Instant::now() < end,
                "{seen} packets and {arp} ARP of {wire} frames; {passed:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
    }
}

fn end<T>(thread: &mut Option<JoinHandle<T>>) -> T {
    let thread = thread.take().expect("it runs");
    thread.join().expect("its end")
}

fn echo_datagrams(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                socket.send_to(&buffer[..len], from).expect("echo");
            }
            // Nothing has come for a while.
            Err(_) if stop.load(Ordering::Relaxed) => return,
            Err(_) => {}
        }
    }
}

fn echo_stream(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut buffer = [0; 1000];
    while stream.read_exact(&mut buffer).is_ok() {
        stream.write_all(&buffer).expect("echo");
    }
}

/// Sends datagrams with their numbers and reads the answers: one to each, in any
/// order, for one that is sent on another processor can overtake those before.
fn keep_sending(socket: &UdpSocket, stop: &AtomicBool) -> u64 {
    let mut sent = 0_u64;
    let mut unanswered = BTreeSet::new();
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) || !unanswered.is_empty() {
        if (unanswered.len() as u64) < WINDOW && !stop.load(Ordering::Relaxed) {
            socket.send(&sent.to_be_bytes()).expect("send");
            unanswered.insert(sent);
            sent += 1;
            continue;
        }
        let len = socket.recv(&mut buffer);
        let len = len.unwrap_or_else(|error| panic!("no answer to {unanswered:?}: {error}"));
        let number = buffer[..len].try_into().map(u64::from_be_bytes);
        assert!(
            unanswered.remove(&number.expect("a number")),
            "{number:?} again"
        );
    }
    sent
}

fn keep_talking(mut stream: TcpStream, stop: &AtomicBool) -> (u64, TcpStream) {
    stream.set_nodelay(true).expect("no delay");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut buffer = [7; 1000];
    let mut bytes = 0;
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&buffer).expect("send");
        stream.read_exact(&mut buffer).expect("an answer");
        bytes += 2 * buffer.len() as u64;
    }
    (bytes, stream)
}

/// One datagram from a socket of its own, answered, again and again.
fn open_flows([host, peer]: [&str; 2], echoes: &[u16], stop: &AtomicBool) -> u64 {
    let mut flows = 0;
    // Ports that nobody else takes, each pair of them once: a flow each.
    let ends = echoes
        .iter()
        .flat_map(|to| (10_000..60_000).map(move |from| (from, *to)));
    for (from, to) in ends.take_while(|_| !stop.load(Ordering::Relaxed)) {
        if let Ok(socket) = UdpSocket::bind((peer, from)) {
            socket
                .set_read_timeout(Some(PATIENCE))
                .expect("a time limit");
            socket.send_to(b"one", (host, to)).expect("send");
            socket.recv(&mut [0; 16]).expect("an answer");
            flows += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    flows
}
