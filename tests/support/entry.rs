//! What both trackers say of their flows, in the same words.

use std::collections::BTreeMap;

use conntrack::Flow;
use conntrack::Tuple;

/// A flow.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct Entry {
    /// What answers carry: of ICMP type, code and id, too.
    pub(crate) reply: Tuple,
    pub(crate) state: String,
    pub(crate) seen_reply: bool,
    pub(crate) assured: bool,
    /// Seconds left.
    pub(crate) timeout: u64,
    /// Original, reply.
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
    /// Nanoseconds since 1970. Converted to civil time anew at each reading, so it
    /// may move a little.
    pub(crate) birth: u64,
}

/// All flows, by the tuple of their original direction.
pub(crate) type Table = BTreeMap<Tuple, Entry>;

impl From<&Flow> for Entry {
    fn from(flow: &Flow) -> Self {
        Self {
            reply: flow.reply.tuple,
            state: flow.state.name().unwrap_or_default().to_owned(),
            seen_reply: flow.seen_reply,
            assured: flow.assured,
            timeout: flow.timeout.as_secs(),
            packets: [flow.original.packets, flow.reply.packets],
            bytes: [flow.original.bytes, flow.reply.bytes],
            birth: flow.start.0 as u64,
        }
    }
}
