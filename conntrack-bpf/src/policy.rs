//! What packets ask before they look up who is banned: `ct_policy` in the kernel.
//! One process at a time changes it, under a lock of the instance.
//!
//! A set that packets look at says too much rather than too little: it is added to
//! before the entry is there, and taken from after the entry is gone. So whoever is
//! killed in between leaves nobody unprotected.

use std::mem::offset_of;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use ipnet::IpNet;
use libbpf_rs::MapHandle;

use crate::defines::SHARDS;
use crate::error::Result;
use crate::shared::SharedWords;
use crate::wire::ct_policy;

const WORD: usize = size_of::<u64>();
/// Words of a set of prefix lengths.
const LENGTHS: usize = 3;
/// Words of both sets of them.
const KEPT: usize = 2 * LENGTHS;
/// Prefix lengths that are counted, of a family.
const PREFIXES: usize = 129;

/// What an entry is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Kind {
    /// A ban, by its scope: `enum ct_scope`.
    Ban(u8),
    /// What is never banned.
    Allow,
}

/// The policy of a data path.
#[derive(Debug)]
pub(crate) struct Policy {
    shared: SharedWords,
}

impl Policy {
    /// Maps it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn map(map: &MapHandle) -> Result<Self> {
        let shared = SharedWords::map(map)?;
        Ok(Self { shared })
    }

    /// Before a new entry is put in.
    pub(crate) fn enter(&self, kind: Kind, net: &IpNet) {
        self.count(kind, net).fetch_add(1, Ordering::SeqCst);
        let (set, bit) = self.set(kind, net);
        set.fetch_or(bit, Ordering::SeqCst);
        if let Kind::Ban(scope) = kind {
            self.scope_count(scope).fetch_add(1, Ordering::SeqCst);
            self.word(offset_of!(ct_policy, scopes))
                .fetch_or(1 << scope, Ordering::SeqCst);
            self.word(offset_of!(ct_policy, active))
                .store(1, Ordering::SeqCst);
        }
    }

    /// After an entry was taken out.
    pub(crate) fn leave(&self, kind: Kind, net: &IpNet) {
        if less(self.count(kind, net)) && !self.is_kept(kind, net) {
            let (set, bit) = self.set(kind, net);
            set.fetch_and(!bit, Ordering::SeqCst);
        }
        if let Kind::Ban(scope) = kind
            && less(self.scope_count(scope))
        {
            self.drop_scopes(1 << scope);
        }
    }

    /// Packets need not look for bans of these scopes any more, but for those kept.
    fn drop_scopes(&self, gone: u64) {
        let kept = self.word(offset_of!(ct_policy, kept_scopes));
        let gone = gone & !kept.load(Ordering::SeqCst);
        let scopes = self.word(offset_of!(ct_policy, scopes));
        if scopes.fetch_and(!gone, Ordering::SeqCst) & !gone == 0 {
            self.word(offset_of!(ct_policy, active))
                .store(0, Ordering::SeqCst);
        }
    }

    /// Has packets look for bans of these networks' prefix lengths and scopes, be there
    /// any or none: packets are going to make some. Of others only if there are any.
    pub(crate) fn keep(&self, nets: &[IpNet], scopes: &[u8]) {
        let mut kept = [0; KEPT];
        for net in nets {
            let (at, bit) = place(net);
            kept[at] |= bit;
        }
        let wanted = scopes.iter().fold(0, |set, scope| set | 1 << scope);
        let words = |at: usize| &self.shared.words()[at / WORD..];
        let before: Vec<u64> = words(offset_of!(ct_policy, kept))
            .iter()
            .zip(kept)
            .map(|(word, kept)| word.swap(kept, Ordering::SeqCst))
            .collect();
        for (set, kept) in words(offset_of!(ct_policy, bans)).iter().zip(kept) {
            set.fetch_or(kept, Ordering::SeqCst);
        }
        let kept_scopes = self.word(offset_of!(ct_policy, kept_scopes));
        let scopes_before = kept_scopes.swap(wanted, Ordering::SeqCst);
        if wanted != 0 {
            self.word(offset_of!(ct_policy, scopes))
                .fetch_or(wanted, Ordering::SeqCst);
            self.word(offset_of!(ct_policy, active))
                .store(1, Ordering::SeqCst);
        }
        self.drop_unused(&before, scopes_before & !wanted);
    }

    /// Takes out of the sets what was kept until now, is not any more, and is not used.
    fn drop_unused(&self, before: &[u64], scopes: u64) {
        let kept = &self.shared.words()[offset_of!(ct_policy, kept) / WORD..];
        let sets = &self.shared.words()[offset_of!(ct_policy, bans) / WORD..];
        for (at, before) in before.iter().enumerate() {
            let (v6, longest) = (at / LENGTHS, if at < LENGTHS { 32 } else { 128 });
            let gone = before & !kept[at].load(Ordering::SeqCst);
            for bit in (0..64).filter(|bit| gone & 1 << bit != 0) {
                let prefix = longest - (at % LENGTHS * 64 + bit);
                let count = offset_of!(ct_policy, ban_count) + (v6 * PREFIXES + prefix) * WORD;
                if self.word(count).load(Ordering::SeqCst) == 0 {
                    sets[at].fetch_and(!(1 << bit), Ordering::SeqCst);
                }
            }
        }
        let unused = (0..3).filter(|scope| !self.has_scope(*scope));
        let unused = unused.fold(0, |set, scope| set | 1 << scope);
        self.drop_scopes(scopes & unused);
    }

    /// Bans of packets' making that there are, over or not: they may make so many.
    pub(crate) fn made(&self) -> u64 {
        self.word(offset_of!(ct_policy, made))
            .load(Ordering::SeqCst)
    }

    /// So many more of them, or less: never less than none, for a packet that takes over
    /// a ban which is taken out that moment may not have counted it.
    pub(crate) fn count_made(&self, more: i64) {
        if more != 0 {
            let made = self.word(offset_of!(ct_policy, made));
            // Packets take it below 0, for a moment. It never gives up.
            let _ = made.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |made| {
                let made = made.cast_signed().saturating_add(more).max(0);
                Some(made.cast_unsigned())
            });
        }
    }

    /// After all entries were looked at: so many of packets' making are left. Not if
    /// packets, too, have changed their count since it was `before`.
    pub(crate) fn mend_made(&self, before: u64, taken: u64, left: u64) {
        let made = self.word(offset_of!(ct_policy, made));
        let now = before.wrapping_sub(taken);
        // Where it fails the next time will do.
        let _ = made.compare_exchange(now, left, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn is_kept(&self, kind: Kind, net: &IpNet) -> bool {
        let (at, bit) = place(net);
        let kept = self.word(offset_of!(ct_policy, kept) + at * WORD);
        kind != Kind::Allow && kept.load(Ordering::SeqCst) & bit != 0
    }

    /// After a ban was put in, or something is no longer allowed: flows of these
    /// addresses are asked about anew.
    pub(crate) fn bump(&self, net: &IpNet) {
        let Some(shard) = shard(net) else {
            self.bump_all();
            return;
        };
        let at = offset_of!(ct_policy, r#gen) + shard * size_of::<u32>();
        let half = at % WORD;
        // It never gives up, so there is nothing to look at.
        let _ = self
            .word(at - half)
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                let mut bytes = word.to_ne_bytes();
                let generation: &mut [u8] = &mut bytes[half..half + size_of::<u32>()];
                let number = generation
                    .first_chunk()
                    .map_or(0, |it| u32::from_ne_bytes(*it));
                generation.copy_from_slice(&number.wrapping_add(1).to_ne_bytes());
                Some(u64::from_ne_bytes(bytes))
            });
    }

    /// The same of all addresses.
    pub(crate) fn bump_all(&self) {
        self.word(offset_of!(ct_policy, all))
            .fetch_add(1, Ordering::SeqCst);
    }

    /// After something was allowed: what was found not to be is looked at anew.
    pub(crate) fn allowed(&self) {
        let allowed = self.word(offset_of!(ct_policy, allowed));
        // The packet path compares 32 bits; 0 is what no ban has been looked at by.
        let next = |number: u64| match (number + 1) & u64::from(u32::MAX) {
            0 => Some(1),
            next => Some(next),
        };
        // It never gives up, so there is nothing to look at.
        let _ = allowed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
    }

    /// How many bans there are, and how many networks that are allowed; what has expired
    /// counts.
    pub(crate) fn entries(&self) -> [u64; 2] {
        let counts = [
            offset_of!(ct_policy, ban_count),
            offset_of!(ct_policy, allow_count),
        ];
        counts.map(|at| {
            let words = self.shared.words()[at / WORD..].iter().take(2 * PREFIXES);
            words.map(|count| count.load(Ordering::SeqCst)).sum()
        })
    }

    /// Whether there are bans of a scope.
    pub(crate) fn has_scope(&self, scope: u8) -> bool {
        self.scope_count(scope).load(Ordering::SeqCst) != 0
    }

    /// Whether there are entries of this kind with this prefix length.
    pub(crate) fn has_prefix(&self, kind: Kind, net: &IpNet) -> bool {
        let (set, bit) = self.set(kind, net);
        set.load(Ordering::SeqCst) & bit != 0
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        &self.shared.words()[offset / WORD]
    }

    fn scope_count(&self, scope: u8) -> &AtomicU64 {
        self.word(offset_of!(ct_policy, scope_count) + usize::from(scope) * WORD)
    }

    fn count(&self, kind: Kind, net: &IpNet) -> &AtomicU64 {
        let counts = match kind {
            Kind::Ban(_) => offset_of!(ct_policy, ban_count),
            Kind::Allow => offset_of!(ct_policy, allow_count),
        };
        let index = v6(net) * PREFIXES + usize::from(net.prefix_len());
        self.word(counts + index * WORD)
    }

    /// The word of the set that a prefix length is in, and its bit: the longest first.
    fn set(&self, kind: Kind, net: &IpNet) -> (&AtomicU64, u64) {
        let sets = match kind {
            Kind::Ban(_) => offset_of!(ct_policy, bans),
            Kind::Allow => offset_of!(ct_policy, allow),
        };
        let (at, bit) = place(net);
        (self.word(sets + at * WORD), bit)
    }
}

/// The word of a set of prefix lengths, and the bit: the longest first.
fn place(net: &IpNet) -> (usize, u64) {
    let place = usize::from(net.max_prefix_len() - net.prefix_len());
    (v6(net) * LENGTHS + place / 64, 1 << (place % 64))
}

fn v6(net: &IpNet) -> usize {
    match net {
        IpNet::V4(_) => 0,
        IpNet::V6(_) => 1,
    }
}

/// One less; whether none is left. A count never goes below zero.
fn less(count: &AtomicU64) -> bool {
    let take = |count: u64| count.checked_sub(1);
    let before = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
    before.is_ok_and(|before| before == 1)
}

/// The shard of a network's addresses: `ct_shard()` of `bpf/policy.h`; `None` if they
/// are in more than one.
fn shard(net: &IpNet) -> Option<usize> {
    let word = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    };
    let hash = match net.addr() {
        IpAddr::V4(addr) if net.prefix_len() >= 24 => {
            let [a, b, c, _] = addr.octets();
            word(&[a, b, c, 0], 0).wrapping_mul(0x9e37_79b1)
        }
        IpAddr::V6(addr) if net.prefix_len() >= 64 => {
            let high = word(&addr.octets(), 0).wrapping_mul(0x9e37_79b1);
            high.wrapping_add(word(&addr.octets(), 4).wrapping_mul(0x85eb_ca77))
        }
        _ => return None,
    };
    Some((hash >> 24) as usize % SHARDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<usize> {
        shard(&text.parse().expect(text))
    }

    #[test]
    fn what_is_banned_by_itself_is_in_one_shard() {
        assert!(of("10.0.0.0/24").is_some());
        assert_eq!(of("10.0.0.0/24"), of("10.0.0.77/32"));
        assert_eq!(of("10.0.0.0/23"), None);
        assert_eq!(of("2001:db8::/64"), of("2001:db8::7/128"));
        assert!(of("2001:db8::/64").is_some());
        assert_eq!(of("2001:db8::/63"), None);
        let mut shards: Vec<_> = (0..=255).map(|n| of(&format!("10.0.{n}.0/24"))).collect();
        shards.sort_unstable();
        shards.dedup();
        assert!(shards.len() > 100, "{}", shards.len());
    }
}
