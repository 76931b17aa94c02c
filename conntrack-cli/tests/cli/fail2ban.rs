//! The action for fail2ban, with the real one.

use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::netns::Netns;
use crate::run::Run;
use crate::run::finish;

const HOST: &str = "10.9.1.1";
const HOST6: &str = "fd91::1";
const PEER: &str = "10.9.1.2";
const PEER6: &str = "fd91::2";

/// A host that is tracked, where fail2ban reads a log, and its peer.
struct Place {
    host: Netns,
    peer: Netns,
    dir: tempfile::TempDir,
    server: Option<Child>,
}

/// The program as it is installed, or as setup.sh unpacked it, which starts no service.
fn fail2ban(program: &str) -> Command {
    let target = Path::new(env!("CARGO_BIN_EXE_conntrack")).parent().unwrap();
    let unpacked = target.parent().unwrap().join("fail2ban/usr");
    if !unpacked.exists() {
        return Command::new(program);
    }
    let mut command = Command::new("python3");
    command
        .arg(unpacked.join("bin").join(program))
        .env("PYTHONPATH", unpacked.join("lib/python3/dist-packages"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

impl Place {
    fn new() -> Self {
        let (host, peer) = (Netns::new(), Netns::new());
        host.wire(&peer);
        for (netns, link, [v4, v6]) in [
            (&host, "inner", [HOST, HOST6]),
            (&peer, "outer", [PEER, PEER6]),
        ] {
            netns.ip(&format!("addr add {v4}/24 dev {link}"));
            netns.ip(&format!("addr add {v6}/64 dev {link} nodad"));
        }
        host.run(&["attach", "inner"]).ok();
        let place = Self {
            host,
            peer,
            dir: tempfile::tempdir().unwrap(),
            server: None,
        };
        place.configure();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self) {
        let at = |name: &str| self.at(name).display().to_string();
        for dir in ["action.d", "filter.d"] {
            fs::create_dir(self.at(dir)).unwrap();
        }
        let action = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/fail2ban");
        fs::copy(
            action.join("conntrack.conf"),
            self.at("action.d/conntrack.conf"),
        )
        .unwrap();
        let (program, name) = (env!("CARGO_BIN_EXE_conntrack"), &self.host.name);
        for (file, text) in [
            (
                "fail2ban.conf",
                format!(
                    "[Definition]\nloglevel = INFO\nlogtarget = {}\nsyslogsocket = auto\n\
                     socket = {}\npidfile = {}\ndbfile = None\nallowipv6 = auto\n",
                    at("fail2ban.log"),
                    at("socket"),
                    at("pid")
                ),
            ),
            (
                "jail.conf",
                format!(
                    "[door]\nenabled = true\nfilter = door\nbackend = polling\nlogpath = {}\n\
                     usedns = no\nignoreself = false\nmaxretry = 3\nfindtime = 600\n\
                     bantime = 600\n\
                     action = conntrack[conntrack=\"{program} --instance {name}\"]\n",
                    at("door.log")
                ),
            ),
            (
                "filter.d/door.conf",
                "[Definition]\nfailregex = ^ refused <HOST>$\n".to_owned(),
            ),
            ("door.log", String::new()),
        ] {
            fs::write(self.at(file), text).unwrap();
        }
    }

    fn start(&mut self) {
        let mut server = fail2ban("fail2ban-server");
        server
            .arg("-c")
            .arg(self.dir.path())
            .args(["-f", "start"])
            .env("CONNTRACK_STATE_DIR", self.host.state_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.server = Some(self.host.inside(|| server.spawn().unwrap()));
        self.until("fail2ban answers", || {
            self.client(&["status", "door"]).code == Some(0)
        });
    }

    fn client(&self, args: &[&str]) -> Run {
        let mut client = fail2ban("fail2ban-client");
        finish(client.arg("-c").arg(self.dir.path()).args(args))
    }

    /// Somebody is refused at the door, three times.
    fn refused(&self, addr: &str) {
        let now = finish(Command::new("date").arg("+%Y-%m-%d %H:%M:%S")).stdout;
        let mut log = fs::read_to_string(self.at("door.log")).unwrap();
        for _ in 0..3 {
            writeln!(log, "{} refused {addr}", now.trim()).unwrap();
        }
        fs::write(self.at("door.log"), log).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("fail2ban.log")).unwrap_or_default()
    }

    #[track_caller]
    fn until(&self, what: &str, done: impl Fn() -> bool) {
        for _ in 0..300 {
            if done() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{what}: {}", self.log());
    }

    fn bans(&self) -> Vec<Value> {
        serde_json::from_str(&self.host.run(&["banned", "-o", "json"]).ok()).unwrap()
    }

    fn banned(&self) -> Vec<String> {
        let bans = self.bans();
        let mut addrs: Vec<_> = bans.iter().map(|ban| ban["addr"].to_string()).collect();
        addrs.sort();
        addrs
    }

    /// Whether the peer's datagrams get through.
    fn hears(&self, [host, peer]: [&str; 2]) -> bool {
        let to = self.host.inside(|| UdpSocket::bind((host, 0)).unwrap());
        to.set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let from = self.peer.inside(|| UdpSocket::bind((peer, 0)).unwrap());
        from.send_to(b"?", to.local_addr().unwrap()).unwrap();
        to.recv(&mut [0]).is_ok()
    }

    fn stop(&mut self) {
        assert_eq!(self.client(&["stop"]).code, Some(0), "{}", self.log());
        let ended = self.server.take().unwrap().wait().unwrap();
        assert!(ended.success(), "{ended:?}: {}", self.log());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It may have ended by itself.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

#[test]
#[ignore = "root"]
fn who_fails_at_the_door_is_banned() {
    let mut place = Place::new();
    let (v4, v6) = ([HOST, PEER], [HOST6, PEER6]);
    assert!(place.hears(v4) && place.hears(v6));
    place.start();

    place.refused(PEER);
    place.until("a ban", || place.banned() == [format!("{PEER:?}")]);
    let bans = place.bans();
    assert_eq!(bans[0]["reason"], "fail2ban door", "{bans:?}");
    let left = bans[0]["ttl_s"].as_f64().unwrap();
    assert!((540.0..=600.0).contains(&left), "{bans:?}");
    assert!(!place.hears(v4) && place.hears(v6));

    // Of IPv6 the address, and not its neighbours.
    place.refused(PEER6);
    place.until("another one", || place.banned().len() == 2);
    let bans = place.bans();
    let six = bans.iter().find(|ban| ban["addr"] == PEER6).unwrap();
    assert_eq!(six["prefix"], 128, "{bans:?}");
    assert!(!place.hears(v6));

    let unban = place.client(&["set", "door", "unbanip", PEER]);
    assert_eq!(
        (unban.code, place.banned().len()),
        (Some(0), 1),
        "{unban:?}"
    );
    assert!(place.hears(v4) && !place.hears(v6));

    // One that has ended before fail2ban ends it.
    place.host.run(&["unban", "--all"]);
    let unban = place.client(&["set", "door", "unbanip", PEER6]);
    assert_eq!(unban.code, Some(0), "{unban:?}");
    assert!(!place.log().contains("ERROR"), "{}", place.log());

    // When it stops it takes its bans along, and nobody else's.
    place.refused("10.9.1.3");
    place.until("one more", || place.banned() == ["\"10.9.1.3\""]);
    place.host.run(&["ban", "203.0.113.7"]);
    place.stop();
    assert_eq!(place.banned(), ["\"203.0.113.7\""]);
}

#[test]
#[ignore = "root"]
fn this_host_is_not_banned_and_the_log_says_why() {
    let mut place = Place::new();
    place.start();
    place.refused(HOST);
    place.until("a refusal", || {
        place.log().contains(&format!("{HOST} is not banned: "))
    });
    assert_eq!(place.banned(), [""; 0]);
    assert!(place.hears([HOST, PEER]));
    place.stop();
}
