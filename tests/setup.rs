//! What `scripts/setup.sh` says where it can't install what is missing.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// All that the script itself uses, and no compiler.
const TOOLS: [&str; 9] = [
    "awk", "bash", "cat", "dirname", "env", "id", "paste", "sort", "uname",
];

/// How `setup.sh build` ends on a system of this kind, and what it says.
fn on(os_release: &str) -> (bool, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let release = dir.path().join("os-release");
    fs::write(&release, os_release).expect("write it");
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    let path = env::var_os("PATH").expect("PATH");
    for tool in TOOLS {
        let mut all = env::split_paths(&path).map(|dir| dir.join(tool));
        let found = all.find(|file| file.exists()).expect(tool);
        symlink(found, bin.join(tool)).expect("a link");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup.sh");
    let output = Command::new(bin.join("bash"))
        .args([script, "build"])
        .env("PATH", &bin)
        .env("OS_RELEASE", &release)
        .output()
        .expect("run it");
    let words = String::from_utf8(output.stderr).expect("text");
    (output.status.success(), words)
}

#[test]
fn other_distributions_are_told_their_packages() {
    for (os_release, packages) in [
        (
            "ID=fedora\n",
            ["gcc", "clang", "elfutils-libelf-devel", "zlib-devel"],
        ),
        (
            "ID=rocky\nID_LIKE=\"rhel centos fedora\"\n",
            ["gcc", "clang", "elfutils-libelf-devel", "zlib-devel"],
        ),
        ("ID=arch\n", ["gcc", "clang", "libelf", "zlib"]),
        ("ID=alpine\n", ["gcc", "clang", "elfutils-dev", "zlib-dev"]),
        (
            "ID=opensuse-leap\nID_LIKE=suse\n",
            ["gcc", "clang", "libelf-devel", "zlib-devel"],
        ),
    ] {
        let (ok, words) = on(os_release);
        assert!(!ok, "{os_release}: {words}");
        let line = words
            .lines()
            .find(|line| line.contains("packages of this distribution:"));
        let line = line.unwrap_or_else(|| panic!("{os_release}: {words}"));
        let named: Vec<&str> = line.split_whitespace().collect();
        for package in packages {
            assert!(
                named.contains(&package),
                "{os_release}: {package} in {line}"
            );
        }
        assert!(words.contains("install them and try again"), "{words}");
    }
}

#[test]
fn an_unknown_one_is_told_what_is_missing() {
    let (ok, words) = on("ID=plan9\n");
    assert!(!ok, "{words}");
    assert!(
        words.contains("missing here: ") && words.contains("clang"),
        "{words}"
    );
    assert!(!words.contains("packages of this distribution"), "{words}");
}
