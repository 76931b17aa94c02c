//! What a forwarded packet costs: routers between namespaces, each with another
//! tracker or none, and frames sent through them.
//!
//! Everything from the sender's system call to the receiver runs on the sender's
//! CPU, so the time that a frame takes is what it costs.

#[path = "../../../tests/support/link.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod link;
#[path = "../../../tests/support/netns.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod netns;

mod frames;
mod path;
mod tracker;

pub use frames::Talk;
pub use frames::checksum;
pub use path::Path;
pub use tracker::Kind;
