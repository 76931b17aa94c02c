//! An operator over SSH, with a real sshd, tries to ban himself.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::netns::Netns;
use crate::run::Run;
use crate::run::finish;

const HOST: &str = "10.9.0.1";
const OPERATOR: &str = "10.9.0.2";

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host that is tracked and has an sshd, and where its operator sits.
struct Place {
    host: Netns,
    operator: Netns,
    keys: tempfile::TempDir,
    _sshd: Running,
}

impl Place {
    fn new() -> Self {
        let (host, operator) = (Netns::new(), Netns::new());
        host.wire(&operator);
        host.ip(&format!("addr add {HOST}/24 dev inner"));
        operator.ip(&format!("addr add {OPERATOR}/24 dev outer"));
        let keys = tempfile::tempdir().unwrap();
        for key in ["host", "user"] {
            let file = keys.path().join(key);
            let mut keygen = Command::new("ssh-keygen");
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(file);
            assert_eq!(finish(&mut keygen).code, Some(0));
        }
        let at = |name: &str| keys.path().join(name).display().to_string();
        // Where sshd puts its unprivileged half.
        fs::create_dir_all("/run/sshd").unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-q", "-f", "/dev/null", "-p", "22", "-h", &at("host")]);
        for option in [
            format!("ListenAddress={HOST}"),
            format!("AuthorizedKeysFile={}", at("user.pub")),
            format!("PidFile={}", at("pid")),
            "StrictModes=no".to_owned(),
            "UsePAM=no".to_owned(),
            "PermitRootLogin=yes".to_owned(),
        ] {
            sshd.args(["-o", &option]);
        }
        sshd.stdin(Stdio::null()).stdout(Stdio::null());
        let sshd = Running(host.inside(|| sshd.spawn().unwrap()));
        Self {
            host,
            operator,
            keys,
            _sshd: sshd,
        }
    }

    /// `ssh` to the host, to run this there.
    fn ssh(&self, command: &str) -> Command {
        let key = self.keys.path().join("user");
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-q", "-o", "BatchMode=yes"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=2"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-i"])
            .arg(key)
            .args([&format!("root@{HOST}"), command]);
        ssh
    }

    /// Runs something on the host, over a session of its own.
    fn over_ssh(&self, command: &str) -> Run {
        self.operator.inside(|| finish(&mut self.ssh(command)))
    }

    /// Our program on the host, over a session of its own.
    fn conntrack(&self, args: &str) -> Run {
        let (program, name) = (env!("CARGO_BIN_EXE_conntrack"), &self.host.name);
        self.over_ssh(&format!("{program} --instance {name} {args}"))
    }

    /// Waits until sshd answers.
    fn wait(&self) {
        for _ in 0..100 {
            if self.over_ssh("true").code == Some(0) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("sshd does not answer");
    }
}

/// A session that stays.
struct Session {
    child: Running,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Session {
    fn open(place: &Place) -> Self {
        let mut ssh = place.ssh("cat");
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = place.operator.inside(|| ssh.spawn().unwrap());
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut session = Self {
            child: Running(child),
            to,
            from: BufReader::new(from),
        };
        session.talk();
        session
    }

    /// What is typed comes back.
    fn talk(&mut self) {
        self.to.write_all(b"still there?\n").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert_eq!(line, "still there?\n");
    }
}

#[test]
#[ignore = "root"]
fn an_operator_cannot_ban_himself() {
    let place = Place::new();
    place.host.run(&["attach", "inner"]).ok();
    place.wait();
    let mut session = Session::open(&place);
    for target in [
        OPERATOR,
        "10.9.0.2/31",
        "10.9.0.0/24",
        "0.0.0.0/0",
        "10.0.0.0/8 --dry-run",
    ] {
        let run = place.conntrack(&format!("ban {target}"));
        assert_eq!(run.code, Some(1), "{target}: {run:?}");
        assert!(run.stderr.contains(" is not banned: "), "{target}: {run:?}");
    }
    let run = place.conntrack(&format!("ban {OPERATOR}"));
    assert!(
        run.stderr.contains("the other end of this SSH session"),
        "{run:?}"
    );
    // Somebody at the console does not lock him out either.
    let run = place.host.run(&["ban", OPERATOR]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.stderr.contains("the other end of an SSH session"),
        "{run:?}"
    );

    // Nor does a limit that he has set too low: of others it bans who goes beyond it.
    let run = place.conntrack("threshold set 3 action=ban ban_on=syn half_open=3");
    assert_eq!(run.code, Some(0), "{run:?}");
    for _ in 0..20 {
        assert_eq!(place.over_ssh("true").code, Some(0));
    }
    session.talk();
    let banned = place
        .host
        .run(&["banned", "--origin", "threshold", "-o", "json"]);
    assert_eq!(banned.ok().trim(), "[]");
    assert_eq!(place.host.run(&["threshold", "off"]).code, Some(0));

    // Where it is forced, he passes all the same, and so do his new sessions.
    let run = place.conntrack("ban 0.0.0.0/0 --force");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stderr
            .contains(&format!("{OPERATOR} passes all the same")),
        "{run:?}"
    );
    session.talk();
    assert_eq!(place.over_ssh("true").code, Some(0));
    // Others don't.
    place.operator.ip("addr add 10.9.0.3/24 dev outer");
    let ping = |from: &str| {
        let mut ping = Command::new("ping");
        ping.args(["-c", "1", "-W", "1", "-I", from, HOST]);
        place.operator.inside(|| finish(&mut ping)).code == Some(0)
    };
    assert!(ping(OPERATOR) && !ping("10.9.0.3"));
    session.talk();
    assert_eq!(place.host.run(&["unban", "0.0.0.0/0"]).code, Some(0));
    assert!(ping("10.9.0.3"));

    // Once he has gone he can be banned.
    drop(session.to);
    session.child.0.wait().unwrap();
    let ban = || place.host.run(&["ban", OPERATOR, "--confirm", "3s"]);
    let gone = (0..100).any(|_| {
        // sshd's half of the connection lives a moment longer.
        thread::sleep(Duration::from_millis(100));
        ban().code == Some(0)
    });
    assert!(gone, "{:?}", ban());
    assert!(!ping(OPERATOR));
    // That was a mistake, and nobody is there to confirm it.
    let back = (0..100).any(|_| place.over_ssh("true").code == Some(0));
    assert!(back, "it ends by itself");
}
