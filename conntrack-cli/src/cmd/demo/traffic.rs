//! Real sockets: web servers and name servers of a kind, and their client.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt;

use super::net::Namespace;

/// Ports of the server. Nobody listens on the last.
pub(super) const HTTP: u16 = 80;
pub(super) const DNS: u16 = 53;
pub(super) const DEAF: u16 = 7;

/// Nothing here takes longer than this, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of the page that is served: several segments.
const PAGE: usize = 20_000;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n";
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ";
/// A question for the address of server.example.
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06server\x07example\x00\x00\x01\x00\x01";
/// What is added to it: the address.
const ANSWER: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x33\x64\x02";

/// Starts the servers on an address. Their threads end with the process.
pub(super) fn serve(namespace: &Namespace, addr: IpAddr) -> io::Result<()> {
    let web = namespace.run(|| TcpListener::bind((addr, HTTP)))?;
    let names = namespace.run(|| UdpSocket::bind((addr, DNS)))?;
    thread::spawn(move || {
        for visitor in web.incoming().flatten() {
            thread::spawn(move || serve_pages(visitor));
        }
    });
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = names.recv_from(&mut question) {
            let answer = [&question[..length], ANSWER].concat();
            // A client that is gone needs no answer.
            let _ = names.send_to(&answer, from);
        }
    });
    Ok(())
}

/// A page for every request, until the client has enough.
fn serve_pages(mut visitor: TcpStream) -> io::Result<()> {
    let page = format!("{HEAD}{PAGE}\r\n\r\n{}", "x".repeat(PAGE));
    let mut request = vec![0; REQUEST.len()];
    loop {
        visitor.read_exact(&mut request)?;
        visitor.write_all(page.as_bytes())?;
    }
}

/// A client's TCP connection.
#[derive(Debug)]
pub(super) struct Browser {
    stream: TcpStream,
    /// Its own end.
    pub(super) local: SocketAddr,
    /// Bytes received.
    pub(super) received: u64,
}

impl Browser {
    /// Connects from a namespace.
    pub(super) fn open(namespace: &Namespace, server: IpAddr) -> io::Result<Self> {
        let server = SocketAddr::new(server, HTTP);
        let stream = namespace.run(|| TcpStream::connect_timeout(&server, PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            local: stream.local_addr()?,
            stream,
            received: 0,
        })
    }

    /// Asks for the page and reads all of it.
    pub(super) fn load(&mut self) -> io::Result<()> {
        let length = HEAD.len() + PAGE.to_string().len() + 4 + PAGE;
        let mut page = vec![0; length];
        self.stream.write_all(REQUEST)?;
        self.stream.read_exact(&mut page)?;
        self.received += length as u64;
        Ok(())
    }

    /// Says good-bye (FIN) and waits for the answer.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)?;
        match self.stream.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::Error::other("more data than asked for")),
        }
    }

    /// Hangs up (RST).
    pub(super) fn abort(self) -> io::Result<()> {
        let at_once = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&self.stream, sockopt::Linger, &at_once)?;
        Ok(())
    }
}

/// A client's UDP socket.
#[derive(Debug)]
pub(super) struct Resolver {
    socket: UdpSocket,
    /// Its own end.
    pub(super) local: SocketAddr,
    /// Questions asked.
    pub(super) asked: u64,
}

impl Resolver {
    /// Bytes of UDP and its payload in a question.
    pub(super) const QUESTION: u64 = 8 + QUESTION.len() as u64;
    /// The same of an answer.
    pub(super) const ANSWER: u64 = Self::QUESTION + ANSWER.len() as u64;

    /// A socket to a port of the server.
    pub(super) fn open(namespace: &Namespace, server: IpAddr, port: u16) -> io::Result<Self> {
        let any: SocketAddr = match server {
            IpAddr::V4(_) => ([0; 4], 0).into(),
            IpAddr::V6(_) => ([0; 16], 0).into(),
        };
        let socket = namespace.run(|| UdpSocket::bind(any))?;
        socket.connect((server, port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            local: socket.local_addr()?,
            socket,
            asked: 0,
        })
    }

    /// Asks and waits for the answer.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        self.send()?;
        let length = self.socket.recv(&mut [0; 512])?;
        match length == QUESTION.len() + ANSWER.len() {
            true => Ok(()),
            false => Err(io::Error::other("a wrong answer")),
        }
    }

    /// Asks where nobody listens, and waits to be told so by ICMP.
    pub(super) fn ask_in_vain(&mut self) -> io::Result<()> {
        self.send()?;
        match self.socket.recv(&mut [0; 512]) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other("an answer where nobody listens")),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        self.socket.send(QUESTION)?;
        self.asked += 1;
        Ok(())
    }
}
