//! `doctor` and its codes.

use std::process::Command;

use serde_json::Value;

use crate::netns::Netns;
use crate::run::Run;
use crate::run::finish;
use crate::schema;
use crate::unprivileged::Copy;

/// What it says as JSON, and its code.
fn json(run: &Run) -> (Value, Option<i32>) {
    (schema::document("doctor", &run.stdout), run.code)
}

/// Whether the kernel has tcx; before, it is clsact, which is not all there is.
fn has_tcx(doctor: &Value) -> bool {
    let facts = doctor["kernel"]["facts"].as_array().unwrap();
    let tcx = facts.iter().find(|fact| fact["name"] == "tcx");
    tcx.unwrap()["present"].as_bool().unwrap()
}

#[test]
#[ignore = "root"]
fn each_verdict_has_its_code() {
    let netns = Netns::new();
    netns.ip("link add v0 type veth peer name v1");
    let doctor = |args: &[&str]| netns.run(&[&["doctor", "-o", "json"], args].concat());
    let (best, code) = json(&doctor(&["v0"]));
    let full = if has_tcx(&best) { 0 } else { 4 };
    assert_eq!(code, Some(full), "{best}");
    assert_eq!(best["interfaces"][0]["name"], "v0");
    // Unknown before Linux 6.3.
    assert_ne!(best["interfaces"][0]["native_xdp"], false);

    // The loopback device has no driver that runs XDP.
    let (lo, code) = json(&doctor(&["lo"]));
    assert_eq!(code, Some(4), "{lo}");
    assert_ne!(lo["interfaces"][0]["native_xdp"], true);
    assert!(!lo["reasons"].as_array().unwrap().is_empty(), "{lo}");
    assert_eq!(doctor(&["v0", "lo"]).code, Some(4));
    // That is no fallback for who asks for TC, and no way for who asks for more.
    assert_eq!(doctor(&["lo", "--mode", "tc"]).code, Some(full));
    assert_eq!(doctor(&["lo", "--mode", "native"]).code, Some(5));
    assert_eq!(doctor(&["nothere"]).code, Some(3));
    // The same to read.
    let text = netns.run(&["doctor", "lo"]);
    assert_eq!(text.code, Some(4), "{text:?}");
    assert!(text.stdout.contains("lo: "), "{text:?}");
}

#[test]
#[ignore = "root"]
fn nobody_can_attach() {
    let copy = Copy::new();
    let run = copy.as_nobody(&["doctor", "lo", "-o", "json"]);
    let (doctor, code) = json(&run);
    assert_eq!(code, Some(5), "{run:?}");
    assert_eq!(doctor["kernel"]["root"], false);
    assert!(!doctor["reasons"].as_array().unwrap().is_empty());
    assert_eq!(copy.as_nobody(&["doctor"]).code, Some(5));
}

/// Puts another program on an interface, as `ip link set xdp` does.
fn put_xdp(netns: &Netns, interface: &str) {
    let folder = tempfile::tempdir().unwrap();
    let [source, object] = ["their.c", "their.o"].map(|name| folder.path().join(name));
    let text = "__attribute__((section(\"xdp\"), used)) int their_xdp(void *ctx) { return 2; }\n\
                char _license[] __attribute__((section(\"license\"), used)) = \"GPL\";\n";
    std::fs::write(&source, text).unwrap();
    let mut clang = Command::new("clang");
    clang.args(["-O2", "-g", "-target", "bpf", "-c"]);
    finish(clang.arg(&source).arg("-o").arg(&object)).ok();
    let object = object.to_str().unwrap();
    netns.ip(&format!(
        "link set dev {interface} xdpdrv obj {object} sec xdp"
    ));
}

/// The XDP program of an interface, by `ip`.
fn xdp(netns: &Netns, interface: &str) -> String {
    let mut ip = Command::new("ip");
    let shown = finish(ip.args(["-n", &netns.name, "-d", "link", "show", interface]));
    let shown = shown.ok();
    let (_, id) = shown.split_once("prog/xdp id ").unwrap_or_default();
    id.split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "root"]
fn another_xdp_program_is_named_and_stays() {
    let netns = Netns::new();
    netns.ip("link add v0 type veth peer name v1");
    put_xdp(&netns, "v0");
    let theirs = xdp(&netns, "v0");
    assert_ne!(theirs, "");
    let named = format!("their_xdp (id {theirs})");

    let native = ["attach", "v0", "--mode", "native"];
    netns.run(&native).failed(3, &named);
    netns.run(&["status"]).failed(3, &netns.name);
    let doctor = netns.run(&["doctor", "v0"]);
    assert_eq!(doctor.code, Some(4), "{doctor:?}");
    assert!(doctor.stdout.contains("their_xdp"), "{doctor:?}");

    let (json, _) = json(&netns.run(&["doctor", "v0", "-o", "json"]));
    let present = &json["interfaces"][0]["present"][0];
    assert_eq!(present["hook"], "xdp-native");
    assert_eq!(present["id"].to_string(), theirs);

    let report = netns.run(&["attach", "v0"]).ok();
    assert!(report.starts_with("v0: tc, "), "{report}");
    assert!(report.contains(&named), "{report}");
    let status = netns.run(&["status"]).ok();
    assert!(status.contains(&named), "{status}");
    netns.run(&["detach"]).ok();
    assert_eq!(xdp(&netns, "v0"), theirs, "untouched");
}
