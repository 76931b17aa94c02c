//! How connections of real stacks are doing, against what the stacks say themselves,
//! over wires that lose, overtake and delay.

mod support;

use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use conntrack::Health;
use conntrack::Mode;
use conntrack::Tracker;

use support::eventually;
use support::frame::Injector;
use support::frame::ethernet;
use support::frame::ipv4;
use support::frame::tcp;
use support::link::Offloads;
use support::link::veth;
use support::netns::Netns;
use support::pair::at;
use support::priority::go_first;
use support::relay::Log;
use support::relay::Relay;
use support::relay::plan::Impairment;
use support::tracked;

const MIB: usize = 1 << 20;

/// A client and a server, a tracker on either's end of the wire.
struct World {
    client: Netns,
    server: Netns,
    by_client: Tracker,
    by_server: Tracker,
    _relay: Relay,
}

impl World {
    fn new(impairment: &Impairment) -> Self {
        let (client, server) = (Netns::new(), Netns::new());
        let relay = Relay::between((&client, "a0"), (&server, "b0"), impairment, Log::Totals);
        let by_client = tracked::track(&client, &["a0"], Mode::Tc);
        let by_server = tracked::track(&server, &["b0"], Mode::Native);
        relay.a.addr("10.9.0.1/24");
        relay.b.addr("10.9.0.2/24");
        // The first packet would wait for ARP, which the wire may lose.
        eventually("the neighbour answers", || {
            let ping = client.run(|| {
                std::process::Command::new("ping")
                    .args(["-c1", "-W1", "10.9.0.2"])
                    .output()
            });
            match ping {
                Ok(output) if output.status.success() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        Self {
            client,
            server,
            by_client,
            by_server,
            _relay: relay,
        }
    }
}

/// Serves one connection after the other: reads all, then closes.
fn sink(ns: &Netns, addr: SocketAddr, connections: usize) -> JoinHandle<()> {
    let listener = ns.run(|| TcpListener::bind(addr)).expect("bind");
    ns.spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut buffer = vec![0; MIB];
            while stream.read(&mut buffer).expect("read") > 0 {}
        }
    })
}

/// The health of the only flow to this port, when it is as wanted.
fn health(tracker: &Tracker, port: u16, wanted: impl Fn(&Health) -> bool) -> Health {
    eventually("the flow is seen", || {
        let flows = tracker.flows().map(|flow| flow.expect("a flow"));
        let mut to_port = flows.filter(|flow| {
            let (_, dst) = flow.original.tuple.ports().unwrap_or_default();
            dst == port
        });
        let flow = to_port.next().ok_or("there is none")?;
        let health = flow.health.ok_or("it has no health")?;
        match wanted(&health) {
            true => Ok(health),
            false => Err(format!("{health:?}")),
        }
    })
}

/// What `ss` says of the client's connection, by the name of the field.
fn ss(ns: &Netns, port: u16, field: &str) -> Option<String> {
    let text = ns.sh(&format!("ss -tinH dport = :{port}"));
    let prefix = format!("{field}:");
    let mut words = text.split_whitespace();
    words.find_map(|word| word.strip_prefix(&prefix).map(str::to_owned))
}

/// What became of an upload.
struct Upload {
    /// Segments and bytes that the sender says it sent again.
    retrans: u64,
    bytes: u64,
    /// Its smoothed round-trip time in milliseconds.
    rtt: f64,
    by_client: Health,
    by_server: Health,
}

/// Uploads so much, and looks at it before and after the connection's end.
fn upload(impairment: &Impairment, bytes: usize) -> Upload {
    let world = World::new(impairment);
    let addr = at("10.9.0.2", 8080);
    let sink = sink(&world.server, addr, 1);
    let before = world.client.tcp_counter("RetransSegs");
    let mut stream = world
        .client
        .run(|| TcpStream::connect(addr))
        .expect("connect");
    let piece = vec![7; 64 << 10];
    for _ in 0..bytes / piece.len() {
        stream.write_all(&piece).expect("write");
    }
    eventually("all of it is acknowledged", || {
        match ss(&world.client, addr.port(), "unacked") {
            None => Ok(()),
            Some(left) => Err(left),
        }
    });
    let rtt = ss(&world.client, addr.port(), "rtt").expect("an rtt");
    let rtt = rtt
        .split('/')
        .next()
        .expect("a number")
        .parse()
        .expect("a number");
    let again = ss(&world.client, addr.port(), "bytes_retrans");
    let bytes = again.map_or(0, |bytes| bytes.parse().expect("a number"));
    stream.shutdown(Shutdown::Write).expect("close");
    let mut end = Vec::new();
    stream.read_to_end(&mut end).expect("the other end closes");
    sink.join().expect("the server");
    let ended = |health: &Health| health.duration.is_some();
    let retrans = world.client.tcp_counter("RetransSegs") - before;
    let upload = Upload {
        retrans,
        bytes,
        rtt,
        by_client: health(&world.by_client, addr.port(), ended),
        by_server: health(&world.by_server, addr.port(), ended),
    };
    println!(
        "{impairment:?}: sender {retrans} segments, {bytes} bytes again, rtt {rtt} ms; by the client {:?}; by the server {:?}",
        upload.by_client, upload.by_server
    );
    upload
}

fn milliseconds(time: Option<Duration>) -> f64 {
    time.expect("it is known").as_secs_f64() * 1000.0
}

/// The sender's own end of the wire sees every segment that it sends again.
fn assert_retransmits(upload: &Upload) {
    let ours = upload.by_client.original;
    let segments = u64::from(ours.retransmits.expect("they are counted"));
    assert!(segments.abs_diff(upload.retrans) <= 1, "{ours:?}");
    // Of what was sent again after the last look, by the FIN for one, we know more.
    let bytes = ours.retransmitted_bytes.expect("they are counted");
    assert!(bytes.abs_diff(upload.bytes) <= 2 * 1448, "{ours:?}");
    assert_eq!(ours.out_of_order, Some(0), "{ours:?}");
}

/// Behind the wire some of that is lost once more, and copies look like it.
fn assert_about(upload: &Upload, share: f64) {
    let theirs = upload.by_server.original.retransmits.expect("counted");
    let off = f64::from(theirs) - upload.retrans as f64;
    let most = 3.0 + share * upload.retrans as f64;
    assert!(off.abs() <= most, "{theirs} of {}", upload.retrans);
}

fn assert_rtt(upload: &Upload) {
    let ours = milliseconds(upload.by_client.original.srtt);
    let off = (ours - upload.rtt).abs();
    assert!(
        off <= 1.0 + upload.rtt * 0.05,
        "{ours} ms, {} by ss",
        upload.rtt
    );
}

fn losing(loss: f64, delay: u64) -> Impairment {
    Impairment {
        loss,
        delay: Duration::from_millis(delay),
        ..Impairment::none(11)
    }
}

#[test]
#[ignore = "root"]
fn one_percent_is_lost() {
    let upload = upload(&losing(0.01, 5), 8 * MIB);
    assert!(upload.retrans > 10, "{}", upload.retrans);
    assert_retransmits(&upload);
    assert_about(&upload, 0.1);
}

#[test]
#[ignore = "root"]
fn five_percent_are_lost() {
    let upload = upload(&losing(0.05, 5), 4 * MIB);
    assert!(upload.retrans > 50, "{}", upload.retrans);
    assert_retransmits(&upload);
    assert_about(&upload, 0.2);
}

#[test]
#[ignore = "root"]
fn packets_are_overtaken() {
    let overtaken = Impairment {
        reorder: 0.02,
        hold: Duration::from_millis(20),
        delay: Duration::from_millis(20),
        ..Impairment::none(5)
    };
    let upload = upload(&overtaken, 4 * MIB);
    assert_retransmits(&upload);
    // What overtook was not sent again; what the sender took for lost, was.
    let theirs = upload.by_server.original;
    assert!(theirs.out_of_order > Some(10), "{theirs:?}");
    assert_about(&upload, 0.3);
}

#[test]
#[ignore = "root"]
fn the_way_takes_twenty_milliseconds() {
    let upload = upload(&losing(0.0, 20), 4 * MIB);
    assert_eq!(upload.retrans, 0);
    assert_retransmits(&upload);
    assert_rtt(&upload);
    let handshake = milliseconds(upload.by_client.rtt_to_server);
    assert!((40.0..50.0).contains(&handshake), "{handshake} ms");
    let handshake = milliseconds(upload.by_server.rtt_to_client);
    assert!((40.0..50.0).contains(&handshake), "{handshake} ms");
}

/// One in twenty may be late: the client is a process among others.
#[test]
#[ignore = "root"]
fn it_lasts_as_long_as_the_client_says() {
    const TRIES: usize = 20;
    let world = World::new(&Impairment::none(1));
    let addr = at("10.9.0.2", 8080);
    let sink = sink(&world.server, addr, TRIES);
    let mut off = Vec::new();
    for _ in 0..TRIES {
        let (took, source) = world.client.run(|| {
            go_first();
            let begin = Instant::now();
            let mut stream = TcpStream::connect(addr).expect("connect");
            stream.write_all(&[7; 1000]).expect("write");
            thread::sleep(Duration::from_millis(30));
            stream.shutdown(Shutdown::Write).expect("close");
            let mut end = Vec::new();
            stream.read_to_end(&mut end).expect("the other end closes");
            let took = begin.elapsed();
            (took, stream.local_addr().expect("an address"))
        });
        let ours = eventually("it has ended", || {
            let mut flows = world.by_client.flows().map(|flow| flow.expect("a flow"));
            let flow = flows.find(|flow| {
                flow.original
                    .tuple
                    .ports()
                    .is_some_and(|(src, _)| src == source.port())
            });
            let health = flow.and_then(|flow| flow.health).ok_or("it is not there")?;
            health.duration.ok_or_else(|| format!("{health:?}"))
        });
        off.push(took.abs_diff(ours));
    }
    sink.join().expect("the server");
    off.sort_unstable();
    println!("off by {off:?}");
    assert!(off[TRIES * 3 / 4] < Duration::from_millis(1), "{off:?}");

    // Who does not ask for it does not get it, but all the rest.
    let bare = world.by_client.flows().with_health(false);
    let bare: Vec<_> = bare.map(|flow| flow.expect("a flow")).collect();
    assert!(bare.len() >= TRIES, "{bare:?}");
    for flow in bare {
        assert_eq!((flow.health, flow.fingerprint_ids), (None, [0; 2]));
    }
}

/// A TCP segment between two ends that nobody is at. Its checksum is of another window,
/// which no stack here looks at.
fn segment(
    from_client: bool,
    flags: u8,
    [seq, ack]: [u32; 2],
    data: &[u8],
    window: u16,
) -> Vec<u8> {
    let (client, server) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2));
    let (src, dst, ports) = match from_client {
        true => (client, server, (4000, 8080)),
        false => (server, client, (8080, 4000)),
    };
    let mut segment = tcp(ports.0, ports.1, seq, ack, flags, data);
    segment[14..16].copy_from_slice(&window.to_be_bytes());
    ethernet([0xff; 6], [2; 6], &[], &ipv4(src, dst, 6, &[], &segment))
}

#[test]
#[ignore = "root"]
fn a_stall_closes_the_window_for_as_long() {
    const STALLS: [u64; 3] = [40, 300, 700];
    const ACK: u8 = 0x10;
    let (here, there) = (Netns::new(), Netns::new());
    let (a, _b) = veth((&there, "a0"), (&here, "b0"));
    let tracker = tracked::track(&here, &["b0"], Mode::Native);
    let wire = Injector::new(&a);
    wire.send(&segment(true, 0x02, [99, 0], &[], 64_000));
    wire.send(&segment(false, 0x12, [199, 100], &[], 64_000));
    wire.send(&segment(true, ACK, [100, 200], &[], 64_000));
    wire.send(&segment(true, ACK, [100, 200], &[7; 100], 64_000));
    let mut stalled = Duration::ZERO;
    for stall in STALLS {
        let began = Instant::now();
        wire.send(&segment(false, ACK, [200, 200], &[], 0));
        thread::sleep(Duration::from_millis(stall));
        wire.send(&segment(false, ACK, [200, 200], &[], 5000));
        stalled += began.elapsed();
        thread::sleep(Duration::from_millis(20));
    }
    let server = health(&tracker, 8080, |it| it.reply.window_min == Some(5000)).reply;
    let closed = server.zero_window_time.expect("it is timed");
    println!("stalled {stalled:?}, closed {closed:?}: {server:?}");
    assert_eq!(server.zero_windows, Some(3));
    assert!(
        closed.abs_diff(stalled) < Duration::from_millis(10),
        "{closed:?}"
    );
}

/// Of a real stack: from its first segment with a closed window to the next that opens it,
/// as a capture beside the tracker has them.
#[test]
#[ignore = "root"]
fn a_reader_that_stalls_closes_its_window() {
    let world = World::new(&Impairment::none(1));
    world.server.sysctl("net/ipv4/tcp_rmem", "4096 16384 32768");
    let addr = at("10.9.0.2", 8080);
    let listener = world.server.run(|| TcpListener::bind(addr)).expect("bind");
    let sink = world.server.spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        thread::sleep(Duration::from_millis(900));
        let mut buffer = vec![0; MIB];
        while stream.read(&mut buffer).expect("read") > 0 {}
    });
    let mut capture = world
        .server
        .start("tcpdump -i b0 -n -l -tt --immediate-mode -c 100000 tcp and src port 8080");
    thread::sleep(Duration::from_millis(700));
    let mut stream = world
        .client
        .run(|| TcpStream::connect(addr))
        .expect("connect");
    stream.write_all(&vec![7; MIB]).expect("write");
    stream.shutdown(Shutdown::Write).expect("close");
    stream
        .read_to_end(&mut Vec::new())
        .expect("the other end closes");
    sink.join().expect("the server");
    let server = health(&world.by_server, addr.port(), |it| it.duration.is_some()).reply;
    thread::sleep(Duration::from_millis(300));
    capture.0.kill().expect("end the capture");
    let mut text = String::new();
    let mut output = capture.0.stdout.take().expect("a pipe");
    output.read_to_string(&mut text).expect("text");
    let (mut closed_at, mut closed, mut times) = (None, 0.0, 0);
    for line in text.lines() {
        let (Some(time), Some(window)) = (line.split(' ').next(), word_after(line, "win")) else {
            continue;
        };
        let time: f64 = time.parse().expect("a time");
        match (closed_at, window) {
            (None, 0) => (closed_at, times) = (Some(time), times + 1),
            (Some(at), 1..) => (closed_at, closed) = (None, closed + time - at),
            _ => {}
        }
    }
    println!("closed {times} times, {closed} s by the capture: {server:?}");
    assert!(times > 0, "{text}");
    assert_eq!(server.zero_windows, Some(times));
    let ours = server.zero_window_time.expect("it is timed").as_secs_f64();
    assert!((ours - closed).abs() < 0.010, "{ours} s");
}

/// The number behind a word of a line of tcpdump.
fn word_after(line: &str, word: &str) -> Option<u32> {
    let mut words = line.split([' ', ',']).skip_while(|it| *it != word);
    words.nth(1)?.parse().ok()
}

/// What a sender and the trackers at both ends say of a long upload.
fn upload_supers(mode: Mode) -> ([u64; 2], [Health; 2]) {
    let (client, server) = (Netns::new(), Netns::new());
    let (a, b) = veth((&client, "a0"), (&server, "b0"));
    for link in [&a, &b] {
        link.offloads(Offloads::On);
    }
    let trackers = [
        tracked::track(&client, &["a0"], mode),
        tracked::track(&server, &["b0"], mode),
    ];
    a.addr("10.9.0.1/24");
    b.addr("10.9.0.2/24");
    let addr = at("10.9.0.2", 8080);
    let sink = sink(&server, addr, 1);
    let told = || {
        let again = client.tcp_counter("RetransSegs");
        [again, server.tcp_ext_counter("TCPOFOQueue")]
    };
    let before = told();
    let mut stream = client.run(|| TcpStream::connect(addr)).expect("connect");
    let piece = vec![7; MIB];
    for _ in 0..200 {
        stream.write_all(&piece).expect("write");
    }
    stream.shutdown(Shutdown::Write).expect("close");
    stream.read_to_end(&mut Vec::new()).expect("closed");
    sink.join().expect("the server");
    let now = told();
    let [again, late] = [0, 1].map(|i| now[i] - before[i]);
    let ended = |it: &Health| it.duration.is_some();
    let health = trackers.map(|tracker| health(&tracker, addr.port(), ended));
    println!("{mode}: {again} sent again, {late} out of order: {health:?}");
    ([again, late], health)
}

/// Super-packets are many segments, once each. A sender whose host is busy may send some
/// again for fear, and a receiver's CPUs may put some in another order: they say so, and
/// we do.
#[test]
#[ignore = "root"]
fn a_clean_wire_with_offloads_has_nothing_sent_again() {
    const TRIES: usize = 5;
    for mode in [Mode::Native, Mode::Tc] {
        let mut clean = false;
        for _ in 0..TRIES {
            let ([again, late], [by_client, by_server]) = upload_supers(mode);
            let ours = by_client.original.retransmits.map(u64::from);
            assert_eq!(ours, Some(again), "{mode}: {by_client:?}");
            for health in [by_client, by_server] {
                assert_eq!(health.reply.retransmits, Some(0), "{mode}: {health:?}");
            }
            assert_eq!(by_client.original.out_of_order, Some(0), "{by_client:?}");
            if [again, late] == [0, 0] {
                assert_eq!(by_server.original.retransmits, Some(0), "{by_server:?}");
                assert_eq!(by_server.original.out_of_order, Some(0), "{by_server:?}");
                clean = true;
                break;
            }
        }
        assert!(clean, "{mode}: never clean");
    }
}
