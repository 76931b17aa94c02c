//! What asks: one exchange of each kind, as often as it is called.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::SockaddrStorage;
use nix::sys::socket::bind;
use nix::sys::socket::connect;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt;
use nix::sys::time::TimeVal;

use super::services;
use super::services::PATIENCE;
use crate::place::NOBODY;
use crate::place::ROUTER;
use crate::place::SERVER;
use crate::support::in_kernel_matrix;
use crate::support::random::Random;

/// One exchange with an address of this family (0: IPv4, 1: IPv6).
pub(super) type Exchange = fn(usize, &mut Random) -> io::Result<()>;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn open_at(addr: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&(ip(addr), port).into(), PATIENCE)?;
    services::patient(&stream)?;
    Ok(stream)
}

fn open(family: usize, port: u16) -> io::Result<TcpStream> {
    open_at(SERVER[family], port)
}

fn expect(holds: bool, what: &str) -> io::Result<()> {
    holds
        .then_some(())
        .ok_or_else(|| io::Error::other(what.to_owned()))
}

fn get(addr: &str, size: u64) -> io::Result<()> {
    let mut stream = open_at(addr, services::HTTP)?;
    write!(stream, "GET /{size} HTTP/1.0\r\n\r\n")?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page)?;
    expect(page.len() as u64 > size, "a short page")
}

/// A page of any size; the server closes first.
pub(super) fn page(family: usize, random: &mut Random) -> io::Result<()> {
    let most = random.pick(&[100, 10_000, 300_000]);
    get(SERVER[family], random.below(most))
}

/// A page that is fetched faster than it is read: the window closes, and the
/// server asks from time to time whether it is open again.
pub(super) fn slow_page(family: usize, random: &mut Random) -> io::Result<()> {
    let mut stream = open(family, services::HTTP)?;
    write!(stream, "GET /900000 HTTP/1.0\r\n\r\n")?;
    let mut length = 0;
    thread::sleep(Duration::from_millis(1000 + random.below(1500)));
    let mut piece = vec![0; 60_000];
    loop {
        match stream.read(&mut piece)? {
            0 => return expect(length > 900_000, "a short page"),
            read => length += read,
        }
        thread::sleep(Duration::from_millis(random.below(60)));
    }
}

/// A page of the router itself.
pub(super) fn router_page(family: usize, random: &mut Random) -> io::Result<()> {
    get(ROUTER[family], random.below(20_000))
}

fn run(command: &str) -> io::Result<()> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let status = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    expect(status.success(), words[0])
}

/// A page by curl.
pub(super) fn curl(family: usize, random: &mut Random) -> io::Result<()> {
    let size = random.below(50_000);
    let host = SocketAddr::new(ip(SERVER[family]), services::HTTP);
    run(&format!(
        "curl -sS -g -o /dev/null --max-time 14 http://{host}/{size}"
    ))
}

/// A stream by iperf3, of TCP there or back, or of datagrams. Its control
/// connection is one more.
pub(super) fn iperf(family: usize, random: &mut Random) -> io::Result<()> {
    let kind = random.pick(&["-b 12M", "-b 12M -R", "-b 8M --bidir", "-u -b 2M -l 1000"]);
    let (addr, port) = (SERVER[family], services::IPERF[family]);
    // The server that served the last one makes room for the next.
    thread::sleep(Duration::from_millis(200));
    let kind = if in_kernel_matrix() {
        "-b 1M --bidir"
    } else {
        kind
    };
    // A control connection that stands still would be waited for, for minutes.
    run(&format!(
        "timeout -k 1 25 iperf3 -c {addr} -p {port} -t 4 --connect-timeout 5000 {kind}"
    ))
}

/// Connections that last a few bytes; the client closes first.
pub(super) fn short(family: usize, random: &mut Random) -> io::Result<()> {
    for _ in 0..=random.below(4) {
        let mut stream = open(family, services::ECHO)?;
        let mut word = vec![b'w'; 1 + random.below(200) as usize];
        stream.write_all(&word)?;
        stream.read_exact(&mut word)?;
    }
    Ok(())
}

/// A connection that the client resets: at once, with data under way, or idle.
pub(super) fn reset_by_client(family: usize, random: &mut Random) -> io::Result<()> {
    let mut stream = open(family, services::ECHO)?;
    services::reset_at_close(&stream)?;
    match random.below(3) {
        0 => Ok(()),
        1 => stream.write_all(&vec![b'w'; 30_000]),
        _ => {
            stream.write_all(b"word")?;
            stream.read_exact(&mut [0; 4])
        }
    }
}

/// One that the server resets, in the middle of what the client says.
pub(super) fn reset_by_server(family: usize, random: &mut Random) -> io::Result<()> {
    let mut stream = open(family, services::RESET)?;
    let said = stream.write_all(&vec![b'w'; 1 + random.below(9000) as usize]);
    let heard = stream.read(&mut [0; 1]);
    let reset = |kind| {
        matches!(
            kind,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
    };
    let kinds = [said.err(), heard.err()].map(|error| error.map(|error| error.kind()));
    expect(kinds.into_iter().flatten().any(reset), "no reset")
}

/// A port that nobody listens at.
pub(super) fn refused(family: usize, random: &mut Random) -> io::Result<()> {
    let port = 2000 + random.below(100) as u16;
    let refused = open(family, port).err().map(|error| error.kind());
    expect(
        refused == Some(io::ErrorKind::ConnectionRefused),
        "not refused",
    )
}

/// A half-closed connection: the client has said all, the server answers.
pub(super) fn half_closed(family: usize, random: &mut Random) -> io::Result<()> {
    let mut stream = open(family, services::COLLECT)?;
    let size = 1 + random.below(60_000) as usize;
    stream.write_all(&vec![b'w'; size])?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    expect(answer == size.to_string(), "another number")
}

/// One that the server half closes; the client goes on for a while.
pub(super) fn half_closed_by_server(family: usize, random: &mut Random) -> io::Result<()> {
    let mut stream = open(family, services::CLOSE_FIRST)?;
    stream.read_to_end(&mut Vec::new())?;
    for _ in 0..random.below(5) {
        stream.write_all(&vec![b'w'; random.below(3000) as usize])?;
        thread::sleep(Duration::from_millis(random.below(100)));
    }
    Ok(())
}

/// The same two ends again and again: the server closes first, so the client's
/// port is free at once, and its SYN meets what is left of the last connection.
pub(super) fn same_port(family: usize, _: &mut Random) -> io::Result<()> {
    const PORT: u16 = 30_000;
    let (kind, any): (_, IpAddr) = match family {
        0 => (AddressFamily::Inet, Ipv4Addr::UNSPECIFIED.into()),
        _ => (AddressFamily::Inet6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let fd = socket(kind, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    bind(
        fd.as_raw_fd(),
        &SockaddrStorage::from(SocketAddr::new(any, PORT)),
    )?;
    let server = SocketAddr::new(ip(SERVER[family]), services::CLOSE_FIRST);
    let wait = TimeVal::new(PATIENCE.as_secs() as i64, 0);
    setsockopt(&fd, sockopt::SendTimeout, &wait)?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(server))?;
    let mut stream = TcpStream::from(fd);
    services::patient(&stream)?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    expect(said == "goodbye", "something else was said")
}

/// A long connection on which both sides speak when they like.
pub(super) fn chat(family: usize, random: &mut Random) -> io::Result<()> {
    let mut stream = open(family, services::CHAT)?;
    let mut heard = [0; 4096];
    let end = Instant::now() + Duration::from_millis(2000 + random.below(8000));
    while Instant::now() < end {
        stream.write_all(b"and I say")?;
        thread::sleep(Duration::from_millis(random.below(120)));
        expect(stream.read(&mut heard)? > 0, "the other fell silent")?;
    }
    Ok(())
}

fn datagrams(family: usize, port: u16) -> io::Result<UdpSocket> {
    let any: IpAddr = match family {
        0 => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((ip(SERVER[family]), port))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    Ok(socket)
}

/// Questions and answers of one socket; some of them last long enough to be a
/// stream.
pub(super) fn questions(family: usize, random: &mut Random) -> io::Result<()> {
    let socket = datagrams(family, services::DATAGRAMS)?;
    let pause = random.pick(&[1, 50, 900]);
    let mut heard = false;
    for _ in 0..4 {
        socket.send(&vec![b'?'; 1 + random.below(1200) as usize])?;
        // An answer may be lost, or come after the next question.
        heard |= socket.recv(&mut [0; 2000]).is_ok();
        thread::sleep(Duration::from_millis(pause));
    }
    expect(heard, "no answer")
}

/// A datagram to a port that nobody has: the server says so by ICMP.
pub(super) fn unreachable(family: usize, random: &mut Random) -> io::Result<()> {
    let socket = datagrams(family, 3000 + random.below(100) as u16)?;
    socket.send(b"?")?;
    let refused = socket.recv(&mut [0; 10]).err().map(|error| error.kind());
    expect(
        refused == Some(io::ErrorKind::ConnectionRefused),
        "no word of ICMP",
    )
}

/// An address that nobody has: SYNs without an answer, and the router's own
/// word of it.
pub(super) fn nobody(family: usize, _: &mut Random) -> io::Result<()> {
    let to = SocketAddr::new(ip(NOBODY[family]), services::ECHO);
    let answered = TcpStream::connect_timeout(&to, Duration::from_secs(4)).is_ok();
    expect(!answered, "nobody answered")
}

/// Echoes from the server or the router.
pub(super) fn ping(family: usize, random: &mut Random) -> io::Result<()> {
    let addr = random.pick(&[SERVER, ROUTER])[family];
    let size = random.below(1200);
    // A lost echo is not asked for again; half of them would be strange.
    run(&format!(
        "ping -n -q -i 0.02 -W 1 -w 10 -c 20 -s {size} {addr}"
    ))
}
