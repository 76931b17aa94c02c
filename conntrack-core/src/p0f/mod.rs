//! What a TCP stack's first segment tells of it: p0f 3's signatures, from packets
//! and from records that the packet path made of them, and p0f's file of known
//! ones.
//!
//! ```
//! use conntrack_core::p0f::{Kind, Raw, Signature};
//!
//! // A SYN, from its IP header on.
//! let syn = [
//!     0x45, 0, 0, 48, 0, 1, 0x40, 0, 60, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
//!     0x80, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x70, 2, 0x39, 8, 0, 0, 0, 0, // TCP
//!     2, 4, 0x05, 0xb4, 1, 1, 4, 2, // MSS, two NOPs, SACK permitted
//! ];
//! let raw = Raw::from_packet(&syn, None)?;
//! let signature = Signature::from_raw(&raw)?;
//! assert_eq!(raw.kind(), Kind::Syn);
//! assert_eq!(signature.to_string(), "4:60+4:0:1460:mss*10,0:mss,nop,nop,sok:df,id+:0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The formats and rules are those of p0f 3.09b's documentation, and what the
//! program does where that is silent. Where program and documentation differ, the
//! documentation holds; `tests/p0f/compare.rs` has the list.

pub mod api;
mod database;
mod label;
mod options;
mod packet;
mod pattern;
mod quirks;
mod raw;
mod read;
mod signature;
mod text;
mod ttl;
mod walk;
mod window;

pub use database::Database;
pub use database::Found;
pub use database::Match;
pub use database::Quality;
pub use label::Label;
pub use label::System;
pub use options::Options;
pub use packet::PacketError;
pub use pattern::Pattern;
pub use pattern::Size;
pub use quirks::Quirks;
pub use raw::Kind;
pub use raw::Raw;
pub use raw::RawError;
pub use read::DatabaseError;
pub use signature::Signature;
pub use ttl::Distance;
pub use window::Multiple;
pub use window::Window;
