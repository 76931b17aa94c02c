//! The generated skeletons, private to this crate.

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

pub(crate) mod floor {
    include!(concat!(env!("OUT_DIR"), "/floor.skel.rs"));
}

pub(crate) mod drive {
    include!(concat!(env!("OUT_DIR"), "/drive.skel.rs"));
}
