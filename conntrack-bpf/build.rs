//! Compiles the BPF program and generates its skeleton.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use libbpf_cargo::SkeletonBuilder;

const SOURCE: &str = "src/bpf/conntrack.bpf.c";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    println!("cargo:rerun-if-changed=src/bpf");

    // Debian keeps the asm headers of the architecture in a folder of its own,
    // where clang does not look when it compiles for BPF.
    let include = format!("-I/usr/include/{arch}-linux-gnu");
    let args = [
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        "-Werror",
        "-mcpu=v3",
        &include,
    ];
    SkeletonBuilder::new()
        .source(SOURCE)
        .clang_args(args.map(OsString::from))
        // A toolchain without rustfmt builds as well: nobody reads this file.
        .rustfmt(out.join("no-rustfmt"))
        .build_and_generate(out.join("conntrack.skel.rs"))?;
    Ok(())
}
