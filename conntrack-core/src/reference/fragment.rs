//! Later fragments find the tuple of the first one by their packet's id. The
//! kernel puts packets together before nf_conntrack sees them
//! (nf_defrag_ipv4.c, nf_conntrack_reasm.c); an observer of single packets
//! cannot.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::protocol::Family;
use crate::protocol::Protocol;
use crate::sysctl::Sysctls;
use crate::tuple::Tuple;

/// net.ipv4.ipfrag_time, which is no setting of nf_conntrack's.
const IPV4_WAIT: u64 = 30_000_000_000;

/// What the fragments of one packet have in common. IPv6's protocol field is
/// not among it: it may name an extension header in the first one only.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub(super) struct Id {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) id: u32,
    pub(super) protocol: Option<Protocol>,
}

/// A first fragment.
#[derive(Copy, Clone, Debug)]
pub(super) struct First {
    pub(super) seen: u64,
    pub(super) tuple: Tuple,
    /// TCP: the sequence number that the first byte of its header would have.
    pub(super) base: u32,
}

/// The first fragments seen lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragments(HashMap<Id, First>);

impl Fragments {
    /// Keeps what the others need of a first fragment.
    pub(super) fn remember(&mut self, id: Id, first: First) {
        self.0.insert(id, first);
    }

    /// The first fragment to a later one, if it came not too long ago.
    pub(super) fn recall(&self, now: u64, id: &Id, settings: &Sysctls) -> Option<First> {
        let wait = match Family::of(id.src) {
            Family::Ipv4 => IPV4_WAIT,
            Family::Ipv6 => u64::from(settings.frag6_timeout) * 1_000_000_000,
        };
        let first = self.0.get(id)?;
        (now.saturating_sub(first.seen) < wait).then_some(*first)
    }
}
