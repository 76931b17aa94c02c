//! Peers that talk over real sockets: HTTP, a DNS-like exchange, ping, iperf3,
//! curl. A server is a thread of its own in its namespace; what it serves is
//! counted by its client, so a client that returns has been answered.

use std::io::BufRead;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::PATIENCE;
use super::netns::Netns;
use super::netns::Running;

/// How often a server looks whether it is still wanted.
const TICK: Duration = Duration::from_millis(20);

/// A server; dropping ends it.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(ns: &Netns, mut serve: impl FnMut() -> bool + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = ns.spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if !serve() {
                    std::thread::sleep(TICK);
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// HTTP/1.0: answers every request with a body of so many bytes, then
    /// closes.
    pub(crate) fn http(ns: &Netns, addr: SocketAddr, body: usize) -> Self {
        let listener = ns
            .run(|| TcpListener::bind(addr))
            .expect("bind the HTTP server");
        listener
            .set_nonblocking(true)
            .expect("a listener that does not block");
        Self::start(ns, move || match listener.accept() {
            Ok((stream, _)) => {
                // A client that went away is the client's failure.
                let _ = answer(&stream, body);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("accept: {error}"),
        })
    }

    /// Answers each query as a name server would: the same identifier, the
    /// answer bit, the question, and so many bytes of answer.
    pub(crate) fn dns(ns: &Netns, addr: SocketAddr, answer: usize) -> Self {
        let socket = ns
            .run(|| UdpSocket::bind(addr))
            .expect("bind the UDP server");
        socket.set_read_timeout(Some(TICK)).expect("a time limit");
        let mut buffer = vec![0; 65536];
        Self::start(ns, move || {
            let Ok((len, from)) = socket.recv_from(&mut buffer) else {
                return true;
            };
            let mut reply = buffer[..len].to_vec();
            reply[2] |= 0x80;
            reply.resize(len + answer, 0);
            socket.send_to(&reply, from).expect("answer a query");
            true
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "a server failed");
        }
    }
}

fn answer(stream: &TcpStream, body: usize) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream).lines();
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let mut out = stream;
    write!(out, "HTTP/1.0 200 OK\r\nContent-Length: {body}\r\n\r\n")?;
    out.write_all(&vec![b'x'; body])
}

/// Fetches a page over a connection of its own and returns the length of its
/// body.
pub(crate) fn http_get(ns: &Netns, server: SocketAddr) -> usize {
    ns.run(|| get_from(TcpStream::connect_timeout(&server, PATIENCE).expect("connect")))
}

/// The same over one that stands.
pub(crate) fn get_from(mut stream: TcpStream) -> usize {
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    stream
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .expect("send the request");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("read the answer");
    let end = reply
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a header");
    reply.len() - end - 4
}

/// The same by curl.
pub(crate) fn curl(ns: &Netns, server: SocketAddr) -> usize {
    ns.sh(&format!("curl -sS -g --max-time 60 http://{server}/"))
        .len()
}

/// Sends so many queries of so many bytes from one socket, each answered before
/// the next.
pub(crate) fn dns_query(ns: &Netns, server: SocketAddr, queries: u16, size: usize) {
    ns.run(|| {
        let any = if server.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any).expect("bind");
        query_from(&socket, server, queries, size);
    });
}

/// The same from a socket that is there.
pub(crate) fn query_from(socket: &UdpSocket, server: SocketAddr, queries: u16, size: usize) {
    socket.connect(server).expect("connect");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    let mut buffer = vec![0; 65536];
    for id in 0..queries {
        let mut query = vec![0; size.max(12)];
        query[..2].copy_from_slice(&id.to_be_bytes());
        socket.send(&query).expect("send a query");
        let received = socket.recv(&mut buffer);
        let len = received.unwrap_or_else(|error| panic!("no answer of {server}: {error}"));
        assert_eq!(buffer[..2], query[..2], "the answer is to another query");
        assert!(len >= query.len() && buffer[2] & 0x80 != 0, "no answer");
    }
}

/// Sends so many echo requests with so many bytes of payload; all are answered.
pub(crate) fn ping(ns: &Netns, to: IpAddr, count: u32, payload: usize) {
    ping_with(ns, to, count, &format!("-s {payload}"));
}

/// The same with options of ping's own.
pub(crate) fn ping_with(ns: &Netns, to: IpAddr, count: u32, options: &str) {
    let said = ns.sh(&format!(
        "ping -n -q -i 0.02 -W 20 -c {count} {options} {to}"
    ));
    assert!(said.contains(&format!("{count} received")), "{said}");
}

/// A TCP stream of so many bytes by iperf3, to the server or `back` from it.
pub(crate) fn iperf(server: &Netns, client: &Netns, addr: IpAddr, bytes: u64, back: bool) {
    let mut running = listening(server, addr);
    let way = if back { "-R" } else { "" };
    client.sh(&format!(
        "iperf3 -c {addr} -n {bytes} {way} --connect-timeout 30000"
    ));
    let status = running.0.wait().expect("the server's end");
    assert!(status.success(), "iperf3 -s: {status}");
}

/// An iperf3 server for one client, past its bind.
fn listening(ns: &Netns, addr: IpAddr) -> Running {
    let mut running = ns.start(&format!("iperf3 -s -1 -B {addr} --forceflush"));
    let output = running.0.stdout.as_mut().expect("its output");
    let mut lines = BufReader::new(output).lines();
    let listens = lines.any(|line| line.is_ok_and(|line| line.contains("Server listening")));
    assert!(listens, "iperf3 -s ended");
    running
}
