//! What both trackers say of their packets, in the same words.

use conntrack_core::Direction;
use conntrack_core::Flow;
use conntrack_core::reference;

pub(crate) use crate::entry::Entry;
pub(crate) use crate::entry::Table;

/// Flows of ours as a table.
pub(crate) fn table<'a>(flows: impl IntoIterator<Item = &'a Flow>) -> Table {
    let flows = flows.into_iter();
    flows
        .map(|flow| (flow.original.tuple, Entry::from(flow)))
        .collect()
}

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

impl From<reference::Class> for Class {
    fn from(class: reference::Class) -> Self {
        let reply = |direction| direction == Direction::Reply;
        match class {
            reference::Class::New => Self::New,
            reference::Class::Established(direction) => Self::Established(reply(direction)),
            reference::Class::Related(direction) => Self::Related(reply(direction)),
            reference::Class::Invalid => Self::Invalid,
            reference::Class::Untracked => Self::Untracked,
        }
    }
}
