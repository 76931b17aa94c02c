//! What both trackers say of their packets, in the same words.

pub(crate) use crate::entry::Entry;
pub(crate) use crate::entry::Table;

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
