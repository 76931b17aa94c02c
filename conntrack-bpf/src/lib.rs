//! The eBPF data path of `conntrack-xdp`: its C sources, the loader, the
//! attachment to interfaces, pins, and the reader of its maps.
//!
//! This is the only crate of the workspace with `unsafe` and with libbpf. The
//! facade `conntrack` wraps it; programs use that one.

mod attach;
mod bpffs;
mod choose;
mod clock;
mod clsact;
pub mod counters;
pub mod datapath;
mod defines;
pub mod devices;
mod error;
pub mod events;
mod force;
mod ifaces;
pub mod instance;
mod key;
mod links;
mod listeners;
mod load;
mod lock;
mod log;
mod mapped;
pub mod names;
mod netlink;
mod netns;
mod orphans;
mod pins;
pub mod plan;
pub mod probe;
mod proc_sys;
mod record;
mod records;
pub mod remove;
mod row;
mod settings;
mod shape;
mod shared;
mod sizing;
mod skel;
mod stacking;
pub mod support;
mod swap;
pub mod sweep;
mod sys;
pub mod table;
mod targets;
mod teardown;
pub mod testrun;
mod wire;

pub use choose::NotAttached;
pub use clock::Clock;
pub use defines::ABI;
pub use error::Error;
pub use error::ErrorKind;
pub use error::Result;
pub use force::ForcedReport;
pub use force::force_detach;
pub use netns::Netns;
pub use netns::NetnsId;
pub use netns::NetnsRef;
pub use proc_sys::KernelSysctls;
pub use records::AttachRecord;
pub use records::Meta;
pub use sizing::table_flows;
pub use teardown::detach;
