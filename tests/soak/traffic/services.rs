//! What answers: the servers' ends of all exchanges.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Ipv6Addr;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt;
use nix::unistd::Pid;

use crate::support::netns::Netns;

/// Longest wait for a byte: what lies idle for longer is given up. No timeout of a
/// flow: after ten seconds, the end would come to flows that were reset (CLOSE)
/// in the very tick of the clock that they are due in, and one tracker may still
/// have what the other has not.
pub(super) const PATIENCE: Duration = Duration::from_secs(7);
/// How often a listener looks whether it is still wanted.
const TICK: Duration = Duration::from_millis(10);

/// What a service does with a connection.
type Serve = fn(TcpStream) -> io::Result<()>;

/// Ports and what they do; both families.
const SERVICES: [(u16, Serve); 6] = [
    (HTTP, http),
    (ECHO, echo),
    (RESET, reset),
    (COLLECT, collect),
    (CLOSE_FIRST, close_first),
    (CHAT, chat),
];

/// `GET /N` gets N bytes.
pub(super) const HTTP: u16 = 80;
/// Sends back what it gets.
pub(super) const ECHO: u16 = 7;
/// Resets the connection after the first byte.
pub(super) const RESET: u16 = 1001;
/// Reads to the end, then says in pieces how much that was.
pub(super) const COLLECT: u16 = 1002;
/// Says something and shuts down its side, then reads to the end.
pub(super) const CLOSE_FIRST: u16 = 1003;
/// Says a word from time to time, whatever the other does.
pub(super) const CHAT: u16 = 1004;
/// UDP: sends back what it gets.
pub(super) const DATAGRAMS: u16 = 53;
/// iperf3, one a family: it serves one client at a time.
pub(super) const IPERF: [u16; 2] = [5201, 5202];

/// Servers in one namespace; dropping ends them.
#[derive(Debug)]
pub(super) struct Services {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Services {
    /// All of them.
    pub(super) fn start(ns: &Netns) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (port, serve) in SERVICES {
            let listener = ns.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)));
            let listener = listener.unwrap_or_else(|error| panic!("port {port}: {error}"));
            listener
                .set_nonblocking(true)
                .expect("a listener that does not block");
            let stop = Arc::clone(&stop);
            threads.push(ns.spawn(move || accept(&listener, &stop, serve)));
        }
        let socket = ns.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, DATAGRAMS)));
        let socket = socket.expect("bind the UDP server");
        let stopped = Arc::clone(&stop);
        threads.push(ns.spawn(move || answer(&socket, &stopped)));
        for port in IPERF {
            let (inside, stopped) = (ns.clone(), Arc::clone(&stop));
            threads.push(thread::spawn(move || iperf(&inside, port, &stopped)));
        }
        Self { stop, threads }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a server failed");
        }
    }
}

/// A thread a connection; waits for them in the end.
fn accept(listener: &TcpListener, stop: &AtomicBool, serve: Serve) {
    thread::scope(|scope| {
        while !stop.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => {
                    // A client that goes away is part of the traffic.
                    scope.spawn(move || _ = patient(&stream).and_then(|()| serve(stream)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(TICK),
                // Reset before it was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => panic!("accept: {error}"),
            }
        }
    });
}

/// Blocks, but not for ever.
pub(super) fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn http(stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let size = first.split([' ', '/']).find_map(|word| word.parse().ok());
    let size: usize = size.unwrap_or(0);
    let mut out = &stream;
    write!(out, "HTTP/1.0 200 OK\r\nContent-Length: {size}\r\n\r\n")?;
    out.write_all(&vec![b'x'; size])
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

fn reset(mut stream: TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; 1])?;
    reset_at_close(&stream)
}

/// Closing it sends a RST.
pub(super) fn reset_at_close(stream: &TcpStream) -> io::Result<()> {
    let at_once = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    Ok(setsockopt(stream, sockopt::Linger, &at_once)?)
}

fn collect(mut stream: TcpStream) -> io::Result<()> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    for digit in all.len().to_string().bytes() {
        stream.write_all(&[digit])?;
        thread::sleep(TICK);
    }
    Ok(())
}

fn close_first(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"goodbye")?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn chat(stream: TcpStream) -> io::Result<()> {
    thread::scope(|scope| {
        let reader = scope.spawn(|| (&stream).read_to_end(&mut Vec::new()));
        let mut said = Ok(());
        while !reader.is_finished() && said.is_ok() {
            said = (&stream).write_all(b"I say");
            thread::sleep(TICK * 7);
        }
        said
    })
}

fn answer(socket: &UdpSocket, stop: &AtomicBool) {
    socket.set_read_timeout(Some(TICK)).expect("a time limit");
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // A client that has gone away answers with an error.
            let _ = socket.send_to(&buffer[..length], from);
        }
    }
}

/// One server after the other, each for one client. Each ends by itself before
/// long, even if we have been killed.
fn iperf(ns: &Netns, port: u16, stop: &AtomicBool) {
    let options = "--idle-timeout 10 --rcv-timeout 5000 --logfile /dev/null";
    while !stop.load(Ordering::Relaxed) {
        let command = format!("timeout -k 1 30 iperf3 -s -1 -p {port} {options}");
        let mut running = ns.start(&command);
        while running.0.try_wait().is_ok_and(|end| end.is_none()) {
            if stop.load(Ordering::Relaxed) {
                // Hands it on to iperf3; to be killed, it could not.
                let _ = kill(Pid::from_raw(running.0.id() as i32), Signal::SIGTERM);
            }
            thread::sleep(TICK);
        }
    }
}
