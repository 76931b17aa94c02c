//! The generated skeleton, private to this crate.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    clippy::absolute_paths,
    clippy::allow_attributes_without_reason,
    clippy::unwrap_used,
    dead_code,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/conntrack.skel.rs"));
