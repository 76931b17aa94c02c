//! Where the two differ after a step, and whether that is known.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use conntrack_core::Tuple;

use crate::view::Class;
use crate::view::Entry;
use crate::view::Table;

/// Nanoseconds by which the time of creation may seem to move between two
/// readings, because it is converted to civil time anew.
const JITTER_NS: u64 = 2_000_000;

/// What is compared.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(crate) enum Field {
    Flows,
    State,
    SeenReply,
    Assured,
    Recreated,
    Reply,
    Timeout,
    Packets,
    Bytes,
    Class,
}

impl Field {
    /// As the table of exceptions calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flows => "flows",
            Self::State => "state",
            Self::SeenReply => "seen_reply",
            Self::Assured => "assured",
            Self::Recreated => "recreated",
            Self::Reply => "reply",
            Self::Timeout => "timeout",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Class => "class",
        }
    }

    /// Whether not even one step may differ in it.
    pub(crate) fn is_core(self) -> bool {
        self <= Self::Reply
    }
}

/// One difference, for the report.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) field: Field,
    pub(crate) text: String,
}

/// The flows of one scenario on both sides, as of its last step.
#[derive(Default)]
pub(crate) struct Memory {
    kernel: BTreeMap<Tuple, u64>,
    ours: BTreeMap<Tuple, u64>,
}

impl Memory {
    /// Whether both had it.
    pub(crate) fn had(&self, tuple: &Tuple) -> bool {
        self.kernel.contains_key(tuple) && self.ours.contains_key(tuple)
    }
}

/// Compares what both sides say of one scenario after one step. Ours was read up
/// to so many whole seconds after the kernel's.
pub(crate) fn step(
    kernel: &Table,
    ours: &Table,
    late: u64,
    classes: Option<(&[Class], &[Class])>,
    memory: &mut Memory,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let tuples: BTreeSet<&Tuple> = kernel.keys().chain(ours.keys()).collect();
    for tuple in tuples {
        match (kernel.get(tuple), ours.get(tuple)) {
            (Some(theirs), Some(own)) => {
                entries(tuple, theirs, own, late, &mut found);
                recreation(tuple, theirs, own, memory, &mut found);
            }
            (Some(entry), None) => found.push(lone(tuple, "only in nf_conntrack", entry)),
            (None, Some(entry)) => found.push(lone(tuple, "only in ours", entry)),
            (None, None) => {}
        }
    }
    memory.kernel = kernel
        .iter()
        .map(|(tuple, entry)| (*tuple, entry.birth))
        .collect();
    memory.ours = ours
        .iter()
        .map(|(tuple, entry)| (*tuple, entry.birth))
        .collect();
    if let Some((theirs, own)) = classes {
        let sorted = |classes: &[Class]| {
            let mut classes = classes.to_vec();
            classes.sort();
            classes
        };
        if sorted(theirs) != sorted(own) {
            found.push(Difference {
                field: Field::Class,
                text: format!("nf_conntrack {theirs:?}, ours {own:?}"),
            });
        }
    }
    found
}

fn lone(tuple: &Tuple, where_: &str, entry: &Entry) -> Difference {
    Difference {
        field: Field::Flows,
        text: format!("{tuple}: {where_}: {entry:?}"),
    }
}

fn entries(tuple: &Tuple, theirs: &Entry, own: &Entry, late: u64, found: &mut Vec<Difference>) {
    let mut check = |field, equal: bool, a: String, b: String| {
        if !equal {
            found.push(Difference {
                field,
                text: format!("{tuple}: nf_conntrack {a}, ours {b}"),
            });
        }
    };
    check(
        Field::State,
        theirs.state == own.state,
        theirs.state.clone(),
        own.state.clone(),
    );
    let flag = |flag: bool| flag.to_string();
    check(
        Field::SeenReply,
        theirs.seen_reply == own.seen_reply,
        flag(theirs.seen_reply),
        flag(own.seen_reply),
    );
    check(
        Field::Assured,
        theirs.assured == own.assured,
        flag(theirs.assured),
        flag(own.assured),
    );
    check(
        Field::Reply,
        theirs.reply == own.reply,
        theirs.reply.to_string(),
        own.reply.to_string(),
    );
    // Whole seconds of two readings of one moment may differ by one.
    let same = own.timeout <= theirs.timeout + 1 && theirs.timeout <= own.timeout + late + 1;
    check(
        Field::Timeout,
        same,
        theirs.timeout.to_string(),
        own.timeout.to_string(),
    );
    let pair = |pair: [u64; 2]| format!("{}+{}", pair[0], pair[1]);
    check(
        Field::Packets,
        theirs.packets == own.packets,
        pair(theirs.packets),
        pair(own.packets),
    );
    check(
        Field::Bytes,
        theirs.bytes == own.bytes,
        pair(theirs.bytes),
        pair(own.bytes),
    );
}

fn recreation(
    tuple: &Tuple,
    theirs: &Entry,
    own: &Entry,
    memory: &Memory,
    found: &mut Vec<Difference>,
) {
    let (Some(their_last), Some(own_last)) = (memory.kernel.get(tuple), memory.ours.get(tuple))
    else {
        return;
    };
    let their_new = *their_last != theirs.birth;
    let own_new = own_last.abs_diff(own.birth) > JITTER_NS;
    if their_new != own_new {
        let text = format!("{tuple}: created anew in nf_conntrack {their_new}, in ours {own_new}");
        found.push(Difference {
            field: Field::Recreated,
            text,
        });
    }
}
