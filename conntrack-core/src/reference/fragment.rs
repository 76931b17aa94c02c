//! What is known of packets that come in fragments. The kernel puts them together
//! before nf_conntrack sees them (nf_defrag_ipv4.c, nf_conntrack_reasm.c); an
//! observer of single packets cannot. Here the first fragment stands for its
//! packet: it is judged. The others add their bytes if it counted; those that
//! come before it wait for it, and those that come again are left alone.

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

/// A fragment: which part of its packet it is, in bytes.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Fragment {
    pub(super) id: Id,
    /// 0 is the first.
    pub(super) offset: u32,
    pub(super) length: u32,
    /// It is not the last one.
    pub(super) more: bool,
}

impl Fragment {
    fn end(&self) -> u32 {
        self.offset.saturating_add(self.length)
    }
}

/// Where the others of a packet count, if the first did.
#[derive(Copy, Clone, Debug)]
pub(super) struct Counted {
    pub(super) tuple: Tuple,
    /// TCP: the sequence number that the first byte of its header would have.
    pub(super) base: u32,
    /// TCP: the one behind the first fragment.
    pub(super) end: u32,
    /// TCP: the first fragment began what is known of its sender.
    pub(super) anew: bool,
}

/// What came before the first fragment.
#[derive(Copy, Clone, Default, Debug)]
pub(super) struct Early {
    pub(super) bytes: u32,
    /// The packet's end, as far as it is known.
    pub(super) end: u32,
}

#[derive(Copy, Clone, Debug)]
enum State {
    /// The first one has not come.
    Early,
    Counted(Counted),
    Refused,
}

/// A packet of which not all has come.
#[derive(Copy, Clone, Debug)]
struct Parts {
    /// When the first to come came.
    seen: u64,
    state: State,
    /// A block that has come without a gap: the first fragment's, if it has.
    block: (u32, u32),
    /// All that has come.
    have: u32,
    total: Option<u32>,
}

impl Parts {
    fn new(seen: u64, state: State, fragment: &Fragment) -> Self {
        Self {
            seen,
            state,
            block: (fragment.offset, fragment.end()),
            have: fragment.length,
            total: (!fragment.more).then(|| fragment.end()),
        }
    }

    fn has(&self, fragment: &Fragment) -> bool {
        self.block.0 <= fragment.offset && fragment.end() <= self.block.1
    }

    fn join(&mut self, fragment: &Fragment) {
        let (from, to) = self.block;
        if fragment.offset <= to && from <= fragment.end() {
            self.block = (from.min(fragment.offset), to.max(fragment.end()));
        }
        self.have += fragment.length;
        if !fragment.more {
            self.total = Some(fragment.end());
        }
    }

    fn early(&self) -> Early {
        Early {
            bytes: self.have,
            end: self.total.unwrap_or(self.block.1),
        }
    }
}

/// The packets of which not all has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragments(HashMap<Id, Parts>);

impl Fragments {
    /// Forgets a packet that is whole, or waited for too long: the next fragment
    /// begins another.
    fn open(&mut self, now: u64, id: &Id, settings: &Sysctls) -> Option<&mut Parts> {
        let wait = match Family::of(id.src) {
            Family::Ipv4 => IPV4_WAIT,
            Family::Ipv6 => u64::from(settings.frag6_timeout) * 1_000_000_000,
        };
        let open = |parts: &Parts| {
            now.saturating_sub(parts.seen) < wait
                && parts.total.is_none_or(|total| parts.have < total)
        };
        if self.0.get(id).is_some_and(|parts| !open(parts)) {
            self.0.remove(id);
        }
        self.0.get_mut(id)
    }

    /// A first fragment, and what came before it; `None` if it came before.
    pub(super) fn first(
        &mut self,
        now: u64,
        fragment: &Fragment,
        settings: &Sysctls,
    ) -> Option<Early> {
        let mut parts = Parts::new(now, State::Refused, fragment);
        let mut early = Early::default();
        if let Some(old) = self.open(now, &fragment.id, settings) {
            match old.state {
                State::Early => {
                    early = old.early();
                    let (from, to) = old.block;
                    if from <= fragment.length && to > fragment.length {
                        parts.block.1 = to;
                    }
                    parts.seen = old.seen;
                    parts.have += old.have;
                    parts.total = old.total;
                }
                _ if old.has(fragment) => return None,
                _ => {}
            }
        }
        self.0.insert(fragment.id, parts);
        Some(early)
    }

    /// The first fragment counted.
    pub(super) fn counted(&mut self, id: &Id, counted: Counted) {
        if let Some(parts) = self.0.get_mut(id) {
            parts.state = State::Counted(counted);
        }
    }

    /// A later fragment, and where it counts.
    pub(super) fn later(
        &mut self,
        now: u64,
        fragment: &Fragment,
        settings: &Sysctls,
    ) -> Option<Counted> {
        let Some(parts) = self.open(now, &fragment.id, settings) else {
            let parts = Parts::new(now, State::Early, fragment);
            self.0.insert(fragment.id, parts);
            return None;
        };
        if parts.has(fragment) {
            return None;
        }
        parts.join(fragment);
        match parts.state {
            State::Counted(counted) => Some(counted),
            State::Early | State::Refused => None,
        }
    }
}
