//! Compiles the floor and the driver, each to a skeleton.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use libbpf_cargo::SkeletonBuilder;

const SOURCES: [(&str, &str); 2] = [
    ("src/bpf/floor.bpf.c", "floor.skel.rs"),
    ("src/bpf/drive.bpf.c", "drive.skel.rs"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    println!("cargo:rerun-if-changed=src/bpf");

    // As in conntrack-bpf/build.rs: same compiler, same flags.
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
