//! `scripts/test.sh` ends as its steps did, with stand-ins for what they run.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Clippy ends as `CLIPPY` says, one test passes.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
*--version | *--message-format=json) ;;
clippy*) exit "$CLIPPY" ;;
test*--no-fail-fast) echo "test result: ok. 1 passed; 0 failed" ;;
esac
"#;
const NOTHING: &str = "#!/bin/sh\n";
const ROOT: &str = "#!/bin/sh\necho 0\n";

fn program(path: &Path, text: &str) {
    fs::write(path, text).expect("write it");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("make it a program");
}

/// How it ends, and its last two lines, where clippy ends so.
fn ended(clippy: &str) -> (Option<i32>, Vec<String>) {
    let dir = tempfile::tempdir().expect("a folder");
    let [bin, scripts] = ["bin", "scripts"].map(|name| dir.path().join(name));
    for folder in [&bin, &scripts] {
        fs::create_dir(folder).expect("a folder");
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    for name in ["test.sh", "common.sh"] {
        fs::copy(own.join(name), scripts.join(name)).expect("copy it");
    }
    for name in ["root-tests.sh", "leftovers.sh"] {
        program(&scripts.join(name), NOTHING);
    }
    for name in ["clang-format", "shellcheck", "git"] {
        program(&bin.join(name), NOTHING);
    }
    program(&bin.join("cargo"), CARGO);
    program(&bin.join("id"), ROOT);
    let path = env::var_os("PATH").expect("PATH");
    let all = env::join_paths([bin].into_iter().chain(env::split_paths(&path)));
    let output = Command::new(scripts.join("test.sh"))
        .env("PATH", all.expect("a path"))
        .env("CLIPPY", clippy)
        .env_remove("CI")
        .output()
        .expect("run it");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<_> = text.lines().rev().take(2).map(str::to_owned).collect();
    (output.status.code(), lines)
}

#[test]
fn it_ends_well_if_every_step_did() {
    let (code, lines) = ended("0");
    assert_eq!(code, Some(0), "{lines:?}");
    assert_eq!(lines[0], "1 passed, 0 failed");
    assert!(
        lines[1].starts_with("make test: every step passed"),
        "{lines:?}"
    );
}

#[test]
fn a_step_that_runs_aside_may_fail_it() {
    let (code, lines) = ended("1");
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(lines[1].ends_with(": [clippy]"), "{lines:?}");
}
