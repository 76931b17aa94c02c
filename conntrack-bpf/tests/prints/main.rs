//! What SYNs and SYN+ACKs are recorded as is what the reference says of them, and what p0f
//! itself says, whatever their bytes; and floods of them stay within bounds.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod bans;
#[path = "../common/mod.rs"]
mod common;
#[path = "../../../conntrack-core/tests/p0f/compare.rs"]
mod compare;
#[path = "../../../conntrack-core/tests/p0f/crafted.rs"]
mod crafted;
#[path = "../../../conntrack-core/tests/p0f/filed.rs"]
mod filed;
mod flood;
mod flows;
mod place;
#[path = "../../../conntrack-core/tests/p0f/probe.rs"]
mod probe;
#[path = "../../../conntrack-core/tests/p0f/program.rs"]
mod program;
mod same;
#[path = "../../../conntrack-core/tests/p0f/shape.rs"]
mod shape;
#[path = "../../../conntrack-core/tests/p0f/wild.rs"]
mod wild;
