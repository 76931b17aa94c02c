//! Compiles the packet path's headers for the host: as they are, with threads that stop
//! now and then before an atomic, and twice with some of the atomics taken out.

use cc::Build;

/// What each copy of the table is called in the program, and what is defined for it.
const TABLES: [(&str, Option<&str>); 4] = [
    ("ct_native", None),
    ("ct_stopping", Some("CT_TEST_STOPS")),
    ("ct_plain_add", Some("CT_TEST_PLAIN_ADD")),
    ("ct_plain_cas", Some("CT_TEST_PLAIN_CAS")),
];

fn main() {
    println!("cargo:rerun-if-changed=include");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=../src/bpf");

    build()
        .files(["src/pure.c", "src/window.c", "src/machine.c"])
        .compile("ct_pure");
    for (name, mutation) in TABLES {
        let mut table = build();
        if let Some(mutation) = mutation {
            table.define(mutation, None);
        }
        table
            .define("CT_NAME", name)
            .file("src/table.c")
            .compile(name);
    }
}

fn build() -> Build {
    let mut build = Build::new();
    build
        .include("include")
        .include("../src/bpf")
        .opt_level(2)
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true)
        .flag("-Wno-unknown-pragmas")
        .flag("-Wno-unused-function")
        .flag("-Wno-unused-parameter");
    build
}
