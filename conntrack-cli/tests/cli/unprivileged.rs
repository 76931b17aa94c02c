//! Users who are not root: what they are told, and what takes which capability.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::Stdio;

use tempfile::TempDir;

use crate::netns::Netns;
use crate::run::Run;
use crate::run::finish;

const NOBODY: u32 = 65_534;

/// A copy of the program that everybody can run, wherever the target folder is.
pub(crate) struct Copy(TempDir);

impl Copy {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        fs::copy(
            env!("CARGO_BIN_EXE_conntrack"),
            folder.path().join("conntrack"),
        )
        .unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub(crate) fn as_nobody(&self, args: &[&str]) -> Run {
        let mut command = Command::new(self.0.path().join("conntrack"));
        finish(command.args(args).uid(NOBODY).gid(NOBODY))
    }

    /// As nobody, with these capabilities, as a service manager would give them.
    fn with(&self, capabilities: &str, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        let nobody = NOBODY.to_string();
        command
            .args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"])
            .args(["--inh-caps", capabilities])
            .args(["--ambient-caps", capabilities])
            .arg(self.0.path().join("conntrack"))
            .args(args)
            .env_remove("RUST_LOG");
        command
    }
}

#[test]
#[ignore = "root"]
fn without_privileges_it_says_so() {
    let copy = Copy::new();
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    for command in [
        &["list"][..],
        &["stats"],
        &["status"],
        &["events"],
        &["sweep"],
        &["delete", "-p", "udp"],
        &["flush", "--yes"],
        &["config", "get"],
        &["upgrade"],
        &["resize", "--max-flows", "2000"],
        &["detach"],
    ] {
        let args = [command, &["--instance", &netns.name]].concat();
        copy.as_nobody(&args).failed(3, "it takes root");
    }
    for args in [
        &["attach", "lo", "--instance", "ctcli-nobody"][..],
        &["list", "--instance", "ctcli-nobody"],
        &["detach", "--force", "--instance", "ctcli-nobody"],
        &["demo"],
    ] {
        let run = copy.as_nobody(args);
        assert_eq!(run.code, Some(3), "{args:?}: {run:?}");
        let text = run.stderr.to_lowercase();
        assert!(text.contains("permi"), "{args:?}: {run:?}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {run:?}");
    }
    netns.run(&["status"]).ok();
}

#[test]
#[ignore = "root"]
fn two_capabilities_are_enough_to_read() {
    let copy = Copy::new();
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let _open = netns.connection();
    let both = "+dac_override,+bpf";
    let name = netns.name.as_str();
    let list = ["--instance", name, "list", "-o", "session"];
    let listed = finish(&mut copy.with(both, &list)).ok();
    assert_eq!(listed, netns.run(&["list", "-o", "session"]).ok());
    for command in [&["stats"][..], &["config", "get"]] {
        let args = [&["--instance", name], command].concat();
        finish(&mut copy.with(both, &args)).ok();
    }
    let args = ["--instance", name, "events", "-n", "1", "-o", "jsonl"];
    let mut command = copy.with(both, &args);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let told = loop {
        // Until it listens.
        let _another = netns.connection();
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert!(told.success());
    let event = child.wait_with_output().unwrap().stdout;
    assert!(!event.is_empty());
}
