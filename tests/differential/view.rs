//! What both trackers say, in the same words.

use std::collections::BTreeMap;

use conntrack_core::Tuple;

/// A flow. `birth` tells an entry from its successor under the same tuple; it
/// is only ever compared with the same tracker's earlier one.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) state: String,
    pub(crate) seen_reply: bool,
    pub(crate) assured: bool,
    /// Seconds left.
    pub(crate) timeout: u64,
    /// Original, reply.
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
    pub(crate) birth: u64,
}

/// All flows, by the tuple of their original direction.
pub(crate) type Table = BTreeMap<Tuple, Entry>;

/// What a packet was called.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(crate) enum Class {
    New,
    /// True: the reply direction.
    Established(bool),
    Related(bool),
    Invalid,
    Untracked,
}
