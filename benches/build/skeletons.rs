//! Compiles the product's BPF program, the floor and the driver, each to a skeleton.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use libbpf_cargo::SkeletonBuilder;

/// The product's program is built here once more, from its own source: its
/// crate keeps its skeleton to itself.
const SOURCES: [(&str, &str); 3] = [
    (
        "../conntrack-bpf/src/bpf/conntrack.bpf.c",
        "conntrack.skel.rs",
    ),
    ("src/bpf/floor.bpf.c", "floor.skel.rs"),
    ("src/bpf/drive.bpf.c", "drive.skel.rs"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    println!("cargo:rerun-if-changed=../conntrack-bpf/src/bpf");
    println!("cargo:rerun-if-changed=src/bpf");

    // The flags of conntrack-bpf/build.rs, for what is measured is its program.
    let include = format!("-I/usr/include/{arch}-linux-gnu");
    let args = [
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        "-Werror",
        "-mcpu=v3",
        &include,
    ];
    for (source, skeleton) in SOURCES {
        SkeletonBuilder::new()
            .source(source)
            .clang_args(args.map(OsString::from))
            .build_and_generate(out.join(skeleton))?;
    }
    Ok(())
}
