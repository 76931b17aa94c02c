//! What the benches share: programs to compare, traffic to drive them with,
//! clocks to time them by and reports to print.
//!
//! Figures are thread CPU time of `BPF_PROG_TEST_RUN`, net of an empty program
//! that is driven the same way in the same rounds. A busy neighbour changes
//! them by half or more, so what counts is the ratio to the floor program,
//! taken round by round.

pub mod args;
pub mod baseline;
pub mod error;
pub mod forward;
pub mod machine;
pub mod measure;
pub mod program;
pub mod report;
pub mod rig;
pub mod row;
pub mod series;
mod skel;
pub mod traffic;
