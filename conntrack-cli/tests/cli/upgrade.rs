//! `upgrade`, and `detach --force`.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;

use crate::netns::Netns;
use crate::schema;

fn status(netns: &Netns) -> serde_json::Value {
    schema::document("status", &netns.run(&["status", "-o", "json"]).ok())
}

const PINS: &str = "/sys/fs/bpf/conntrack";

fn pins(netns: &Netns) -> PathBuf {
    let layout = status(netns)["abi_version"].clone();
    Path::new(PINS).join(format!("v{layout}")).join(&netns.name)
}

#[test]
#[ignore = "root"]
fn programs_change_and_nothing_else() {
    let netns = Netns::new();
    netns.run(&["upgrade"]).failed(3, &netns.name);
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let _open = netns.connection();
    let before = status(&netns);
    let flows = netns.run(&["list", "-o", "session"]).ok();
    let said = netns.run(&["upgrade"]).ok();
    let version = before["version"].as_str().unwrap();
    assert!(said.contains(&netns.name), "{said}");
    assert!(said.contains(&format!("of version {version} ")), "{said}");
    let after = status(&netns);
    assert_eq!(after["maps"], before["maps"]);
    assert_ne!(after["programs"], before["programs"]);
    assert_eq!(
        after["interfaces"][0]["hooks"],
        before["interfaces"][0]["hooks"]
    );
    assert_eq!(after["upgrade_unfinished"], false);
    assert_eq!(netns.run(&["list", "-o", "session"]).ok(), flows);
    let text = netns.run(&["status"]).ok();
    assert!(
        text.contains(&format!("of version {version}: ct_tc_ingress ")),
        "{text}"
    );
    assert!(text.contains("of layout "), "{text}");
    assert!(!text.contains("cut short"), "{text}");

    // As one that was killed would have left it.
    let dir = pins(&netns);
    fs::hard_link(
        dir.join("prog_ct_tc_ingress"),
        dir.join("prog_ct_tc_ingress@5"),
    )
    .unwrap();
    assert!(netns.run(&["status"]).ok().contains("cut short"));
    assert_eq!(status(&netns)["upgrade_unfinished"], true);
    netns.run(&["upgrade"]).ok();
    assert_eq!(status(&netns)["upgrade_unfinished"], false);
}

#[test]
#[ignore = "root"]
fn a_tracker_in_the_foreground_is_its_process_matter() {
    let netns = Netns::new();
    let mut child = netns
        .command(&["attach", "lo", "--foreground"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    let refused = netns.run(&["upgrade"]);
    refused.failed(3, &child.id().to_string());
    refused.failed(3, "end that process and start it anew with this version");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "root"]
fn another_layout_is_detached_by_force() {
    let netns = Netns::new();
    netns.run(&["detach", "--force"]).failed(3, &netns.name);
    netns.run(&["attach", "lo"]).ok();
    let other = Path::new(PINS).join("v4294967292");
    fs::create_dir(&other).unwrap();
    fs::rename(pins(&netns), other.join(&netns.name)).unwrap();
    for args in [
        &["status"][..],
        &["list"],
        &["upgrade"],
        &["attach", "lo"],
        &["detach"],
    ] {
        netns.run(args).failed(3, "`detach --force`");
    }
    let forced = netns.run(&["detach", "--force"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert!(forced.stdout.contains("layout 4294967292"), "{forced:?}");
    assert!(!other.exists());
    netns.run(&["status"]).failed(3, &netns.name);
    netns.run(&["attach", "lo"]).ok();
}
