//! The eBPF data path of `conntrack-xdp`: its C sources, the loader, the
//! attachment to interfaces, pins, and the reader of its maps.
//!
//! This is the only crate of the workspace with `unsafe` and with libbpf. The
//! facade `conntrack` wraps it; programs use that one.

mod bpffs;
mod clsact;
pub mod datapath;
mod defines;
mod devices;
mod error;
mod log;
mod netlink;
mod netns;
mod probe;
mod records;
mod settings;
mod shape;
mod skel;
mod sys;

pub use defines::ABI;
pub use error::Error;
pub use error::ErrorKind;
pub use error::Result;
pub use netns::Netns;
pub use netns::NetnsId;
pub use netns::NetnsRef;
pub use records::Meta;
