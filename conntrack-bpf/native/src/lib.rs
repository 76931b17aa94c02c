//! The packet path's own C, compiled for the host, so that tests can put it to
//! questions the kernel would answer slowly or not at all: every cell of a
//! table, a million keys, two threads in one slot.
//!
//! Nothing of the product uses this crate. What BPF gives the C (helpers, maps,
//! settings) is replaced by `include/` and `src/table.c`; the headers are the
//! ones of `conntrack-bpf/src/bpf`, unchanged.

mod ffi;
pub mod machine;
mod packet;
pub mod pure;
mod resize;
mod table;
mod window;

pub use packet::Hash;
pub use packet::Key;
pub use packet::Packet;
pub use resize::Evacuated;
pub use resize::Program;
pub use table::Build;
pub use table::Done;
pub use table::End;
pub use table::Outcome;
pub use table::Slot;
pub use table::Table;
pub use table::TableEvent;
pub use table::Timeout;
pub use window::Ends;
pub use window::Judged;
pub use window::Segment;

/// Slots in a bucket: `CT_SLOTS`.
pub const SLOTS: u32 = 15;

/// Set in a place that is in the second table: `CT_NATIVE_SECOND`.
pub const SECOND: u32 = 1 << 31;
