//! The programs of `examples/` that join a tracker, run as anybody would.

mod common;

use std::env;
use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use common::Name;
use common::link::veth;
use common::netns::Netns;
use conntrack::Config;
use conntrack::Keep;
use conntrack::NetnsRef;
use conntrack::Tracker;
use tempfile::TempDir;

/// An example, which cargo builds with all tests (or `cargo build --examples`).
fn example(name: &str) -> Command {
    let this = env::current_exe().expect("this program");
    let path = this.ancestors().nth(2).expect("target/debug");
    Command::new(path.join("examples").join(name))
}

#[test]
#[ignore = "root"]
fn another_tool_bans_line_by_line() {
    let (here, there) = (Netns::new(), Netns::new());
    let (inner, _outer) = veth((&here, "wire"), (&there, "wire"));
    inner.addr("10.7.0.1/24");
    let (name, state) = (Name::new(), TempDir::new().expect("a folder"));
    let mut config = Config::default();
    config.state_dir = Some(state.path().to_owned());
    let builder = Tracker::builder().config(config).instance(&name.0);
    let builder = builder.netns(NetnsRef::Path(here.path())).interface("wire");
    let tracker = builder.max_flows(1000).keep(Keep::Pinned).attach();
    let tracker = tracker.expect("attach");

    let mut command = example("ban");
    let command = command.args([&name.0, "600"]).stdin(Stdio::piped());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the example, built");
    let mut stdin = child.stdin.take().expect("its stdin");
    // The second is none, and the third is this host.
    let lines = b"203.0.113.1\nwho?\n10.7.0.1\n198.51.100.0/24\n";
    stdin.write_all(lines).expect("write");
    drop(stdin);
    let ended = child.wait_with_output().expect("its output");
    assert!(ended.status.success(), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("who?: "), "{said}");
    assert!(said.contains("10.7.0.1 is not banned: "), "{said}");

    let bans = tracker.bans().map(|ban| ban.expect("a ban"));
    let mut bans: Vec<_> = bans
        .map(|ban| (ban.target.to_string(), ban.reason, ban.origin.to_string()))
        .collect();
    bans.sort();
    let expected = ["198.51.100.0/24", "203.0.113.1"]
        .map(|target| (target.into(), "401".into(), "api".into()));
    assert_eq!(bans, expected);
    tracker.detach().expect("detach");
}
