//! nf_conntrack's behaviour, packet by packet, written to be read: the
//! reference that the packet path is compared with, where no kernel answers.
//!
//! One file a protocol, each named after the kernel's source file whose rules
//! it tells (Linux 6.18, net/netfilter). It holds everything the kernel holds
//! and takes no short cuts for space or speed, so it is no tracker to put to
//! work: it takes one packet at a time, and looks at every flow to find one.
//!
//! It sees what an observer of single packets can see. What comes after the
//! tracker is not its business (routing, hop limits), and neither are NAT, zones and
//! helpers. The sum of an IPv4 header is looked at where the other checksums are: in a
//! capture it may be left to a card, too. Fragments are not put together: the
//! first one stands for the packet, the others add their bytes to its flow, and
//! checksums that cover several are not verified.
//!
//! ```
//! use conntrack_core::Sysctls;
//! use conntrack_core::reference::{Class, Tracker};
//!
//! let mut tracker = Tracker::new(Sysctls::default());
//! // A ping, from its IP header on, at second 1.
//! let ping = [
//!     0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
//!     8, 0, 0, 0, 0, 7, 0, 1, // echo request, id 7
//! ];
//! assert_eq!(tracker.packet(1_000_000_000, &ping), Some(Class::New));
//! let flow = &tracker.flows(2_000_000_000)[0];
//! assert_eq!(flow.timeout.as_secs(), 29);
//! ```

mod checksum;
pub mod distinct;
mod fragment;
mod icmp;
pub(crate) mod ip;
mod options;
mod packet;
mod parse;
mod sctp;
mod sctp_table;
pub mod sketch;
mod tcp;
mod tcp_reset;
mod tcp_window;
mod tracker;
mod udp;

/// The machines by themselves, for who puts them into a state and asks what one
/// segment or chunk does there.
pub mod machine {
    pub use super::packet::Options;
    pub use super::packet::Segment;
    pub use super::sctp_table::next as sctp_next;
    pub use super::tcp::Last;
    pub use super::tcp::Tcp;
    pub use super::tcp_window::End;
    pub use super::tracker::Answer;
    pub use super::tracker::Status;
}

pub use tcp::Edges;
pub use tracker::Class;
pub use tracker::Tracker;
