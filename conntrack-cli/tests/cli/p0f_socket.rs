//! `--p0f-socket`: p0f's API.

use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::netns::Netns;
use crate::run::run;

/// What p0f's file would call Linux over loopback, if it had it.
const FILE: &str = "\
classes = unix
[mtu]
label = loopback
sig = 65535
[tcp:request]
label = s:unix:Loop:back
sig = 4:64:0:65495:mss*1,*:mss,sok,ts,nop,ws:df,id+:0
";

/// `struct p0f_api_query` of p0f 3.09b.
fn query(addr: &str) -> Vec<u8> {
    let mut bytes = 0x5030_4601_u32.to_ne_bytes().to_vec();
    let octets = match addr.parse().unwrap() {
        IpAddr::V4(addr) => [&[4][..], &addr.octets()].concat(),
        IpAddr::V6(addr) => [&[6][..], &addr.octets()].concat(),
    };
    bytes.extend(octets);
    bytes.resize(21, 0);
    bytes
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

fn receive(stream: &mut UnixStream) -> [u8; 232] {
    let mut response = [0; 232];
    stream.read_exact(&mut response).unwrap();
    assert_eq!(response[..4], 0x5030_4602_u32.to_ne_bytes());
    response
}

fn ask(stream: &mut UnixStream, addr: &str) -> [u8; 232] {
    stream.write_all(&query(addr)).unwrap();
    receive(stream)
}

fn number(response: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(response[at..at + 4].try_into().unwrap())
}

fn text(response: &[u8], at: usize) -> String {
    let bytes = response[at..at + 32]
        .split(|byte| *byte == 0)
        .next()
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "root"]
fn p0fs_queries_are_answered() {
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("p0f.sock"), folder.path().join("p0f.fp"));
    fs::write(&file, FILE).unwrap();
    // Left by a process that is gone.
    drop(UnixListener::bind(&path).unwrap());
    let [socket, fp] = [&path, &file].map(|it| it.to_str().unwrap());
    let args = [
        "attach",
        "lo",
        "--foreground",
        "--p0f-socket",
        socket,
        "--p0f-fp",
        fp,
    ];
    let mut command = netns.command(&args);
    let running = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let attached = || netns.run(&["status"]).code == Some(0);
    let waited = (0..200).any(|_| {
        thread::sleep(Duration::from_millis(50));
        attached()
    });
    assert!(waited);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let mut client = connect(&path);
    assert_eq!(
        number(&ask(&mut client, "127.0.0.1"), 4),
        0x20,
        "nobody is known"
    );
    let _first = netns.connection();
    let _second = netns.connection();
    let response = ask(&mut client, "127.0.0.1");
    assert_eq!(number(&response, 4), 0x10);
    let (first, last) = (number(&response, 8), number(&response, 12));
    assert!(first > 1_700_000_000 && last >= first && last - first < 60);
    assert_eq!(number(&response, 16), 4, "two SYNs, two SYN+ACKs");
    assert_eq!(response[36..40], [0; 4], "no distance, exact");
    assert_eq!(
        (text(&response, 40), text(&response, 72)),
        ("Loop".into(), "back".into())
    );
    assert_eq!(
        (text(&response, 168), text(&response, 200)),
        ("loopback".into(), "".into())
    );
    assert_eq!(number(&ask(&mut client, "192.0.2.1"), 4), 0x20);
    assert_eq!(number(&ask(&mut client, "::1"), 4), 0x20);

    // Whatever somebody sends, others are answered.
    let mut hostile = connect(&path);
    hostile.write_all(&[0xff; 21 * 3]).unwrap();
    for _ in 0..3 {
        assert_eq!(number(&receive(&mut hostile), 4), 0);
    }
    hostile.write_all(&query("127.0.0.1")[..7]).unwrap();
    let mut deaf = connect(&path);
    deaf.set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let flooded = (0..100_000).find_map(|_| deaf.write_all(&query("127.0.0.1")).err());
    let why = flooded.expect("who does not listen is left").kind();
    assert!(
        [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&why),
        "{why}"
    );
    assert_eq!(number(&ask(&mut client, "127.0.0.1"), 4), 0x10);
    hostile.write_all(&query("127.0.0.1")[7..]).unwrap();
    assert_eq!(number(&receive(&mut hostile), 4), 0x10, "in two parts");

    // More than there is room for wait for their turn.
    let mut many: Vec<UnixStream> = (0..40).map(|_| connect(&path)).collect();
    assert_eq!(number(&ask(&mut many[0], "127.0.0.1"), 4), 0x10);
    let mut latest = many.pop().unwrap();
    drop(many);
    assert_eq!(number(&ask(&mut latest, "127.0.0.1"), 4), 0x10);
    drop(running);
    assert!(!path.exists(), "the file goes with its process");
}

#[test]
fn only_where_a_process_stays() {
    let run = run(&["attach", "lo", "--p0f-socket", "/nonexistent/socket"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("--foreground"), "{run:?}");
}
